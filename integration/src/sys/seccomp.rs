//! The two requests of a seccomp listener (seccomp_unotify(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct seccomp_notif` with its `struct seccomp_data`.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    nr: i32,
    arch: u32,
    instruction: u64,
    args: [u64; 6],
}

/// `struct seccomp_notif_resp`
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const CONTINUE: u32 = 1;

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    id: u64,
    /// Its number.
    pub number: i32,
}

/// Waits for a call.
///
/// # Errors
/// `ENOENT` when the caller has died meanwhile.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Call> {
    let mut notification = Notification::default();
    // SAFETY: the kernel writes one such structure; it is zeroed, as it demands.
    super::check(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut notification) })?;
    Ok(Call { id: notification.id, number: notification.nr })
}

/// Lets a call fail with this errno, or happen.
///
/// # Errors
/// `ENOENT` when the caller has died meanwhile.
pub fn answer(listener: BorrowedFd<'_>, call: Call, errno: Option<i32>) -> io::Result<()> {
    let error = errno.map_or(0, |errno| -errno);
    let flags = if errno.is_none() { CONTINUE } else { 0 };
    let mut response = Response { id: call.id, value: 0, error, flags };
    // SAFETY: the kernel reads one such structure.
    super::check(unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) })
}
