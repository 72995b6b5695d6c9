//! What a shim or a manager may rely on: how the runtime is invoked
//! ([`args`]), what it prints ([`state`], [`stats`]), and how it reports each stage of its
//! work ([`report`]). Its exit status is [`EXIT_FAILURE`] after an error;
//! `run` and `exec` exit with the process's own status. A process of `exec` can
//! be made and started later ([`wait_point`]).
//!
//! Nothing in here touches the kernel. Everything else of this crate is the
//! runtime's own affair, apart from [`crate::plan`].

pub mod args;
pub mod report;
pub mod state;
pub mod stats;
pub mod wait_point;

use std::ffi::CStr;

/// Exit status of a command that failed, as runc's.
pub const EXIT_FAILURE: u8 = 1;

/// Exit status of an `exec` that failed before its process began, as runc's.
pub const EXIT_EXEC_FAILURE: u8 = 255;

/// Exit status that `run` and `exec` give for a process ended by signal N: 128 + N, as a shell's.
pub const EXIT_SIGNAL_BASE: u8 = 128;

/// The exit status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(u8);

impl ExitCode {
    /// All went well.
    pub const SUCCESS: Self = Self(0);

    /// As exit(2) takes it.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl From<u8> for ExitCode {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

/// The version of the runtime-spec that is implemented.
pub const OCI_VERSION: &str = "1.3.0";

/// The extended attribute of a container's cgroup with the path of the container's state directory (xattr(7),
/// "Trusted extended attributes"; cgroups have them since Linux 3.7). Absent where the runtime was not root of
/// the host.
pub const CGROUP_OWNER: &CStr = c"trusted.sextant.root";

/// Whether `id` can name a container: runc's rule, letters, digits and `+-._`,
/// neither `.` nor `..`, at most 1024 bytes.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn check_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("a container id cannot be empty".into());
    }
    if id.len() > 1024 {
        return Err(format!("a container id has at most 1024 bytes, this one has {}", id.len()));
    }
    if id == "." || id == ".." {
        return Err(format!("a container id cannot be {id:?}"));
    }
    match id.chars().find(|c| !c.is_ascii_alphanumeric() && !"+-._".contains(*c)) {
        Some(c) => Err(format!("a container id has letters, digits and +-._ only, {id:?} has {c:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "A-b_c.d+e", "0", &"x".repeat(1024)] {
            assert_eq!(check_id(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../a", "a b", "a\n", "ä", &"x".repeat(1025)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}
