//! The few system calls that neither std nor nix wraps: System V IPC objects,
//! which a test makes to see where else they are seen; and descriptors that come as
//! numbers; and the requests of a seccomp listener. The only unsafe code of this crate.

pub mod seccomp;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Makes one shared memory segment, one message queue and one semaphore set,
/// all private. They live until their IPC namespace does.
///
/// # Errors
/// Of shmget(2), msgget(2) or semget(2).
pub fn make_ipc_objects() -> io::Result<()> {
    // SAFETY: shmget takes three integers and touches no memory of ours.
    check(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) })?;
    // SAFETY: msgget takes two integers.
    check(unsafe { libc::msgget(libc::IPC_PRIVATE, libc::IPC_CREAT | 0o600) })?;
    // SAFETY: semget takes three integers.
    check(unsafe { libc::semget(libc::IPC_PRIVATE, 1, libc::IPC_CREAT | 0o600) })
}

/// Owns a descriptor that a message has brought.
pub fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: recvmsg(2) has just made it for this process; nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Lets the command be traced from its first instruction on (ptrace(2), `PTRACE_TRACEME`).
pub fn traced(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork(2) and execve(2) nothing but one system call is made.
    unsafe { command.pre_exec(|| Ok(nix::sys::ptrace::traceme()?)) }
}

/// What a process and the children that it waited for have used.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time of user and system.
    pub cpu: std::time::Duration,
    /// The most memory that one of them had, in KiB (getrusage(2), `ru_maxrss`).
    pub peak_kib: u64,
}

/// Waits for a child, and tells what it has used (wait4(2)).
///
/// # Errors
/// As the system call.
pub fn usage_of(child: std::process::Child) -> io::Result<(std::process::ExitStatus, Usage)> {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: a rusage is plain old data; all zeroes are a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are valid for what the kernel writes.
    check(unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) })?;
    let time = |t: libc::timeval| {
        let micros = i128::from(t.tv_sec) * 1_000_000 + i128::from(t.tv_usec);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    let peak_kib = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    Ok((
        std::process::ExitStatus::from_raw(status),
        Usage { cpu: time(usage.ru_utime) + time(usage.ru_stime), peak_kib },
    ))
}

fn check(id: i32) -> io::Result<()> {
    if id < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
