//! The faces of the engine on the wire: `sextant.v1`. A handler decodes, calls
//! the engine, encodes. Types of the wire stay in here; a domain error becomes
//! a status in [`status`] only.

pub mod containers;
pub mod convert;
pub mod limits;
mod logs;
pub mod operations;
mod resources;
pub mod status;
pub mod system;

use crate::engine::Engine;
use containers::Containers;
use limits::{Door, Limits};
use operations::Operations;
use sextant_proto::DESCRIPTORS;
use sextant_proto::v1::containers_server::ContainersServer;
use sextant_proto::v1::operations_server::OperationsServer;
use sextant_proto::v1::system_server::SystemServer;
use std::io;
use std::time::SystemTime;
use system::System;
use tonic::transport::{Server, server::Router};
use tower::layer::util::{Identity, Stack};

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
    reporter.set_serving::<OperationsServer<Operations>>().await;
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
        .layer(Door::new(limits))
        .add_service(
            ContainersServer::new(Containers { engine: engine.clone() })
                .max_decoding_message_size(limits.message),
        )
        .add_service(
            OperationsServer::new(Operations { engine: engine.clone() })
                .max_decoding_message_size(limits.message),
        )
        .add_service(
            SystemServer::new(System { engine, started_at }).max_decoding_message_size(limits.message),
        )
        .add_service(health)
        .add_service(reflection().build_v1().map_err(io::Error::other)?)
        .add_service(reflection().build_v1alpha().map_err(io::Error::other)?))
}
