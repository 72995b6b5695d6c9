//! Parts of a config that are about something else than a container on Linux:
//! ignored, as the spec has it for another platform's, but not in silence.

use super::problems::Problems;
use oci_spec::runtime::{Process, Spec};

/// Warns of all such fields.
pub(super) fn check(spec: &Spec, problems: &mut Problems) {
    if spec.vm().is_some() {
        problems.warn("/vm", "no effect: it is for runtimes that run virtual machines");
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
