//! The one door to the kernel: every unsafe block of this crate is below here.
//! Wrappers take borrowed descriptors, return owned ones, and fail with an
//! [`Error`] that prints the call as strace would. No policy lives here.

pub mod bpf;
pub mod deliver;
pub mod entry;
pub mod exec;
pub mod file;
pub mod heap;
pub mod image;
pub mod keyring;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod schedule;
pub mod seccomp;
pub mod signal;

use nix::errno::Errno;
use std::fmt;

/// A failed system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The call with its arguments: `mkdirat([5], "dev", 0755)`.
    pub call: String,
    /// Its errno.
    pub errno: Errno,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} ({})", self.call, self.errno, self.errno.desc())
    }
}

impl std::error::Error for Error {}

/// What wrappers return.
pub type Result<T> = std::result::Result<T, Error>;

/// Names the call of a result of nix, should it have failed.
///
/// # Errors
/// The one that was given, with its name.
pub fn named<T>(result: nix::Result<T>, call: impl FnOnce() -> String) -> Result<T> {
    result.map_err(|errno| Error { call: call(), errno })
}

/// Turns the return value of libc's `syscall` into a result.
fn checked(value: libc::c_long, call: impl FnOnce() -> String) -> Result<libc::c_long> {
    named(Errno::result(value), call)
}

/// Likewise for a call that returns a new descriptor.
fn checked_fd(value: libc::c_long, call: impl FnOnce() -> String) -> Result<std::os::fd::OwnedFd> {
    named(new_fd(value), call)
}

/// [`checked_fd`] for a caller who may not need the text.
fn new_fd(value: libc::c_long) -> std::result::Result<std::os::fd::OwnedFd, Errno> {
    use std::os::fd::FromRawFd;
    // A descriptor is an int (close(2)); the kernel returns nothing wider here.
    let fd = i32::try_from(Errno::result(value)?).unwrap_or(-1);
    // SAFETY: the kernel has just made this descriptor for the caller; nobody else owns it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

/// Descriptors 0 to 2. (`std::io::stdin()` and its like would make their buffers.)
pub fn stdio() -> [std::os::fd::BorrowedFd<'static>; 3] {
    // SAFETY: the program's entry has opened those that were closed, and nobody closes them.
    [0, 1, 2].map(|fd| unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) })
}

/// The `MS_*` number of a propagation, as mount_setattr(2) takes it.
pub fn mount_flag(propagation: crate::plan::Propagation) -> u64 {
    use crate::plan::Depth;
    crate::namespaces::mount::flags(propagation, Depth::One).bits()
}
