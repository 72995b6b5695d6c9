//! Making a container: intent, bundle, shim, runtime; and undoing it when a
//! step fails. The name is taken first and the actor does the rest, so that it
//! does not matter whether the caller still waits.

use super::actor::{self, Command};
use super::container::{Container, first_snapshot, given};
use super::directory::Handle;
use super::error::{Error, Violation};
use super::halt::Halt;
use super::mailbox::{self, Mailbox};
use super::operations::Fingerprint;
use super::record::{Intent, Record};
use super::request::Request;
use super::restarts::Course;
use super::sandboxes::joining::{self, Joining};
use super::{Context, blocking, delete};
use crate::bundle::{self, Facts};
use crate::model::{Phase, Snapshot, Source, Stdio};
use crate::shims::client::Client;
use crate::shims::journal::Place;
use crate::shims::{Init, spawn};
use sextant_runtime::contract::args::Limits;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// Where the answer to a creation comes.
pub(super) type Answer = oneshot::Receiver<Result<Snapshot, Error>>;

/// Takes the name and lets an actor begin.
/// `asked` is for whoever repeats the request with its key.
pub(super) fn begin(
    context: &Arc<Context>,
    request: Request,
    asked: Option<Fingerprint>,
) -> Result<Answer, Error> {
    let (reply, answer) = oneshot::channel();
    let (container, handle, mailbox) = prepare(context, blank(context, &request, asked));
    let id = container.record.id.clone();
    context.sandboxes.admit(&request.placement, || context.directory.reserve(&id, handle))?;
    // What is logged of the creation belongs to the request; what comes later does not, and has a much
    // smaller future.
    let made = Box::pin(async move {
        let made = attempt(container, request, mailbox, reply).await;
        made.map(|(container, mailbox)| actor::run(container, mailbox))
    });
    let made = made.in_current_span();
    tokio::spawn(async move {
        if let Some(life) = made.await {
            life.await;
        }
    });
    Ok(answer)
}

/// A container of this record, without any effect yet.
pub(super) fn prepare(context: &Arc<Context>, record: Record) -> (Container, Handle, Mailbox) {
    let paths = context.settings.paths(&record.id);
    let shim = Client::new(&record.id, &paths.socket());
    let (snapshot, snapshots) = watch::channel(first_snapshot(&record));
    let (sender, mailbox) = mailbox::new();
    let halt = Halt::new(&paths.dir);
    let handle = Handle::new(paths.clone(), sender, snapshots, shim.clone(), halt.clone());
    let context = Arc::clone(context);
    let container = Container {
        context,
        record,
        paths,
        shim,
        leases: Vec::new(),
        snapshot,
        learned: 0,
        place: Place::default(),
        told: 0,
        degraded_told: false,
        deleted_told: false,
        init: Init::default(),
        open_execs: Default::default(),
        held: None,
        dropped: Default::default(),
        halt,
        due: None,
        gives_up: false,
        acts: false,
        witnessed: None,
    };
    (container, handle, mailbox)
}

fn blank(context: &Context, request: &Request, asked: Option<Fingerprint>) -> Record {
    Record {
        id: request.id.clone(),
        intent: Intent::Create,
        bundle: Default::default(),
        rootfs: Default::default(),
        command: Vec::new(),
        hostname: String::new(),
        labels: request.labels.clone(),
        created_at: SystemTime::now(),
        ids: None,
        events_after: context.events.last_seq(),
        key: request.key.clone(),
        asked,
        limits: Limits::default(),
        log: request.log,
        stdio: request.stdio,
        restart: request.restart.clone(),
        check: request.check.clone(),
        course: Course::default(),
        placement: request.placement.clone(),
    }
}

/// From the taken name to the answer; the container, for its actor, unless nothing is left of it.
async fn attempt(
    mut container: Container,
    request: Request,
    mut mailbox: Mailbox,
    reply: oneshot::Sender<Result<Snapshot, Error>>,
) -> Option<(Container, Mailbox)> {
    let id = request.id.clone();
    let context = Arc::clone(&container.context);
    let mut deletions = Vec::new();
    let (answer, kept) = match build(&mut container, request.source, &mut mailbox).await {
        Ok(()) => {
            let snapshot = container.snapshot.borrow().clone();
            (Ok(snapshot), Some(container))
        }
        Err((error, begun)) => match undo(&mut container, &error, begun).await {
            Ok(()) => (Err(error), None),
            Err(why) => {
                tracing::error!(container = id, error = why.chain(), "a failed creation cannot be undone");
                let failure = error.to_failure();
                container.set(|s| (s.phase, s.failure) = (Phase::Failed, Some(failure)));
                (Err(error), Some(container))
            }
        },
    };
    if kept.is_none() {
        // The container was dropped: its ids are free, and its directories are gone.
        context.directory.release(&id);
        deletions = mailbox.close();
    }
    drop(context);
    match &answer {
        Ok(snapshot) => tracing::info!(container = id, pid = snapshot.pid, "created"),
        Err(error) => tracing::info!(container = id, error = error.chain(), "not created"),
    }
    if reply.send(answer).is_err() {
        tracing::info!(container = id, "the caller of its creation did not wait");
    }
    // Who wanted to delete what was never made has what they wanted.
    for command in deletions {
        if let Command::Delete { reply, .. } | Command::Cancel { reply } = command {
            actor::answer(reply, Ok(()));
        }
    }
    kept.map(|container| (container, mailbox))
}

/// How far a creation came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// The request or its bundle was refused; there is nothing but its own directories.
    No,
    /// There may be a shim, and what the runtime makes.
    Yes,
}

async fn build(
    container: &mut Container,
    source: Source,
    mailbox: &mut Mailbox,
) -> Result<(), (Error, Begun)> {
    intend(container, source).await.map_err(|e| (e, Begun::No))?;
    // The disk has as long as the container takes to be made.
    let dir = container.paths.dir.clone();
    let synced = tokio::spawn(async move { Record::sync(&dir).await });
    make(container, mailbox, synced).await.map_err(|e| (e, Begun::Yes))
}

/// Checks the bundle and writes the intent, the made bundle with it.
async fn intend(container: &mut Container, source: Source) -> Result<(), Error> {
    let id = container.record.id.clone();
    let paths = container.paths.clone();
    let mut joining = Joining::default();
    if let Source::Rootfs(source) = &source {
        let named = !source.hostname.is_empty();
        joining = joining::resolve(&container.context, &id, &container.record.placement, named).await?;
        container.record.ids = joining.ids;
        container.record.placement.modes = joining.modes.clone();
        container.leases.append(&mut joining.leases);
    }
    let mut record = container.record.clone();
    let context = Arc::clone(&container.context);
    let record = blocking(move || {
        let facts = match source {
            Source::Rootfs(source) => {
                make_dir(&paths.dir)?;
                bundle::make(
                    &paths.bundle(),
                    &id,
                    &source,
                    record.ids,
                    &joining.entries,
                    record.stdio.terminal,
                )?;
                bundle::check(&paths.bundle(), &id)?
            }
            Source::Bundle(path) => bundle::check(&path, &id)?,
        };
        let Facts { bundle, rootfs, command, hostname, terminal } = facts;
        let hostname = if hostname.is_empty() { joining.hostname.clone() } else { hostname };
        let stdio = Stdio { terminal: agreed(&id, record.stdio.terminal, terminal)?, ..record.stdio };
        record = Record { bundle, rootfs, command, hostname, stdio, ..record };
        make_dir(&paths.dir)?;
        record.write(&paths.dir)?;
        joining.pin(&context, &id)?;
        make_dir(&paths.shim_dir)?;
        Ok(record)
    })
    .await?;
    container.set(|s| s.given = given(&record));
    container.record = record;
    Ok(())
}

/// Shim, then runtime; given up when it is cancelled, or the container is to be deleted.
/// Told when the record is on disk as well.
async fn make(
    container: &mut Container,
    mailbox: &mut Mailbox,
    synced: JoinHandle<Result<(), Error>>,
) -> Result<(), Error> {
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
        origin: spawn::Origin::New,
    })
    .await?;
    container.set(|s| s.shim_pid = Some(pid));
    tokio::select! {
        created = container.shim.create(1, container.record.stdio) => created.map(drop)?,
        because = mailbox.interrupted(Command::ends_creation) => {
            return Err(Error::Cancelled { id: container.id().into(), attempted: "create it", because });
        }
    }
    synced.await.map_err(|_| Error::Stopping)??;
    container.catch_up().await?;
    match container.phase() {
        Phase::Creating => Err(Error::Unreachable {
            attempted: format!("create container {:?}", container.id()),
            because: "its shim says that it did, and its journal does not".into(),
        }),
        _ => {
            container.hold();
            container.acts = true;
            Ok(())
        }
    }
}

/// Removes whatever was made, and tells that the creation failed.
async fn undo(container: &mut Container, error: &Error, begun: Begun) -> Result<(), Error> {
    if begun == Begun::Yes {
        return delete::undo(container, error.to_failure()).await;
    }
    delete::remove_files(container).await
}

/// Whether the process has a terminal: the bundle says so, and has to when it was asked for.
fn agreed(id: &str, wanted: bool, has: bool) -> Result<bool, Error> {
    if has || !wanted {
        return Ok(has);
    }
    let violation = Violation {
        field: "/process/terminal".into(),
        message: "a terminal was asked for, and the bundle says that there is none".into(),
        hint: "set process.terminal to true in its config.json".into(),
    };
    Err(Error::Refused { attempted: format!("create container {id:?}"), violations: vec![violation] })
}

/// A directory for root only; it is no error when it is there.
pub(super) fn make_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(Error::io(format!("make {}", dir.display())))
}
