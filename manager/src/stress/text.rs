//! A report for people, as text.

use super::faults::reaction::Reaction;
use super::report::{Cost, Report};
use super::target::Fault;
use super::target::again::Asked;
use crate::cli::output::{Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::usage;

/// A time in nanoseconds with three digits or so and its unit.
pub(crate) fn time(nanos: u64) -> String {
    let fraction = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", fraction / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", fraction / 1e6),
        _ => format!("{:.2} s", fraction / 1e9),
    }
}

/// A size in KiB.
pub(crate) fn kib(kib: u64) -> String {
    usage::bytes(kib.saturating_mul(1024))
}

/// The operations, what went wrong, what it cost.
pub(crate) fn summary(paint: Paint, report: &Report) -> String {
    let run = &report.run;
    let mut text = format!(
        "{} on {}: {} units in {:.1} s, {:.1}/s, seed {}\n\n",
        paint.colour(Colour::Bold, &run.scenario),
        run.target_version,
        run.units,
        run.seconds,
        run.units as f64 / run.seconds.max(1e-3),
        run.seed,
    );
    text += &operations(paint, report);
    if run.behind > 0 {
        text += &format!("\n{} units were due and had not begun when the time was over\n", run.behind);
    }
    if !report.errors.is_empty() {
        let row = |kind: &super::report::ErrorKind| -> [Cell; 4] {
            [
                kind.operation.as_str().into(),
                Cell::coloured(kind.cause.as_str(), Colour::Red),
                kind.count.to_string().into(),
                crate::cli::width::cut(&kind.example, 60).into(),
            ]
        };
        let rows: Vec<[Cell; 4]> = report.errors.iter().map(row).collect();
        text += "\n";
        text += &table::render(paint, ["OPERATION", "CAUSE", "ERRORS", "THE FIRST"], &rows);
    }
    if !report.again.is_empty() {
        text += &format!("\nasked again: {}\n", again(&report.again));
    }
    text += &faults(paint, report);
    text += "\n";
    text += &table::pairs(paint, &costs(&report.cost));
    text += &leaks(paint, report);
    text
}

/// What happened on purpose.
fn faults(paint: Paint, report: &Report) -> String {
    if report.faults.is_empty() {
        return String::new();
    }
    let row = |reaction: &Reaction| -> [Cell; 5] {
        let longest = match reaction.longest_operation.as_str() {
            "" => "-".into(),
            operation => format!("{} ({operation})", time(reaction.longest_ns)),
        };
        [
            format!("{} {} {}", reaction.program, reaction.action, reaction.point).into(),
            reaction.times.to_string().into(),
            reaction.unnoticed.to_string().into(),
            longest.into(),
            heard(reaction).into(),
        ]
    };
    let rows: Vec<[Cell; 5]> = report.faults.iter().map(row).collect();
    let heading = ["ON PURPOSE", "TIMES", "UNNOTICED", "LONGEST CALL THEN", "ELSE WAS HEARD"];
    format!("\n{}", table::render(paint, heading, &rows))
}

/// How often calls were asked again, and by whose absence.
pub(crate) fn again(all: &[Asked]) -> String {
    let times: u64 = all.iter().map(|asked| asked.count).sum();
    let each = all.iter().map(|asked| format!("{} {} × {}", asked.operation, asked.cause, asked.count));
    format!("{times} times: {}", each.collect::<Vec<_>>().join(", "))
}

/// The errors of a reaction in one line.
pub(crate) fn heard(reaction: &Reaction) -> String {
    let each =
        reaction.errors.iter().map(|heard| format!("{} {} × {}", heard.operation, heard.cause, heard.count));
    each.collect::<Vec<_>>().join(", ")
}

fn operations(paint: Paint, report: &Report) -> String {
    let rows: Vec<[Cell; 9]> = report
        .operations
        .iter()
        .map(|(name, operation)| {
            let latency = &operation.latency_ns;
            let errors = match operation.errors {
                0 => Cell::from("0"),
                some => Cell::coloured(some.to_string(), Colour::Red),
            };
            [
                name.as_str().into(),
                operation.count.to_string().into(),
                format!("{:.1}", operation.rate).into(),
                time(latency.p50).into(),
                time(latency.p90).into(),
                time(latency.p99).into(),
                time(latency.p999).into(),
                time(latency.max).into(),
                errors,
            ]
        })
        .collect();
    let heading = ["OPERATION", "COUNT", "RATE/S", "P50", "P90", "P99", "P99.9", "MAX", "ERRORS"];
    table::render(paint, heading, &rows)
}

fn costs(cost: &Cost) -> Vec<(&'static str, String)> {
    let ms = |name, value: Option<f64>| value.map(|ms| (name, format!("{ms:.2} ms")));
    let size = |name, value: Option<u64>| value.map(|value| (name, kib(value)));
    let grown = cost.manager_pss_kib.map(|value| ("manager, for each container", format!("{value:.0} KiB")));
    [
        ms("CPU of the target, for each unit", cost.target_cpu_ms),
        ms("CPU of the host, for each unit", cost.host_cpu_ms),
        ms("CPU of the generator, for each unit", cost.own_cpu_ms),
        size("PSS of a shim", cost.shim_pss_kib),
        size("PSS of the largest shim", cost.shim_pss_max_kib),
        size("PSS of a process inside", cost.process_pss_kib),
        grown,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn leaks(paint: Paint, report: &Report) -> String {
    if let Some(because) = &report.leaks_unknown {
        return format!("\nnobody could look for leaks: {because}\n");
    }
    if report.leaks.is_empty() {
        return "\nnothing was left behind\n".into();
    }
    let row = |leak: &super::leaks::Leak| -> [Cell; 3] {
        [leak.kind.as_str().into(), leak.name.as_str().into(), leak.reason.as_str().into()]
    };
    let rows: Vec<[Cell; 3]> = report.leaks.iter().take(20).map(row).collect();
    format!("\n{} left behind:\n{}", report.leaks.len(), table::render(paint, ["LEFT", "NAME", "WHY"], &rows))
}

/// A line for each threshold, and the last one with the whole.
pub(crate) fn verdict(paint: Paint, report: &Report) -> String {
    let word = |passed| match passed {
        true => paint.colour(Colour::Green, "pass"),
        false => paint.colour(Colour::Red, "FAIL"),
    };
    let mut text: String = report
        .thresholds
        .iter()
        .map(|checked| {
            format!("{}  {}: {} ({})\n", word(checked.passed), checked.what, checked.value, checked.limit)
        })
        .collect();
    let failed = report.thresholds.iter().filter(|checked| !checked.passed).count();
    let because = match (&report.run.failed, report.thresholds.len()) {
        (Some(because), _) => format!("FAIL: {because}"),
        (None, _) if report.run.interrupted => "interrupted: no verdict".into(),
        (None, 0) => "no thresholds were given: no verdict".into(),
        (None, all) if failed == 0 => format!("PASS: {all} of {all} thresholds are kept"),
        (None, all) => format!("FAIL: {failed} of {all} thresholds are not kept"),
    };
    text += &format!("{because}\n");
    text
}

/// A fault in one line.
pub(crate) fn fault(fault: &Fault) -> String {
    format!("{}: {}", fault.cause, fault.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_again_is_told() {
        let asked = |operation: &str, count| Asked {
            operation: operation.into(),
            cause: "SHIM_UNREACHABLE".into(),
            count,
        };
        let report = Report { again: vec![asked("exec", 2), asked("start", 1)], ..Report::default() };
        let text = summary(Paint::Plain, &report);
        let line = "\nasked again: 3 times: exec SHIM_UNREACHABLE × 2, start SHIM_UNREACHABLE × 1\n";
        assert!(text.contains(line), "{text}");
        assert!(!summary(Paint::Plain, &Report::default()).contains("asked again"));
        let page = crate::stress::html::document(&report);
        assert!(page.contains("exec SHIM_UNREACHABLE × 2"), "{page}");
    }

    #[test]
    fn times_have_a_unit_that_fits() {
        for (nanos, text) in
            [(0, "0 ns"), (1_234, "1.2 µs"), (56_700_000, "56.7 ms"), (1_234_000_000, "1.23 s")]
        {
            assert_eq!(time(nanos), text);
        }
    }
}
