//! The faces of the engine on the wire: `sextant.v1`. A handler decodes, calls
//! the engine, encodes. Types of the wire stay in here; a domain error becomes
//! a status in [`status`] only.

pub mod containers;
pub mod convert;
pub mod execs;
pub mod limits;
mod logs;
mod namespaces;
pub mod operations;
mod resources;
pub mod sandboxes;
pub mod status;
pub mod stdio;
pub mod system;

use crate::engine::Engine;
use containers::Containers;
use execs::Execs;
use limits::{Door, Limits};
use operations::Operations;
use sandboxes::Sandboxes;
use sextant_proto::DESCRIPTORS;
use sextant_proto::v1::containers_server::ContainersServer;
use sextant_proto::v1::execs_server::ExecsServer;
use sextant_proto::v1::operations_server::OperationsServer;
use sextant_proto::v1::sandboxes_server::SandboxesServer;
use sextant_proto::v1::stdio_server::StdioServer;
use sextant_proto::v1::system_server::SystemServer;
use std::io;
use std::time::SystemTime;
use stdio::Stdio;
use system::System;
use tonic::transport::{Server, server::Router};
use tower::layer::util::{Identity, Stack};

/// Bytes of one call that a client may send ahead, in HTTP/2's flow control: input that a
/// process does not read waits with the client.
const AHEAD: u32 = 64 << 10;

/// All services: the native API, health, and reflection (v1 and v1alpha).
///
/// # Errors
/// When the descriptors cannot be read.
pub async fn router(
    engine: Engine,
    started_at: SystemTime,
    limits: Limits,
) -> io::Result<Router<Stack<Door, Identity>>> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ContainersServer<Containers>>().await;
    reporter.set_serving::<ExecsServer<Execs>>().await;
    reporter.set_serving::<StdioServer<Stdio>>().await;
    reporter.set_serving::<OperationsServer<Operations>>().await;
    reporter.set_serving::<SandboxesServer<Sandboxes>>().await;
    reporter.set_serving::<SystemServer<System>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Server::builder()
        // HTTP/2's own limit makes a client wait without a word: it lies above ours.
        .max_concurrent_streams(
            u32::try_from(limits.calls_per_connection).ok().and_then(|n| n.checked_add(16)),
        )
        .initial_stream_window_size(AHEAD)
        // All streams of a connection together: one that nobody reads keeps no other waiting.
        .initial_connection_window_size(windows(limits.calls_per_connection))
        .layer(Door::new(limits))
        .add_service(
            ContainersServer::new(Containers { engine: engine.clone() })
                .max_decoding_message_size(limits.message),
        )
        .add_service(
            ExecsServer::new(Execs { engine: engine.clone() }).max_decoding_message_size(limits.message),
        )
        .add_service(
            StdioServer::new(Stdio { engine: engine.clone() }).max_decoding_message_size(limits.message),
        )
        .add_service(
            OperationsServer::new(Operations { engine: engine.clone() })
                .max_decoding_message_size(limits.message),
        )
        .add_service(
            SandboxesServer::new(Sandboxes { engine: engine.clone() })
                .max_decoding_message_size(limits.message),
        )
        .add_service(
            SystemServer::new(System { engine, started_at }).max_decoding_message_size(limits.message),
        )
        .add_service(health)
        .add_service(reflection().build_v1().map_err(io::Error::other)?)
        .add_service(reflection().build_v1alpha().map_err(io::Error::other)?))
}

/// Bytes that so many streams may have sent ahead together; HTTP/2 has a limit of 2^31 - 1.
fn windows(streams: usize) -> u32 {
    let streams = u32::try_from(streams).unwrap_or(u32::MAX);
    AHEAD.saturating_mul(streams).min(i32::MAX.unsigned_abs())
}
