//! Processes: clone3, pidfds, namespaces, waiting.

use super::{Result, checked, checked_fd, named};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Which side of a [`clone3`] one is on.
#[derive(Debug)]
pub enum Cloned {
    /// The caller; the child's pid.
    Parent(i32),
    /// The child, on a copy of the caller's memory.
    Child,
}

/// Who becomes the child's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parentage {
    /// The caller.
    Child,
    /// The caller's parent (`CLONE_PARENT`).
    Sibling,
}

/// clone3(2) without a stack of its own: the child goes on where the caller is.
///
/// # Errors
/// As the system call; `ENOSPC` when a limit of `/proc/sys/user/max_*_namespaces` is reached.
pub fn clone3(
    namespaces: CloneFlags,
    parentage: Parentage,
    into_cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned> {
    let mut flags = u64::try_from(namespaces.bits()).unwrap_or(0);
    let mut exit_signal = u64::try_from(libc::SIGCHLD).unwrap_or(0);
    if parentage == Parentage::Sibling {
        // The exit signal is then the caller's own, and must not be given.
        flags |= u64::try_from(libc::CLONE_PARENT).unwrap_or(0);
        exit_signal = 0;
    }
    let mut cgroup = 0;
    if let Some(fd) = into_cgroup {
        flags |= 0x2_0000_0000; // CLONE_INTO_CGROUP, Linux 5.7
        cgroup = u64::try_from(fd.as_raw_fd()).unwrap_or(0);
    }
    let args: [u64; 11] = [flags, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, cgroup];
    // SAFETY: `args` is a valid struct clone_args of the size given (CLONE_ARGS_SIZE_VER2). Without
    // CLONE_VM the child runs on a copy of this single-threaded process, so no lock is held elsewhere.
    let value = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    super::heap::part();
    let pid = checked(value, || format!("clone3({{flags={namespaces:?}}})"))?;
    Ok(if pid == 0 { Cloned::Child } else { Cloned::Parent(i32::try_from(pid).unwrap_or(-1)) })
}

/// pidfd_open(2), Linux 5.3.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: takes integers only.
    let value = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    checked_fd(value, || format!("pidfd_open({pid})"))
}

/// pidfd_send_signal(2), Linux 5.1.
///
/// # Errors
/// `ESRCH` when it has exited, `EINVAL` for a signal that does not exist.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo is allowed and means kill(2)'s.
    let value = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<()>(), 0)
    };
    checked(value, || format!("pidfd_send_signal({signal})")).map(drop)
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status of exit(2).
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(f, "was killed by {name}"),
                Err(_) => write!(f, "was killed by signal {signal}"),
            },
        }
    }
}

/// Waits for a child and reaps it.
///
/// # Errors
/// `ECHILD` when it is no child of the caller.
pub fn wait(pid: i32) -> Result<Ended> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the status.
        let value = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        match named(Errno::result(value), || format!("waitpid({pid})")) {
            Err(e) if e.errno == Errno::EINTR => {}
            Err(e) => return Err(e),
            Ok(_) if libc::WIFSIGNALED(status) => return Ok(Ended::Signal(libc::WTERMSIG(status))),
            Ok(_) => return Ok(Ended::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))),
        }
    }
}

/// Reaps any child that has exited, without waiting. `None`: there is none now.
pub fn reap_any() -> Option<(i32, Ended)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the status.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    if pid <= 0 {
        return None;
    }
    let ended = if libc::WIFSIGNALED(status) {
        Ended::Signal(libc::WTERMSIG(status))
    } else {
        Ended::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
    };
    Some((pid, ended))
}

/// Ends the process at once, without destructors: what a clone's child does
/// that must not run its parent's.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: never returns; touches no memory.
    unsafe { libc::_exit(status) }
}

/// setns(2) with a namespace's descriptor.
///
/// # Errors
/// `EINVAL` for another kind of namespace, `EPERM` without rights over it.
pub fn setns(fd: BorrowedFd<'_>, kind: CloneFlags) -> Result<()> {
    named(nix::sched::setns(fd, kind), || format!("setns([{}], {kind:?})", fd.as_raw_fd()))
}

/// unshare(2).
///
/// # Errors
/// As the system call.
pub fn unshare(flags: CloneFlags) -> Result<()> {
    named(nix::sched::unshare(flags), || format!("unshare({flags:?})"))
}

/// The `CLONE_NEW*` flag of the namespace that a descriptor is of
/// (ioctl_ns(2), `NS_GET_NSTYPE`, Linux 4.11).
///
/// # Errors
/// `ENOTTY` when it is no namespace.
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<CloneFlags> {
    // SAFETY: NS_GET_NSTYPE takes no argument.
    let value = unsafe { libc::ioctl(fd.as_raw_fd(), 0xb703) };
    named(Errno::result(value), || format!("ioctl([{}], NS_GET_NSTYPE)", fd.as_raw_fd()))
        .map(CloneFlags::from_bits_retain)
}

/// Sets the host name of the UTS namespace (sethostname(2)).
///
/// # Errors
/// `EINVAL` above 64 bytes.
pub fn sethostname(name: &str) -> Result<()> {
    named(nix::unistd::sethostname(name), || format!("sethostname({name:?})"))
}

/// Sets the NIS domain name of the UTS namespace (setdomainname(2)).
///
/// # Errors
/// `EINVAL` above 64 bytes.
pub fn setdomainname(name: &str) -> Result<()> {
    // SAFETY: the pointer and the length are those of `name`.
    let value = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    named(Errno::result(value).map(drop), || format!("setdomainname({name:?})"))
}

/// prlimit(2) of a process; `u64::MAX` is infinity.
///
/// # Errors
/// `EPERM` when the hard limit would rise without `CAP_SYS_RESOURCE`.
pub fn set_limit(pid: i32, limit: &crate::plan::Rlimit) -> Result<()> {
    let new = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: `new` is valid, the old limit is not asked for; the kernel checks the number of the resource.
    let value = unsafe { libc::prlimit(pid, limit.resource, &raw const new, std::ptr::null_mut()) };
    named(Errno::result(value).map(drop), || {
        format!("prlimit({pid}, {}, {{soft={}, hard={}}})", limit.name, limit.soft, limit.hard)
    })
}

/// Whether the caller could take this limit on by itself: its hard limit is no
/// lower (getrlimit(2)).
pub fn may_lower(limit: &crate::plan::Rlimit) -> bool {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is valid; no limit is set; the kernel checks the number of the resource.
    let value = unsafe { libc::prlimit(0, limit.resource, std::ptr::null(), &raw mut now) };
    value == 0 && limit.hard <= now.rlim_max
}

/// Lets a write to a pipe without a reader be an error and nothing else, until
/// execve(2): a signal that is caught is its default again there, one that is
/// ignored would be ignored by the program as well.
///
/// # Errors
/// As sigaction(2).
pub fn catch_broken_pipes() -> Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing, which it may do at any time.
    let result = unsafe { signal(Signal::SIGPIPE, SigHandler::Handler(nothing)) };
    named(result.map(drop), || "signal(SIGPIPE)".into())
}
