//! Namespaces by descriptor: what nix does not wrap of ioctl_ns(2).

use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

nix::ioctl_none_bad!(ns_get_userns, nix::request_code_none!(0xb7, 1));

/// The user namespace that owns the namespace `ns` (`NS_GET_USERNS`, Linux 4.9).
///
/// # Errors
/// Of ioctl_ns(2): EPERM when it is outside of the caller's.
pub(crate) fn owner(ns: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument; on another file it is ENOTTY.
    let fd: libc::c_int = unsafe { ns_get_userns(ns.as_raw_fd()) }?;
    // SAFETY: the ioctl returned this new descriptor, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
