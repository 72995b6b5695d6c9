//! A limit to how fast the log grows: a bucket that holds the bytes of one
//! second, and is filled at the rate. What it does not hold is dropped.

use std::time::Instant;

/// The bucket.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Bytes a second; also what the bucket holds.
    rate: u64,
    /// Bytes that may be written now.
    left: u64,
    /// Up to when it was filled.
    filled: Instant,
}

impl Limit {
    /// A full bucket.
    pub(crate) fn new(rate: u64, now: Instant) -> Self {
        Self { rate, left: rate, filled: now }
    }

    /// Whether an entry with so many bytes of output may be written; if so, they are taken. One
    /// that is larger than the bucket takes a full one.
    pub(crate) fn admits(&mut self, bytes: u64, now: Instant) -> bool {
        self.fill(now);
        let cost = bytes.min(self.rate);
        let admitted = cost <= self.left;
        if admitted {
            self.left -= cost;
        }
        admitted
    }

    fn fill(&mut self, now: Instant) {
        let nanos = now.saturating_duration_since(self.filled).as_nanos();
        let bytes = u128::from(self.rate).saturating_mul(nanos) / 1_000_000_000;
        // What is less than a byte stays to be filled in later.
        if bytes > 0 {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.left = self.left.saturating_add(bytes).min(self.rate);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_of_one_second_and_then_the_rate() {
        let start = Instant::now();
        let mut limit = Limit::new(1000, start);
        let at = |millis| start + Duration::from_millis(millis);
        assert!(limit.admits(600, at(0)) && limit.admits(400, at(0)));
        assert!(!limit.admits(1, at(0)), "it is empty");
        assert!(!limit.admits(101, at(100)) && limit.admits(100, at(100)));
        // However long nobody wrote, it holds one second.
        assert!(limit.admits(1000, at(60_000)) && !limit.admits(1, at(60_000)));
        // A clock that goes back fills nothing.
        assert!(!limit.admits(1, at(0)));
    }

    #[test]
    fn many_looks_lose_no_byte() {
        let start = Instant::now();
        let mut limit = Limit::new(1000, start);
        assert!(limit.admits(1000, start));
        // 100 microseconds are a tenth of a byte.
        let admitted = (1..=10_000_u64).filter(|n| limit.admits(1, start + Duration::from_micros(100 * n)));
        assert_eq!(admitted.count(), 1000);
    }

    #[test]
    fn what_never_fits_takes_a_full_bucket() {
        let start = Instant::now();
        let mut limit = Limit::new(1000, start);
        assert!(limit.admits(16 << 10, start));
        assert!(!limit.admits(16 << 10, start + Duration::from_millis(999)));
        assert!(limit.admits(16 << 10, start + Duration::from_millis(1000)));
    }
}
