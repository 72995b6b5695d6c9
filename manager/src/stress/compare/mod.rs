//! Two sides of runs beside each other: ratios of what they took, with intervals that a bootstrap gives.
//!
//! Samples within a run are not independent of each other: what is slow is slow for a while. So seconds are
//! drawn in blocks, and where a side has several runs, whole runs are drawn first: the interval is then as wide
//! as runs differ, or as pairs of runs do that were taken one after the other.

mod bootstrap;
mod series;

pub(crate) use bootstrap::Settings;

use super::report::Report;
use serde::Serialize;
use series::{Kind, Series};
use std::collections::BTreeSet;

/// Seconds of data that an interval takes at least.
const SHORTEST: usize = 5;

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Such as `create p99`.
    pub(crate) figure: String,
    /// `time_ns`, `rate`, `cpu_ms` or `kib`.
    pub(crate) unit: &'static str,
    pub(crate) base: f64,
    pub(crate) new: f64,
    /// How much worse `new` is: above 1 it takes more, or does less.
    pub(crate) ratio: f64,
    /// Where the true ratio is likely to lie; absent when there is too little data.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) regression: bool,
}

/// Both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Comparison {
    /// What makes them hard to compare.
    pub(crate) remarks: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Comparison {
    pub(crate) fn regressed(&self) -> bool {
        self.rows.iter().any(|row| row.regression)
    }
}

/// Compares; `gate` is the ratio from which something is a regression.
pub(crate) fn compare(base: &[Report], new: &[Report], gate: Option<f64>, settings: &Settings) -> Comparison {
    let mut rows = Vec::new();
    for (figure, kind) in figures(base, new) {
        let (one, other) = (Series::of(base, &kind), Series::of(new, &kind));
        let (Some(was), Some(is)) = (one.whole(), other.whole()) else { continue };
        let Some(ratio) = kind.worse(was, is) else { continue };
        let enough = one.shortest() >= SHORTEST && other.shortest() >= SHORTEST;
        let interval = enough.then(|| bootstrap::interval(&one, &other, &kind, settings)).flatten();
        let regression = gate.zip(interval).is_some_and(|(gate, (low, _))| low > gate);
        rows.push(Row { figure, unit: kind.unit(), base: was, new: is, ratio, interval, regression });
    }
    Comparison { remarks: remarks(base, new), rows }
}

/// What both sides have.
fn figures(base: &[Report], new: &[Report]) -> Vec<(String, Kind)> {
    let operations = |side: &[Report]| -> BTreeSet<String> {
        side.iter().flat_map(|report| report.operations.keys().cloned()).collect()
    };
    let mut all = vec![("units a second".to_owned(), Kind::Units)];
    for name in operations(base).intersection(&operations(new)) {
        all.push((format!("{name} p50"), Kind::Latency(name.clone(), 0.5)));
        all.push((format!("{name} p99"), Kind::Latency(name.clone(), 0.99)));
        all.push((format!("{name} rate"), Kind::Rate(name.clone())));
    }
    all.push(("CPU of the target, each unit".to_owned(), Kind::TargetCpu));
    all.push(("CPU of the host, each unit".to_owned(), Kind::HostCpu));
    all.push(("PSS of a shim".to_owned(), Kind::ShimPss));
    all.push(("PSS of the manager".to_owned(), Kind::ManagerPss));
    all
}

fn remarks(base: &[Report], new: &[Report]) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut differ = |what: &str, of: &dyn Fn(&Report) -> String| {
        let side = |side: &[Report]| side.iter().map(of).collect::<BTreeSet<_>>();
        let (one, other) = (side(base), side(new));
        if one != other {
            let list = |side: BTreeSet<String>| side.into_iter().collect::<Vec<_>>().join(" and ");
            remarks.push(format!("{what} differ: {} and {}", list(one), list(other)));
        }
    };
    differ("scenarios", &|report| report.run.scenario.clone());
    differ("targets", &|report| report.run.target_version.clone());
    differ("kernels", &|report| report.host.kernel.clone());
    differ("numbers of processors", &|report| report.host.cpus.to_string());
    if base.len() == 1 || new.len() == 1 {
        remarks.push(
            "a side has one run only: how much runs differ from each other is not in the intervals".into(),
        );
    }
    remarks
}

#[cfg(test)]
mod tests;
