//! `sextant.v1.System`: what this manager is, what its host can do, and the events of all containers.

use super::filter::Wanted;
use super::metrics::Exporter;
use super::status::status;
use super::{audit, convert, doctor};
use crate::doctor::examine;
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::engine::events::Reader;
use crate::info::{CgroupLayout, kernel};
use crate::metrics::CONTENT_TYPE;
use sextant_proto::v1;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Events that wait for a slow client, at most.
const AHEAD: usize = 64;

/// How long events may take to the disk until no more is waited for them.
const SETTLED: Duration = Duration::from_secs(1);

/// The service.
#[derive(Clone, Debug)]
pub struct System {
    /// Does the work.
    pub engine: Engine,
    /// Tells the metrics, and when the manager was started.
    pub exporter: Exporter,
}

#[tonic::async_trait]
impl v1::system_server::System for System {
    async fn info(&self, _: Request<v1::InfoRequest>) -> Result<Response<v1::InfoResponse>, Status> {
        let settings = self.engine.settings();
        let (containers, running) = self.engine.count();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        // What happens after the answer has a higher number; but no disk keeps the answer waiting.
        let settled = tokio::time::timeout(SETTLED, self.engine.events().settled()).await;
        let last_event_seq = settled.unwrap_or_else(|_| self.engine.events().last_seq());
        Ok(Response::new(v1::InfoResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            kernel: kernel(),
            cgroup: CgroupLayout::of(Path::new("/sys/fs/cgroup")).name().into(),
            root: text(&settings.root),
            state: text(&settings.state),
            runtime: text(&settings.runtime),
            shim: text(&settings.shim),
            pid: nix::unistd::getpid().as_raw(),
            containers: count(containers),
            running: count(running),
            started_at: convert::time(self.exporter.started_at),
            last_event_seq,
            fault_plan: crate::faults::file().as_deref().map(text).unwrap_or_default(),
        }))
    }

    async fn metrics(&self, _: Request<v1::MetricsRequest>) -> Result<Response<v1::MetricsResponse>, Status> {
        let text = self.exporter.text().await.map_err(|error| status(&error))?;
        Ok(Response::new(v1::MetricsResponse { text, content_type: CONTENT_TYPE.into() }))
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Result<Response<v1::AuditResponse>, Status> {
        let v1::AuditRequest { fix, all } = request.into_inner();
        // It goes on to its end also when nobody waits: what was begun is removed whole.
        let engine = self.engine.clone();
        let audited = tokio::spawn(async move { engine.audit(all, fix).await });
        let report = audited.await.unwrap_or(Err(Error::Stopping)).map_err(|error| status(&error))?;
        Ok(Response::new(audit::to_wire(report)))
    }

    async fn doctor(
        &self,
        request: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorResponse>, Status> {
        let ask = doctor::ask(&request.into_inner(), self.engine.count().0);
        let settings = doctor::settings(self.engine.settings());
        let report = tokio::task::spawn_blocking(move || examine(&settings, ask)).await;
        // It ends only with the executor.
        let report = report.map_err(|_| status(&Error::Stopping))?;
        Ok(Response::new(doctor::to_wire(report)))
    }

    type EventsStream = ReceiverStream<Result<v1::Event, Status>>;

    async fn events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let request = request.into_inner();
        let (follow, reader) = (request.follow, self.engine.events().read(request.after_seq));
        let (engine, wanted) = (self.engine.clone(), Wanted::of(request).map_err(|error| status(&error))?);
        let (sender, events) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            tokio::select! {
                result = send(reader, follow, (engine, wanted), &sender) => if let Err(error) = result {
                    // A client that has gone needs no reason.
                    if sender.send(Err(status(&error))).await.is_err() {
                        tracing::debug!("a reader of events went before its error");
                    }
                },
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(events)))
    }
}

async fn send(
    mut reader: Reader,
    follow: bool,
    (engine, mut wanted): (Engine, Wanted),
    sender: &mpsc::Sender<Result<v1::Event, Status>>,
) -> Result<(), Error> {
    loop {
        let events = reader.next().await?;
        if events.is_empty() {
            if !follow {
                return Ok(());
            }
            reader.more().await?;
        }
        for event in events {
            let kind = convert::kind_to_wire(event.kind);
            if !wanted.takes(&event, kind, &engine) {
                continue;
            }
            if sender.send(Ok(convert::event_to_wire(event))).await.is_err() {
                return Ok(());
            }
        }
    }
}
