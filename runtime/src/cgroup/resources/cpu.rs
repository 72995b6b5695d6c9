//! The cpu controller: shares, bandwidth, real time.

use super::{Builder, Target};
use crate::cgroup::layout::Version;
use oci_spec::runtime::LinuxCpu;

const SHARES: &str = "/linux/resources/cpu/shares";
const QUOTA: &str = "/linux/resources/cpu/quota";
const PERIOD: &str = "/linux/resources/cpu/period";
const BURST: &str = "/linux/resources/cpu/burst";
const IDLE: &str = "/linux/resources/cpu/idle";
const RT_PERIOD: &str = "/linux/resources/cpu/realtimePeriod";
const RT_RUNTIME: &str = "/linux/resources/cpu/realtimeRuntime";

/// The kernel's bound of a bandwidth: 44 bits of microseconds (kernel/sched/sched.h, `MAX_BW`).
const MAX_BANDWIDTH: u64 = (1 << 44) - 1;

/// The period of a fresh cgroup, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// The real-time period of a fresh cgroup, in microseconds.
const DEFAULT_RT_PERIOD: u64 = 1_000_000;

/// A bandwidth after checking, in microseconds; `quota` is `None` for no limit.
struct Bandwidth {
    quota: Option<u64>,
    period: u64,
}

pub(super) fn plan(cpu: &LinuxCpu, builder: &mut Builder<'_>) {
    let needed = [
        (cpu.shares().is_some_and(|s| s != 0), SHARES),
        (cpu.quota().is_some_and(|q| q != 0), QUOTA),
        (cpu.period().is_some_and(|p| p != 0), PERIOD),
        (cpu.burst().is_some(), BURST),
        (cpu.idle().is_some(), IDLE),
        (cpu.realtime_period().is_some_and(|p| p != 0), RT_PERIOD),
        (cpu.realtime_runtime().is_some_and(|r| r != 0), RT_RUNTIME),
    ];
    let Some(pointer) = needed.into_iter().find_map(|(is_set, pointer)| is_set.then_some(pointer)) else {
        return;
    };
    let Some(target) = builder.target("cpu", pointer) else { return };
    shares(cpu, target, builder);
    bandwidth(cpu, target, builder);
    realtime(cpu, target, builder);
    match cpu.idle() {
        None => {}
        Some(idle @ (0 | 1)) => builder.set(target, "cpu.idle", idle, "idle scheduling", IDLE),
        Some(other) => builder.refuse(IDLE, format!("{other} is neither 0 nor 1")),
    }
}

/// 0 sets nothing, as with runc. Outside of the range the kernel would clamp in silence.
fn shares(cpu: &LinuxCpu, target: Target, builder: &mut Builder<'_>) {
    let Some(shares) = cpu.shares().filter(|s| *s != 0) else { return };
    if builder.in_range(SHARES, shares, 2..=262_144) {
        match target.version {
            Version::V1 => builder.set(target, "cpu.shares", shares, "cpu shares", SHARES),
            Version::V2 => builder.set(target, "cpu.weight", weight(shares), "cpu weight", SHARES),
        }
    }
}

/// Shares (2 to 262144, default 1024) as a weight (1 to 10000, default 100):
/// runc's curve through these three points,
/// `10 ^ ((l² + 125 l) / 612 - 7 / 34)` with `l = log2(shares)`, rounded up.
fn weight(shares: u64) -> u32 {
    let log = f64::from(u32::try_from(shares).unwrap_or(u32::MAX)).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    let (mut low, mut high) = (1_u32, 10_000);
    while low < high {
        let middle = low.midpoint(high);
        // The tolerance keeps rounding errors from lifting an exact weight by one.
        if f64::from(middle).log10() >= exponent - 1e-9 {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn bandwidth(cpu: &LinuxCpu, target: Target, builder: &mut Builder<'_>) {
    let Some(checked) = check_bandwidth(cpu, builder) else { return };
    let period_is_set = cpu.period().is_some_and(|p| p != 0);
    let quota_is_set = cpu.quota().is_some_and(|q| q != 0);
    match target.version {
        Version::V1 => {
            if period_is_set {
                builder.set(target, "cpu.cfs_period_us", checked.period, "cpu period", PERIOD);
            }
            if quota_is_set {
                let quota = checked.quota.map_or("-1".into(), |q| q.to_string());
                builder.set(target, "cpu.cfs_quota_us", quota, "cpu quota", QUOTA);
            }
        }
        Version::V2 if period_is_set || quota_is_set => {
            let quota = checked.quota.map_or("max".into(), |q| q.to_string());
            let pointer = if quota_is_set { QUOTA } else { PERIOD };
            builder.set(target, "cpu.max", format!("{quota} {}", checked.period), "cpu quota", pointer);
        }
        Version::V2 => {}
    }
    if let Some(burst) = cpu.burst() {
        let file = match target.version {
            Version::V1 => "cpu.cfs_burst_us",
            Version::V2 => "cpu.max.burst",
        };
        builder.set(target, file, burst, "cpu burst", BURST);
    }
}

fn check_bandwidth(cpu: &LinuxCpu, builder: &mut Builder<'_>) -> Option<Bandwidth> {
    let period = cpu.period().filter(|p| *p != 0).unwrap_or(DEFAULT_PERIOD);
    let mut good = builder.in_range(PERIOD, period, 1_000..=1_000_000);
    let quota = match cpu.quota() {
        None | Some(0 | -1) => None,
        Some(quota) => {
            let number = u64::try_from(quota).ok();
            if number.is_none() {
                builder.refuse(QUOTA, format!("{quota} is neither a quota nor -1, which is none"));
            }
            good &= number.is_some_and(|q| builder.in_range(QUOTA, q, 1_000..=MAX_BANDWIDTH));
            number
        }
    };
    if let Some(burst) = cpu.burst() {
        // The kernel allows at most the quota, and their sum within the bound.
        let most = quota.map_or(MAX_BANDWIDTH, |q| q.min(MAX_BANDWIDTH.saturating_sub(q)));
        good &= builder.in_range(BURST, burst, 0..=most);
    }
    good.then_some(Bandwidth { quota, period })
}

fn realtime(cpu: &LinuxCpu, target: Target, builder: &mut Builder<'_>) {
    let period = cpu.realtime_period().filter(|p| *p != 0);
    let runtime = cpu.realtime_runtime().filter(|r| *r != 0);
    if target.version == Version::V2 {
        for (is_set, pointer) in [(period.is_some(), RT_PERIOD), (runtime.is_some(), RT_RUNTIME)] {
            if is_set {
                builder.refuse(pointer, "cgroup version 2 has no real-time limits");
            }
        }
        return;
    }
    if let Some(period) = period
        && builder.in_range(RT_PERIOD, period, 1..=4_294_967_295)
    {
        builder.set(target, "cpu.rt_period_us", period, "real-time period", RT_PERIOD);
    }
    match runtime {
        None => {}
        Some(-1) => builder.set(target, "cpu.rt_runtime_us", -1, "real-time runtime", RT_RUNTIME),
        Some(runtime) => match u64::try_from(runtime) {
            Ok(number) => {
                if builder.in_range(RT_RUNTIME, number, 0..=period.unwrap_or(DEFAULT_RT_PERIOD)) {
                    builder.set(target, "cpu.rt_runtime_us", number, "real-time runtime", RT_RUNTIME);
                }
            }
            Err(_) => {
                builder.refuse(RT_RUNTIME, format!("{runtime} is neither a time nor -1, which is no limit"))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn the_curve_goes_through_its_three_points_and_rises() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
        assert!((2..262_144).step_by(37).all(|s| weight(s) <= weight(s + 37)));
    }
}
