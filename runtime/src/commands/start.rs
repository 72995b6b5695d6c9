//! `start`: connects to the waiting init, and hears from it whether the user's
//! process was executed, or why not.

use super::Context;
use crate::contract::ExitCode;
use crate::contract::report::{Record, StageKind};
use crate::contract::state::Status;
use crate::handshake::{Channel, Message, ParentSide, ToParent};
use crate::report::{Outcome, Reporter, now_ns, refuse};
use crate::store::{Directory, Stored};

/// Carries it out.
///
/// # Errors
/// Refused unless the container is created and waits.
pub fn run(context: &Context, id: &str) -> Outcome<ExitCode> {
    let directory = Directory::claim(&context.root, id)?;
    let stored = directory.read()?;
    let because = match stored.state.status {
        Status::Created => None,
        Status::Creating => Some("it is still being created"),
        Status::Running => Some("cannot start an already running container"),
        Status::Paused => Some("cannot start a container in the paused state; resume it first"),
        Status::Stopped => Some("cannot start a container that has stopped"),
    };
    if let Some(because) = because {
        return Err(refuse(format!("start the container {id}"), because));
    }
    let channel: ParentSide =
        context.report.stage(StageKind::Start, id, || directory.connect().map(Channel::from))?;
    let executed = hear_execution(&channel, &context.report);
    // Where it was not, the socket stays, which tells nobody that the container waits.
    if executed.is_ok()
        && let Err(failure) = directory.started()
    {
        crate::log::warn(&failure.to_string());
    }
    directory.unlock()?;
    executed?;
    if let Err(failure) = poststart(&stored, &context.report) {
        // runtime-spec, "Lifecycle" 10, and runc: the container is stopped.
        super::delete::end(&stored)?;
        return Err(failure);
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until init has executed the user's process: it says so, and the end of
/// the stream, which execve(2) closes, confirms it.
///
/// # Errors
/// Init's own failure; or its death.
pub(super) fn hear_execution<In: Message>(channel: &Channel<In, ToParent>, report: &Reporter) -> Outcome<()> {
    let start_ns = now_ns();
    let what = "execute the container's process";
    match channel.hear()? {
        Some(ToParent::Executing) => {}
        Some(ToParent::Failed(failure)) => return Err(failure),
        Some(other) => return Err(refuse(what, format!("init said {other:?}"))),
        None => return Err(refuse(what, "its init died; was it killed?")),
    }
    match channel.hear()? {
        Some(ToParent::Failed(failure)) => Err(failure),
        Some(other) => Err(refuse(what, format!("init said {other:?}"))),
        None => {
            report.write(&Record {
                stage: StageKind::Exec.into(),
                start_ns,
                end_ns: now_ns(),
                pid: std::process::id().cast_signed(),
                object: String::new(),
                failure: None,
            });
            Ok(())
        }
    }
}

/// Runs the poststart hooks.
///
/// # Errors
/// The first that fails; the container has to be stopped then.
pub(super) fn poststart(stored: &Stored, report: &Reporter) -> Outcome<()> {
    let hooks: Vec<_> = stored.poststart.iter().map(crate::plan::Hook::from).collect();
    let mut state = stored.state.clone();
    state.status = Status::Running;
    crate::hooks::run(StageKind::HookPoststart, &hooks, &state, report)
}
