//! `resume`: lets the processes that [`super::pause`] has stopped go on.

use super::Context;
use crate::cgroup::Cgroup;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::contract::state::Status;
use crate::report::{Outcome, refuse};
use crate::store::Directory;

/// Carries it out.
///
/// # Errors
/// Refused for a container that is not paused.
pub fn run(context: &Context, id: &str) -> Outcome<ExitCode> {
    let directory = Directory::claim(&context.root, id)?;
    let stored = directory.read()?;
    if stored.state.status != Status::Paused {
        let because = format!("container not paused: {}", stored.state.status);
        return Err(refuse(format!("resume the container {id}"), because));
    }
    let cgroup = Cgroup::open(&stored.cgroup);
    context.report.stage(StageKind::Resume, id, || cgroup.thaw().map_err(Box::new))?;
    Ok(ExitCode::SUCCESS)
}
