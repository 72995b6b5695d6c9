//! The faces of the engine on the wire: `sextant.v1`. A handler decodes, calls
//! the engine, encodes. Types of the wire stay in here; a domain error becomes
//! a status in [`status`] only.

mod answer;
mod audit;
mod container;
pub mod containers;
pub mod convert;
pub mod doctor;
pub mod execs;
mod filter;
pub mod limits;
mod logs;
pub mod metrics;
mod namespaces;
pub mod observe;
pub mod operations;
mod policies;
mod resources;
pub mod sandboxes;
pub mod status;
pub mod stdio;
pub mod system;

use crate::engine::Engine;
use containers::Containers;
use execs::Execs;
use limits::Door;
use metrics::Exporter;
use observe::Observer;
use operations::Operations;
use prost::Message;
use sandboxes::Sandboxes;
use sextant_proto::DESCRIPTORS;
use sextant_proto::v1::containers_server::ContainersServer;
use sextant_proto::v1::execs_server::ExecsServer;
use sextant_proto::v1::operations_server::OperationsServer;
use sextant_proto::v1::sandboxes_server::SandboxesServer;
use sextant_proto::v1::stdio_server::StdioServer;
use sextant_proto::v1::system_server::SystemServer;
use std::collections::BTreeSet;
use std::io;
use std::sync::OnceLock;
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
    exporter: Exporter,
) -> io::Result<Router<Stack<Door, Stack<Observer, Identity>>>> {
    let limits = exporter.limits;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ContainersServer<Containers>>().await;
    reporter.set_serving::<ExecsServer<Execs>>().await;
    reporter.set_serving::<StdioServer<Stdio>>().await;
    reporter.set_serving::<OperationsServer<Operations>>().await;
    reporter.set_serving::<SandboxesServer<Sandboxes>>().await;
    reporter.set_serving::<SystemServer<System>>().await;
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        // Those that are served: the descriptors have that of the shim as well.
        let services: BTreeSet<&str> = methods().iter().filter_map(|each| each.split('/').next()).collect();
        services.into_iter().fold(builder, |builder, name| builder.with_service_name(name))
    };
    Ok(Server::builder()
        // HTTP/2's own limit makes a client wait without a word: it lies above ours.
        .max_concurrent_streams(
            u32::try_from(limits.calls_per_connection).ok().and_then(|n| n.checked_add(16)),
        )
        .initial_stream_window_size(AHEAD)
        // All streams of a connection together: one that nobody reads keeps no other waiting.
        .initial_connection_window_size(windows(limits.calls_per_connection))
        .layer(Observer::new(engine.metrics().clone()))
        .layer(Door::new(limits, exporter.calls.clone()))
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
        .add_service(SystemServer::new(System { engine, exporter }).max_decoding_message_size(limits.message))
        .add_service(health)
        .add_service(reflection().build_v1().map_err(io::Error::other)?)
        .add_service(reflection().build_v1alpha().map_err(io::Error::other)?))
}

/// Every method that is served, as `package.Service/Method`.
fn methods() -> &'static [String] {
    static METHODS: OnceLock<Vec<String>> = OnceLock::new();
    METHODS.get_or_init(|| {
        [DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET]
            .into_iter()
            .filter_map(|set| prost_types::FileDescriptorSet::decode(set).ok())
            .flat_map(|set| set.file)
            .filter(|file| file.package() != "sextant.shim.v1")
            .flat_map(|file| {
                let name = |service: &str, method: &str| format!("{}.{service}/{method}", file.package());
                let of = |service: &prost_types::ServiceDescriptorProto| {
                    service.method.iter().map(|m| name(service.name(), m.name())).collect::<Vec<_>>()
                };
                file.service.iter().flat_map(of).collect::<Vec<_>>()
            })
            .collect()
    })
}

/// Bytes that so many streams may have sent ahead together; HTTP/2 has a limit of 2^31 - 1.
fn windows(streams: usize) -> u32 {
    let streams = u32::try_from(streams).unwrap_or(u32::MAX);
    AHEAD.saturating_mul(streams).min(i32::MAX.unsigned_abs())
}
