//! Exclusive ranges of host ids for user namespaces. Pure memory: which ranges
//! are taken is recovered from the records of containers and sandboxes. Never
//! hands out a range twice; those who share a user namespace claim its range
//! each, and it is free again when the last [`Lease`] of it was dropped, which is
//! after the files of its owner are gone.

use super::error::Error;
use crate::model::IdRange;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// All ranges that may be handed out: `BASE:COUNTxSIZE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// First id of the first range.
    pub base: u32,
    /// Number of ranges.
    pub count: u32,
    /// Ids in a range.
    pub size: u32,
}

impl Default for Pool {
    /// 4096 ranges of 65536 ids from 0x7000_0000 on: above what useradd(8) and
    /// systemd hand out, and it ends below 2^31.
    fn default() -> Self {
        Self { base: 0x7000_0000, count: 4095, size: 0x1_0000 }
    }
}

impl std::fmt::Display for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}x{}", self.base, self.count, self.size)
    }
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not of the form BASE:COUNTxSIZE");
        let (base, rest) = text.split_once(':').ok_or_else(form)?;
        let (count, size) = rest.split_once('x').ok_or_else(form)?;
        let number = |name: &str, digits: &str| {
            let parsed = match digits.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            parsed.map_err(|e| format!("{name} {digits:?}: {e}"))
        };
        let pool =
            Self { base: number("base", base)?, count: number("count", count)?, size: number("size", size)? };
        if pool.base == 0 || pool.count == 0 || pool.size == 0 {
            return Err("base, count and size must be above 0".into());
        }
        let end = u64::from(pool.base) + u64::from(pool.count) * u64::from(pool.size);
        // 2^32 - 1 is (uid_t) -1, "no change" to chown(2).
        if end > u64::from(u32::MAX) {
            return Err(format!("the ranges end at {end}, above the largest id {}", u32::MAX - 1));
        }
        Ok(pool)
    }
}

/// Hands out the ranges of a [`Pool`].
#[derive(Clone, Debug)]
pub struct Ranges {
    pool: Pool,
    taken: Taken,
}

/// Ranges that are taken, and by how many.
type Taken = Arc<Mutex<BTreeMap<u32, usize>>>;

impl Ranges {
    /// All of them free.
    pub fn new(pool: Pool) -> Self {
        Self { pool, taken: Arc::default() }
    }

    /// The lowest free range.
    ///
    /// # Errors
    /// [`Error::Exhausted`] when there is none.
    pub fn lease(&self) -> Result<Lease, Error> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // `taken` is ordered: the first place where it does not count along is free.
        let index = (0..self.pool.count).zip(taken.keys()).find(|(n, t)| n != *t).map(|(n, _)| n);
        let index = index.unwrap_or_else(|| u32::try_from(taken.len()).unwrap_or(u32::MAX));
        if index >= self.pool.count {
            return Err(Error::Exhausted {
                what: format!("id ranges: all {} are in use", self.pool.count),
                hint: "delete a container, or give sextantd a larger --id-range",
            });
        }
        taken.insert(index, 1);
        Ok(self.held(index))
    }

    /// Takes a range that is known: one that a record names, or that of others who share theirs.
    /// None when it is not one of this pool's (the pool was changed: nothing here can collide with
    /// it except ranges that overlap it, which are taken as well).
    pub fn claim(&self, range: IdRange) -> Vec<Lease> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let end = u64::from(range.host_id) + u64::from(range.size);
        let Pool { base, size, .. } = self.pool;
        let first = range.host_id.saturating_sub(base) / size;
        let mut leases = Vec::new();
        for index in first..self.pool.count {
            if u64::from(base) + u64::from(index) * u64::from(size) >= end {
                break;
            }
            *taken.entry(index).or_default() += 1;
            leases.push(self.held(index));
        }
        leases
    }

    /// First ids of those that are not free.
    pub fn taken(&self) -> Vec<u32> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.keys().map(|index| self.pool.base + index * self.pool.size).collect()
    }

    fn held(&self, index: u32) -> Lease {
        let host_id = self.pool.base + index * self.pool.size;
        Lease { range: IdRange { host_id, size: self.pool.size }, index, taken: Arc::clone(&self.taken) }
    }
}

/// One range; free again when this and all others of it are dropped.
#[derive(Debug)]
pub struct Lease {
    range: IdRange,
    index: u32,
    taken: Taken,
}

impl Lease {
    /// The ids.
    pub fn range(&self) -> IdRange {
        self.range
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.index) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Ranges {
        Ranges::new(text.parse().unwrap())
    }

    #[test]
    fn ranges_are_exclusive_and_come_back() {
        let ranges = ranges("1000:2x10");
        let first = ranges.lease().unwrap();
        let second = ranges.lease().unwrap();
        assert_eq!(first.range(), IdRange { host_id: 1000, size: 10 });
        assert_eq!(second.range(), IdRange { host_id: 1010, size: 10 });
        assert!(matches!(ranges.lease(), Err(Error::Exhausted { .. })));
        assert_eq!(ranges.taken(), [1000, 1010]);
        drop(first);
        assert_eq!(ranges.lease().unwrap().range().host_id, 1000);
    }

    #[test]
    fn a_claimed_range_is_not_handed_out() {
        let ranges = ranges("1000:3x10");
        let claimed = ranges.claim(IdRange { host_id: 1000, size: 10 });
        assert_eq!(claimed.len(), 1);
        assert_eq!(ranges.lease().unwrap().range().host_id, 1010);
    }

    #[test]
    fn a_shared_range_is_free_when_the_last_has_gone() {
        let ranges = ranges("1000:2x10");
        let first = ranges.lease().unwrap();
        let shared = ranges.claim(first.range());
        drop(first);
        assert_eq!(ranges.lease().unwrap().range().host_id, 1010);
        drop(shared);
        assert_eq!(ranges.lease().unwrap().range().host_id, 1000);
    }

    #[test]
    fn a_range_of_another_pool_blocks_what_it_overlaps() {
        let ranges = ranges("1000:4x10");
        let claimed = ranges.claim(IdRange { host_id: 1005, size: 10 });
        assert_eq!(claimed.len(), 2);
        assert_eq!(ranges.lease().unwrap().range().host_id, 1020);
        assert!(ranges.claim(IdRange { host_id: 5000, size: 10 }).is_empty());
        assert!(ranges.claim(IdRange { host_id: 10, size: 10 }).is_empty());
    }

    #[test]
    fn pools_parse_and_are_checked() {
        assert_eq!("0x10:2x0x10".parse(), Ok(Pool { base: 16, count: 2, size: 16 }));
        assert_eq!(Pool::default().to_string().parse(), Ok(Pool::default()));
        for bad in ["", "1", "1:2", "0:1x1", "1:0x1", "1:1x0", "a:1x1", "4294967295:1x1", "65536:65536x65536"]
        {
            assert!(bad.parse::<Pool>().is_err(), "{bad}");
        }
    }
}
