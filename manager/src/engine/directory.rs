//! All containers by name, and what a caller can do with one without its
//! actor's help. The lock is held for a look-up and never over a wait.

use super::actor::Command;
use super::error::Error;
use super::halt::Halt;
use super::mailbox::MAILBOX;
use super::record::Paths;
use crate::model::{Exit, Phase, RestartWhen, Snapshot, WaitFor};
use crate::shims::client::{Client, Listener, Target, listener};
use crate::shims::runtime::Runtime;
use nix::libc::SIGKILL;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Signals under way to one container, at most.
const SIGNALS: usize = 16;
/// Containers, at most: each costs an actor and a few descriptors.
const CONTAINERS: usize = 16_384;
/// Sandboxes, at most: each costs a few mounts.
const SANDBOXES: usize = 4096;
/// How long SIGKILL may take; a process in an uninterruptible wait outlives it.
const KILLED: Duration = Duration::from_secs(30);

/// The containers of an engine.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    names: Mutex<Names>,
}

/// Containers and sandboxes have one name space. Only the init of a sandbox has that one's name.
#[derive(Debug, Default)]
struct Names {
    containers: BTreeMap<String, Handle>,
    sandboxes: BTreeSet<String>,
    /// Nobody's, while what is left of it is being removed.
    aside: BTreeSet<String>,
}

impl Names {
    /// That nothing is being removed of this name.
    fn refuse_aside(&self, id: &str) -> Result<(), Error> {
        match self.aside.contains(id) {
            true => Err(Error::Exhausted {
                what: format!(
                    "containers or sandboxes of the name {id:?}: what is left of one is being removed"
                ),
                hint: "try again in a moment",
            }),
            false => Ok(()),
        }
    }
}

impl Directory {
    /// The container of this name.
    pub(super) fn get(&self, id: &str) -> Option<Handle> {
        self.lock().containers.get(id).cloned()
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<Handle> {
        self.lock().containers.values().cloned().collect()
    }

    /// What is known of each, by name, as it changes.
    pub(super) fn snapshots(&self) -> Vec<watch::Receiver<Snapshot>> {
        self.lock().containers.values().map(Handle::snapshots).collect()
    }

    /// Takes the name for this container.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::SandboxExists`], [`Error::Exhausted`].
    pub(super) fn reserve(&self, id: &str, handle: Handle) -> Result<(), Error> {
        let mut names = self.lock();
        names.refuse_aside(id)?;
        if names.sandboxes.contains(id) && !handle.snapshot().placement.init {
            return Err(Error::SandboxExists { id: id.into() });
        }
        if names.containers.len() >= CONTAINERS {
            let what = format!("containers: there are {CONTAINERS}");
            return Err(Error::Exhausted { what, hint: "delete some" });
        }
        match names.containers.entry(id.into()) {
            Entry::Occupied(_) => Err(Error::Exists { id: id.into() }),
            Entry::Vacant(entry) => {
                entry.insert(handle);
                Ok(())
            }
        }
    }

    /// Gives the name back.
    pub(super) fn release(&self, id: &str) {
        self.lock().containers.remove(id);
    }

    /// Takes the name for a sandbox.
    ///
    /// # Errors
    /// [`Error::SandboxExists`], [`Error::Exists`], [`Error::Exhausted`].
    pub(super) fn reserve_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut names = self.lock();
        names.refuse_aside(id)?;
        if names.sandboxes.len() >= SANDBOXES {
            let what = format!("sandboxes: there are {SANDBOXES}");
            return Err(Error::Exhausted { what, hint: "delete some" });
        }
        if names.containers.contains_key(id) {
            return Err(Error::Exists { id: id.into() });
        }
        match names.sandboxes.insert(id.into()) {
            true => Ok(()),
            false => Err(Error::SandboxExists { id: id.into() }),
        }
    }

    /// Gives the name of a sandbox back.
    pub(super) fn release_sandbox(&self, id: &str) {
        self.lock().sandboxes.remove(id);
    }

    /// All names that are taken.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let names = self.lock();
        names.containers.keys().chain(&names.sandboxes).cloned().collect()
    }

    /// Keeps everybody from taking this name, which nobody has, until [`Directory::put_back`]; whether that is
    /// so.
    pub(super) fn set_aside(&self, id: &str) -> bool {
        let mut names = self.lock();
        let free = !names.containers.contains_key(id) && !names.sandboxes.contains(id);
        free && names.aside.insert(id.into())
    }

    /// The name can be taken again.
    pub(super) fn put_back(&self, id: &str) {
        self.lock().aside.remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the rest of the engine holds of one container.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(super) paths: Paths,
    mailbox: mpsc::Sender<Command>,
    snapshots: watch::Receiver<Snapshot>,
    shim: Client,
    signals: Arc<Semaphore>,
    halt: Halt,
}

impl Handle {
    pub(super) fn new(
        paths: Paths,
        mailbox: mpsc::Sender<Command>,
        snapshots: watch::Receiver<Snapshot>,
        shim: Client,
        halt: Halt,
    ) -> Self {
        Self { paths, mailbox, snapshots, shim, signals: Arc::new(Semaphore::new(SIGNALS)), halt }
    }

    /// Its shim.
    pub(super) fn shim(&self) -> &Client {
        &self.shim
    }

    /// What is known now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// What is known now, without a copy; `look` is not to wait.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Snapshot) -> T) -> T {
        look(&self.snapshots.borrow())
    }

    /// How many commands wait.
    pub(super) fn waiting(&self) -> usize {
        self.mailbox.max_capacity().saturating_sub(self.mailbox.capacity())
    }

    /// What is known, as it changes.
    pub(super) fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// Puts a command into the mailbox and waits for its answer.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let id = || self.snapshots.borrow().id.clone();
        let (reply, answer) = oneshot::channel();
        self.mailbox.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Exhausted {
                what: format!("operations on container {:?}: {MAILBOX} are waiting", id()),
                hint: "wait for those under way",
            },
            mpsc::error::TrySendError::Closed(_) => Error::NotFound { id: id() },
        })?;
        // Whatever ends an actor removes the container, or stops the manager.
        answer.await.map_err(|_| Error::NotFound { id: id() })?
    }

    /// Waits for an exit.
    pub(super) async fn wait(&self, what: WaitFor) -> Result<Exit, Error> {
        let life = {
            let now = self.snapshots.borrow();
            now.life.max(1) + u32::from(what == WaitFor::NextExit && now.exit.is_some())
        };
        self.wait_from(life, what).await
    }

    /// The same, of the life of this number or a later one.
    async fn wait_from(&self, life: u32, what: WaitFor) -> Result<Exit, Error> {
        let mut snapshots = self.snapshots();
        let is_over = |s: &Snapshot| match what {
            // Whoever looks late sees the next life, and in it how the one before ended.
            WaitFor::Exit | WaitFor::NextExit => s.life > life || s.life == life && s.exit.is_some(),
            WaitFor::Settled => s.is_settled(),
        };
        let exit = |s: &Snapshot| s.exit.clone().or_else(|| s.last_exit.clone());
        // An error says that the actor has ended; its last word counts.
        let last = match snapshots.wait_for(is_over).await {
            Ok(snapshot) => exit(&snapshot),
            Err(_) if what == WaitFor::NextExit => None,
            Err(_) => self.snapshots.borrow().exit.clone(),
        };
        last.ok_or_else(|| Error::Removed { id: self.snapshots.borrow().id.clone() })
    }

    /// Sends a signal through the shim, or without it when it is gone.
    pub(super) async fn kill(&self, runtime: &Runtime, signal: i32, target: Target) -> Result<(), Error> {
        let id = self.signalable()?;
        let _permit = self.signals.try_acquire().map_err(|_| Error::Exhausted {
            what: format!("signals to container {id:?}: {SIGNALS} are under way"),
            hint: "wait for those under way",
        })?;
        let error = match self.shim.kill(signal, target).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // It may have exited while the signal was on its way.
        self.signalable()?;
        match error {
            Error::Unreachable { .. } if listener(self.shim.socket()).await == Listener::Absent => {
                runtime.kill(&id, signal, target).await
            }
            error => Err(error),
        }
    }

    /// Whether it has stopped, and nobody remembers its execs since its shim was killed.
    pub(super) async fn lacks_shim(&self) -> bool {
        let stopped = self.look(|snapshot| snapshot.phase == Phase::Stopped);
        stopped && listener(self.shim.socket()).await == Listener::Absent
    }

    /// Gives it a shim, which learns from its journal what there is to know.
    pub(super) async fn supply(&self) -> Result<(), Error> {
        self.ask(|reply| Command::Supply { reply }).await
    }

    /// Lets the shim go on with the log in a new file.
    pub(super) async fn reopen_log(&self) -> Result<(), Error> {
        let snapshot = self.snapshot();
        match snapshot.phase {
            Phase::Created | Phase::Running | Phase::Paused => self.shim.reopen_log().await,
            phase => Err(Error::WrongPhase {
                id: snapshot.id.clone(),
                attempted: "open its log anew",
                phase,
                hint: "only the log of a container that lives is written to",
            }),
        }
    }

    /// As [`Handle::end`], and it is not restarted. A stopped one is as wanted, once no life is to come.
    pub(super) async fn stop(&self, runtime: &Runtime, signal: i32, grace: Duration) -> Result<Exit, Error> {
        let now = self.snapshot();
        if now.restart.when != RestartWhen::Never || now.next.is_some() {
            // A full disk keeps nobody from being stopped; it is forgotten with the manager then.
            if let Err(error) = self.halt.set().await {
                tracing::warn!(container = now.id, error = error.chain(), "a stop is not on disk");
            }
            if self.snapshot().exit.is_some() {
                self.ask(|reply| Command::Halt { reply }).await?;
            }
        }
        self.end(runtime, signal, grace).await
    }

    /// Signal, grace, SIGKILL, exit.
    pub(super) async fn end(&self, runtime: &Runtime, signal: i32, grace: Duration) -> Result<Exit, Error> {
        let Snapshot { exit, life, .. } = self.snapshot();
        if let Some(exit) = exit {
            return Ok(exit);
        }
        // Another life may begin as soon as this one has ended.
        let exit = || self.wait_from(life.max(1), WaitFor::Exit);
        let first = if grace.is_zero() { SIGKILL } else { signal };
        self.kill_or_exited(runtime, first).await?;
        if first != SIGKILL {
            // What is paused cannot heed the signal. It goes on with that, or is killed later.
            if self.snapshot().phase == Phase::Paused
                && let Err(error) = self.shim.resume().await
            {
                tracing::info!(container = self.snapshot().id, error = error.chain(), "stopped while paused");
            }
            if let Ok(exit) = tokio::time::timeout(grace, exit()).await {
                return exit;
            }
            self.kill_or_exited(runtime, SIGKILL).await?;
        }
        tokio::time::timeout(KILLED, exit()).await.unwrap_or_else(|_| {
            let attempted = format!("stop container {:?}, to which SIGKILL was sent", self.snapshot().id);
            Err(Error::Timeout { attempted, after: KILLED })
        })
    }

    /// A process that exits before the signal comes has done what was wanted.
    async fn kill_or_exited(&self, runtime: &Runtime, signal: i32) -> Result<(), Error> {
        let Err(error) = self.kill(runtime, signal, Target::Init).await else { return Ok(()) };
        // The exit may be known to the shim a moment before it is known here.
        let settle = Duration::from_millis(500);
        match tokio::time::timeout(settle, self.wait(WaitFor::Exit)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(error),
        }
    }

    /// The id, when there is a process that a signal can reach.
    fn signalable(&self) -> Result<String, Error> {
        let snapshot = self.snapshot();
        match snapshot.phase {
            Phase::Created | Phase::Running | Phase::Paused | Phase::Deleting if snapshot.exit.is_none() => {
                Ok(snapshot.id.clone())
            }
            phase => Err(Error::WrongPhase {
                id: snapshot.id.clone(),
                attempted: "send a signal",
                phase,
                hint: "only a created or running container takes signals",
            }),
        }
    }
}
