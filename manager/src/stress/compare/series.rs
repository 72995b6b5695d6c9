//! One figure of several runs, second by second, in a form that can be drawn anew quickly.

use crate::stress::figures::whole;
use crate::stress::report::{Operation, Report};
use crate::stress::sampler::Sample;
use std::collections::BTreeSet;

/// Which figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A quantile of an operation.
    Latency(String, f64),
    Rate(String),
    Units,
    TargetCpu,
    HostCpu,
    ShimPss,
    ManagerPss,
}

impl Kind {
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::Latency(..) => "time_ns",
            Self::Rate(_) | Self::Units => "rate",
            Self::TargetCpu | Self::HostCpu => "cpu_ms",
            Self::ShimPss | Self::ManagerPss => "kib",
        }
    }

    /// How much worse `new` is than `base`.
    pub(super) fn worse(&self, base: f64, new: f64) -> Option<f64> {
        let (above, below) = if self.unit() == "rate" { (base, new) } else { (new, base) };
        (below > 0.0 && above > 0.0).then(|| above / below)
    }
}

/// What one second adds to the figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Slice {
    /// Pairs of bucket, by its number, and count.
    Counts(Vec<(usize, u64)>),
    /// A part of a quotient of sums.
    Quotient(f64, f64),
}

/// The figure of one side.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Slices of each run.
    pub(super) runs: Vec<Vec<Slice>>,
    /// Latency of each bucket, by size.
    buckets: Vec<u64>,
    quantile: f64,
}

impl Series {
    pub(super) fn of(side: &[Report], kind: &Kind) -> Self {
        match kind {
            Kind::Latency(name, quantile) => Self::latencies(side, name, *quantile),
            other => {
                let runs = side.iter().map(|report| quotients(report, other)).collect();
                Self { runs, buckets: Vec::new(), quantile: 0.0 }
            }
        }
    }

    fn latencies(side: &[Report], name: &str, quantile: f64) -> Self {
        let operations: Vec<&Operation> =
            side.iter().filter_map(|report| report.operations.get(name)).collect();
        let seconds = || operations.iter().flat_map(|operation| &operation.seconds);
        let values: BTreeSet<u64> =
            seconds().flat_map(|second| second.histogram.iter().map(|pair| pair.0)).collect();
        let buckets: Vec<u64> = values.into_iter().collect();
        let number = |value: &u64| buckets.binary_search(value).unwrap_or(0);
        let slice = |pairs: &Vec<(u64, u64)>| {
            Slice::Counts(pairs.iter().map(|(value, count)| (number(value), *count)).collect())
        };
        let run = |operation: &&Operation| -> Vec<Slice> {
            let filled = operation.seconds.iter().filter(|second| second.count > 0);
            filled.map(|second| slice(&second.histogram)).collect()
        };
        let runs = operations.iter().map(run).collect();
        Self { runs, buckets, quantile }
    }

    /// Slices of the shortest run.
    pub(super) fn shortest(&self) -> usize {
        self.runs.iter().map(Vec::len).min().unwrap_or(0)
    }

    /// The figure of all slices.
    pub(super) fn whole(&self) -> Option<f64> {
        self.figure(&mut self.runs.iter().flatten(), &mut Vec::new())
    }

    /// The figure of these slices; `counts` is memory that is used again.
    pub(super) fn figure(
        &self,
        slices: &mut dyn Iterator<Item = &Slice>,
        counts: &mut Vec<u64>,
    ) -> Option<f64> {
        counts.clear();
        counts.resize(self.buckets.len(), 0);
        let (mut above, mut below, mut total) = (0.0, 0.0, 0);
        for slice in slices {
            match slice {
                Slice::Counts(pairs) => {
                    for (bucket, count) in pairs {
                        if let Some(sum) = counts.get_mut(*bucket) {
                            *sum += count;
                            total += count;
                        }
                    }
                }
                Slice::Quotient(one, other) => {
                    above += one;
                    below += other;
                }
            }
        }
        if self.buckets.is_empty() {
            return (below > 0.0).then(|| above / below);
        }
        let wanted = whole((total as f64 * self.quantile).ceil() - 0.5).max(1);
        let mut so_far = 0;
        self.buckets.iter().zip(counts.iter()).find_map(|(value, count)| {
            so_far += count;
            (so_far >= wanted).then_some(*value as f64)
        })
    }
}

/// The slices of a figure that is a quotient of sums.
fn quotients(report: &Report, kind: &Kind) -> Vec<Slice> {
    let between = |of: &dyn Fn(&Sample) -> u64| -> Vec<Slice> {
        let pairs = report.samples.windows(2).filter_map(|pair| match pair {
            [one, other] => Some((one, other)),
            _ => None,
        });
        pairs
            .map(|(one, other)| {
                let used = of(other).saturating_sub(of(one));
                Slice::Quotient(used as f64, other.units.saturating_sub(one.units) as f64)
            })
            .collect()
    };
    let mean = |of: &dyn Fn(&Sample) -> Option<u64>| -> Vec<Slice> {
        let values = report.samples.iter().filter_map(of).filter(|value| *value > 0);
        values.map(|value| Slice::Quotient(value as f64, 1.0)).collect()
    };
    match kind {
        Kind::Rate(name) => rates(report.operations.get(name)),
        Kind::Units => {
            let pairs = report.samples.windows(2).filter_map(|pair| match pair {
                [one, other] => Some((other.units - one.units.min(other.units), other.at - one.at)),
                _ => None,
            });
            busy(pairs.collect())
        }
        Kind::TargetCpu => between(&|sample| sample.target_cpu_ms),
        Kind::HostCpu => between(&|sample| sample.host_cpu_ms.saturating_sub(sample.own_cpu_ms)),
        Kind::ShimPss => mean(&|sample| sample.shim_pss_kib),
        Kind::ManagerPss => mean(&|sample| sample.manager_pss_kib),
        Kind::Latency(..) => Vec::new(),
    }
}

/// Operations of each second between the first and the last in which there were any: before and behind these the
/// load is prepared and finished.
fn rates(operation: Option<&Operation>) -> Vec<Slice> {
    let all = operation.map(|operation| operation.seconds.as_slice()).unwrap_or_default();
    busy(all.iter().map(|second| (second.count, 1.0)).collect())
}

/// Counts with the time that they took, without those at both ends that are empty or, as far as there are enough,
/// are cut off.
fn busy(counts: Vec<(u64, f64)>) -> Vec<Slice> {
    let first = counts.iter().position(|(count, _)| *count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|(count, _)| *count > 0).unwrap_or(0);
    let cut = usize::from(last.saturating_sub(first) > 6);
    let kept = counts.get(first + cut..(last + 1).saturating_sub(cut)).unwrap_or_default();
    kept.iter().map(|(count, seconds)| Slice::Quotient(*count as f64, *seconds)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_load_alone() {
        let counts = |all: &[u64]| busy(all.iter().map(|count| (*count, 1.0)).collect());
        let of =
            |all: &[u64]| all.iter().map(|count| Slice::Quotient(*count as f64, 1.0)).collect::<Vec<_>>();
        assert_eq!(counts(&[0, 0, 3, 0, 5, 0]), of(&[3, 0, 5]));
        assert_eq!(counts(&[0, 1, 9, 9, 9, 9, 9, 9, 2, 0]), of(&[9; 6]));
        assert!(counts(&[]).is_empty());
    }
}
