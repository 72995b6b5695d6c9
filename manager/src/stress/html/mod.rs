//! A report as one HTML file: nothing is loaded from elsewhere, and nothing in it is a program.

mod plot;

use super::faults::reaction::Reaction;
use super::figures::quantile;
use super::report::{Operation, Report};
use super::text;
use plot::{Axis, Bar, Line, Plot, Scale};
use std::collections::BTreeMap;

/// Points of a percentile curve.
const CURVE: [f64; 16] =
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999];
/// Parts of a bar; the small ones are one together.
const PARTS: usize = 7;

/// `text` with no character that is markup.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
    }
    safe
}

/// The document.
pub(crate) fn document(report: &Report) -> String {
    let run = &report.run;
    let title = escape(&format!("sextant stress: {} on {}", run.scenario, run.target_version));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title}</title>\n<style>\n{}</style></head><body>\n<main>\n<h1>{title}</h1>\n",
        include_str!("style.css")
    );
    page += &heading(report);
    page += &thresholds(report);
    page += &operations(report);
    page += "<div class=\"plots\">\n";
    page += &plot::section("rate", &rates(report));
    page += &plot::section("time", &latency_over_time(report));
    page += &plot::section("curve", &curves(report));
    page += &plot::section("memory", &memory(report));
    page += &plot::section("cpu", &cpu(report));
    page += &stages(report);
    page += "</div>\n";
    page += &errors(report);
    page += &faults(report);
    page += &facts(report);
    page + "</main></body></html>\n"
}

fn heading(report: &Report) -> String {
    let run = &report.run;
    let (class, word) = match (&run.failed, report.thresholds.is_empty(), report.passed) {
        (Some(because), _, _) => ("fail", format!("Failed: {because}")),
        (None, _, _) if run.interrupted => ("none", "Interrupted: no verdict".into()),
        (None, true, _) => ("none", "No thresholds were given".into()),
        (None, false, true) => ("pass", "Passed: all thresholds are kept".into()),
        (None, false, false) => ("fail", "Failed: a threshold is not kept".into()),
    };
    let rate = run.units as f64 / run.seconds.max(1e-3);
    format!(
        "<p class=\"dim\">{} units in {:.1} s, {rate:.1} a second; began {}; run {}</p>\n\
         <p class=\"verdict {class}\">{}</p>\n",
        run.units,
        run.seconds,
        escape(&run.began_at),
        escape(&run.id),
        escape(&word)
    )
}

/// A table; the first cells of `heading` that begin with a blank are texts.
fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = String::from("<div class=\"scroll\"><table><thead><tr>");
    let class = |name: &str| if name.starts_with(' ') { " class=\"text\"" } else { "" };
    for name in heading {
        text += &format!("<th scope=\"col\"{}>{}</th>", class(name), escape(name.trim()));
    }
    text += "</tr></thead><tbody>\n";
    for row in rows {
        text += "<tr>";
        for (name, cell) in heading.iter().zip(row) {
            text += &format!("<td{}>{}</td>", class(name), escape(cell));
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>\n"
}

fn thresholds(report: &Report) -> String {
    if report.thresholds.is_empty() {
        return String::new();
    }
    let word = |passed: bool| if passed { "kept" } else { "NOT KEPT" };
    let row = |checked: &super::verdict::Checked| {
        vec![checked.what.clone(), checked.value.clone(), checked.limit.clone(), word(checked.passed).into()]
    };
    let rows: Vec<Vec<String>> = report.thresholds.iter().map(row).collect();
    format!(
        "<section><h2>Thresholds</h2>{}</section>\n",
        table(&[" What", "Measured", "Threshold", "Verdict"], &rows)
    )
}

fn operations(report: &Report) -> String {
    let row = |(name, operation): (&String, &Operation)| {
        let latency = &operation.latency_ns;
        let mut cells = vec![name.clone(), operation.count.to_string(), format!("{:.1}", operation.rate)];
        let times = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max];
        cells.extend(times.into_iter().map(text::time));
        cells.push(text::time(operation.service_ns.p99));
        cells.push(operation.errors.to_string());
        cells
    };
    let rows: Vec<Vec<String>> = report.operations.iter().map(row).collect();
    let heading = [
        " Operation",
        "Count",
        "A second",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "Longest",
        "p99 from the true start",
        "Errors",
    ];
    format!("<section><h2>Operations, from their intended start</h2>{}</section>\n", table(&heading, &rows))
}

fn nanos(value: f64) -> String {
    text::time(super::figures::whole(value))
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn mib(value: f64) -> String {
    format!("{} MiB", number(value))
}

fn share(value: f64) -> String {
    format!("{} %", number(value * 1e4 / 100.0))
}

fn seconds_axis() -> Axis {
    Axis { label: "seconds since the beginning", scale: Scale::Linear, show: number }
}

/// Operations by how many there were: those that the plots have room for.
fn shown(report: &Report) -> impl Iterator<Item = (&String, &Operation)> {
    let mut all: Vec<_> = report.operations.iter().filter(|(_, operation)| operation.count > 0).collect();
    all.sort_by_key(|(_, operation)| std::cmp::Reverse(operation.count));
    all.truncate(PARTS);
    all.sort_by_key(|(name, _)| *name);
    all.into_iter()
}

fn by_second(operation: &Operation, of: impl Fn(&super::report::Second) -> Option<u64>) -> Vec<(f64, f64)> {
    let seconds = operation.seconds.iter().enumerate();
    seconds.filter_map(|(at, second)| Some((at as f64, of(second)? as f64))).collect()
}

fn rates(report: &Report) -> Plot {
    let line = |(name, operation): (&String, &Operation)| Line {
        name: name.clone(),
        points: by_second(operation, |second| Some(second.count)),
    };
    Plot {
        title: "Rate",
        description: "Operations that ended in each second, for each kind of operation.".into(),
        x: seconds_axis(),
        y: Axis { label: "operations a second", scale: Scale::Linear, show: number },
        lines: shown(report).map(line).collect(),
        scattered: false,
    }
}

fn latency_over_time(report: &Report) -> Plot {
    let line = |(name, operation): (&String, &Operation)| Line {
        name: format!("{name} p99"),
        points: by_second(operation, |second| (second.count > 0).then_some(second.p99_ns.max(1))),
    };
    Plot {
        title: "Latency over time",
        description: "The 99th percentile of latency in each second, for each kind of operation.".into(),
        x: seconds_axis(),
        y: Axis { label: "latency (logarithmic)", scale: Scale::Log, show: nanos },
        lines: shown(report).map(line).collect(),
        scattered: false,
    }
}

fn curves(report: &Report) -> Plot {
    let line = |(name, operation): (&String, &Operation)| {
        // A share that less than one of them is beyond says nothing that the largest does not.
        let known = |fraction: &&f64| **fraction <= 1.0 - 1.0 / operation.count.max(1) as f64;
        let point = |fraction: &f64| (*fraction, quantile(&operation.histogram, *fraction).max(1) as f64);
        Line { name: name.clone(), points: CURVE.iter().filter(known).map(point).collect() }
    };
    Plot {
        title: "Percentiles",
        description: "Latency that a share of all operations does not exceed, for each kind of operation."
            .into(),
        x: Axis { label: "share of operations", scale: Scale::Nines, show: share },
        y: Axis { label: "latency (logarithmic)", scale: Scale::Log, show: nanos },
        lines: shown(report).map(line).collect(),
        scattered: false,
    }
}

fn memory(report: &Report) -> Plot {
    let points = |of: &dyn Fn(&super::sampler::Sample) -> Option<u64>| {
        let samples = report.samples.iter();
        samples.filter_map(|sample| Some((sample.containers as f64, of(sample)? as f64 / 1024.0))).collect()
    };
    let many = |count: usize| u64::try_from(count).unwrap_or(0);
    let line = |name: &str, points| Line { name: name.into(), points };
    let lines = vec![
        line("manager", points(&|sample| sample.manager_pss_kib)),
        line("all shims", points(&|sample| sample.shim_pss_kib.map(|kib| kib * many(sample.shims)))),
        line("all processes inside", points(&|s| s.process_pss_kib.map(|kib| kib * many(s.processes)))),
    ];
    Plot {
        title: "Memory against containers",
        description:
            "PSS of the manager, of all shims and of all processes inside containers, by the number of \
                      containers at that moment."
                .into(),
        x: Axis { label: "containers", scale: Scale::Linear, show: number },
        y: Axis { label: "PSS", scale: Scale::Linear, show: mib },
        lines: lines.into_iter().filter(|line: &Line| !line.points.is_empty()).collect(),
        scattered: true,
    }
}

fn cpu(report: &Report) -> Plot {
    let line = |name: &str, of: fn(&super::sampler::Sample) -> u64| {
        let pairs = report.samples.windows(2).filter_map(|pair| match pair {
            [one, other] if other.at > one.at => {
                Some((other.at, of(other).saturating_sub(of(one)) as f64 / (other.at - one.at) / 1e3))
            }
            _ => None,
        });
        Line { name: name.into(), points: pairs.collect() }
    };
    Plot {
        title: "CPU over time",
        description:
            "Processors that were busy, on average of each second: the whole host, the target, the load \
                      generator."
                .into(),
        x: seconds_axis(),
        y: Axis { label: "processors", scale: Scale::Linear, show: number },
        lines: vec![
            line("host", |sample| sample.host_cpu_ms),
            line("target", |sample| sample.target_cpu_ms),
            line("generator", |sample| sample.own_cpu_ms),
        ],
        scattered: false,
    }
}

/// One bar for each command of the runtime: the mean of its stages.
fn stages(report: &Report) -> String {
    let mut bars: BTreeMap<&str, Vec<(String, f64)>> = BTreeMap::new();
    for (name, stage) in &report.stages {
        let (command, stage_name) = name.split_once('/').unwrap_or(("", name));
        bars.entry(command).or_default().push((stage_name.to_owned(), stage.took_ns.mean as f64));
    }
    let bar = |(name, mut parts): (&str, Vec<(String, f64)>)| {
        parts.sort_by(|one, other| other.1.total_cmp(&one.1));
        let rest = parts.split_off(parts.len().min(PARTS));
        if !rest.is_empty() {
            parts.push((format!("{} more", rest.len()), rest.iter().map(|(_, value)| value).sum()));
        }
        Bar { name: name.to_owned(), parts }
    };
    let bars: Vec<Bar> = bars.into_iter().map(bar).collect();
    let description =
        "Mean time of each stage of the start-up, for each command; stages that overlap are both counted.";
    plot::stacked("stages", "Stages of the start-up", description, &bars, nanos)
}

fn errors(report: &Report) -> String {
    if report.errors.is_empty() && report.leaks.is_empty() {
        return "<section><h2>Errors and leaks</h2><p>There were none.</p></section>\n".into();
    }
    let row = |kind: &super::report::ErrorKind| {
        vec![kind.operation.clone(), kind.cause.clone(), kind.example.clone(), kind.count.to_string()]
    };
    let rows: Vec<Vec<String>> = report.errors.iter().map(row).collect();
    let row = |leak: &super::leaks::Leak| vec![leak.kind.clone(), leak.name.clone(), leak.reason.clone()];
    let leaks: Vec<Vec<String>> = report.leaks.iter().map(row).collect();
    let mut text = String::from("<section><h2>Errors and leaks</h2>\n");
    if !rows.is_empty() {
        text += &table(&[" Operation", " Cause", " The first", "Count"], &rows);
    }
    if !leaks.is_empty() {
        text += &table(&[" Left behind", " Name", " Why"], &leaks);
    }
    text + "</section>\n"
}

fn faults(report: &Report) -> String {
    if report.faults.is_empty() {
        return String::new();
    }
    let row = |reaction: &Reaction| {
        vec![
            format!("{} {} {}", reaction.program, reaction.action, reaction.point),
            text::heard(reaction),
            reaction.times.to_string(),
            reaction.unnoticed.to_string(),
            format!("{} {}", text::time(reaction.longest_ns), reaction.longest_operation),
        ]
    };
    let rows: Vec<Vec<String>> = report.faults.iter().map(row).collect();
    let heading = [" On purpose", " What was heard", "Times", "Unnoticed", "Longest call then"];
    format!("<section><h2>Faults</h2>{}</section>\n", table(&heading, &rows))
}

fn facts(report: &Report) -> String {
    let (run, host, cost) = (&report.run, &report.host, &report.cost);
    let ms = |value: Option<f64>| value.map_or_else(|| "not known".into(), |ms| format!("{ms:.2} ms"));
    let size = |value: Option<u64>| value.map_or_else(|| "not known".into(), text::kib);
    let pairs = [
        ("Target", format!("{} at {}", run.target_version, run.target_address)),
        ("Remarks", run.remarks.join("; ")),
        ("Arguments", run.arguments.join(" ")),
        ("Seed", run.seed.to_string()),
        ("Load generator", format!("sextant {}", run.build)),
        ("Asked again", text::again(&report.again)),
        ("Begun late, p99", text::time(run.late_ns.p99)),
        ("Due and never begun", run.behind.to_string()),
        ("Host", format!("Linux {}, {} × {}", host.kernel, host.cpus, host.cpu_model)),
        ("Memory, cgroups", format!("{}, {}", text::kib(host.memory_bytes / 1024), host.cgroup)),
        ("Load before", format!("{:.2}", host.load_before)),
        ("CPU of the target, each unit", ms(cost.target_cpu_ms)),
        ("CPU of the host, each unit", ms(cost.host_cpu_ms)),
        (
            "PSS of a shim",
            format!("{}, the largest {}", size(cost.shim_pss_kib), size(cost.shim_pss_max_kib)),
        ),
    ];
    let rows: Vec<Vec<String>> = pairs.into_iter().map(|(key, value)| vec![key.to_owned(), value]).collect();
    format!("<section><h2>How it was measured</h2>{}</section>\n", table(&[" ", " "], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_nothing_is_a_whole_document_and_nothing_is_loaded() {
        let mut report = Report::default();
        report.run.scenario = "<script>".into();
        let page = document(&report);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</main></body></html>\n"));
        for absent in ["<script", "http://", "https://", "src="] {
            assert!(!page.replace("default-src", "").replace("style-src", "").contains(absent), "{absent}");
        }
        for section in ["Rate", "Latency over time", "Percentiles", "Memory against containers", "Stages"] {
            assert!(page.contains(&format!("<h2>{section}")), "{section}");
        }
    }
}
