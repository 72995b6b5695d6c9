//! Where a mount may be: not over what the runtime and the kernel's security
//! modules read and write in /proc and /sys. The other half of this rule, that
//! the root's own /proc and /sys are no symbolic links, is checked when mounting.

use super::MountKind;
use super::problems::Problems;
use std::path::Path;

/// Files below /proc that may be covered by a bind mount: they only inform.
/// The same list as runc's; anything else there could fake what the runtime or
/// the kernel's security modules read and write.
const PROC_FILES: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Trees of /sys at or below which something may be mounted.
const SYS_TREES: [&str; 10] = [
    "/sys/fs",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    "/sys/firmware",
    "/sys/devices",
    "/sys/class",
    "/sys/bus",
    "/sys/module",
];

/// Refuses what would fake /proc or /sys.
pub(super) fn check(destination: &Path, kind: &MountKind, pointer: &str, problems: &mut Problems) {
    let pointer = format!("{pointer}/destination");
    let shown = destination.display();
    if matches!(kind, MountKind::Remount { .. }) {
        // Nothing is covered by it.
        return;
    }
    let is_whole = |fs: &str, source: &str| match kind {
        MountKind::Fs { fstype, .. } => fstype == fs,
        MountKind::Bind { source: from, .. } => from == Path::new(source),
        MountKind::Cgroup | MountKind::Remount { .. } => false,
    };
    if destination == Path::new("/proc") {
        if !is_whole("proc", "/proc") {
            problems.refuse(pointer, "only a proc file system can be mounted at /proc");
        }
    } else if destination.starts_with("/proc") {
        let is_bind = matches!(kind, MountKind::Bind { .. });
        if !(is_bind && PROC_FILES.iter().any(|file| destination == Path::new(file))) {
            problems.refuse_hint(
                pointer,
                format!("{shown} lies in /proc, where mounts are not allowed"),
                format!("bind mounts are at {}", PROC_FILES.join(", ")),
            );
        }
    } else if destination == Path::new("/sys") {
        if !is_whole("sysfs", "/sys") {
            problems.refuse(pointer, "only a sysfs can be mounted at /sys");
        }
    } else if destination.starts_with("/sys") && !SYS_TREES.iter().any(|tree| destination.starts_with(tree)) {
        problems.refuse_hint(
            pointer,
            format!("{shown} lies in /sys, where mounts are not allowed"),
            format!("they are at or below {}", SYS_TREES.join(", ")),
        );
    }
}
