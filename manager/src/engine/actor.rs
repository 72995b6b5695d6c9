//! One task per container, which alone changes what is known of it.
//!
//! ```text
//!            create            start            exit
//! (reserved) ──────▶ Created ────────▶ Running ──────▶ Stopped
//!     │ failed           │  start failed: exits   ▲       │
//!     ▼                  └────────────────────────┘       │
//!  undone ─ cannot ─▶ Failed                              │
//!                        │            delete              │
//!                        └──────▶ Deleting ◀──────────────┘
//!                                    ├─▶ (gone)
//!                                    └─▶ Deleting, to be repeated
//! ```
//!
//! Beside the phase there is how it is supervised: by its shim, which may be
//! silent for a while (*degraded*); by nobody, when the shim was killed and the
//! process lives on; or no more, since it has exited.
//!
//! The actor waits for one thing at a time, each with a deadline; commands
//! queue in a mailbox of fixed length, news of the shim in another.

use super::container::Container;
use super::delete;
use super::error::Error;
use crate::model::{Phase, Snapshot};
use crate::shims::client::Force;
use crate::shims::runtime::{Held, Life};
use crate::shims::watch::{News, watch};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// News of a shim that the actor has not looked at, at most.
const NEWS: usize = 32;
/// How often a process without a shim is looked at.
const ORPHAN: Duration = Duration::from_millis(250);

/// What an actor can be asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Execute the container's process.
    Start {
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
}

/// Who sees the exit.
#[derive(Debug)]
enum Supervision {
    /// The shim, which is watched.
    Shim,
    /// Nobody: the shim was killed. The process is looked at now and then.
    Orphan(Option<Held>),
    /// There is nothing left to see.
    Over,
}

struct Actor {
    container: Container,
    supervision: Supervision,
    news: mpsc::Receiver<News>,
    watcher: JoinHandle<()>,
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Serves a container until it is removed or the engine is dropped.
pub(super) async fn run(container: Container, mut mailbox: mpsc::Receiver<Command>) {
    let (sender, news) = mpsc::channel(NEWS);
    let watcher = tokio::spawn(watch(container.shim.clone(), container.learned, sender));
    let mut actor = Actor { container, supervision: Supervision::Shim, news, watcher };
    loop {
        tokio::select! {
            command = mailbox.recv() => match command {
                Some(Command::Start { reply }) => answer(reply, actor.start().await),
                Some(Command::Delete { force, reply }) => match actor.delete(force).await {
                    Ok(()) => return gone(actor, reply),
                    Err(error) => answer(reply, Err(error)),
                },
                None => return,
            },
            Some(news) = actor.news.recv() => actor.hear(news).await,
            () = look_again(&actor.supervision) => actor.look().await,
        }
    }
}

async fn look_again(supervision: &Supervision) {
    match supervision {
        Supervision::Orphan(_) => tokio::time::sleep(ORPHAN).await,
        Supervision::Shim | Supervision::Over => std::future::pending().await,
    }
}

/// Ids, then the name, then the answer: whoever has it can use the name again.
fn gone(actor: Actor, reply: oneshot::Sender<Result<(), Error>>) {
    let id = actor.container.id().to_owned();
    let context = Arc::clone(&actor.container.context);
    drop(actor);
    context.directory.release(&id);
    tracing::info!(container = id, "deleted");
    answer(reply, Ok(()));
}

fn answer<T>(reply: oneshot::Sender<Result<T, Error>>, result: Result<T, Error>) {
    if reply.send(result).is_err() {
        tracing::debug!("a caller did not wait for its answer");
    }
}

impl Actor {
    async fn start(&mut self) -> Result<Snapshot, Error> {
        let container = &mut self.container;
        let phase = container.phase();
        if phase != Phase::Created {
            let hint = match phase {
                Phase::Running => "it runs already",
                Phase::Stopped => "a container runs once: delete it and create it again",
                _ => "only a created container can be started",
            };
            return Err(Error::WrongPhase { id: container.id().into(), attempted: "start it", phase, hint });
        }
        let started = container.shim.start().await;
        // Also after a failure: the record of it is in the journal.
        container.catch_up().await?;
        started?;
        tracing::info!(container = container.id(), "started");
        Ok(container.snapshot.borrow().clone())
    }

    async fn delete(&mut self, force: Force) -> Result<(), Error> {
        delete::delete(&mut self.container, force).await
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Event(event) => {
                if let Err(error) = self.container.take_in(event).await {
                    self.degrade(error.chain());
                }
            }
            News::Heard { shim_pid } => {
                if let Err(error) = self.container.catch_up().await {
                    return self.degrade(error.chain());
                }
                self.container.set(|s| {
                    if s.degraded.take().is_some() {
                        tracing::info!(container = s.id, "its shim answers again");
                    }
                    s.heard = Instant::now();
                    s.shim_pid = Some(shim_pid);
                });
            }
            News::Silent(because) => self.degrade(because),
            News::Gone => {
                self.container.set(|s| s.shim_pid = None);
                let held = self.container.snapshot.borrow().pid.and_then(Held::new);
                self.supervision = Supervision::Orphan(held);
                self.look().await;
            }
        }
    }

    /// Looks what became of a container whose shim is gone.
    async fn look(&mut self) {
        if let Err(error) = self.settle().await {
            self.degrade(error.chain());
        }
    }

    async fn settle(&mut self) -> Result<(), Error> {
        self.container.catch_up().await?;
        let known = self.container.snapshot.borrow().exit.is_some();
        let unmade = self.container.snapshot.borrow().phase == Phase::Failed;
        if known || unmade {
            self.supervision = Supervision::Over;
            self.container.set(|s| s.degraded = None);
            return Ok(());
        }
        let first_look = self.container.snapshot.borrow().degraded.as_deref() != Some(UNSUPERVISED);
        let Supervision::Orphan(held) = &self.supervision else { return Ok(()) };
        let alive = match held {
            Some(held) if held.ended() => false,
            // The number alone does not prove that it is the container's process.
            Some(_) if first_look => {
                self.container.context.runtime.life(self.container.id()).await? == Life::Alive
            }
            Some(_) => true,
            None => false,
        };
        if alive {
            self.degrade(UNSUPERVISED.into());
            return Ok(());
        }
        tracing::warn!(container = self.container.id(), "its shim was killed: the exit status is unknown");
        self.container.lost_exit().await?;
        self.supervision = Supervision::Over;
        self.container.set(|s| s.degraded = None);
        Ok(())
    }

    fn degrade(&self, because: String) {
        self.container.set(|s| {
            if s.degraded.as_ref() != Some(&because) {
                tracing::warn!(container = s.id, because, "degraded");
                s.degraded = Some(because);
            }
        });
    }
}

/// Why a container without a shim is degraded.
const UNSUPERVISED: &str =
    "its shim was killed; the process lives on and nothing collects its output or its exit";
