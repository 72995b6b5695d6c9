//! Scheduling, I/O priority, CPU affinity, execution domain and memory policy
//! of a process. No policy lives here: what is asked for was checked by the plan.

use super::{Result, named};
use crate::plan::{IoPriority, MemoryPolicy, NumberSet, Scheduler};
use nix::errno::Errno;

/// `struct sched_attr`, its first version (linux/sched/types.h, `SCHED_ATTR_SIZE_VER0`).
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// sched_setattr(2) of the process `pid`; 0 is the caller.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE` in the initial user namespace where the policy takes it,
/// `EBUSY` when the deadlines of all processes could not be kept.
pub fn set_scheduler(pid: i32, scheduler: &Scheduler) -> Result<()> {
    let attr = SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>()).unwrap_or(48),
        policy: scheduler.policy,
        flags: scheduler.flags,
        nice: scheduler.nice,
        priority: scheduler.priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    };
    // SAFETY: `attr` is a valid struct sched_attr that says its own size.
    let value = unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) };
    named(Errno::result(value).map(drop), || {
        let Scheduler { name, flags, nice, priority, runtime, deadline, period, .. } = scheduler;
        format!(
            "sched_setattr({pid}, {{{name}, flags={flags:#x}, nice={nice}, priority={priority}, \
             runtime={runtime}, deadline={deadline}, period={period}}})"
        )
    })
}

/// ioprio_set(2) of the process `pid`; 0 is the caller.
///
/// # Errors
/// `EPERM` for the real-time class without `CAP_SYS_NICE` or `CAP_SYS_ADMIN`.
pub fn set_io_priority(pid: i32, priority: &IoPriority) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    let packed = priority.class << 13 | priority.level;
    // SAFETY: takes integers only.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid, packed) };
    named(Errno::result(value).map(drop), || {
        format!("ioprio_set(IOPRIO_WHO_PROCESS, {pid}, {}, {})", priority.name, priority.level)
    })
}

/// sched_setaffinity(2) of the process `pid`; 0 is the caller.
///
/// # Errors
/// `EINVAL` when none of the CPUs is one that the process may use.
pub fn set_affinity(pid: i32, cpus: &NumberSet) -> Result<()> {
    let words = cpus.words();
    // SAFETY: the pointer and the length in bytes are those of `words`.
    let value =
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(words), words.as_ptr()) };
    named(Errno::result(value).map(drop), || format!("sched_setaffinity({pid}, [{cpus}])"))
}

/// sched_setaffinity(2) of the process `pid` to all CPUs: the kernel takes those that its
/// cpuset has, also when that changes later.
///
/// # Errors
/// `EPERM` for a process of another user without `CAP_SYS_NICE` in its user namespace.
pub fn free_affinity(pid: i32) -> Result<()> {
    /// As many as the largest kernel is built for.
    static ALL: [u64; 8192 / 64] = [u64::MAX; 8192 / 64];
    // SAFETY: the pointer and the length in bytes are those of `ALL`.
    let value = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(&ALL), ALL.as_ptr()) };
    named(Errno::result(value).map(drop), || format!("sched_setaffinity({pid}, [all])"))
}

/// personality(2) of the caller.
///
/// # Errors
/// `EINVAL` where the architecture has no such domain.
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: takes an integer only.
    let value = unsafe { libc::personality(libc::c_ulong::from(persona)) };
    named(Errno::result(value).map(drop), || format!("personality({persona:#x})"))
}

/// set_mempolicy(2) of the caller.
///
/// # Errors
/// `EINVAL` when no node of the list may be used, `ENOSYS` without `CONFIG_NUMA`.
pub fn set_memory_policy(policy: &MemoryPolicy) -> Result<()> {
    let words = policy.nodes.words();
    let pointer = if words.is_empty() { std::ptr::null() } else { words.as_ptr() };
    // get_mempolicy(2): the kernel reads one bit less than it is told.
    let bits = if words.is_empty() { 0 } else { words.len() * 64 + 1 };
    // SAFETY: the mask has as many bits as are said, or it is null and none are.
    let value = unsafe { libc::syscall(libc::SYS_set_mempolicy, policy.mode, pointer, bits) };
    named(Errno::result(value).map(drop), || {
        format!("set_mempolicy({:#x}, [{}], {bits})", policy.mode, policy.nodes)
    })
}
