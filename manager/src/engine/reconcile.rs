//! Starting: the records, the shims that live, and what clients were told are
//! brought together. For every record exactly one of
//!
//! - intent *create*, and the journal says created: it is taken over;
//! - intent *create*, and it does not: the creation is undone and told as failed;
//! - intent *undo* or *delete*: that is finished. It is the intent also where clients were told
//!   that it is done: what is told is on disk, when the intent may not have been as the host failed.
//!
//! Taking over replays the shim's journal: clients are told what they were not
//! told yet, which the global journal knows by the number of each record.

use super::container::{Container, ended};
use super::create::prepare;
use super::delete::{self, Told};
use super::error::Error;
use super::operations::{Answer, Asked};
use super::record::{Intent, Record};
use super::removal::remove_tree;
use super::{Context, actor, blocking, health};
use crate::faults::{self, Point};
use crate::model::{Event, EventKind, Failure, Phase, Verb};
use crate::shims::client::Force;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Takes over, finishes or undoes everything that the records name.
///
/// # Errors
/// When the directory of records cannot be read, or the journal of events.
pub(super) async fn all(context: &Arc<Context>) -> Result<(), Error> {
    let dir = context.settings.root.join("containers");
    let records = blocking(move || read_all(&dir)).await?;
    let mut past = past(context, &records).await?;
    // All ids first: a container that is undone must not give way to a new one.
    let mut tasks = Vec::new();
    for record in records {
        let told = past.remove(&record.id).unwrap_or_default();
        let (mut container, handle, mailbox) = prepare(context, record);
        if let Some(ids) = container.record.ids {
            container.leases = context.ranges.claim(ids);
        }
        context.directory.reserve(container.id(), handle)?;
        tasks.push((container, mailbox, told));
    }
    // Side by side: a shim that does not answer must not keep the others waiting.
    let mut done = JoinSet::new();
    for (mut container, mailbox, told) in tasks {
        done.spawn(async move {
            match repeatedly(&mut container, &told).await {
                Ok(After::Gone) => {
                    let (id, context) = (container.id().to_owned(), Arc::clone(&container.context));
                    drop(container);
                    context.directory.release(&id);
                    return;
                }
                Ok(After::Kept) => {
                    if let Some(key) = container.record.key.clone() {
                        let snapshot = container.snapshot.borrow().clone();
                        let (id, begun) = (snapshot.id.clone(), snapshot.created_at);
                        let request = container.record.asked.clone();
                        let asked = Asked { key, verb: Verb::Create, container: id, lives: 0, request };
                        let answer = Answer::Container(Box::new(snapshot));
                        container.context.operations.remember(asked, begun, Ok(answer));
                    }
                }
                Err(error) => {
                    tracing::error!(
                        container = container.id(),
                        error = error.chain(),
                        "cannot be reconciled"
                    );
                    let failure = error.to_failure();
                    container.set(|s| (s.phase, s.failure) = (Phase::Failed, Some(failure)));
                }
            }
            tokio::spawn(actor::run(container, mailbox));
        });
    }
    // What takes longer goes on while the manager serves; it is *being deleted* or *created* so long.
    let all = async { while done.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        tracing::warn!(left = done.len(), "containers are still being reconciled");
        done.detach_all();
    }
    Ok(())
}

/// What was told of the containers that these records name; of a container of old that had such a name nothing.
async fn past(context: &Context, records: &[Record]) -> Result<BTreeMap<String, Vec<Event>>, Error> {
    let after: BTreeMap<&str, u64> = records.iter().map(|r| (r.id.as_str(), r.events_after)).collect();
    let mut past: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    let mut reader = context.events.read(0);
    // Not all at once: the journal may be long, and be about containers that are no more.
    loop {
        let events = reader.next().await?;
        if events.is_empty() {
            return Ok(past);
        }
        for event in events {
            if after.get(event.container.as_str()).is_some_and(|after| event.seq > *after) {
                past.entry(event.container.clone()).or_default().push(event);
            }
        }
    }
}

/// How long serving waits for work that a killed manager has left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Attempts with one container: a disk that was full, or did not answer, may do so a moment later.
const ATTEMPTS: u32 = 5;

/// The time before the second one, doubled before each further one.
const PAUSE: Duration = Duration::from_millis(50);

/// One container; what fails is tried again, as each of its steps may be repeated.
async fn repeatedly(container: &mut Container, told: &[Event]) -> Result<After, Error> {
    let mut pause = PAUSE;
    for attempt in 1.. {
        match one(container, told).await {
            Err(error) if attempt < ATTEMPTS => {
                tracing::warn!(container = container.id(), error = error.chain(), "reconciled again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
    Err(Error::Stopping)
}

enum After {
    Kept,
    Gone,
}

/// One container; `told` are its events so far.
async fn one(container: &mut Container, told: &[Event]) -> Result<After, Error> {
    remember(container, told);
    let attempted = || format!("find out what became of container {:?}", container.id());
    faults::pass(Point::ReconcileContainer).await.map_err(|e| Error::io(attempted())(e))?;
    let was_told = |kind| match told.iter().any(|e| e.kind == kind) {
        true => Told::Yes,
        false => Told::No,
    };
    let intent = match container.record.intent.clone() {
        Intent::Create if was_told(EventKind::Deleted) == Told::Yes => Intent::Delete,
        Intent::Create if was_told(EventKind::CreateFailed) == Told::Yes => Intent::Undo(interrupted()),
        intent => intent,
    };
    match intent {
        Intent::Delete => {
            tracing::info!(container = container.id(), "finishing its deletion");
            container.set(|s| s.phase = Phase::Deleting);
            delete::finish(container, Force::Yes, was_told(EventKind::Deleted)).await?;
            Ok(After::Gone)
        }
        Intent::Undo(failure) => {
            delete::finish_undo(container, failure, was_told(EventKind::CreateFailed)).await?;
            Ok(After::Gone)
        }
        Intent::Create => {
            container.halt.read().await?;
            container.catch_up().await?;
            if container.phase() != Phase::Creating {
                take_up(container, told).await;
                tracing::info!(container = container.id(), phase = %container.phase(), "taken over");
                return Ok(After::Kept);
            }
            tracing::info!(container = container.id(), "undoing its half-done creation");
            delete::undo(container, interrupted()).await?;
            Ok(After::Gone)
        }
    }
}

/// Goes on with a container that was made, once its past is known.
async fn take_up(container: &mut Container, told: &[Event]) {
    if let Some((life, exit)) = container.witnessed.clone() {
        container.set(|s| {
            if s.life == life {
                ended(s, exit);
            }
        });
    }
    health::remember(container, told);
    container.acts = true;
    container.resume_course(told).await;
}

/// Takes from the global journal how far the shim's was told, and an exit of
/// which the manager itself was the witness.
fn remember(container: &mut Container, told: &[Event]) {
    container.told = told.iter().map(|e| e.container_seq).max().unwrap_or(0);
    let health = told.iter().rev().find(|e| matches!(e.kind, EventKind::Degraded | EventKind::Recovered));
    container.degraded_told = health.is_some_and(|e| e.kind == EventKind::Degraded);
    let witnessed = told.iter().rev().find(|e| e.kind == EventKind::Exited && e.container_seq == 0);
    // A manager of old has told of one life only.
    container.witnessed = witnessed.and_then(|e| Some((e.life.max(1), e.exit.clone()?)));
}

fn interrupted() -> Failure {
    Failure {
        stage: "manager".into(),
        attempted: "create the container".into(),
        message: "the manager was stopped while it created the container".into(),
        hint: "create it again".into(),
        ..Failure::default()
    }
}

/// All records. A directory without one was made by a creation that had not
/// begun, and is removed; a record that cannot be read is left alone.
fn read_all(dir: &Path) -> Result<Vec<Record>, Error> {
    let attempted = || format!("read {}", dir.display());
    let mut records = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(attempted()))? {
        let path = entry.map_err(Error::io(attempted()))?.path();
        match Record::read(&path) {
            Ok(Some(record)) if path.file_name().is_some_and(|n| n == record.id.as_str()) => {
                records.push(record)
            }
            Ok(Some(record)) => {
                tracing::error!(dir = %path.display(), container = record.id, "its record is another's: left alone");
            }
            Ok(None) => {
                if let Err(error) = remove_tree(&path) {
                    tracing::error!(dir = %path.display(), %error, "half made, and cannot be removed: left alone");
                }
            }
            Err(error) => tracing::error!(error = error.chain(), "left alone"),
        }
    }
    Ok(records)
}
