//! Following one shim: its journal as it grows, and whether it still answers.
//! Nothing is dropped: the receiver's queue is bounded, and when it is full the
//! stream is simply not read on. What the news mean is decided by the
//! container's actor.

use super::client::{Client, Listener, listener};
use super::{ShimEvent, wire};
use crate::engine::error::Error;
use sextant_proto::shim;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Streaming;

/// How often a silent shim is asked whether it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often one that did not answer is asked.
const DOUBT: Duration = Duration::from_secs(1);
/// How often it is looked at whether a shim whose connection broke still listens.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(5);
/// Pause between attempts to connect, doubled up to the heartbeat.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What is told to the actor.
#[derive(Debug)]
pub enum News {
    /// A record of the journal.
    Event(Box<ShimEvent>),
    /// The shim has answered.
    Heard {
        /// Its pid.
        shim_pid: i32,
    },
    /// The shim does not answer: because of what.
    Silent(String),
    /// Nobody listens on its socket.
    Gone,
}

/// Follows the shim from the record after `after` on. Returns when the shim is
/// gone or nobody listens to the news any more.
pub async fn watch(client: Client, mut after: u64, news: mpsc::Sender<News>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let because = match client.watch(after).await {
            Ok(stream) => {
                pause = FIRST_PAUSE;
                match follow(&client, stream, &mut after, &news).await {
                    Ok(because) => because,
                    Err(NobodyListens) => return,
                }
            }
            Err(error) => error.chain(),
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

/// Reads one stream until it ends or the shim falls silent; says why.
async fn follow(
    client: &Client,
    mut stream: Streaming<shim::Event>,
    after: &mut u64,
    news: &mpsc::Sender<News>,
) -> Result<String, NobodyListens> {
    // The first question is at once: it tells the shim's pid.
    let mut next = Instant::now();
    loop {
        tokio::select! {
            message = stream.message() => match message {
                Ok(Some(event)) => {
                    let event = wire::event(event);
                    *after = event.seq;
                    news.send(News::Event(Box::new(event))).await?;
                }
                Ok(None) => return Ok("its shim ended the watch".into()),
                Err(status) => return Ok(format!("the watch of its shim broke: {}", status.message())),
            },
            () = tokio::time::sleep_until(next) => {
                let (answer, pause) = match client.state().await {
                    Ok(state) => (News::Heard { shim_pid: state.shim_pid }, HEARTBEAT),
                    // It may be gone, which is not the same as silent.
                    Err(error @ Error::Unreachable { .. }) => return Ok(error.chain()),
                    Err(error) => (News::Silent(error.chain()), DOUBT),
                };
                news.send(answer).await?;
                next = Instant::now() + pause;
            }
        }
    }
}
