//! A daemon that is made up: it keeps no containers, but answers by their
//! names, and remembers what it was asked.

use sextant_proto::v1::containers_server::{Containers, ContainersServer};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::log_entry::Stream;
use sextant_proto::v1::system_server::{System, SystemServer};
use sextant_proto::v1::*;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;
use tokio_stream::Stream as Flow;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request, Response, Status as Refusal};
use tonic_types::{ErrorDetails, StatusExt};

type Answer<T> = Result<Response<T>, Refusal>;
type Flowing<T> = Pin<Box<dyn Flow<Item = Result<T, Refusal>> + Send>>;

/// A running daemon; ends when it is dropped.
pub(crate) struct Fake {
    address: String,
    calls: Calls,
    _dir: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

type Calls = Arc<Mutex<Vec<String>>>;

#[derive(Clone)]
struct Service {
    calls: Calls,
    killed: Arc<Notify>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fake.sock");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let calls = Calls::default();
        let service = Service { calls: calls.clone(), killed: Arc::default() };
        let guard = runtime.enter();
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(ContainersServer::new(service.clone()))
                .add_service(SystemServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        drop(guard);
        Self { address: format!("unix:{}", path.display()), calls, _dir: dir, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Service {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

fn exists(id: &str) -> Result<(), Refusal> {
    match id {
        "missing" => Err(Refusal::not_found("there is no container missing")),
        _ => Ok(()),
    }
}

fn exit(id: &str) -> Exit {
    let how = match id {
        "exits-3" => How::Code(3),
        "killed" => How::Signal(9),
        "obeys" => How::Signal(15),
        "unknown" => How::Unknown("the shim was killed".into()),
        _ => How::Code(0),
    };
    Exit { how: Some(how), at: None, oom_killed: false }
}

fn web() -> Container {
    Container {
        id: "web".into(),
        status: Status::Running.into(),
        pid: 42,
        command: vec!["sh".into()],
        labels: [("tier".to_owned(), "front".to_owned())].into(),
        created_at: Some(prost_types::Timestamp { seconds: 20, nanos: 0 }),
        ..Container::default()
    }
}

fn failed_mount() -> Refusal {
    let metadata = [
        ("stage", "mount/0"),
        ("pointer", "/mounts/0"),
        ("syscall", "fsopen(\"proc\")"),
        ("errno", "1"),
        ("hint", "give the container a pid namespace"),
    ];
    let mut details = ErrorDetails::new();
    let metadata: std::collections::HashMap<_, _> =
        metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    details.set_error_info("STAGE_FAILED", "sextant", metadata);
    let message = "mount /proc: fsopen(\"proc\"): EPERM (Operation not permitted)";
    Refusal::with_error_details(Code::Internal, message, details)
}

fn flow<T: Send + 'static>(items: Vec<Result<T, Refusal>>) -> Answer<Flowing<T>> {
    Ok(Response::new(Box::pin(tokio_stream::iter(items))))
}

fn entry(stream: Stream, data: &str, next_offset: u64) -> Result<LogEntry, Refusal> {
    Ok(LogEntry { stream: stream.into(), at: None, data: data.into(), next_offset, ..LogEntry::default() })
}

#[tonic::async_trait]
impl Containers for Service {
    async fn create(&self, request: Request<CreateRequest>) -> Answer<CreateResponse> {
        let mut id = request.into_inner().id;
        self.note(format!("create {id}"));
        if id == "refused" {
            let mut details = ErrorDetails::new();
            details.add_bad_request_violation("/process/cwd", "is not absolute");
            details.add_bad_request_violation("/root/path", "does not exist");
            let message = "the bundle has 2 mistakes";
            return Err(Refusal::with_error_details(Code::InvalidArgument, message, details));
        }
        if id.is_empty() {
            id = "made-up".into();
        }
        Ok(Response::new(CreateResponse { container: Some(Container { id, ..Container::default() }) }))
    }

    async fn start(&self, request: Request<StartRequest>) -> Answer<StartResponse> {
        let id = request.into_inner().id;
        self.note(format!("start {id}"));
        if id == "broken" {
            Err(failed_mount())
        } else {
            Ok(Response::new(StartResponse { container: None }))
        }
    }

    async fn kill(&self, request: Request<KillRequest>) -> Answer<KillResponse> {
        let KillRequest { id, signal, all } = request.into_inner();
        self.note(format!("kill {id} {signal}{}", if all { " all" } else { "" }));
        self.killed.notify_one();
        Ok(Response::new(KillResponse {}))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Answer<StopResponse> {
        let StopRequest { id, grace, signal, .. } = request.into_inner();
        let grace = grace.map(|grace| std::time::Duration::try_from(grace).unwrap());
        self.note(format!("stop {id} {signal} {grace:?}"));
        Ok(Response::new(StopResponse { exit: Some(exit(&id)) }))
    }

    async fn restart(&self, request: Request<RestartRequest>) -> Answer<RestartResponse> {
        self.note(format!("restart {}", request.into_inner().id));
        Ok(Response::new(RestartResponse { container: None }))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Answer<DeleteResponse> {
        let DeleteRequest { id, force, .. } = request.into_inner();
        self.note(format!("delete {id}{}", if force { " force" } else { "" }));
        exists(&id).map(|()| Response::new(DeleteResponse {}))
    }

    async fn get(&self, request: Request<GetRequest>) -> Answer<GetResponse> {
        exists(&request.into_inner().id)?;
        Ok(Response::new(GetResponse { container: Some(web()) }))
    }

    async fn list(&self, _: Request<ListRequest>) -> Answer<ListResponse> {
        let old = Container {
            id: "old".into(),
            status: Status::Stopped.into(),
            created_at: Some(prost_types::Timestamp { seconds: 10, nanos: 0 }),
            exit: Some(exit("old")),
            ..Container::default()
        };
        Ok(Response::new(ListResponse { containers: vec![web(), old], ..Default::default() }))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Answer<WaitResponse> {
        let id = request.into_inner().id;
        self.note(format!("wait {id}"));
        exists(&id)?;
        Ok(Response::new(WaitResponse { exit: Some(exit(&id)) }))
    }

    type LogsStream = Flowing<LogEntry>;

    async fn logs(&self, request: Request<LogsRequest>) -> Answer<Self::LogsStream> {
        let LogsRequest { id, offset, follow, .. } = request.into_inner();
        self.note(format!("logs {id} {offset}"));
        exists(&id)?;
        match (id.as_str(), offset) {
            ("exits-3", 0) => {
                flow(vec![entry(Stream::Stdout, "out\n", 1), entry(Stream::Stderr, "err\n", 2)])
            }
            ("restarted", 0) => {
                flow(vec![entry(Stream::Stdout, "one\n", 1), Err(Refusal::unavailable("going down"))])
            }
            ("restarted", 1) => flow(vec![entry(Stream::Stdout, "two\n", 2)]),
            ("endless", _) => {
                let endless = std::iter::repeat_with(|| entry(Stream::Stdout, "again\n", 0));
                Ok(Response::new(Box::pin(tokio_stream::iter(endless))))
            }
            ("obeys", 0) if follow => Ok(Response::new(Box::pin(until(self.killed.clone())))),
            _ => flow(Vec::new()),
        }
    }

    async fn reopen_log(&self, _: Request<ReopenLogRequest>) -> Answer<ReopenLogResponse> {
        Ok(Response::new(ReopenLogResponse {}))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Answer<PauseResponse> {
        self.note(format!("pause {}", request.into_inner().id));
        Ok(Response::new(PauseResponse { container: None }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Answer<ResumeResponse> {
        self.note(format!("resume {}", request.into_inner().id));
        Ok(Response::new(ResumeResponse { container: None }))
    }

    async fn update_resources(
        &self,
        request: Request<UpdateResourcesRequest>,
    ) -> Answer<UpdateResourcesResponse> {
        let UpdateResourcesRequest { id, limits, .. } = request.into_inner();
        let limits = limits.unwrap_or_default();
        self.note(format!("update {id} {:?} {:?}", limits.memory_bytes, limits.pids));
        Ok(Response::new(UpdateResourcesResponse { container: None }))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Answer<StatsResponse> {
        let cpu = Some(CpuStats { usage_ns: 1_500_000_000, ..CpuStats::default() });
        let samples = vec![Sample { id: "web".into(), cpu, ..Sample::default() }];
        Ok(Response::new(StatsResponse { samples }))
    }

    type StreamStatsStream = Flowing<StatsResponse>;

    async fn stream_stats(&self, _: Request<StreamStatsRequest>) -> Answer<Self::StreamStatsStream> {
        flow(Vec::new())
    }

    async fn processes(&self, _: Request<ProcessesRequest>) -> Answer<ProcessesResponse> {
        let processes = vec![ProcessInfo { pid: 7, command: vec!["sh".into()], ..ProcessInfo::default() }];
        Ok(Response::new(ProcessesResponse { processes }))
    }

    async fn namespaces(&self, _: Request<NamespacesRequest>) -> Answer<NamespacesResponse> {
        let namespaces = vec![Namespace { r#type: "pid".into(), inode: 7, host_inode: 1, sharers: vec![] }];
        Ok(Response::new(NamespacesResponse { namespaces, ..NamespacesResponse::default() }))
    }

    async fn trace(&self, _: Request<TraceRequest>) -> Answer<TraceResponse> {
        let stage = StageRecord { command: "create".into(), stage: "load".into(), ..StageRecord::default() };
        let stages = vec![StageRecord { end_ns: 3000, ..stage }];
        Ok(Response::new(TraceResponse { stages }))
    }
}

/// A log that says `ready` and ends when the container is killed.
fn until(killed: Arc<Notify>) -> impl Flow<Item = Result<LogEntry, Refusal>> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        sender.send(entry(Stream::Stdout, "ready\n", 1)).await.unwrap();
        killed.notified().await;
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

#[tonic::async_trait]
impl System for Service {
    async fn metrics(&self, _: Request<MetricsRequest>) -> Answer<MetricsResponse> {
        Ok(Response::new(MetricsResponse { text: "# EOF\n".into(), content_type: String::new() }))
    }

    async fn audit(&self, request: Request<AuditRequest>) -> Answer<AuditResponse> {
        let AuditRequest { fix, all } = request.into_inner();
        self.note(format!("audit {fix} {all}"));
        let orphan = AuditFinding {
            kind: "cgroup".into(),
            object: "/sextant/gone".into(),
            reason: "there is no container gone".into(),
            proofs: vec!["one".into(), "two".into()],
            fixed: fix,
            ..AuditFinding::default()
        };
        let orphans = u64::from(!fix);
        let counts = vec![AuditCount { kind: "cgroup".into(), owned: 2, orphans }];
        Ok(Response::new(AuditResponse {
            findings: vec![orphan],
            counts,
            looks: 3,
            ..AuditResponse::default()
        }))
    }

    async fn doctor(&self, _: Request<DoctorRequest>) -> Answer<DoctorResponse> {
        Err(Refusal::unimplemented("not in this one"))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Answer<InfoResponse> {
        Ok(Response::new(InfoResponse { cgroup: "hybrid".into(), ..InfoResponse::default() }))
    }

    type EventsStream = Flowing<Event>;

    async fn events(&self, request: Request<EventsRequest>) -> Answer<Self::EventsStream> {
        let after = request.into_inner().after_seq;
        let kinds = [(1, Kind::Created), (2, Kind::Exited), (3, Kind::Deleted)];
        let event = |(seq, kind): (u64, Kind)| Event { seq, kind: kind.into(), ..Event::default() };
        flow(kinds.into_iter().filter(|(seq, _)| *seq > after).map(event).map(Ok).collect())
    }
}
