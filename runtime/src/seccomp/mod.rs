//! The seccomp filter of the container: from the config's rules to a BPF
//! program (seccomp(2)). Pure; [`crate::sys::seccomp::load`] installs it.
//!
//! `rules` and `options` check, `decide` sorts by architecture and number, `assemble`
//! writes the program: for each architecture a binary search over ranges of
//! numbers with the same decision.
//!
//! What several rules for one system call mean is libseccomp's: one without
//! conditions is stronger than all with conditions, and the first of several
//! counts; then the first, in the config's order, whose conditions all hold;
//! then the default action. Beyond that:
//!
//! - a rule that says the same as the default action is left out, as by runc;
//! - a system call newer than the newest that the profile names answers
//!   ENOSYS when the default action is to refuse, as runc does;
//! - architectures that are not listed are killed, x32 on x86_64 among them;
//! - socketcall(2) and ipc(2) follow the rules for what they stand for.

mod arch;
mod assemble;
mod calls;
mod decide;
pub mod known;
mod options;
mod rules;
mod tables;
#[cfg(test)]
mod tests;

use crate::plan::Problem;
use oci_spec::runtime::LinuxSeccomp;
use std::path::PathBuf;

/// One instruction, with the layout of the kernel's `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "u64", into = "u64")]
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

/// As one number: how the state directory keeps a filter.
impl From<Instruction> for u64 {
    fn from(i: Instruction) -> Self {
        Self::from(i.code) << 48 | Self::from(i.jt) << 40 | Self::from(i.jf) << 32 | Self::from(i.k)
    }
}

impl From<u64> for Instruction {
    fn from(number: u64) -> Self {
        let [c1, c0, jt, jf, k3, k2, k1, k0] = number.to_be_bytes();
        Self { code: u16::from_be_bytes([c1, c0]), jt, jf, k: u32::from_be_bytes([k3, k2, k1, k0]) }
    }
}

/// Who decides about system calls with the action NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listener {
    /// Socket that the notification descriptor is sent to.
    pub path: PathBuf,
    /// Sent along with it, unaltered.
    pub metadata: String,
}

/// A compiled filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Filter {
    /// The program, at most 4096 instructions.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` of the config; the listener's is added on loading.
    pub flags: u32,
    /// Set when a rule has the action NOTIFY.
    pub listener: Option<Listener>,
}

/// The longest program that the kernel takes (linux/bpf_common.h, `BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Compiles `/linux/seccomp`.
///
/// # Errors
/// All mistakes of it, at once.
pub fn compile(spec: &LinuxSeccomp, warnings: &mut Vec<Problem>) -> Result<Filter, Vec<Problem>> {
    let native = arch::Arch::native()
        .ok_or_else(|| refused("filters for this machine's architecture cannot be compiled".into()))?;
    compile_on(native, spec, warnings)
}

/// As [`compile`], as it is on a machine of another architecture.
///
/// # Errors
/// As [`compile`]; also for one that no filter can be compiled for.
pub fn compile_for(
    machine: oci_spec::runtime::Arch,
    spec: &LinuxSeccomp,
    warnings: &mut Vec<Problem>,
) -> Result<Filter, Vec<Problem>> {
    let native = arch::Arch::native().and_then(|native| arch::Arch::from_spec(machine, native));
    let native = native.ok_or_else(|| refused(format!("filters for {machine} cannot be compiled")))?;
    compile_on(native, spec, warnings)
}

fn compile_on(
    native: arch::Arch,
    spec: &LinuxSeccomp,
    warnings: &mut Vec<Problem>,
) -> Result<Filter, Vec<Problem>> {
    let (rules, mut filter) = rules::check(spec, native, warnings)?;
    filter.program = assemble::assemble(&decide::decide(rules));
    let length = filter.program.len();
    if length > MAX_INSTRUCTIONS {
        return Err(refused(format!(
            "the filter has {length} instructions, the kernel takes at most {MAX_INSTRUCTIONS}"
        )));
    }
    Ok(filter)
}

fn refused(message: String) -> Vec<Problem> {
    vec![Problem { pointer: "/linux/seccomp".into(), message, hint: String::new() }]
}
