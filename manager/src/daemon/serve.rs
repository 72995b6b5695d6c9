//! Serving until a signal: the native API, health and reflection (v1 and
//! v1alpha) on one socket.

use super::listen::Socket;
use crate::api::containers::Containers;
use crate::api::system::System;
use crate::engine::Engine;
use crate::engine::error::Error;
use sextant_proto::DESCRIPTORS;
use sextant_proto::v1::containers_server::ContainersServer;
use sextant_proto::v1::system_server::SystemServer;
use std::io;
use std::time::{Duration, SystemTime};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

/// Calls under way on one connection, at most (streams count).
const STREAMS: u32 = 1024;
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
    let router = router(engine, started_at).await.map_err(attempted())?;
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

async fn router(engine: Engine, started_at: SystemTime) -> io::Result<tonic::transport::server::Router> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ContainersServer<Containers>>().await;
    reporter.set_serving::<SystemServer<System>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Server::builder()
        .max_concurrent_streams(STREAMS)
        .add_service(ContainersServer::new(Containers { engine: engine.clone() }))
        .add_service(SystemServer::new(System { engine, started_at }))
        .add_service(health)
        .add_service(reflection().build_v1().map_err(io::Error::other)?)
        .add_service(reflection().build_v1alpha().map_err(io::Error::other)?))
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
