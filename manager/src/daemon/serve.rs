//! Serving [`crate::api`] on all sockets until a signal.

use super::config::{Config, Shutdown};
use super::listen::Socket;
use super::notify;
use super::stream::Stream;
use crate::api::metrics::Exporter;
use crate::api::{self, limits};
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::model::Phase;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

/// How long calls may go on after the signal to stop; followers never end by themselves.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause after a failed accept(2), such as for want of descriptors.
const BREATH: Duration = Duration::from_millis(50);
/// Connections to one socket that have not shown who they are, at most.
const HANDSHAKES: usize = 64;
/// How long a container may take to end by itself, with `shutdown = "stop"`.
const GRACE: Duration = Duration::from_secs(10);

/// The signals to stop; one that comes before they are waited for is kept.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on they end nobody.
    ///
    /// # Errors
    /// [`Error::Io`], as sigaction(2).
    pub(super) fn catch() -> Result<Self, Error> {
        let catch = |kind| signal(kind).map_err(Error::io("catch signals"));
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    async fn caught(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until SIGTERM or SIGINT, then lets calls end for a moment.
///
/// # Errors
/// [`Error::Io`] when it cannot serve.
pub(super) async fn serve(
    engine: Engine,
    exporter: Exporter,
    sockets: Vec<Socket>,
    config: &Config,
    mut signals: Signals,
) -> Result<(), Error> {
    let attempted = || Error::io("serve");
    let (stop, stopped) = oneshot::channel::<()>();
    let (sender, connections) = mpsc::channel(16);
    let counted = Counted { connections: exporter.connections.clone(), limits: config.limits };
    let mut acceptors = JoinSet::new();
    for socket in sockets {
        acceptors.spawn(accept(socket, counted.clone(), sender.clone()));
    }
    drop(sender);
    let router = api::router(engine.clone(), exporter).await.map_err(attempted())?;
    let serving = router.serve_with_incoming_shutdown(ReceiverStream::new(connections), async {
        // A dropped sender is a reason to stop as well.
        stopped.await.unwrap_or_default();
    });
    tokio::pin!(serving);
    let other = |e: tonic::transport::Error| attempted()(io::Error::other(e));
    notify::ready(&engine);
    tokio::select! {
        result = &mut serving => return result.map_err(other),
        () = signals.caught() => {}
    }
    notify::stopping();
    // The sockets go first: a client that comes now sees that nobody is there.
    acceptors.shutdown().await;
    if config.shutdown == Shutdown::Stop {
        stop_all(&engine).await;
    }
    if stop.send(()).is_err() {
        return Ok(());
    }
    tokio::time::timeout(FAREWELL, serving).await.unwrap_or(Ok(())).map_err(other)
}

/// Stops what runs, all at once.
async fn stop_all(engine: &Engine) {
    let mut stopping = JoinSet::new();
    for container in engine.list() {
        if matches!(container.phase, Phase::Stopped) {
            continue;
        }
        let engine = engine.clone();
        stopping.spawn(async move {
            if let Err(error) = engine.stop(&container.id, nix::libc::SIGTERM, GRACE, None).await {
                tracing::warn!(container = container.id, error = error.chain(), "cannot stop it; it goes on");
            }
        });
    }
    stopping.join_all().await;
}

#[derive(Clone)]
struct Counted {
    connections: limits::Count,
    limits: limits::Limits,
}

/// Hands connections on; a full queue leaves clients in the kernel's backlog.
///
/// Who has not shown who it is has no place in the queue, and none among the connections: strangers that
/// take their time over TLS keep at most each other waiting.
async fn accept(socket: Socket, counted: Counted, connections: mpsc::Sender<io::Result<Stream>>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let accepted = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (counted, connections) = (counted.clone(), connections.clone());
        tokio::spawn(async move {
            let who = accepted.who();
            if let Some(by) = accepted.secured().await {
                let peer = limits::Peer::new(who, &counted.connections, &counted.limits);
                // An error says that nobody serves any more.
                connections.send(Ok(Stream { by, peer })).await.unwrap_or_default();
            }
            drop(handshake);
        });
    }
}
