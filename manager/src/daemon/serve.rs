//! Serving [`crate::api`] on one socket until a signal.

use super::listen::Socket;
use crate::api;
use crate::engine::Engine;
use crate::engine::error::Error;
use std::io;
use std::time::{Duration, SystemTime};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

/// How long calls may go on after the signal to stop; followers never end by themselves.
const FAREWELL: Duration = Duration::from_secs(1);
/// Pause after a failed accept(2), such as for want of descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Serves until SIGTERM or SIGINT, then lets calls end for a moment.
///
/// # Errors
/// [`Error::Io`] when it cannot serve.
pub(super) async fn serve(engine: Engine, started_at: SystemTime, socket: Socket) -> Result<(), Error> {
    let attempted = || Error::io("serve");
    let mut terminate = signal(SignalKind::terminate()).map_err(attempted())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(attempted())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (sender, connections) = mpsc::channel(16);
    let acceptor = tokio::spawn(accept(socket, sender));
    let router = api::router(engine, started_at).await.map_err(attempted())?;
    let serving = router.serve_with_incoming_shutdown(ReceiverStream::new(connections), async {
        // A dropped sender is a reason to stop as well.
        stopped.await.unwrap_or_default();
    });
    tokio::pin!(serving);
    let other = |e: tonic::transport::Error| attempted()(io::Error::other(e));
    tokio::select! {
        result = &mut serving => return result.map_err(other),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // The socket goes first: a client that comes now sees that nobody is there.
    acceptor.abort();
    if stop.send(()).is_err() {
        return Ok(());
    }
    tokio::time::timeout(FAREWELL, serving).await.unwrap_or(Ok(())).map_err(other)
}

/// Hands connections on; a full queue leaves clients in the kernel's backlog.
async fn accept(socket: Socket, connections: mpsc::Sender<io::Result<UnixStream>>) {
    loop {
        match socket.accept().await {
            Ok(stream) => {
                if connections.send(Ok(stream)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}
