//! The memory controller. Version 1 limits memory and the sum of memory and
//! swap, version 2 memory and swap, each for itself.

use super::{Builder, Limit, Target};
use crate::cgroup::layout::Version;
use oci_spec::runtime::LinuxMemory;

/// The smallest page of the supported architectures: the kernel counts in
/// pages, so a limit below one becomes 0.
const PAGE: u64 = 4096;

const LIMIT: &str = "/linux/resources/memory/limit";
const RESERVATION: &str = "/linux/resources/memory/reservation";
const SWAP: &str = "/linux/resources/memory/swap";
const KERNEL_TCP: &str = "/linux/resources/memory/kernelTCP";
const SWAPPINESS: &str = "/linux/resources/memory/swappiness";
const OOM: &str = "/linux/resources/memory/disableOOMKiller";

/// The limits after checking.
struct Checked {
    limit: Option<Limit>,
    reservation: Option<Limit>,
    swap: Option<Limit>,
    kernel_tcp: Option<Limit>,
}

pub(super) fn plan(memory: &LinuxMemory, builder: &mut Builder<'_>) {
    if memory.kernel().is_some_and(|k| k != 0) {
        builder.warn("/linux/resources/memory/kernel", "ignored: kernels from 5.16 on cannot limit it apart");
    }
    if memory.use_hierarchy() == Some(false) {
        builder
            .warn("/linux/resources/memory/useHierarchy", "ignored: memory is always counted hierarchically");
    }
    let checked = Checked {
        limit: bytes(memory.limit(), LIMIT, builder),
        reservation: bytes(memory.reservation(), RESERVATION, builder),
        swap: bytes(memory.swap(), SWAP, builder),
        kernel_tcp: bytes(memory.kernel_tcp(), KERNEL_TCP, builder),
    };
    check_swap(&checked, builder);
    let Some(target) = first_pointer(memory).and_then(|p| builder.target("memory", p)) else { return };
    match target.version {
        Version::V1 => version_1(memory, &checked, target, builder),
        Version::V2 => version_2(memory, &checked, target, builder),
    }
}

/// The field that needs the controller, if any does.
fn first_pointer(memory: &LinuxMemory) -> Option<&'static str> {
    let set = |value: Option<i64>| value.is_some_and(|v| v != 0);
    [
        (set(memory.limit()), LIMIT),
        (set(memory.reservation()), RESERVATION),
        (set(memory.swap()), SWAP),
        (set(memory.kernel_tcp()), KERNEL_TCP),
        (memory.swappiness().is_some(), SWAPPINESS),
        (memory.disable_oom_killer() == Some(true), OOM),
    ]
    .into_iter()
    .find_map(|(is_set, pointer)| is_set.then_some(pointer))
}

/// 0 sets no limit, as with runc.
fn bytes(value: Option<i64>, pointer: &str, builder: &mut Builder<'_>) -> Option<Limit> {
    let value = value?;
    if value == 0 {
        builder.warn(pointer, "0 sets no limit; -1 says so explicitly");
        return None;
    }
    let limit = Limit::checked(value, pointer, builder)?;
    if let Limit::Of(number) = limit
        && number < PAGE
    {
        builder.refuse(
            pointer,
            format!("{number} bytes are less than a page: the kernel would take them for 0"),
        );
        return None;
    }
    Some(limit)
}

fn check_swap(checked: &Checked, builder: &mut Builder<'_>) {
    let Some(Limit::Of(swap)) = checked.swap else { return };
    match checked.limit {
        Some(Limit::Of(limit)) if swap < limit => builder.refuse_hint(
            SWAP,
            format!("{swap} is less than memory/limit, {limit}"),
            "swap is the sum of memory and swap",
        ),
        Some(Limit::Of(_)) => {}
        Some(Limit::Max) | None => builder.refuse_hint(
            SWAP,
            "needs memory/limit to be set as well",
            "swap is the sum of memory and swap",
        ),
    }
}

fn version_1(memory: &LinuxMemory, checked: &Checked, target: Target, builder: &mut Builder<'_>) {
    let v1 = Version::V1;
    for (value, file, what, pointer) in [
        (checked.limit, "memory.limit_in_bytes", "memory limit", LIMIT),
        (checked.swap, "memory.memsw.limit_in_bytes", "memory and swap limit", SWAP),
        (checked.reservation, "memory.soft_limit_in_bytes", "memory reservation", RESERVATION),
        (checked.kernel_tcp, "memory.kmem.tcp.limit_in_bytes", "TCP buffer limit", KERNEL_TCP),
    ] {
        if let Some(limit) = value {
            builder.set(target, file, limit.text(v1), what, pointer);
        }
    }
    if let Some(swappiness) = memory.swappiness()
        && builder.in_range(SWAPPINESS, swappiness, 0..=100)
    {
        builder.set(target, "memory.swappiness", swappiness, "swappiness", SWAPPINESS);
    }
    if memory.disable_oom_killer() == Some(true) {
        builder.set(target, "memory.oom_control", 1, "OOM killer switch", OOM);
    }
}

fn version_2(memory: &LinuxMemory, checked: &Checked, target: Target, builder: &mut Builder<'_>) {
    let v2 = Version::V2;
    if let Some(limit) = checked.limit {
        builder.set(target, "memory.max", limit.text(v2), "memory limit", LIMIT);
        if memory.check_before_update() == Some(true) {
            builder.amend(|setting| setting.usage = Some("memory.current"));
        }
    }
    if let Some(swap) = checked.swap {
        let own = match (swap, checked.limit) {
            (Limit::Of(sum), Some(Limit::Of(limit))) => Limit::Of(sum.saturating_sub(limit)),
            _ => Limit::Max,
        };
        builder.set(target, "memory.swap.max", own.text(v2), "swap limit", SWAP);
    }
    if let Some(reservation) = checked.reservation {
        builder.set(target, "memory.low", reservation.text(v2), "memory reservation", RESERVATION);
    }
    for (is_set, pointer) in [
        (checked.kernel_tcp.is_some_and(|l| l != Limit::Max), KERNEL_TCP),
        (memory.swappiness().is_some(), SWAPPINESS),
        (memory.disable_oom_killer() == Some(true), OOM),
    ] {
        if is_set {
            builder.refuse(pointer, "cgroup version 2 has no such setting");
        }
    }
}
