//! Histograms of latencies: whole runs by HdrHistogram, single seconds as short lists of buckets.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Significant decimal digits of a histogram of a whole run.
const DIGITS: u8 = 3;
/// Significant bits of a bucket of a second: 1.6 % wide at most.
const BITS: u32 = 6;

/// A histogram of nanoseconds.
///
/// # Panics
/// Never: three digits are within what the crate takes.
pub(crate) fn histogram() -> Histogram<u64> {
    let made = Histogram::new(DIGITS);
    made.unwrap_or_else(|_| unreachable!("three digits are allowed"))
}

/// Adds a value, for which the histogram grows.
pub(crate) fn note(histogram: &mut Histogram<u64>, value: u64) {
    if histogram.record(value).is_err() {
        histogram.saturating_record(value);
    }
}

/// Nanoseconds of a time; five centuries at most.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The nearest whole number of a fraction that is not negative.
pub(crate) fn whole(fraction: f64) -> u64 {
    Duration::try_from_secs_f64(fraction.max(0.0) + 0.5).map_or(u64::MAX, |time| time.as_secs())
}

/// What has happened often, by its size: a histogram that is small where it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buckets(BTreeMap<u64, u64>);

impl Buckets {
    /// The lower end of the bucket that `value` is in.
    fn bucket(value: u64) -> u64 {
        let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS);
        (value >> shift) << shift
    }

    pub(crate) fn add(&mut self, value: u64) {
        *self.0.entry(Self::bucket(value)).or_default() += 1;
    }

    /// Pairs of lower end and count, by size.
    pub(crate) fn pairs(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|(value, count)| (*value, *count)).collect()
    }
}

/// Pairs of value and count of all that is recorded.
pub(crate) fn pairs(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|at| (at.value_iterated_to(), at.count_since_last_iteration())).collect()
}

/// The value that a `fraction` of all in `pairs` (by size) does not exceed; 0 where there is none.
pub(crate) fn quantile(pairs: &[(u64, u64)], fraction: f64) -> u64 {
    let total: u64 = pairs.iter().map(|(_, count)| count).sum();
    let wanted = whole((total as f64 * fraction).ceil() - 0.5).clamp(1, total.max(1));
    let mut so_far = 0;
    for (value, count) in pairs {
        so_far += count;
        if so_far >= wanted {
            return *value;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_quantiles_are_those_of_the_values() {
        let (mut buckets, mut exact) = (Buckets::default(), histogram());
        for value in (1..=100_000u64).map(|n| n * 997) {
            buckets.add(value);
            exact.record(value).unwrap();
        }
        for fraction in [0.5, 0.9, 0.99, 0.999] {
            let (rough, true_value) =
                (quantile(&buckets.pairs(), fraction), exact.value_at_quantile(fraction));
            let off = (true_value as f64 - rough as f64) / true_value as f64;
            assert!((-0.002..0.033).contains(&off), "{fraction}: {rough} {true_value}");
            assert_eq!(quantile(&pairs(&exact), fraction), true_value);
        }
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!((whole(-1.0), whole(0.4), whole(2.5)), (0, 0, 3));
    }
}
