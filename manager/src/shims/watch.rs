//! Following one shim: whether its journal has grown, whether its process is there, and whether it still
//! answers. Nothing is dropped: the receiver's queue is bounded, and when it is full nobody looks. What the
//! news mean is decided by the container's actor, which reads the journal itself.

use super::changes::{Changes, Sight};
use super::client::{Client, Listener, listener};
use crate::engine::error::Error;
use crate::metrics::Dropped;
use crate::sys;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often a silent shim is asked whether it lives; where there are many, not so often.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Time between the questions to all of them together: each takes 1.2 ms of CPU here, and 0.5 in the shim.
const QUESTION: Duration = Duration::from_millis(40);
/// How often one that did not answer is asked.
const DOUBT: Duration = Duration::from_secs(1);
/// How often it is looked at whether its connection is used.
const REST: Duration = Duration::from_secs(2);
/// How often it is looked at whether a shim whose connection broke still listens.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(5);
/// Pause between attempts to connect, doubled up to the heartbeat.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What is told to the actor.
#[derive(Debug)]
pub enum News {
    /// There may be more in the journal.
    Changed,
    /// The shim has answered.
    Heard {
        /// Its pid.
        shim_pid: i32,
        /// What it has dropped of the output.
        dropped: Dropped,
    },
    /// The shim does not answer: because of what.
    Silent(String),
    /// Nobody listens on its socket.
    Gone,
}

/// Follows the shim, and the journal at `journal`. `answered` is its pid where it has just answered: it need
/// not be asked at once then. Returns when the shim is gone or nobody listens to the news any more.
pub async fn watch(
    client: Client,
    answered: Option<i32>,
    journal: PathBuf,
    changes: Changes,
    news: mpsc::Sender<News>,
) {
    let mut pause = FIRST_PAUSE;
    let mut sight = changes.of(&journal);
    let mut known = answered.and_then(|pid| client.process(pid));
    loop {
        let because = match follow(&client, known.take(), &mut sight, &mut pause, &news).await {
            Ok(because) => because,
            Err(NobodyListens) => return,
        };
        let gone = is_gone(client.socket()).await;
        if news.send(if gone { News::Gone } else { News::Silent(because) }).await.is_err() || gone {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(HEARTBEAT);
    }
}

/// Whether nobody listens any more. A process that was killed closes its connections and its
/// socket one after the other, so that the look is repeated.
async fn is_gone(socket: &Path) -> bool {
    for _ in 0..LOOKS {
        if listener(socket).await == Listener::Absent {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

/// The actor has ended.
struct NobodyListens;

impl<T> From<mpsc::error::SendError<T>> for NobodyListens {
    fn from(_: mpsc::error::SendError<T>) -> Self {
        Self
    }
}

/// Looks at the journal and asks for signs of life until the shim has gone; says why it seems so. Its process
/// is `known` where it has just answered.
async fn follow(
    client: &Client,
    known: Option<Arc<OwnedFd>>,
    sight: &mut Sight,
    pause: &mut Duration,
    news: &mpsc::Sender<News>,
) -> Result<String, NobodyListens> {
    let mut process = Process::default();
    process.is(known);
    // Otherwise the first question is at once: it tells the shim's pid.
    let now = Instant::now();
    let mut next = if process.0.is_some() { now + heartbeat(sight.of_all()) } else { now };
    let mut rest = now + REST;
    loop {
        tokio::select! {
            () = sight.changed() => news.send(News::Changed).await?,
            () = process.ended() => return Ok("its shim has ended".into()),
            () = tokio::time::sleep_until(next) => {
                let (answer, again) = match Box::pin(client.state()).await {
                    Ok(state) => {
                        *pause = FIRST_PAUSE;
                        process.is(state.process);
                        (News::Heard { shim_pid: state.shim_pid, dropped: state.dropped }, heartbeat(sight.of_all()))
                    }
                    // It may be gone, which is not the same as silent.
                    Err(error @ Error::Unreachable { .. }) => return Ok(error.chain()),
                    Err(error) => (News::Silent(error.chain()), DOUBT),
                };
                news.send(answer).await?;
                next = Instant::now() + again;
            }
            () = tokio::time::sleep_until(rest), if client.is_connected() => {
                client.rest();
                rest = Instant::now() + REST;
            }
        }
    }
}

/// Time between two questions to a shim of so many: idle containers cost the same however many they are.
fn heartbeat(shims: usize) -> Duration {
    HEARTBEAT.max(QUESTION.saturating_mul(u32::try_from(shims).unwrap_or(u32::MAX)))
}

/// The shim's process, once it is known.
#[derive(Default)]
struct Process(Option<AsyncFd<Arc<OwnedFd>>>);

impl Process {
    fn is(&mut self, process: Option<Arc<OwnedFd>>) {
        let known = self.0.as_ref().map(AsyncFd::get_ref);
        if let Some(process) = process
            && !known.is_some_and(|known| Arc::ptr_eq(known, &process))
        {
            // Without it the next question finds out.
            self.0 = sys::when_readable(process).ok();
        }
    }

    /// A pidfd is readable once the process has ended (pidfd_open(2)).
    async fn ended(&self) {
        match &self.0 {
            Some(process) => drop(process.readable().await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<A, B, C, D, E, F>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// It is there as long as its shim is.
    #[test]
    fn a_task_that_waits_is_small() {
        assert!(bytes(watch) <= 1024, "{} bytes", bytes(watch));
    }

    #[test]
    fn many_shims_are_asked_as_often_as_some() {
        assert_eq!((heartbeat(1), heartbeat(250)), (HEARTBEAT, HEARTBEAT));
        assert_eq!((heartbeat(1000), heartbeat(4000)), (Duration::from_secs(40), Duration::from_secs(160)));
    }
}
