//! The one door to the kernel: every unsafe block of this crate is below here.
//! Wrappers take borrowed descriptors, return owned ones, and fail with an
//! [`Error`] that prints the call as strace would.

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
