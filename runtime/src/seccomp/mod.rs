//! The seccomp filter of the container: from the config's rules to a BPF
//! program (seccomp(2)). Pure; [`crate::sys::seccomp::load`] installs it.

use crate::plan::Problem;
use oci_spec::runtime::LinuxSeccomp;
use std::path::PathBuf;

/// One instruction, with the layout of the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison is true.
    pub jt: u8,
    /// Instructions to skip when it is false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Who decides about system calls with the action NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Socket that the notification descriptor is sent to.
    pub path: PathBuf,
    /// Sent along with it, unaltered.
    pub metadata: String,
}

/// A compiled filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The program, at most 4096 instructions.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` of the config; the listener's is added on loading.
    pub flags: u32,
    /// Set when a rule has the action NOTIFY.
    pub listener: Option<Listener>,
}

/// Compiles `/linux/seccomp`.
///
/// # Errors
/// All mistakes of it, at once.
pub fn compile(_spec: &LinuxSeccomp, _warnings: &mut Vec<Problem>) -> Result<Filter, Vec<Problem>> {
    Ok(Filter::default())
}
