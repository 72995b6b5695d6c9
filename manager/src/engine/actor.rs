//! One task per container, which alone changes what is known of it.
//!
//! ```text
//!                                      Paused
//!                                 pause ▲  │ resume
//!            create            start    │  ▼         exit
//! (reserved) ──────▶ Created ────────▶ Running ──────▶ Stopped
//!     │ failed        ▲  │  start failed: exits   ▲       │ │
//!     ▼               │  └────────────────────────┘       │ │
//!  undone ─ cannot    └───────────────────────────────────┘ │
//!             │         the next life: by its policy        │
//!             ▼         when it is due, start or restart    │
//!           Failed                    delete                │
//!                        └──────▶ Deleting ◀──────────────┘
//!                                    ├─▶ (gone)
//!                                    └─▶ Deleting, to be repeated
//! ```
//!
//! Beside the phase there is how it is supervised: by its shim, which may be
//! silent for a while (*degraded*); by nobody, when the shim was killed, until
//! another has taken over; or no more, since it has exited.
//!
//! The actor carries out one command at a time, each call with a deadline, and
//! hears what its shim does meanwhile; commands queue in a mailbox of fixed
//! length, news of the shim in another. A forced deletion does not wait for a
//! start that hangs, nor for a creation ([`super::create`]).

use super::container::Container;
use super::delete;
use super::error::Error;
use super::health::{self, Found};
use super::mailbox::Mailbox;
use super::recall;
use super::takeover::{Attempts, TakenOver, adopt, take_over};
use crate::model::{Phase, Snapshot};
use crate::shims::client::{Force, Listener, listener};
use crate::shims::watch::{News, watch};
use sextant_runtime::contract::args::Limits;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// News of a shim that the actor has not looked at, at most.
const NEWS: usize = 4;

/// Why a container without a shim is degraded.
const UNSUPERVISED: &str = "its shim was killed, and another cannot take over";

/// What an actor can be asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Execute the container's process.
    Start {
        /// How many lives had begun when it was asked for, if it has a key: one that has begun since is what
        /// was asked for.
        before: Option<u32>,
        /// The container afterwards.
        reply: oneshot::Sender<Result<Snapshot, Error>>,
    },
    /// Stop its processes where they are.
    Pause {
        /// The container afterwards.
        reply: oneshot::Sender<Result<Snapshot, Error>>,
    },
    /// Let them go on.
    Resume {
        /// The container afterwards.
        reply: oneshot::Sender<Result<Snapshot, Error>>,
    },
    /// Change its limits.
    Update {
        /// Which, to what.
        limits: Box<Limits>,
        /// The container afterwards.
        reply: oneshot::Sender<Result<Snapshot, Error>>,
    },
    /// Remove the container.
    Delete {
        /// Also when it runs.
        force: Force,
        /// When nothing is left.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// End its process, if it runs, and begin its next life.
    Restart {
        /// What is sent first.
        signal: i32,
        /// The time until SIGKILL.
        grace: Duration,
        /// As of a start.
        before: Option<u32>,
        /// The container afterwards.
        reply: oneshot::Sender<Result<Snapshot, Error>>,
    },
    /// Begin no further life: a client has stopped it, and has said so where that is kept.
    Halt {
        /// When none will begin; fails where it is not known whether one has begun.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// See to it that a stopped container has a shim.
    Supply {
        /// When it has.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Give its creation up, if that has not ended.
    Cancel {
        /// When nothing is left.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

impl Command {
    /// Why it ends a start that is under way, if it does.
    pub(super) fn ends_start(&self) -> Option<&'static str> {
        matches!(self, Self::Delete { force: Force::Yes, .. }).then_some("it is deleted")
    }

    /// Why it ends a creation that is under way, if it does.
    pub(super) fn ends_creation(&self) -> Option<&'static str> {
        match self {
            Self::Cancel { .. } => Some("it was cancelled"),
            _ => self.ends_start(),
        }
    }
}

/// Where a container runs, if it is let.
const RUNS: &[Phase] = &[Phase::Running, Phase::Paused];
/// Where a container has processes.
const LIVES: &[Phase] = &[Phase::Created, Phase::Running, Phase::Paused];

/// What its shim can change of a container that lives.
enum Change {
    Pause,
    Resume,
    Update(Box<Limits>),
}

/// How a life begins that a client asks for.
enum Begin {
    Start,
    /// The signal for the one before, and the time until SIGKILL.
    Restart(i32, Duration),
}

/// Who sees the exit.
#[derive(Debug)]
enum Supervision {
    /// The shim, which is watched.
    Shim,
    /// Nobody: the shim was killed. When another is to take over.
    Nobody(Instant),
    /// There is nothing left to see.
    Over,
}

/// A container, and who is about it.
pub(super) struct Actor {
    pub(super) container: Container,
    supervision: Supervision,
    news: mpsc::Receiver<News>,
    watcher: JoinHandle<()>,
    /// What its health check finds, if it has one.
    found: Option<mpsc::Receiver<Found>>,
    /// Who runs that.
    prober: Option<JoinHandle<()>>,
    /// To give it another shim.
    attempts: Attempts,
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.watcher.abort();
        if let Some(prober) = &self.prober {
            prober.abort();
        }
    }
}

/// Serves a container until it is removed or the engine is dropped.
///
/// What it is about is boxed before anything waits: a future has room for each place where a value has been.
pub(super) fn run(container: Container, mut mailbox: Mailbox) -> impl Future<Output = ()> + Send {
    let mut actor = Actor::of(container);
    async move {
        actor.finish_restart();
        loop {
            let (due, next) = (actor.due(), actor.container.due);
            // What is done is boxed as well: a container that is left alone has the memory of one that waits.
            tokio::select! {
                command = mailbox.next() => {
                    let Some(command) = command else { return };
                    if let Some(reply) = Box::pin(actor.carry_out(command, &mut mailbox)).await {
                        return gone(actor, reply);
                    }
                }
                Some(news) = actor.news.recv() => Box::pin(actor.hear(news)).await,
                found = hear_of_health(&mut actor.found) => Box::pin(actor.hear_of_health(found)).await,
                () = until(due) => Box::pin(actor.look()).await,
                () = until(next) => Box::pin(actor.revive(&mut mailbox)).await,
            }
        }
    }
}

async fn hear_of_health(found: &mut Option<mpsc::Receiver<Found>>) -> Found {
    match found {
        Some(found) => match found.recv().await {
            Some(found) => found,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Begins to follow the container's shim.
fn follow(container: &Container) -> (mpsc::Receiver<News>, JoinHandle<()>) {
    let (sender, news) = mpsc::channel(NEWS);
    let (shim, journal, changes) =
        (container.shim.clone(), container.paths.journal(), container.context.changes.clone());
    let answered = container.snapshot.borrow().shim_pid;
    (news, tokio::spawn(watch(shim, answered, journal, changes, sender)))
}

/// Begins to run its health check, if it has one.
fn probe(container: &Container) -> Option<(JoinHandle<()>, mpsc::Receiver<Found>)> {
    let check = container.record.check.clone()?;
    let (sender, found) = mpsc::channel(1);
    let snapshots = container.snapshot.subscribe();
    Some((tokio::spawn(health::watch(container.shim.clone(), check, snapshots, sender)), found))
}

/// Ids, then the name, then the answer: whoever has it can use the name again.
fn gone(actor: Box<Actor>, reply: oneshot::Sender<Result<(), Error>>) {
    let id = actor.container.id().to_owned();
    let context = Arc::clone(&actor.container.context);
    drop(actor);
    context.directory.release(&id);
    tracing::info!(container = id, "deleted");
    answer(reply, Ok(()));
}

pub(super) fn answer<T>(reply: oneshot::Sender<Result<T, Error>>, result: Result<T, Error>) {
    if reply.send(result).is_err() {
        tracing::debug!("a caller did not wait for its answer");
    }
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

impl Actor {
    /// About this container, whose shim is followed from now on.
    fn of(container: Container) -> Box<Self> {
        let (news, watcher) = follow(&container);
        let (prober, found) = probe(&container).unzip();
        let (supervision, attempts) = (Supervision::Shim, Attempts::none());
        Box::new(Self { container, supervision, news, watcher, found, prober, attempts })
    }

    /// Who is to hear that the container has gone, if it has.
    async fn carry_out(&mut self, command: Command, mailbox: &mut Mailbox) -> Option<Reply<()>> {
        match command {
            Command::Start { before, reply } => {
                answer(reply, self.begin(before, Begin::Start, mailbox).await);
            }
            Command::Pause { reply } => answer(reply, self.change(Change::Pause).await),
            Command::Resume { reply } => answer(reply, self.change(Change::Resume).await),
            Command::Update { limits, reply } => answer(reply, self.change(Change::Update(limits)).await),
            Command::Delete { force, reply } => match self.delete(force).await {
                Ok(()) => return Some(reply),
                Err(error) => answer(reply, Err(error)),
            },
            Command::Restart { signal, grace, before, reply } => {
                let how = Begin::Restart(signal, grace);
                answer(reply, self.begin(before, how, mailbox).await);
            }
            Command::Halt { reply } => {
                // A life may have begun that could not be taken in: it is none that is still to come.
                let known = self.container.catch_up().await;
                self.container.give_up().await;
                answer(reply, known);
            }
            Command::Supply { reply } => {
                let supplied = match self.container.phase() {
                    Phase::Stopped => self.supply().await,
                    _ => Ok(()),
                };
                answer(reply, supplied);
            }
            Command::Cancel { reply } => answer(reply, Err(self.too_late())),
        }
        None
    }

    /// Begins a life, unless one has been started since so many had.
    async fn begin(
        &mut self,
        before: Option<u32>,
        how: Begin,
        mailbox: &mut Mailbox,
    ) -> Result<Snapshot, Error> {
        if let Some(begun) = self.begun_since(before).await? {
            return Ok(begun);
        }
        match how {
            Begin::Start => self.start(mailbox).await,
            Begin::Restart(signal, grace) => self.restart(signal, grace, mailbox).await,
        }
    }

    /// The container, if a life has been started since so many had. What a shim did that was killed before it
    /// could say so is in the journal once another has taken over, of which the command may be ahead.
    ///
    /// # Errors
    /// The journal cannot be read: nothing is begun that may be there already.
    async fn begun_since(&mut self, before: Option<u32>) -> Result<Option<Snapshot>, Error> {
        let Some(before) = before else { return Ok(None) };
        self.container.catch_up().await?;
        let snapshot = self.container.snapshot.borrow();
        Ok(recall::is_started(&snapshot, before).then(|| snapshot.clone()))
    }

    pub(super) async fn start(&mut self, mailbox: &mut Mailbox) -> Result<Snapshot, Error> {
        let id = self.container.id().to_owned();
        match self.container.phase() {
            Phase::Created => {}
            Phase::Stopped => return self.start_anew(mailbox).await,
            phase => {
                let hint = match phase {
                    Phase::Running => "it runs already",
                    _ => "only a created or stopped container can be started",
                };
                return Err(Error::WrongPhase { id, attempted: "start it", phase, hint });
            }
        }
        self.container.due = None;
        self.container.halt.clear().await?;
        self.execute(mailbox).await?;
        Ok(self.container.snapshot.borrow().clone())
    }

    /// Has the process of a created container executed.
    pub(super) async fn execute(&mut self, mailbox: &mut Mailbox) -> Result<(), Error> {
        let id = self.container.id().to_owned();
        let shim = self.container.shim.clone();
        let started = tokio::select! {
            started = self.attend(async move { shim.start().await }) => started,
            because = mailbox.interrupted(Command::ends_start) => {
                Err(Error::Cancelled { id: id.clone(), attempted: "start it", because })
            }
        };
        // Also after a failure: the record of it is in the journal.
        self.container.catch_up_with_change().await?;
        if let Err(error @ Error::Timeout { .. }) = &started {
            self.container.degrade(error.chain()).await;
        }
        started?;
        tracing::info!(container = id, life = self.container.snapshot.borrow().life, "started");
        Ok(())
    }

    /// Goes on with a restart that a client has asked a manager before this one for.
    fn finish_restart(&self) {
        let Some((signal, grace)) = self.container.restart_to_finish() else { return };
        let context = Arc::clone(&self.container.context);
        let Some(handle) = context.directory.get(self.container.id()) else { return };
        tokio::spawn(async move {
            if let Err(error) = handle.end(&context.runtime, signal, grace).await {
                tracing::warn!(error = error.chain(), "a restart cannot be finished");
            }
        });
    }

    /// Makes sure that there is a shim, of which a stopped container may have been left without.
    ///
    /// # Errors
    /// When none can be started.
    pub(super) async fn supply(&mut self) -> Result<(), Error> {
        let is_there = listener(&self.container.paths.socket()).await != Listener::Absent;
        if !is_there {
            adopt(&mut self.container).await?;
        }
        if !is_there || !matches!(self.supervision, Supervision::Shim) {
            self.follow_again();
        }
        Ok(())
    }

    fn follow_again(&mut self) {
        self.watcher.abort();
        (self.news, self.watcher) = follow(&self.container);
        self.supervision = Supervision::Shim;
        self.attempts.has_shim(Instant::now());
    }

    async fn hear_of_health(&mut self, found: Found) {
        if health::take_in(&mut self.container, found).await {
            tracing::warn!(container = self.container.id(), "killed, since it is unhealthy");
            self.kill();
        }
    }

    /// Something that the shim changes, and that is in its journal then.
    async fn change(&mut self, change: Change) -> Result<Snapshot, Error> {
        let phase = self.container.phase();
        let (attempted, possible, hint) = match change {
            Change::Pause => ("pause it", RUNS, "only a running container can be paused"),
            Change::Resume => ("resume it", RUNS, "only a paused container can be resumed"),
            Change::Update(_) => ("update it", LIVES, "only a container that lives has limits to change"),
        };
        if !possible.contains(&phase) {
            return Err(Error::WrongPhase { id: self.container.id().into(), attempted, phase, hint });
        }
        let shim = self.container.shim.clone();
        let limits = match &change {
            Change::Update(limits) => Some(limits.clone()),
            Change::Pause | Change::Resume => None,
        };
        let changed = self.attend(async move {
            match change {
                Change::Pause => shim.pause().await,
                Change::Resume => shim.resume().await,
                Change::Update(limits) => shim.update(&limits).await,
            }
        });
        let changed = changed.await;
        self.container.catch_up_with_change().await?;
        if let Err(error @ Error::Timeout { .. }) = &changed {
            self.container.degrade(error.chain()).await;
        }
        changed?;
        if let Some(limits) = limits {
            self.container.keep_limits(&limits).await;
        }
        Ok(self.container.snapshot.borrow().clone())
    }

    /// A cancellation came after the creation.
    fn too_late(&self) -> Error {
        Error::WrongPhase {
            id: self.container.id().into(),
            attempted: "cancel its creation",
            phase: self.container.phase(),
            hint: "delete it instead",
        }
    }

    /// Waits for a call to the shim, and hears meanwhile what becomes of it.
    pub(super) async fn attend<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        loop {
            tokio::select! {
                result = &mut call => return result,
                Some(news) = self.news.recv() => self.hear(news).await,
            }
        }
    }

    async fn delete(&mut self, force: Force) -> Result<(), Error> {
        delete::delete(&mut self.container, force).await
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Changed => {
                if let Err(error) = self.container.catch_up().await {
                    self.container.degrade(error.chain()).await;
                }
            }
            News::Heard { shim_pid, dropped } => {
                self.container.count_dropped(shim_pid, dropped);
                if let Err(error) = self.container.catch_up().await {
                    return self.container.degrade(error.chain()).await;
                }
                self.container.recover().await;
                self.container.set(|s| {
                    s.heard = Instant::now();
                    s.shim_pid = Some(shim_pid);
                });
                self.container.hold();
            }
            News::Silent(because) => self.container.degrade(because).await,
            News::Gone => {
                self.container.set(|s| s.shim_pid = None);
                match self.attempts.has_gone(Instant::now()) {
                    None => self.look().await,
                    Some(pause) => self.retry(pause),
                }
            }
        }
    }

    /// When another attempt to give the container a shim is due.
    fn due(&self) -> Option<Instant> {
        match self.supervision {
            Supervision::Nobody(due) => Some(due),
            Supervision::Shim | Supervision::Over => None,
        }
    }

    fn retry(&mut self, pause: Duration) {
        self.supervision = Supervision::Nobody(Instant::now() + pause);
    }

    /// Gives a container whose shim is gone another one, if it still needs one.
    async fn look(&mut self) {
        let attempt = self.attempts.next();
        match take_over(&mut self.container, attempt).await {
            Ok(TakenOver::Yes) => {
                self.follow_again();
            }
            Ok(TakenOver::Needless) => {
                self.supervision = Supervision::Over;
                self.container.recover().await;
            }
            Err(error) => {
                self.container.degrade(format!("{UNSUPERVISED}: {}", error.chain())).await;
                self.retry(self.attempts.pause());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// It is there as long as its container is.
    #[test]
    fn a_task_that_waits_is_small() {
        assert!(bytes(run) <= 1024, "{} bytes", bytes(run));
    }
}
