//! The export of spans, to a collector that keeps what it gets: each arrives, below
//! the one that it belongs to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use sextant_manager::model::{Failure, StageRecord};
use sextant_manager::telemetry::{self, Telemetry};
use sextant_proto::client::{Client, Reason};
use sextant_proto::v1::StartRequest;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tracing_subscriber::layer::SubscriberExt;

const DEADLINE: Duration = Duration::from_secs(60);

/// Hands on every span that it gets.
struct Collector(mpsc::UnboundedSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|of| of.scope_spans);
        for span in spans.flat_map(|of| of.spans) {
            self.0.send(span).map_err(|_| Status::unavailable("the test is over"))?;
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector; its endpoint, and what it gets.
async fn collector() -> (String, mpsc::UnboundedReceiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, spans) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (endpoint, spans)
}

/// Receives until all of these have come.
async fn all<const N: usize>(spans: &mut mpsc::UnboundedReceiver<Span>, names: [&str; N]) -> [Span; N] {
    let mut found: [Option<Span>; N] = [const { None }; N];
    while found.iter().any(Option::is_none) {
        let next = tokio::time::timeout(DEADLINE, spans.recv()).await;
        let span = next.unwrap_or_else(|_| panic!("only {found:?} came")).expect("the collector goes on");
        if let Some(place) = names.iter().position(|name| *name == span.name) {
            found[place] = Some(span);
        }
    }
    found.map(Option::unwrap)
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|each| each.key == key);
    format!("{:?}", found.unwrap_or_else(|| panic!("{key} is not in {span:?}")).value)
}

/// A daemon that ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_on_with_the_trace_of_its_client() {
    let (endpoint, mut spans) = collector().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sextantd"));
    command.arg("--root").arg(dir.path().join("root")).arg("--state").arg(dir.path().join("state"));
    command.arg("--listen").arg(format!("unix:{}", socket.display()));
    // What the log shows decides nothing about the export.
    command.args(["--runtime=/bin/true", "--shim=/bin/true", "--config=/dev/null", "--log=error"]);
    command.arg("--telemetry-endpoint").arg(&endpoint).stdin(Stdio::null());
    let _daemon = Daemon(command.spawn().unwrap());
    let address = format!("unix:{}", socket.display()).parse().unwrap();
    let connected = async {
        loop {
            match Client::connect(&address).await {
                Ok(client) => return client,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let client = tokio::time::timeout(DEADLINE, connected).await.expect("the daemon serves");
    let mut request = Request::new(StartRequest { id: "none".into(), ..Default::default() });
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("x-request-id", "mine".parse().unwrap());
    let error = client.containers.clone().start(request).await.unwrap_err();
    assert_eq!(sextant_proto::client::Error::from(error).reason(), Some(&Reason::ContainerNotFound));

    let [request, operation] = all(&mut spans, ["request", "operation"]).await;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&request.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert!(attribute(&request, "request").contains("mine"));
    assert!(attribute(&request, "method").contains("sextant.v1.Containers/Start"));
    assert_eq!((&operation.trace_id, &operation.parent_span_id), (&request.trace_id, &request.span_id));
    assert!(attribute(&operation, "container").contains("none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_are_below_their_operation_and_have_their_times() {
    let (endpoint, mut spans) = collector().await;
    let telemetry = Telemetry::start(&endpoint).unwrap();
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    let now = u64::try_from(Duration::from(now).as_nanos()).unwrap();
    let record = |stage: &str, start: u64, end: u64| StageRecord {
        command: "create".into(),
        stage: stage.into(),
        start_ns: now - start,
        end_ns: now - end,
        ..StageRecord::default()
    };
    let mut failed = record("mount/3", 1_000_000, 0);
    failed.failure = Some(Failure { message: "mount /x: ENOENT".into(), ..Failure::default() });
    let records = [record("clone", 5_000_000, 2_000_000), failed];
    tracing::subscriber::with_default(tracing_subscriber::registry().with(telemetry.layer()), || {
        tracing::info_span!(target: "sextant_manager", "operation").in_scope(|| telemetry::stages(&records));
    });
    // What waits is sent at the end.
    tokio::task::spawn_blocking(move || drop(telemetry)).await.unwrap();
    let [operation, clone, mount] = all(&mut spans, ["operation", "clone", "mount/3"]).await;
    for stage in [&clone, &mount] {
        assert_eq!((&stage.trace_id, &stage.parent_span_id), (&operation.trace_id, &operation.span_id));
        assert!(attribute(stage, "sextant.command").contains("create"));
    }
    assert_eq!(clone.end_time_unix_nano - clone.start_time_unix_nano, 3_000_000);
    assert!(clone.start_time_unix_nano < mount.start_time_unix_nano);
    assert_eq!(mount.status.unwrap().message, "mount /x: ENOENT");
}
