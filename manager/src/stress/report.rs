//! The report of a run: what `--json` writes, [`super::html`] draws and [`super::compare`] reads.
//! docs/stress.md describes each field.

use super::book::{Entries, Op};
use super::faults::reaction::Reaction;
use super::figures::{pairs, quantile, whole};
use super::host::Host;
use super::leaks::Leak;
use super::sampler::Sample;
use super::target::again::Asked;
use super::verdict::Checked;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the first two fields say of a file of ours.
pub(crate) const FORMAT: &str = "sextant.stress";
/// Counts changes that old readers do not understand.
pub(crate) const VERSION: u32 = 1;

/// A run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) format: String,
    pub(crate) version: u32,
    pub(crate) run: Run,
    pub(crate) host: Host,
    /// By name: `create`, `start`, …
    pub(crate) operations: BTreeMap<String, Operation>,
    /// Stages of start-ups by name, `create/mount`; of one container in ten.
    pub(crate) stages: BTreeMap<String, Stage>,
    pub(crate) errors: Vec<ErrorKind>,
    /// Calls that were asked again, since who was killed on purpose took them with it.
    #[serde(default)]
    pub(crate) again: Vec<Asked>,
    /// What happened on purpose, and what came of it.
    #[serde(default)]
    pub(crate) faults: Vec<Reaction>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) cost: Cost,
    pub(crate) leaks: Vec<Leak>,
    /// Why nobody could look for leaks.
    pub(crate) leaks_unknown: Option<String>,
    pub(crate) thresholds: Vec<Checked>,
    pub(crate) passed: bool,
}

/// What was run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) scenario: String,
    /// `sextantd`, `runtime` or `cri`.
    pub(crate) target: String,
    pub(crate) target_version: String,
    pub(crate) target_address: String,
    pub(crate) remarks: Vec<String>,
    /// Of `sextant` itself.
    pub(crate) build: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) seed: u64,
    /// RFC 3339.
    pub(crate) began_at: String,
    /// How long the load went on, without clean-up.
    pub(crate) seconds: f64,
    pub(crate) units: u64,
    pub(crate) begun: u64,
    /// Due before the end, and never begun.
    pub(crate) behind: u64,
    pub(crate) interrupted: bool,
    /// Why the load could not be prepared or finished.
    pub(crate) failed: Option<String>,
    /// How long after their intended start units have begun.
    pub(crate) late_ns: Quantiles,
}

/// Of a histogram; nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) mean: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Quantiles {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            mean: whole(histogram.mean()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

/// One kind of operation.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Operation {
    pub(crate) count: u64,
    pub(crate) errors: u64,
    /// A second.
    pub(crate) rate: f64,
    /// From the intended start.
    pub(crate) latency_ns: Quantiles,
    /// From the true start.
    pub(crate) service_ns: Quantiles,
    /// Pairs of latency and count.
    pub(crate) histogram: Vec<(u64, u64)>,
    pub(crate) seconds: Vec<Second>,
}

/// What ended in one second.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Second {
    pub(crate) count: u64,
    pub(crate) errors: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    /// Pairs of latency and count; the latency is the lower end of a bucket.
    pub(crate) histogram: Vec<(u64, u64)>,
}

/// One stage.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Stage {
    pub(crate) count: u64,
    pub(crate) took_ns: Quantiles,
}

/// Faults of one kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct ErrorKind {
    pub(crate) operation: String,
    pub(crate) cause: String,
    pub(crate) count: u64,
    pub(crate) example: String,
}

/// What a unit and a container cost.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Cost {
    /// CPU time of manager, shims and all below them, for each unit, in milliseconds.
    pub(crate) target_cpu_ms: Option<f64>,
    /// The same of the whole host without the generator.
    pub(crate) host_cpu_ms: Option<f64>,
    /// Of the generator.
    pub(crate) own_cpu_ms: Option<f64>,
    /// At the moment with the most shims: of one, and the largest of all looks.
    pub(crate) shim_pss_kib: Option<u64>,
    pub(crate) shim_pss_max_kib: Option<u64>,
    /// Of one process inside a container at that moment.
    pub(crate) process_pss_kib: Option<u64>,
    /// By which the manager has grown for each container that existed then.
    pub(crate) manager_pss_kib: Option<f64>,
}

impl Operation {
    fn of(op: &Op, seconds: f64) -> Self {
        let second = |second: &super::book::Second| {
            let histogram = second.latency.pairs();
            Second {
                count: second.count,
                errors: second.errors,
                p50_ns: quantile(&histogram, 0.5),
                p99_ns: quantile(&histogram, 0.99),
                histogram,
            }
        };
        Self {
            count: op.latency.len(),
            errors: op.errors,
            rate: op.latency.len() as f64 / seconds.max(1e-3),
            latency_ns: Quantiles::of(&op.latency),
            service_ns: Quantiles::of(&op.service),
            histogram: pairs(&op.latency),
            seconds: op.seconds.iter().map(second).collect(),
        }
    }
}

/// Operations, stages and errors of what was measured, over `seconds`.
pub(crate) fn fill(report: &mut Report, entries: &Entries) {
    let seconds = report.run.seconds;
    report.operations =
        entries.ops.iter().map(|(name, op)| ((*name).to_owned(), Operation::of(op, seconds))).collect();
    let stage =
        |histogram: &Histogram<u64>| Stage { count: histogram.len(), took_ns: Quantiles::of(histogram) };
    report.stages = entries.stages.iter().map(|(name, of)| (name.clone(), stage(of))).collect();
    report.errors = entries
        .faults
        .iter()
        .map(|((operation, cause), faults)| ErrorKind {
            operation: (*operation).to_owned(),
            cause: cause.clone(),
            count: faults.count,
            example: faults.example.clone(),
        })
        .collect();
    report.run.late_ns = entries.late.as_ref().map(Quantiles::of).unwrap_or_default();
}

/// What a unit and a container cost, by the samples.
pub(crate) fn cost(samples: &[Sample]) -> Cost {
    let Some(last) = samples.last() else { return Cost::default() };
    let each = |ms: u64| (last.units > 0).then(|| ms as f64 / last.units as f64);
    let fullest = samples.iter().max_by_key(|sample| (sample.shims.max(sample.processes), sample.containers));
    let idle = samples.first().and_then(|sample| sample.manager_pss_kib);
    let grown = fullest.and_then(|sample| {
        let grown = sample.manager_pss_kib?.saturating_sub(idle?);
        (sample.containers > 0).then(|| grown as f64 / sample.containers as f64)
    });
    Cost {
        target_cpu_ms: each(last.target_cpu_ms).filter(|_| last.target_cpu_ms > 0),
        host_cpu_ms: each(last.host_cpu_ms.saturating_sub(last.own_cpu_ms)),
        own_cpu_ms: each(last.own_cpu_ms),
        shim_pss_kib: fullest.and_then(|sample| sample.shim_pss_kib),
        shim_pss_max_kib: samples.iter().filter_map(|sample| sample.shim_pss_max_kib).max(),
        process_pss_kib: fullest.and_then(|sample| sample.process_pss_kib),
        manager_pss_kib: grown,
    }
}

/// Reads a report.
///
/// # Errors
/// A sentence: when it cannot be read, is none of ours, or is of a newer version.
pub(crate) fn read(path: &std::path::Path) -> Result<Report, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("{name}: {e}"))?;
    if value["format"] != FORMAT {
        return Err(format!("{name}: it is no report of sextant stress"));
    }
    if value["version"] != VERSION {
        return Err(format!("{name}: it is of version {}, and {VERSION} is known", value["version"]));
    }
    serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))
}
