//! Thresholds, and whether a run keeps within them.

use super::report::Report;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::time::Duration;

/// `create=50ms` of `--max-p99` and the like: an operation, and the longest that it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Longest {
    /// The operation, as the report names it.
    pub operation: String,
    /// How long.
    pub time: Duration,
}

impl FromStr for Longest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (operation, time) =
            text.split_once('=').ok_or("a threshold is OPERATION=TIME, such as create=50ms")?;
        if operation.is_empty() {
            return Err("the operation is missing: create=50ms".into());
        }
        Ok(Self { operation: operation.into(), time: crate::cli::parse::duration(time)? })
    }
}

/// `100/s`, with `OPERATION=` before it where it is not about units.
#[derive(Clone, Debug, PartialEq)]
pub struct Slowest {
    /// The operation; `None`: units of the scenario.
    pub operation: Option<String>,
    /// A second.
    pub rate: f64,
}

impl FromStr for Slowest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (operation, rate) = match text.split_once('=') {
            Some((operation, rate)) => (Some(operation.to_owned()), rate),
            None => (None, text),
        };
        Ok(Self { operation, rate: rate_of(rate)? })
    }
}

/// `50/s`, `3000/m` or `50`: how often a second.
///
/// # Errors
/// A sentence.
pub fn rate_of(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        Some((number, "s")) => (number, 1.0),
        Some((number, "m")) => (number, 60.0),
        None => (text, 1.0),
        Some(_) => ("", 1.0),
    };
    let rate = number.parse::<f64>().ok().map(|number| number / seconds);
    rate.filter(|rate| rate.is_finite() && *rate > 0.0 && *rate <= 1e6)
        .ok_or_else(|| format!("{text:?} is not a rate such as 50/s, 0.5/s or 300/m"))
}

/// All thresholds of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thresholds {
    pub(crate) p50: Vec<Longest>,
    pub(crate) p90: Vec<Longest>,
    pub(crate) p99: Vec<Longest>,
    pub(crate) errors: Option<u64>,
    pub(crate) leaks: Option<u64>,
    /// Bytes.
    pub(crate) shim_pss: Option<u64>,
    pub(crate) rates: Vec<Slowest>,
}

/// One threshold that was checked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Checked {
    /// Such as `p99 of create`.
    pub(crate) what: String,
    /// For people.
    pub(crate) value: String,
    pub(crate) limit: String,
    pub(crate) passed: bool,
}

/// Checks every threshold. What was never measured has not been kept.
pub(crate) fn check(thresholds: &Thresholds, report: &Report) -> Vec<Checked> {
    let mut all = Vec::new();
    let kinds = [("p50", &thresholds.p50), ("p90", &thresholds.p90), ("p99", &thresholds.p99)];
    for (name, longest) in kinds {
        all.extend(longest.iter().map(|longest| latency(name, longest, report)));
    }
    if let Some(most) = thresholds.errors {
        let errors = report.errors.iter().map(|kind| kind.count).sum::<u64>();
        all.push(at_most("errors", Some(errors), most, |n| n.to_string()));
    }
    if let Some(most) = thresholds.leaks {
        let known = report.leaks_unknown.is_none();
        let leaks = known.then(|| u64::try_from(report.leaks.len()).unwrap_or(u64::MAX));
        all.push(at_most("leaks", leaks, most, |n| n.to_string()));
    }
    if let Some(most) = thresholds.shim_pss {
        // While there are few, pages that all of them share are counted for those few.
        let each = report.cost.shim_pss_kib.map(|kib| kib * 1024);
        all.push(at_most("PSS of a shim", each, most, crate::cli::usage::bytes));
    }
    for slowest in &thresholds.rates {
        let (what, rate) = match &slowest.operation {
            None => ("units".to_owned(), Some(report.run.units as f64 / report.run.seconds.max(1e-3))),
            Some(name) => (name.clone(), report.operations.get(name).map(|operation| operation.rate)),
        };
        all.push(Checked {
            what: format!("rate of {what}"),
            value: rate.map_or_else(unmeasured, |rate| format!("{rate:.1}/s")),
            limit: format!("at least {}/s", slowest.rate),
            passed: rate.is_some_and(|rate| rate >= slowest.rate),
        });
    }
    all
}

fn unmeasured() -> String {
    "not measured".into()
}

fn latency(name: &str, longest: &Longest, report: &Report) -> Checked {
    let measured = report.operations.get(&longest.operation).filter(|operation| operation.count > 0);
    let value = measured.map(|operation| match name {
        "p50" => operation.latency_ns.p50,
        "p90" => operation.latency_ns.p90,
        _ => operation.latency_ns.p99,
    });
    let what = format!("{name} of {}", longest.operation);
    at_most(&what, value, super::figures::nanos(longest.time), super::text::time)
}

fn at_most(what: &str, value: Option<u64>, limit: u64, show: impl Fn(u64) -> String) -> Checked {
    Checked {
        what: what.into(),
        value: value.map_or_else(unmeasured, &show),
        limit: format!("at most {}", show(limit)),
        passed: value.is_some_and(|value| value <= limit),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{ErrorKind, Operation, Quantiles, Run};
    use super::*;

    fn report() -> Report {
        let latency_ns = Quantiles { p99: 40_000_000, ..Quantiles::default() };
        let create = Operation { count: 10, rate: 5.0, latency_ns, ..Operation::default() };
        Report {
            run: Run { units: 20, seconds: 2.0, ..Run::default() },
            operations: [("create".to_owned(), create)].into(),
            errors: vec![ErrorKind { count: 2, ..ErrorKind::default() }],
            ..Report::default()
        }
    }

    #[test]
    fn each_threshold_is_told_with_its_value() {
        let thresholds = Thresholds {
            p99: vec!["create=50ms".parse().unwrap(), "create=10ms".parse().unwrap()],
            p50: vec!["dance=1s".parse().unwrap()],
            errors: Some(2),
            leaks: Some(0),
            shim_pss: Some(1 << 20),
            rates: vec!["10/s".parse().unwrap(), "create=6/s".parse().unwrap()],
            ..Thresholds::default()
        };
        let checked = check(&thresholds, &report());
        let passed: Vec<bool> = checked.iter().map(|checked| checked.passed).collect();
        assert_eq!(passed, [false, true, false, true, true, false, true, false], "{checked:#?}");
        assert_eq!((checked[0].value.as_str(), checked[1].value.as_str()), ("not measured", "40.0 ms"));
        assert_eq!(
            (checked[1].what.as_str(), checked[1].limit.as_str()),
            ("p99 of create", "at most 50.0 ms")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in ["create", "=5ms", "create=soon"] {
            assert!(wrong.parse::<Longest>().is_err(), "{wrong}");
        }
        for wrong in ["", "0/s", "-1/s", "5/h", "x/s", "create=", "1e9/s"] {
            assert!(wrong.parse::<Slowest>().is_err(), "{wrong}");
        }
        assert_eq!(rate_of("300/m"), Ok(5.0));
    }
}
