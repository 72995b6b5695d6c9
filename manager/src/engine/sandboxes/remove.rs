//! Removing a sandbox: its containers, its init, its namespaces, its files, its
//! name. Each step can be repeated; a crash between two of them is finished at
//! the next start (`reconcile`).

use super::super::removal::remove_tree;
use super::record::{Intent, Record};
use super::{Entry, Phase, dir};
use crate::engine::actor::Command;
use crate::engine::directory::Handle;
use crate::engine::error::Error;
use crate::engine::pins::Holder;
use crate::engine::{Context, blocking};
use crate::faults::{self, Point};
use crate::shims::client::Force;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Removes the sandbox `id`.
///
/// # Errors
/// As `Engine::delete_sandbox`.
pub(super) async fn delete(context: Arc<Context>, id: String, force: Force) -> Result<(), Error> {
    let sandbox = context.sandboxes.get(&id)?;
    let deleted = tokio::spawn(async move {
        // A creation is waited for: it ends by itself.
        let _changing = sandbox.changing.lock().await;
        if context.sandboxes.get(&sandbox.id).is_err() {
            return Err(Error::NoSandbox { id: sandbox.id.clone() });
        }
        intend(&context, &sandbox, force).await?;
        let removed = everything(&context, &sandbox).await;
        match &removed {
            Ok(()) => tracing::info!(sandbox = sandbox.id, "deleted"),
            Err(error) => sandbox.lock().phase = Phase::Deleting(Some(error.chain())),
        }
        removed
    });
    deleted.await.map_err(|_| Error::Stopping)?
}

/// From here on no container can join it, and the next manager goes on with this.
async fn intend(context: &Context, sandbox: &Entry, force: Force) -> Result<(), Error> {
    let record = {
        let mut state = sandbox.lock();
        let members = members(context, &sandbox.id);
        if force == Force::No && !members.is_empty() {
            let containers = members.iter().map(|handle| handle.snapshot().id.clone()).collect();
            return Err(Error::SandboxInUse { id: sandbox.id.clone(), containers });
        }
        state.phase = Phase::Deleting(None);
        state.record.intent = Intent::Delete;
        state.record.clone()
    };
    write(context, record).await
}

async fn write(context: &Context, record: Record) -> Result<(), Error> {
    let dir = dir(context, &record.id);
    blocking(move || record.write(&dir)).await
}

/// The steps behind the intent; afterwards the name is free.
///
/// # Errors
/// The failed step.
pub(super) async fn everything(context: &Arc<Context>, sandbox: &Entry) -> Result<(), Error> {
    let id = sandbox.id.clone();
    let mut deletions = JoinSet::new();
    for handle in members(context, &id) {
        deletions.spawn(async move { end(&handle).await });
    }
    for ended in deletions.join_all().await {
        ended?;
    }
    // Last: with it every process of its pid namespace ends.
    if let Some(init) = context.directory.get(&id) {
        end(&init).await?;
    }
    faults::pass(Point::SandboxRemove).await.map_err(|e| Error::io(format!("remove sandbox {id:?}"))(e))?;
    let (pins, dir) = (Arc::clone(context), dir(context, &id));
    blocking(move || {
        pins.pins.release(Holder::Sandbox, &id)?;
        remove_tree(&dir).map_err(Error::io(format!("remove {}", dir.display())))
    })
    .await?;
    sandbox.lock().leases.clear();
    context.sandboxes.lock().remove(&sandbox.id);
    context.directory.release_sandbox(&sandbox.id);
    Ok(())
}

/// Ends and removes a container; one that has gone meanwhile is as wanted.
async fn end(handle: &Handle) -> Result<(), Error> {
    match handle.ask(|reply| Command::Delete { force: Force::Yes, reply }).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The containers that joined it, by name, without its init.
pub(super) fn members(context: &Context, id: &str) -> Vec<Handle> {
    let joined = |handle: &Handle| {
        let placement = handle.snapshot().placement.clone();
        placement.sandbox.as_deref() == Some(id) && !placement.init
    };
    context.directory.all().into_iter().filter(joined).collect()
}
