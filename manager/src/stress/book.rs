//! What was measured so far: latencies of each operation over the whole run and second by second, stages
//! of start-ups, and faults by their cause.

use super::figures::{Buckets, histogram, nanos, note};
use super::target::Fault;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One kind of operation.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// From the intended start to the end, in nanoseconds; those that succeeded.
    pub(crate) latency: Histogram<u64>,
    /// From the true start to the end.
    pub(crate) service: Histogram<u64>,
    pub(crate) errors: u64,
    /// By the second in which it ended, since the beginning.
    pub(crate) seconds: Vec<Second>,
}

impl Default for Op {
    fn default() -> Self {
        Self { latency: histogram(), service: histogram(), errors: 0, seconds: Vec::new() }
    }
}

/// What ended within one second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    pub(crate) errors: u64,
    /// Latencies of those that succeeded.
    pub(crate) latency: Buckets,
    pub(crate) count: u64,
}

/// A kind of fault: how often, and the first of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) count: u64,
    pub(crate) example: String,
}

/// All of it, as it is at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    pub(crate) ops: BTreeMap<&'static str, Op>,
    /// Stages of start-ups, such as `create/mount`.
    pub(crate) stages: BTreeMap<String, Histogram<u64>>,
    /// By operation and cause.
    pub(crate) faults: BTreeMap<(&'static str, String), Faults>,
    /// How long after their intended start units have begun.
    pub(crate) late: Option<Histogram<u64>>,
}

/// Where everybody writes down what they have measured.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) begun: Instant,
    entries: Mutex<Entries>,
}

impl Book {
    /// An empty one; seconds are counted from now.
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), entries: Mutex::default() }
    }

    fn write(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what is there.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Entries) -> T) -> T {
        look(&self.write())
    }

    /// An operation that was to begin at `intended`, did at `begun`, and has ended now.
    pub(crate) fn done(&self, name: &'static str, intended: Instant, begun: Instant, fault: Option<&Fault>) {
        let now = Instant::now();
        let second = usize::try_from((now - self.begun).as_secs()).unwrap_or(usize::MAX);
        let mut entries = self.write();
        let op = entries.ops.entry(name).or_default();
        if op.seconds.len() <= second {
            op.seconds.resize_with(second + 1, Second::default);
        }
        let at = op.seconds.get_mut(second);
        let Some(fault) = fault else {
            let latency = nanos(now - intended);
            note(&mut op.latency, latency);
            note(&mut op.service, nanos(now - begun));
            if let Some(at) = at {
                at.count += 1;
                at.latency.add(latency);
            }
            return;
        };
        op.errors += 1;
        if let Some(at) = at {
            at.errors += 1;
        }
        let faults = entries.faults.entry((name, fault.cause.clone())).or_default();
        faults.count += 1;
        if faults.example.is_empty() {
            faults.example.clone_from(&fault.message);
        }
    }

    /// A stage of a start-up took so long.
    pub(crate) fn stage(&self, name: &str, took: Duration) {
        let mut entries = self.write();
        let stage = entries.stages.entry(name.to_owned()).or_insert_with(histogram);
        note(stage, nanos(took));
    }

    /// A unit has begun so long after it was to.
    pub(crate) fn late(&self, by: Duration) {
        note(self.write().late.get_or_insert_with(histogram), nanos(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn latency_counts_from_the_intended_start() {
        let book = Book::new();
        let intended = Instant::now();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        book.done("create", intended, begun, None);
        book.done("create", intended, begun, Some(&Fault::new("LIMIT_REACHED", "too many")));
        book.read(|entries| {
            let op = &entries.ops["create"];
            let near = |value: u64, wanted: u64| value.abs_diff(wanted) < wanted / 500;
            assert!(near(op.latency.max(), 1_600_000_000) && near(op.service.max(), 100_000_000));
            assert_eq!((op.errors, op.seconds.len(), op.seconds[1].count), (1, 2, 1));
            let faults = &entries.faults[&("create", "LIMIT_REACHED".to_owned())];
            assert_eq!((faults.count, faults.example.as_str()), (1, "too many"));
        });
    }
}
