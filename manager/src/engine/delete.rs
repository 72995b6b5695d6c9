//! Removing a container, and undoing a creation that failed: the same steps,
//! told differently. Each step can be repeated; a crash between two of them is
//! finished at the next start (`reconcile`). A shim that has deleted its container ends
//! while that is written down; its directories go when both are done.

use super::blocking;
use super::container::Container;
use super::error::Error;
use super::pins::Holder;
use super::record::Intent;
use crate::faults::{self, Point};
use crate::model::{Ending, EventKind, Failure, Phase};
use crate::shims::client::{Client, Force, Listener, listener};
use crate::shims::hold::Held;
use crate::shims::spawn::kill_listener;
use crate::sys;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a shim may take to end after it has answered a deletion.
const END: Duration = Duration::from_secs(2);

/// How long a deletion may take before it is asked whether the shim is there at all.
const SOON: Duration = Duration::from_millis(50);

/// Whether an event is in the global journal already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Not yet.
    No,
    /// By the manager before a restart.
    Yes,
}

/// Removes the container; afterwards only its name is left to be given back.
///
/// # Errors
/// [`Error::WrongPhase`] for one that runs, without force; or the failed step,
/// after which the container is still *being deleted* and can be deleted again.
pub(super) async fn delete(container: &mut Container, force: Force) -> Result<(), Error> {
    let force = match container.phase() {
        phase @ (Phase::Running | Phase::Paused) if force == Force::No => {
            return Err(Error::WrongPhase {
                id: container.id().into(),
                attempted: "delete it",
                phase,
                hint: "stop it first, or delete it with force",
            });
        }
        // Nothing of the user's has been executed that could be lost.
        Phase::Created | Phase::Failed | Phase::Deleting => Force::Yes,
        _ => force,
    };
    write_intent(container, Intent::Delete).await?;
    container.due = None;
    container.set(|s| (s.phase, s.next) = (Phase::Deleting, None));
    let removed = finish(container, force, Told::No).await;
    if let Err(error) = &removed {
        let failure = error.to_failure();
        container.set(|s| s.failure = Some(failure));
    }
    removed
}

/// The steps behind the intent to delete.
///
/// # Errors
/// The failed step.
pub(super) async fn finish(container: &mut Container, force: Force, told: Told) -> Result<(), Error> {
    container.hold();
    let shim = end(container, force).await?;
    let (id, socket) = (container.id().to_owned(), container.paths.socket());
    // What its journal will ever have is there: the disk has as long as the shim takes to end.
    let (gone, told) = tokio::join!(farewell(&id, &socket, shim), tell(container, told));
    gone.and(told)?;
    remove_files(container).await
}

/// Tells what is left in the shim's journal, and that the container is deleted.
async fn tell(container: &mut Container, told: Told) -> Result<(), Error> {
    container.catch_up().await?;
    if told == Told::No && !container.deleted_told {
        tell_end(container).await?;
        container.tell(EventKind::Deleted, None, None).await?;
        container.deleted_told = true;
    }
    Ok(())
}

/// The end of a life of which no shim has told, since it was deleted without: told by the manager, which
/// is the only witness.
async fn tell_end(container: &mut Container) -> Result<(), Error> {
    let (life, over) = {
        let snapshot = container.snapshot.borrow();
        (snapshot.life, snapshot.exit.is_some())
    };
    let told = container.witnessed.as_ref().is_some_and(|(witnessed, _)| *witnessed == life);
    if life == 0 || over || told {
        return Ok(());
    }
    let how = container.held.as_ref().and_then(Held::ending);
    let unknown = || Ending::Unknown("because it was deleted without its shim".into());
    container.witness_exit(how.unwrap_or_else(unknown)).await
}

/// Undoes a creation that failed because of `failure`.
///
/// # Errors
/// The failed step.
pub(super) async fn undo(container: &mut Container, failure: Failure) -> Result<(), Error> {
    write_intent(container, Intent::Undo(failure.clone())).await?;
    finish_undo(container, failure, Told::No).await
}

/// The steps behind the intent to undo.
///
/// # Errors
/// The failed step.
pub(super) async fn finish_undo(
    container: &mut Container,
    failure: Failure,
    told: Told,
) -> Result<(), Error> {
    let shim = end(container, Force::Yes).await?;
    farewell(container.id(), &container.paths.socket(), shim).await?;
    if told == Told::No {
        container.tell(EventKind::CreateFailed, None, Some(failure)).await?;
    }
    remove_files(container).await
}

/// What is left of a shim whose container has ended.
enum Shim {
    /// Nothing.
    Gone,
    /// It has answered, and is about to end: its process, where that is known.
    Ending(Option<Arc<OwnedFd>>),
}

/// Ends the container, through its shim where that answers.
async fn end(container: &Container, force: Force) -> Result<Shim, Error> {
    let socket = container.paths.socket();
    match by_shim(container, force).await {
        Ok(process) => Ok(Shim::Ending(process)),
        // With force a shim that does not answer is no obstacle, nor when all that it had to tell is known.
        Err(error) if force == Force::Yes || is_over(container) => {
            tracing::info!(container = container.id(), because = error.chain(), "deleting without the shim");
            kill_listener(container.id(), &socket).await?;
            container.context.runtime.delete(container.id(), Force::Yes).await?;
            Ok(Shim::Gone)
        }
        Err(Error::Unreachable { .. }) if listener(&socket).await == Listener::Absent => {
            container.context.runtime.delete(container.id(), Force::Yes).await?;
            Ok(Shim::Gone)
        }
        Err(error) => Err(error),
    }
}

/// Whether its process has ended, and its execs have.
fn is_over(container: &Container) -> bool {
    container.snapshot.borrow().exit.is_some() && container.open_execs.is_empty()
}

/// Asks the shim, whose process is given back where it is known. A deletion may take its time, and a frozen shim
/// is not worth that wait: one that has not answered soon is asked whether it answers at all.
async fn by_shim(container: &Container, force: Force) -> Result<Option<Arc<OwnedFd>>, Error> {
    let shim = &container.shim;
    tokio::select! {
        biased;
        deleted = shim.delete(force) => deleted.map(drop)?,
        silent = silence(shim) => return Err(silent),
    }
    let process = shim.peer();
    shim.leave();
    Ok(process)
}

/// Returns when a shim that is at work answers no question.
async fn silence(shim: &Client) -> Error {
    tokio::time::sleep(SOON).await;
    match shim.state().await {
        Err(error @ Error::Timeout { .. }) => error,
        // Whoever is not there has not heard what it is to do either: that call fails by itself.
        Ok(_) | Err(_) => std::future::pending().await,
    }
}

/// Waits for the end of a shim, and brings it about where that takes too long.
///
/// # Errors
/// [`Error::Unreachable`] when it does not end.
async fn farewell(id: &str, socket: &Path, shim: Shim) -> Result<(), Error> {
    let Shim::Ending(process) = shim else { return Ok(()) };
    if tokio::time::timeout(END, ended(socket, process)).await.is_err() {
        kill_listener(id, socket).await?;
    }
    Ok(())
}

/// Returns when nobody listens at `socket`, to which `process` did, if it is known.
async fn ended(socket: &Path, process: Option<Arc<OwnedFd>>) {
    // A pidfd is readable once the process has ended (pidfd_open(2)). Who follows the shim waits for the same
    // one, which epoll(7) takes once only.
    let process = process.and_then(|process| process.try_clone().ok());
    if let Some(process) = process.and_then(|process| sys::readable(process).ok()) {
        drop(process.readable().await);
    }
    let mut pause = Duration::from_millis(1);
    while listener(socket).await != Listener::Absent {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

async fn write_intent(container: &mut Container, intent: Intent) -> Result<(), Error> {
    container.record.intent = intent;
    let (record, dir) = (container.record.clone(), container.paths.dir.clone());
    blocking(move || record.mark(&dir)).await
}

/// Removes its directories, and the namespaces of others that are pinned for it.
///
/// # Errors
/// [`Error::Io`].
pub(super) async fn remove_files(container: &Container) -> Result<(), Error> {
    let (paths, context, id) =
        (container.paths.clone(), Arc::clone(&container.context), container.id().to_owned());
    blocking(move || {
        faults::reach(Point::DeleteRemove)
            .map_err(|e| Error::io(format!("remove what is left of container {id:?}"))(e))?;
        crate::bundle::remove_empty_cgroup();
        context.pins.release(Holder::Container, &id)?;
        paths.remove()
    })
    .await
}
