//! `pause`: stops every process of the container where it is, through the
//! freezer of its cgroup. The way back is [`super::resume`].

use super::Context;
use crate::cgroup::Cgroup;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::contract::state::Status;
use crate::report::{Outcome, refuse};
use crate::store::Directory;

/// Carries it out. It returns when every process has stopped; `state` then
/// says `paused`.
///
/// # Errors
/// Refused for a container that has no process, or is paused; ETIMEDOUT when
/// the kernel could not stop all processes in two seconds (they go on then).
pub fn run(context: &Context, id: &str) -> Outcome<ExitCode> {
    let directory = Directory::claim(&context.root, id)?;
    let stored = directory.read()?;
    let what = || format!("pause the container {id}");
    match stored.state.status {
        Status::Created | Status::Running => {}
        other => return Err(refuse(what(), format!("container not running or created: {other}"))),
    }
    let cgroup = Cgroup::open(&stored.cgroup);
    if !cgroup.has_freezer() {
        let mut failure = refuse(what(), "its cgroup has no freezer");
        failure.hint =
            "version 1: mount the freezer controller; version 2: give the container a cgroup".into();
        return Err(failure);
    }
    context.report.stage(StageKind::Pause, id, || cgroup.freeze().map_err(Box::new))?;
    Ok(ExitCode::SUCCESS)
}
