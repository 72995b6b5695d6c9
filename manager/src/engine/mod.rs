//! The engine: a directory of containers, each with one actor ([`actor`]).
//!
//! Every method here either reads a cached snapshot, and then waits for nobody,
//! or puts one command into the mailbox of one container. Signals go past the
//! mailbox: they change nothing that the actor owns, and a start that hangs in
//! a hook must not keep them waiting.
//!
//! [`record`] is what is intended, the shim's journal what happened, and
//! [`events`] what clients were told; [`reconcile`] makes the three agree after
//! a crash. Never blocks an executor thread on a disk, never waits without a
//! deadline except for an exit.

pub mod actor;
mod audit;
mod container;
mod create;
mod delete;
mod directory;
pub mod error;
pub mod events;
mod execs;
mod halt;
mod health;
pub mod ids;
mod lives;
mod mailbox;
pub(crate) mod measure;
mod operations;
mod pins;
mod recall;
mod reconcile;
pub mod record;
pub(crate) mod removal;
mod request;
mod restarts;
mod sandboxes;
pub mod stats;
mod takeover;
mod whole;

use crate::metrics::Metrics;
use crate::model::{Exit, Failure, NewContainer, Operation, Phase, Snapshot, Verb, WaitFor};
use crate::processes::{self, Process};
use crate::shims::changes::Changes;
use crate::shims::client::{Force, Target};
use crate::shims::hold::Kept;
use crate::shims::runtime::Runtime;
use directory::{Directory, Handle};
use error::Error;
use events::Events;
use operations::{Answer, Asked, Fingerprint, Operations};
use pins::Pins;
use record::Paths;
use sandboxes::Sandboxes;
use sextant_runtime::contract::args::Limits;
use sextant_runtime::observe;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What the engine is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where records, journals and logs are; survives a reboot.
    pub root: PathBuf,
    /// Where sockets and the runtime's state are; need not survive a reboot.
    pub state: PathBuf,
    /// The runtime's binary.
    pub runtime: PathBuf,
    /// The shim's binary.
    pub shim: PathBuf,
    /// The ids that may be given to containers.
    pub ids: ids::Pool,
}

impl Settings {
    /// The runtime's `--root`.
    pub fn runtime_root(&self) -> PathBuf {
        self.state.join("runtime")
    }

    /// Where the files of container `id` are.
    pub fn paths(&self, id: &str) -> Paths {
        Paths { dir: self.root.join("containers").join(id), shim_dir: self.state.join("shims").join(id) }
    }
}

/// What all actors share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) runtime: Runtime,
    pub(crate) events: Events,
    pub(crate) ranges: ids::Ranges,
    pub(crate) directory: Directory,
    pub(crate) operations: Operations,
    pub(crate) samples: stats::Samples,
    pub(crate) metrics: Metrics,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) pins: Pins,
    pub(crate) changes: Changes,
    pub(crate) kept: Kept,
    /// Held by who looks at all that there is.
    pub(crate) auditing: tokio::sync::Mutex<()>,
}

/// All containers of one root directory. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Engine {
    context: Arc<Context>,
}

impl Engine {
    /// Takes over what the records name: finds living shims, learns what
    /// happened meanwhile, finishes or undoes what was half done.
    ///
    /// # Errors
    /// When the directory of records or the journal of events cannot be read. A container whose
    /// record cannot be read is named in the log and left alone.
    pub async fn open(settings: Settings, events: Events) -> Result<Self, Error> {
        let runtime = Runtime { binary: settings.runtime.clone(), root: settings.runtime_root() };
        let ranges = ids::Ranges::new(settings.ids);
        let directory = Directory::default();
        let path = settings.root.join("operations");
        let (operations, ended) = blocking(move || Operations::open(&path)).await?;
        let (samples, metrics) = (stats::Samples::default(), Metrics::default());
        let (sandboxes, pins) = (Sandboxes::default(), Pins::new(&settings.state));
        let context = Arc::new(Context {
            settings,
            runtime,
            events,
            ranges,
            directory,
            operations,
            samples,
            metrics,
            sandboxes,
            pins,
            changes: Changes::new(),
            kept: Kept::default(),
            auditing: Default::default(),
        });
        sandboxes::reconcile::names(&context).await?;
        reconcile::all(&context).await?;
        sandboxes::reconcile::finish(&context).await;
        recall::ended(&context, ended);
        takeover::probe(&context);
        Ok(Self { context })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// The events of all containers.
    pub fn events(&self) -> &Events {
        &self.context.events
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Makes a container. Runs to its end also when the caller does not wait
    /// for it: the container is then made, or nothing is left of it.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Exists`], [`Error::Exhausted`], or the
    /// failed step; then nothing is left but an event.
    pub async fn create(&self, new: NewContainer) -> Result<Snapshot, Error> {
        let words = format!("{new:?}");
        let request = request::check(new)?;
        let (id, key, context) = (request.id.clone(), request.key.clone(), Arc::clone(&self.context));
        let kept = key.is_some().then(|| Fingerprint::of(&words));
        let work = async move {
            let answer = create::begin(&context, request, kept)?;
            answer.await.map_err(|_| Error::Stopping)?.map(container)
        };
        self.once(key, Verb::Create, &id, words, work).await.and_then(snapshot)
    }

    /// Executes the process of a created container; of a stopped one, begins the next life.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::WrongPhase`], [`Error::Exhausted`], or the failed step.
    pub async fn start(&self, id: &str, key: Option<String>) -> Result<Snapshot, Error> {
        let (handle, before) = (self.handle(id), key.is_some().then(|| self.lives(id)));
        let work =
            async move { handle?.ask(|reply| actor::Command::Start { before, reply }).await.map(container) };
        self.once(key, Verb::Start, id, id.into(), work).await.and_then(snapshot)
    }

    /// Sends a signal to a container's process, or to all its processes.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn kill(&self, id: &str, signal: i32, target: Target) -> Result<(), Error> {
        request::check_signal(signal)?;
        self.handle(id)?.kill(&self.context.runtime, signal, target).await
    }

    /// Ends a container: the signal, after `grace` SIGKILL, and answers when it
    /// has exited. A stopped one is as wanted. Runs to its end also when the
    /// caller does not wait for it.
    ///
    /// # Errors
    /// As [`Engine::start`]; [`Error::Timeout`] when it outlives SIGKILL.
    pub async fn stop(
        &self,
        id: &str,
        signal: i32,
        grace: Duration,
        key: Option<String>,
    ) -> Result<Exit, Error> {
        request::check_signal(signal)?;
        let (handle, context) = (self.handle(id), Arc::clone(&self.context));
        let work = async move {
            let handle = handle?;
            let stopped = tokio::spawn(async move { handle.stop(&context.runtime, signal, grace).await });
            stopped.await.map_err(|_| Error::Stopping)?.map(Answer::Exit)
        };
        let words = format!("{id} {signal} {grace:?}");
        match self.once(key, Verb::Stop, id, words, work).await? {
            Answer::Exit(exit) => Ok(exit),
            _ => Err(Error::Stopping),
        }
    }

    /// Ends a container as [`Engine::stop`] does, if it runs, and begins its next life. What was
    /// begun goes on also when the manager is killed.
    ///
    /// # Errors
    /// As [`Engine::stop`] and [`Engine::start`].
    pub async fn restart(
        &self,
        id: &str,
        signal: i32,
        grace: Duration,
        key: Option<String>,
    ) -> Result<Snapshot, Error> {
        request::check_signal(signal)?;
        let (handle, before) = (self.handle(id), key.is_some().then(|| self.lives(id)));
        let work = async move {
            handle?.ask(|reply| actor::Command::Restart { signal, grace, before, reply }).await.map(container)
        };
        let words = format!("{id} {signal} {grace:?}");
        self.once(key, Verb::Restart, id, words, work).await.and_then(snapshot)
    }

    /// Removes a container and all that was made for it.
    ///
    /// # Errors
    /// As [`Engine::start`]. A removal that failed half-way can be repeated.
    pub async fn delete(&self, id: &str, force: Force, key: Option<String>) -> Result<(), Error> {
        let handle = self.handle(id);
        let is_init = handle.as_ref().is_ok_and(|handle| self.is_init(&handle.snapshot()));
        let work = async move {
            let handle = handle?;
            if is_init {
                return Err(Error::IsInit { id: handle.snapshot().id.clone() });
            }
            let deleted = handle.ask(|reply| actor::Command::Delete { force, reply }).await;
            deleted.map(|()| Answer::Done)
        };
        self.once(key, Verb::Delete, id, format!("{id} {force:?}"), work).await.map(drop)
    }

    /// Stops all processes of a running container where they are. A paused one is as wanted.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn pause(&self, id: &str, key: Option<String>) -> Result<Snapshot, Error> {
        let handle = self.handle(id);
        let work = async move { handle?.ask(|reply| actor::Command::Pause { reply }).await.map(container) };
        self.once(key, Verb::Pause, id, id.into(), work).await.and_then(snapshot)
    }

    /// Lets the processes of a paused container go on. A running one is as wanted.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn resume(&self, id: &str, key: Option<String>) -> Result<Snapshot, Error> {
        let handle = self.handle(id);
        let work = async move { handle?.ask(|reply| actor::Command::Resume { reply }).await.map(container) };
        self.once(key, Verb::Resume, id, id.into(), work).await.and_then(snapshot)
    }

    /// Changes limits of a container that lives: all that are given, or none.
    ///
    /// # Errors
    /// As [`Engine::start`]; [`Error::Refused`] with every mistake.
    pub async fn update(&self, id: &str, limits: Limits, key: Option<String>) -> Result<Snapshot, Error> {
        request::check_update(id, &limits)?;
        let (handle, words) = (self.handle(id), format!("{id} {limits:?}"));
        let work = async move {
            handle?
                .ask(|reply| actor::Command::Update { limits: Box::new(limits), reply })
                .await
                .map(container)
        };
        self.once(key, Verb::Update, id, words, work).await.and_then(snapshot)
    }

    /// Goes on with a container's log in a new file, if the old one was moved away.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        self.handle(id)?.reopen_log().await
    }

    /// What is known of the operation with this key; waits for nobody.
    ///
    /// # Errors
    /// [`Error::NoOperation`].
    pub fn operation(&self, key: &str) -> Result<Operation, Error> {
        self.recall(key);
        self.context.operations.get(key).ok_or_else(|| Error::NoOperation { key: key.into() })
    }

    /// What is known of all operations with a key; waits for nobody.
    pub fn operations(&self) -> Vec<Operation> {
        self.context.operations.doubts().iter().for_each(|key| self.recall(key));
        self.context.operations.all()
    }

    /// Forgets operations that were remembered for long enough.
    pub fn forget_old(&self) {
        self.context.operations.forget_old();
    }

    /// Gives up a creation that is under way, and answers when it is undone.
    ///
    /// # Errors
    /// [`Error::NoOperation`]; [`Error::WrongPhase`] when it is no creation, or has ended.
    pub async fn cancel(&self, key: &str) -> Result<(), Error> {
        let operation = self.operation(key)?;
        if matches!(operation.verb, Verb::CreateSandbox | Verb::DeleteSandbox) {
            return Err(Error::Without {
                attempted: format!("cancel the operation on sandbox {:?}", operation.container),
                because: "it takes but a moment; delete the sandbox instead".into(),
            });
        }
        let handle = self.handle(&operation.container)?;
        if operation.verb != Verb::Create || operation.ended_at.is_some() {
            return Err(Error::WrongPhase {
                id: operation.container,
                attempted: "cancel its operation",
                phase: handle.snapshot().phase,
                hint: "only a creation that is under way can be cancelled; kill or delete the container",
            });
        }
        handle.ask(|reply| actor::Command::Cancel { reply }).await
    }

    /// How many lives of a container have begun, as far as is known.
    fn lives(&self, id: &str) -> u32 {
        self.context.directory.get(id).map_or(0, |handle| recall::lives(&handle.snapshot()))
    }

    /// Does `work`; with a key, only if no operation of that key does.
    async fn once(
        &self,
        key: Option<String>,
        verb: Verb,
        id: &str,
        request: String,
        work: impl Future<Output = Result<Answer, Error>> + Send + 'static,
    ) -> Result<Answer, Error> {
        let work = measure::operation(&self.context, verb, id, key.as_deref(), work);
        let Some(key) = key else { return work.await };
        request::check_key(&key)?;
        self.recall(&key);
        let lives = self.lives(id);
        let asked =
            Asked { key, verb, container: id.into(), lives, request: Some(Fingerprint::of(&request)) };
        self.context.operations.once(asked, work).await
    }

    /// What these containers use now, or without any, all that live; asks no shim.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongPhase`] for one without processes; for a single one also
    /// what the kernel said, when there is no earlier sample.
    pub async fn stats(&self, ids: &[String]) -> Result<Vec<stats::Sample>, Error> {
        stats::read(&self.context, ids).await
    }

    /// The processes of a container; asks no shim.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongPhase`] when it has none; what the kernel said.
    pub async fn processes(&self, id: &str) -> Result<Vec<Process>, Error> {
        let snapshot = self.get(id)?;
        let (root, id) = (self.context.settings.runtime_root(), snapshot.id.clone());
        let read = blocking(move || {
            let pids = || {
                observe::processes(&root, &id).map_err(|failure| Error::Failed {
                    attempted: format!("list the processes of container {id:?}"),
                    failure: Box::new(Failure {
                        stage: failure.stage.clone(),
                        object: failure.object.clone(),
                        message: failure.to_string(),
                        ..Failure::default()
                    }),
                })
            };
            processes::read(&pids()?, pids)
        });
        match (read.await, snapshot.phase) {
            (Err(_), phase @ (Phase::Creating | Phase::Stopped | Phase::Deleting | Phase::Failed)) => {
                let (attempted, hint) = ("list its processes", "only a container that lives has processes");
                Err(Error::WrongPhase { id: snapshot.id.clone(), attempted, phase, hint })
            }
            (result, _) => result,
        }
    }

    /// Waits for an exit of it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Removed`] when it goes without that exit.
    pub async fn wait(&self, id: &str, what: WaitFor) -> Result<Exit, Error> {
        self.handle(id)?.wait(what).await
    }

    /// What is known of one container; waits for nobody.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn get(&self, id: &str) -> Result<Snapshot, Error> {
        Ok(self.handle(id)?.snapshot())
    }

    /// What is known of all containers, by name; waits for nobody.
    pub fn list(&self) -> Vec<Snapshot> {
        self.context.directory.all().iter().map(Handle::snapshot).collect()
    }

    /// Looks at what is known of one container, without a copy; waits for nobody.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn look<T>(&self, id: &str, look: impl FnOnce(&Snapshot) -> T) -> Result<T, Error> {
        Ok(look(&self.handle(id)?.snapshots().borrow()))
    }

    /// Looks at all containers, by name, until `look` has seen enough; waits for nobody.
    pub fn look_at_all(&self, mut look: impl FnMut(&Snapshot) -> ControlFlow<()>) {
        for snapshots in self.context.directory.snapshots() {
            if look(&snapshots.borrow()).is_break() {
                return;
            }
        }
    }

    /// Where the files of a container are, and its snapshots as they change.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn follow(&self, id: &str) -> Result<(Paths, tokio::sync::watch::Receiver<Snapshot>), Error> {
        let handle = self.handle(id)?;
        Ok((handle.paths.clone(), handle.snapshots()))
    }

    /// How many containers there are, and how many of them run, without the inits of sandboxes.
    pub fn count(&self) -> (usize, usize) {
        let mut all = self.list();
        all.retain(|s| !self.is_init(s));
        (all.len(), all.iter().filter(|s| matches!(s.phase, Phase::Running | Phase::Paused)).count())
    }

    fn handle(&self, id: &str) -> Result<Handle, Error> {
        self.context.directory.get(id).ok_or_else(|| Error::NotFound { id: id.into() })
    }
}

fn container(snapshot: Snapshot) -> Answer {
    Answer::Container(Box::new(snapshot))
}

fn snapshot(answer: Answer) -> Result<Snapshot, Error> {
    match answer {
        Answer::Container(snapshot) => Ok(*snapshot),
        // A key belongs to one verb, and each has one kind of answer.
        Answer::Exit(_) | Answer::Exec(_) | Answer::Sandbox(_) | Answer::Done => Err(Error::Stopping),
    }
}

/// Runs `work` where it may wait for a disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopping)?
}

#[cfg(test)]
pub(crate) fn snapshot_for_tests(record: &record::Record) -> Snapshot {
    container::first_snapshot(record)
}
