//! CPU time: cpuacct and cpu of version 1 (nanoseconds, but for the clock ticks
//! of `cpuacct.stat`), cpu of version 2 (microseconds).

use super::super::handle::Cgroup;
use super::{Detail, Files, psi};
use crate::contract::report::Failure;
use crate::contract::stats::{Cpu, CpuUsage, Throttling};

/// Nanoseconds of a clock tick as user space sees it (`USER_HZ`, which is 100 on every architecture of Linux's but alpha and ia64).
const TICK: u64 = 10_000_000;

pub(super) fn read(cgroup: &Cgroup, detail: Detail) -> Result<Cpu, Failure> {
    let Some(files) = Files::of(cgroup, "cpu") else { return Ok(Cpu::default()) };
    let stat = files.table("cpu.stat")?;
    let get = |name: &str| stat.get(name).copied().unwrap_or(0);
    let throttled = |time| Throttling {
        periods: get("nr_periods"),
        throttled_periods: get("nr_throttled"),
        throttled_time: time,
    };
    if !files.is_v2() {
        return Ok(Cpu {
            usage: usage_v1(cgroup, detail)?,
            throttling: throttled(get("throttled_time")),
            psi: None,
        });
    }
    let nanoseconds = |name| get(name).saturating_mul(1000);
    let usage = CpuUsage {
        total: nanoseconds("usage_usec"),
        kernel: nanoseconds("system_usec"),
        user: nanoseconds("user_usec"),
        ..CpuUsage::default()
    };
    Ok(Cpu {
        usage,
        throttling: throttled(nanoseconds("throttled_usec")),
        psi: psi::read(files, "cpu.pressure")?,
    })
}

fn usage_v1(cgroup: &Cgroup, detail: Detail) -> Result<CpuUsage, Failure> {
    let Some(files) = Files::of(cgroup, "cpuacct").filter(|f| !f.is_v2()) else {
        return Ok(CpuUsage::default());
    };
    let ticks = files.table("cpuacct.stat")?;
    let time = |name: &str| ticks.get(name).copied().unwrap_or(0).saturating_mul(TICK);
    let each = |file| detail.all(|| Ok(files.text(file)?.unwrap_or_default()));
    let (percpu_user, percpu_kernel) = by_cpu(&each("cpuacct.usage_all")?);
    let percpu = each("cpuacct.usage_percpu")?;
    Ok(CpuUsage {
        total: files.count("cpuacct.usage")?,
        percpu: percpu.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
        percpu_kernel,
        percpu_user,
        kernel: time("system"),
        user: time("user"),
    })
}

/// User and kernel time of each CPU: lines `cpu user system` under a heading.
fn by_cpu(text: &str) -> (Vec<u64>, Vec<u64>) {
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(1).map(str::parse::<u64>);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    text.lines().skip(1).filter_map(line).unzip()
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_by_cpu() {
        let text = "cpu user system\n0 9277012 14757389\n1 0 3963282\n";
        assert_eq!(super::by_cpu(text), (vec![9_277_012, 0], vec![14_757_389, 3_963_282]));
    }
}
