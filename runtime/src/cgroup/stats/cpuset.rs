//! CPUs and memory nodes; on version 2 those in effect, the flags of version 1 being gone.

use super::super::handle::Cgroup;
use super::Files;
use crate::contract::report::Failure;
use crate::contract::stats::CpuSet;

pub(super) fn read(cgroup: &Cgroup) -> Result<CpuSet, Failure> {
    let Some(files) = Files::of(cgroup, "cpuset") else { return Ok(CpuSet::default()) };
    let numbers = |file| Ok(files.text(file)?.as_deref().map(list).unwrap_or_default());
    if files.is_v2() {
        let (cpus, mems) = (numbers("cpuset.cpus.effective")?, numbers("cpuset.mems.effective")?);
        return Ok(CpuSet { cpus, mems, ..CpuSet::default() });
    }
    let level = files.text("cpuset.sched_relax_domain_level")?;
    Ok(CpuSet {
        cpus: numbers("cpuset.cpus")?,
        cpu_exclusive: files.count("cpuset.cpu_exclusive")?,
        mems: numbers("cpuset.mems")?,
        mem_hardwall: files.count("cpuset.mem_hardwall")?,
        mem_exclusive: files.count("cpuset.mem_exclusive")?,
        memory_migrate: files.count("cpuset.memory_migrate")?,
        memory_spread_page: files.count("cpuset.memory_spread_page")?,
        memory_spread_slab: files.count("cpuset.memory_spread_slab")?,
        memory_pressure: files.count("cpuset.memory_pressure")?,
        sched_load_balance: files.count("cpuset.sched_load_balance")?,
        sched_relax_domain_level: level.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
    })
}

/// `0-2,7` as numbers.
fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists() {
        assert_eq!(super::list("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(super::list("\n"), [] as [u16; 0]);
    }
}
