//! The shim's door to the kernel: the calls that nix does not wrap, or wraps
//! too narrowly (its `waitid` has no real-time signals). The only `unsafe` of
//! this crate is here.

mod memory;
mod orphan;
mod spawn;
mod terminal;

pub(crate) use memory::Memory;
pub(crate) use orphan::{Orphan, decode, orphan};
pub(crate) use spawn::spawn;
pub(crate) use terminal::{readable_bytes, resize, terminal_number};

use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How a process ended, as the kernel says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It called exit(2) with this argument.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It cannot be known; because of this.
    Unknown(&'static str),
}

/// Closes every descriptor from 3 on (close_range(2), Linux 5.9).
///
/// Called first of all, before anything here owns a descriptor.
///
/// # Errors
/// Of close_range(2).
pub(crate) fn close_inherited() -> io::Result<()> {
    // SAFETY: takes integers only; no descriptor above 2 is owned by anything in this process yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    check(result).map(drop)
}

/// Undoes an inherited `SIG_IGN` of SIGCHLD, under which the kernel would
/// discard every exit status (sigaction(2)).
///
/// # Errors
/// Of sigaction(2).
pub(crate) fn default_sigchld() -> io::Result<()> {
    // SAFETY: SIG_DFL installs no handler of ours.
    let result =
        unsafe { nix::sys::signal::signal(nix::sys::signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl) };
    result.map(drop).map_err(io::Error::from)
}

/// A descriptor that refers to the process `pid` (pidfd_open(2), Linux 5.3).
///
/// # Errors
/// Of pidfd_open(2): ESRCH when there is no such process.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: pidfd_open returned this descriptor, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends `signal` to the very process that `pidfd` refers to (pidfd_send_signal(2), Linux 5.1).
///
/// # Errors
/// Of pidfd_send_signal(2): ESRCH when it was reaped, EINVAL for an unknown signal.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means "as kill(2)".
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) }).map(drop)
}

/// The pid of a child that has exited and is not reaped yet; it stays so.
///
/// # Errors
/// Of waitid(2), apart from ECHILD, which is `None` as "none has exited".
pub(crate) fn exited_child() -> io::Result<Option<i32>> {
    let ended = waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)?;
    Ok(ended.map(|(pid, _)| pid))
}

/// Reaps the child that `pidfd` refers to, if it has exited (waitid(2) with `P_PIDFD`, Linux 5.4).
///
/// # Errors
/// Of waitid(2).
pub(crate) fn reap_pidfd(pidfd: BorrowedFd<'_>) -> io::Result<Option<How>> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    Ok(waitid(libc::P_PIDFD, id, libc::WEXITED | libc::WNOHANG)?.map(|(_, how)| how))
}

/// Reaps the child `pid`, if it has exited.
///
/// # Errors
/// Of waitid(2).
pub(crate) fn reap_pid(pid: i32) -> io::Result<Option<How>> {
    let id = libc::id_t::try_from(pid).map_err(io::Error::other)?;
    Ok(waitid(libc::P_PID, id, libc::WEXITED | libc::WNOHANG)?.map(|(_, how)| how))
}

/// Whether `pidfd` refers to a child of this process that is not reaped yet.
///
/// # Errors
/// Of waitid(2), apart from ECHILD.
pub(crate) fn is_child(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    match raw_waitid(libc::P_PIDFD, id, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Lets tokio poll `fd` for reading. Within a tokio runtime.
///
/// # Errors
/// Of epoll_ctl(2).
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    with_interest(fd, Interest::READABLE)
}

/// Lets tokio poll `fd` for something. Within a tokio runtime.
///
/// # Errors
/// Of epoll_ctl(2).
pub(crate) fn with_interest(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and stays the same until it is dropped, and the AsyncFd owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Lets tokio poll `fd` for writing. Within a tokio runtime.
///
/// # Errors
/// Of epoll_ctl(2).
pub(crate) fn writable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and stays the same until it is dropped, and the AsyncFd owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::WRITABLE) }?)
}

/// Lets tokio poll a signalfd. Within a tokio runtime.
///
/// # Errors
/// Of epoll_ctl(2).
pub(crate) fn readable_signals(fd: SignalFd) -> io::Result<AsyncFd<SignalFd>> {
    // SAFETY: a SignalFd holds one OwnedFd until it is dropped, and the AsyncFd owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// The descriptors that were sent into the socket `from` with one message
/// (unix(7), `SCM_RIGHTS`), each with the byte that stands for it in the message.
/// None when `from` is no socket or nothing was sent; never waits.
///
/// # Errors
/// Of recvmsg(2).
pub(crate) fn receive(from: BorrowedFd<'_>) -> io::Result<Vec<(u8, OwnedFd)>> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut names = [0; 8];
    let mut space = nix::cmsg_space!([i32; 8]);
    let mut bytes = [io::IoSliceMut::new(&mut names)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = match recvmsg::<()>(from.as_raw_fd(), &mut bytes, Some(&mut space), flags) {
        Err(Errno::ENOTSOCK | Errno::EAGAIN) => return Ok(Vec::new()),
        other => other?,
    };
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                // SAFETY: the kernel has just made this descriptor for this process.
                fds.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok(names.into_iter().zip(fds).collect())
}

/// waitid(2), with "no such child" and "none has exited" as `None`.
fn waitid(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> io::Result<Option<(i32, How)>> {
    match raw_waitid(kind, id, flags) {
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other,
    }
}

fn raw_waitid(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> io::Result<Option<(i32, How)>> {
    // SAFETY: siginfo_t is plain data, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a writable siginfo_t for the length of the call.
    check(i64::from(unsafe { libc::waitid(kind, id, &mut info, flags) }))?;
    // SAFETY: waitid(2) fills this field; it stays 0 when no child has exited.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let how = if info.si_code == libc::CLD_EXITED { How::Code(status) } else { How::Signal(status) };
    Ok((pid != 0).then_some((pid, how)))
}

/// The result of a system call, or its errno.
fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::from(Errno::last())) } else { Ok(result) }
}
