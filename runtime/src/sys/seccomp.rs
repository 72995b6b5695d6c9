//! seccomp(2): installing a filter for the calling thread.

use super::{Error, Result};
use crate::seccomp::{Filter, Instruction};
use nix::errno::Errno;
use std::os::fd::{FromRawFd, OwnedFd};

/// `struct sock_fprog` of linux/filter.h, over our own instruction type.
#[repr(C)]
struct Program {
    len: libc::c_ushort,
    filter: *const Instruction,
}

/// Installs `filter` for the calling thread; it cannot be undone. The caller
/// has no_new_privs set or `CAP_SYS_ADMIN` in its user namespace.
///
/// Gives the notification descriptor (close-on-exec) when the filter has a
/// listener.
///
/// # Errors
/// seccomp(2): EACCES without the permission, EINVAL for a program or flag
/// that this kernel does not accept, EBUSY when there is a listener already.
pub fn load(filter: &Filter) -> Result<Option<OwnedFd>> {
    let flags = libc::c_ulong::from(filter.flags)
        | match filter.listener {
            Some(_) => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            None => 0,
        };
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {{len={}}})", filter.program.len());
    let len = libc::c_ushort::try_from(filter.program.len())
        .map_err(|_| Error { call: call(), errno: Errno::EINVAL })?;
    let program = Program { len, filter: filter.program.as_ptr() };
    // SAFETY: seccomp(2) only reads through its third argument, which points
    // to a live `Program` whose `filter` points to `len` instructions of the
    // kernel's layout; both outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match Errno::result(result) {
        Err(errno) => Err(Error { call: call(), errno }),
        Ok(fd) if filter.listener.is_some() => {
            let fd = i32::try_from(fd).map_err(|_| Error { call: call(), errno: Errno::EBADF })?;
            // SAFETY: with NEW_LISTENER a successful call returns a fresh
            // descriptor that nobody else owns.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        // With TSYNC a positive result is the id of a thread that kept a filter of its own.
        Ok(0) => Ok(None),
        Ok(_) => Err(Error { call: call(), errno: Errno::EBUSY }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use nix::errno::Errno;

    /// getpriority(2) of a process id; gives the errno.
    pub(crate) fn getpriority(pid: libc::id_t) -> i32 {
        // SAFETY: the call takes two numbers and touches no memory.
        let result = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, pid) };
        if result < 0 { Errno::last_raw() } else { 0 }
    }
}
