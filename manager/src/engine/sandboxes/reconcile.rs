//! Starting with the sandboxes of a manager before this one. First their names
//! and ids, so that no container takes them; then, when the containers are
//! reconciled, for every record one of
//!
//! - intent *keep*: it is as it was, for the kernel has kept its namespaces;
//! - intent *create*: it was half made, and is undone;
//! - intent *delete*: that is finished.
//!
//! A restart of the machine ends every namespace. Such a sandbox is told as not
//! ready and not made again by itself: what its containers had set up in it is
//! gone as well, and who made it knows what that was.

use super::record::{Intent, Record, read_all};
use super::{Entry, Phase, remove};
use crate::engine::error::Error;
use crate::engine::operations::{Answer, Asked};
use crate::engine::{Context, blocking};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long serving waits for deletions that a killed manager has left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the names and ids of all that are recorded, and lets go of pins that nobody owns.
///
/// # Errors
/// When the records cannot be read.
pub(in crate::engine) async fn names(context: &Arc<Context>) -> Result<(), Error> {
    let dir = context.settings.root.join("sandboxes");
    for record in blocking(move || read_all(&dir)).await? {
        context.directory.reserve_sandbox(&record.id)?;
        let leases = record.ids.map(|ids| context.ranges.claim(ids)).unwrap_or_default();
        let phase = match record.intent {
            Intent::Keep => Phase::Kept,
            Intent::Create | Intent::Delete => Phase::Deleting(None),
        };
        if let (Intent::Keep, Some(key)) = (record.intent, &record.key) {
            let asked = Asked::of_record(key.clone(), &record);
            context.operations.remember(asked, record.created_at, Ok(Answer::Sandbox(record.id.clone())));
        }
        context.sandboxes.insert(&Entry::new(record, phase, leases));
    }
    let context = Arc::clone(context);
    blocking(move || {
        let root = &context.settings.root;
        let swept = context.pins.sweep(&below(&root.join("sandboxes")), &below(&root.join("containers")));
        if let Err(error) = swept {
            tracing::error!(error = error.chain(), "namespaces that belong to nobody stay");
        }
        Ok(())
    })
    .await
}

/// Finishes or undoes what was half done. What takes longer goes on while the manager serves.
pub(in crate::engine) async fn finish(context: &Arc<Context>) {
    let mut done = JoinSet::new();
    for sandbox in context.sandboxes.all() {
        let Record { intent, .. } = sandbox.record();
        if intent == Intent::Keep {
            continue;
        }
        let context = Arc::clone(context);
        done.spawn(async move {
            let _changing = sandbox.changing.lock().await;
            tracing::info!(sandbox = sandbox.id, ?intent, "removing what a manager before has left of it");
            if let Err(error) = remove::everything(&context, &sandbox).await {
                tracing::error!(sandbox = sandbox.id, error = error.chain(), "cannot be removed");
                sandbox.lock().phase = Phase::Deleting(Some(error.chain()));
            }
        });
    }
    let all = async { while done.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::warn!(left = done.len(), "sandboxes are still being removed");
        done.detach_all();
    }
}

/// Names in a directory: also of those whose record cannot be read.
fn below(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
