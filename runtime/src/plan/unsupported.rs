//! Fields that this version does not carry out. What the container's behaviour
//! or safety could depend on is refused; what cannot matter on Linux is a
//! warning. Nothing is dropped in silence.

use super::problems::Problems;
use oci_spec::runtime::{Process, Spec};

/// Refuses or warns of all such fields.
pub(super) fn check(spec: &Spec, problems: &mut Problems) {
    let mut not_yet = |asked: bool, pointer: &str| {
        if asked {
            problems.refuse_hint(pointer, "not supported yet", "remove it, or use a runtime that has it");
        }
    };
    not_yet(spec.vm().is_some(), "/vm");
    if let Some(linux) = spec.linux() {
        not_yet(linux.intel_rdt().is_some(), "/linux/intelRdt");
        not_yet(linux.net_devices().as_ref().is_some_and(|d| !d.is_empty()), "/linux/netDevices");
    }
    for (present, pointer) in [
        (spec.windows().is_some(), "/windows"),
        (spec.solaris().is_some(), "/solaris"),
        (spec.zos().is_some(), "/zos"),
        (spec.process().as_ref().is_some_and(has_command_line), "/process/commandLine"),
    ] {
        if present {
            problems.warn(pointer, "no effect on Linux");
        }
    }
}

fn has_command_line(process: &Process) -> bool {
    process.command_line().as_ref().is_some_and(|line| !line.is_empty())
}
