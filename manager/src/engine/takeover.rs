//! A container whose shim was killed gets another one, which finds out what
//! became of it. Where no shim can be started for a process that has ended, the
//! manager is the witness of its exit: with the status that the kernel tells,
//! or *unknown, because …*.

use super::container::Container;
use super::create::make_dir;
use super::error::Error;
use super::{Context, blocking};
use crate::faults::{self, Point};
use crate::model::{Ending, Phase};
use crate::shims::client::{Listener, listener};
use crate::shims::{hold, spawn};
use std::sync::Arc;

/// Attempts with a process that has ended, until the manager does without a shim.
const ATTEMPTS: u32 = 4;

/// Whether a container has a shim again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenOver {
    /// It has.
    Yes,
    /// It needs none: its exit is known, or it was never made.
    Needless,
}

/// Gives a container another shim, unless there is nothing to supervise.
///
/// # Errors
/// When the shim cannot be started; the process lives on then, or this is not the last attempt.
pub(super) async fn take_over(container: &mut Container, attempt: u32) -> Result<TakenOver, Error> {
    container.catch_up().await?;
    let over = container.snapshot.borrow().exit.is_some();
    // The ends of its execs are to be told as well.
    if over && container.open_execs.is_empty() || container.phase() == Phase::Failed {
        return Ok(TakenOver::Needless);
    }
    let socket = container.paths.socket();
    // One that a manager before this one started may be there by now.
    if listener(&socket).await != Listener::Absent {
        return Ok(TakenOver::Yes);
    }
    match adopt(container).await {
        Ok(()) => {
            container.catch_up().await?;
            Ok(TakenOver::Yes)
        }
        Err(error) if attempt < ATTEMPTS => Err(error),
        Err(error) if over => {
            tracing::warn!(
                container = container.id(),
                error = error.chain(),
                "no shim tells the ends of its execs"
            );
            Ok(TakenOver::Needless)
        }
        Err(error) => {
            let how = match &container.held {
                Some(held) if !held.ended() => return Err(error),
                Some(held) => held.ending(),
                None => None,
            };
            tracing::warn!(container = container.id(), error = error.chain(), "no shim sees its exit");
            let unknown = || Ending::Unknown("because the shim was killed".into());
            container.witness_exit(how.unwrap_or_else(unknown)).await?;
            Ok(TakenOver::Needless)
        }
    }
}

/// Starts another shim for a container whose own is gone.
///
/// # Errors
/// When it cannot be started, or finds nothing to adopt.
pub(super) async fn adopt(container: &mut Container) -> Result<(), Error> {
    container.hold();
    let attempted = || format!("give container {:?} another shim", container.id());
    faults::pass(Point::ShimAdopt).await.map_err(|e| Error::io(attempted())(e))?;
    let shim_dir = container.paths.shim_dir.clone();
    // It does not survive a restart of the machine.
    blocking(move || make_dir(&shim_dir)).await?;
    let settings = &container.context.settings;
    let pid = spawn::spawn(spawn::Plan {
        shim: &settings.shim,
        id: container.id(),
        dir: &container.paths.dir,
        bundle: &container.record.bundle,
        runtime: &settings.runtime,
        runtime_root: &settings.runtime_root(),
        log: container.record.log,
        socket: &container.paths.socket(),
        origin: spawn::Origin::Adopt(container.held.as_ref()),
    })
    .await?;
    tracing::warn!(container = container.id(), pid, "its shim was killed: another has taken over");
    container.set(|s| s.shim_pid = Some(pid));
    Ok(())
}

/// Says in the log whether this kernel tells exit statuses to whoever is not the parent.
pub(super) fn probe(context: &Arc<Context>) {
    let binary = context.settings.runtime.clone();
    tokio::task::spawn_blocking(move || match hold::probe(&binary) {
        Ok(true) => tracing::debug!("the exit status of a container whose shim was killed will be known"),
        Ok(false) => tracing::warn!(
            "the exit status of a container whose shim was killed may be unknown: \
             this kernel has no PIDFD_INFO_EXIT (Linux 6.15)"
        ),
        Err(error) => tracing::warn!(%error, runtime = %binary.display(), "the runtime cannot be run"),
    });
}
