//! The few system calls that neither std nor nix wraps: System V IPC objects,
//! which a test makes to see where else they are seen; and descriptors that come as
//! numbers. The only unsafe code of this crate.

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

fn check(id: i32) -> io::Result<()> {
    if id < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
