//! Memory. Version 2 counts swap apart; what is reported is memory and swap
//! together on both, as runc has it.

use super::super::handle::Cgroup;
use super::{Detail, Files, psi};
use crate::contract::report::Failure;
use crate::contract::stats::{Memory, MemoryEntry};

pub(super) fn read(cgroup: &Cgroup, detail: Detail) -> Result<Memory, Failure> {
    match Files::of(cgroup, "memory") {
        None => Ok(Memory::default()),
        Some(files) if files.is_v2() => version_2(files),
        Some(files) => version_1(files, detail),
    }
}

fn version_1(files: Files<'_>, detail: Detail) -> Result<Memory, Failure> {
    let entry = |name: &str| {
        let count = |what: &str| files.count(&format!("{name}.{what}"));
        Ok(MemoryEntry {
            limit: count("limit_in_bytes")?,
            usage: count("usage_in_bytes")?,
            max: count("max_usage_in_bytes")?,
            failcnt: detail.all(|| count("failcnt"))?,
        })
    };
    let raw = files.table("memory.stat")?;
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry("memory")?,
        swap: detail.all(|| entry("memory.memsw"))?,
        kernel: detail.all(|| entry("memory.kmem"))?,
        kernel_tcp: detail.all(|| entry("memory.kmem.tcp"))?,
        raw,
        ..Memory::default()
    })
}

fn version_2(files: Files<'_>) -> Result<Memory, Failure> {
    let raw = files.table("memory.stat")?;
    let mut event_count = files.table("memory.events")?;
    let usage = MemoryEntry {
        limit: files.count("memory.max")?,
        usage: files.count("memory.current")?,
        max: files.count("memory.peak")?,
        failcnt: event_count.get("max").copied().unwrap_or(0),
    };
    let swap = match files.number("memory.swap.current")? {
        // The kernel does not account swap.
        None => MemoryEntry::default(),
        Some(current) => with_swap(usage, current, files.count("memory.swap.max")?),
    };
    event_count.retain(|_, count| *count != 0);
    Ok(Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        usage,
        swap,
        raw,
        psi: psi::read(files, "memory.pressure")?,
        event_count,
        ..Memory::default()
    })
}

/// Memory and swap together; the greatest number is no limit.
fn with_swap(memory: MemoryEntry, current: u64, limit: u64) -> MemoryEntry {
    MemoryEntry {
        limit: limit.saturating_add(memory.limit),
        usage: memory.usage.saturating_add(current),
        ..MemoryEntry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{MemoryEntry, with_swap};

    #[test]
    fn no_limit_stays_none() {
        let memory = MemoryEntry { limit: 100, usage: 10, ..MemoryEntry::default() };
        assert_eq!(with_swap(memory, 5, 50), MemoryEntry { limit: 150, usage: 15, ..MemoryEntry::default() });
        assert_eq!(with_swap(memory, 0, u64::MAX).limit, u64::MAX);
    }
}
