//! `sextant.v1.Containers`: decodes, calls the engine, encodes.

use super::convert;
use super::status::status;
use crate::engine::Engine;
use crate::engine::blocking;
use crate::engine::error::{Error, Violation};
use crate::logs::{self, Follow};
use crate::shims::client::{Force, Target};
use crate::shims::journal;
use crate::{engine, namespaces};
use sextant_proto::v1;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Grace of a stop that names none.
const GRACE: Duration = Duration::from_secs(10);
/// Entries of a log that wait for a slow client, at most.
const AHEAD: usize = 64;
/// Signal of a stop or a kill that names none (signal(7)).
const SIGTERM: i32 = nix::libc::SIGTERM;

/// The service.
#[derive(Clone, Debug)]
pub struct Containers {
    /// Does the work.
    pub engine: Engine,
}

type Answer<T> = Result<Response<T>, Status>;

fn reply<T>(result: Result<T, Error>) -> Answer<T> {
    result.map(Response::new).map_err(|e| status(&e))
}

fn signal(number: i32) -> i32 {
    if number == 0 { SIGTERM } else { number }
}

fn refused(attempted: &str, field: &str, message: &str) -> Error {
    let violations = vec![Violation { field: field.into(), message: message.into(), hint: String::new() }];
    Error::Refused { attempted: attempted.into(), violations }
}

#[tonic::async_trait]
impl v1::containers_server::Containers for Containers {
    async fn create(&self, request: Request<v1::CreateRequest>) -> Answer<v1::CreateResponse> {
        let new = convert::new_container(request.into_inner());
        let new =
            new.ok_or_else(|| refused("create a container", "source", "neither bundle nor rootfs is given"));
        let created = match new {
            Ok(new) => self.engine.create(new).await,
            Err(error) => Err(error),
        };
        reply(created.map(|s| v1::CreateResponse { container: Some(convert::container_to_wire(s)) }))
    }

    async fn start(&self, request: Request<v1::StartRequest>) -> Answer<v1::StartResponse> {
        let v1::StartRequest { id, idempotency_key } = request.into_inner();
        let started = self.engine.start(&id, convert::key(idempotency_key)).await;
        reply(started.map(|s| v1::StartResponse { container: Some(convert::container_to_wire(s)) }))
    }

    async fn kill(&self, request: Request<v1::KillRequest>) -> Answer<v1::KillResponse> {
        let v1::KillRequest { id, signal: number, all } = request.into_inner();
        let target = if all { Target::All } else { Target::Init };
        reply(self.engine.kill(&id, signal(number), target).await.map(|()| v1::KillResponse {}))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Answer<v1::StopResponse> {
        let v1::StopRequest { id, grace, signal: number, idempotency_key } = request.into_inner();
        let key = convert::key(idempotency_key);
        let grace = grace.map_or(Some(GRACE), convert::duration);
        let stopped = match grace {
            Some(grace) => self.engine.stop(&id, signal(number), grace, key).await,
            None => Err(refused("stop a container", "grace", "it is negative or too long")),
        };
        reply(stopped.map(|exit| v1::StopResponse { exit: Some(convert::exit_to_wire(exit)) }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Answer<v1::DeleteResponse> {
        let v1::DeleteRequest { id, force, idempotency_key } = request.into_inner();
        let force = if force { Force::Yes } else { Force::No };
        let deleted = self.engine.delete(&id, force, convert::key(idempotency_key)).await;
        reply(deleted.map(|()| v1::DeleteResponse {}))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        let snapshot = self.engine.get(&request.into_inner().id);
        reply(snapshot.map(|s| v1::GetResponse { container: Some(convert::container_to_wire(s)) }))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        let containers = self.engine.list().into_iter().map(convert::container_to_wire).collect();
        Ok(Response::new(v1::ListResponse { containers }))
    }

    async fn wait(&self, request: Request<v1::WaitRequest>) -> Answer<v1::WaitResponse> {
        let exit = self.engine.wait(&request.into_inner().id).await;
        reply(exit.map(|exit| v1::WaitResponse { exit: Some(convert::exit_to_wire(exit)) }))
    }

    type LogsStream = ReceiverStream<Result<v1::LogEntry, Status>>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        let v1::LogsRequest { id, offset, follow } = request.into_inner();
        let (paths, snapshots) = self.engine.follow(&id).map_err(|e| status(&e))?;
        let follow = if follow { Follow::Yes } else { Follow::No };
        let reader = logs::Reader::new(&paths.log(), offset, follow, snapshots);
        let (sender, entries) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            // The client's end of the stream ends the reading, also while it waits.
            tokio::select! {
                () = send_log(reader, &sender) => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(entries)))
    }

    async fn namespaces(&self, request: Request<v1::NamespacesRequest>) -> Answer<v1::NamespacesResponse> {
        let found = match self.engine.get(&request.into_inner().id) {
            Ok(snapshot) => blocking(move || namespaces::read(&snapshot)).await,
            Err(error) => Err(error),
        };
        reply(found.map(convert::namespaces_to_wire))
    }

    async fn trace(&self, request: Request<v1::TraceRequest>) -> Answer<v1::TraceResponse> {
        let trace = trace(&self.engine, &request.into_inner().id).await;
        reply(trace.map(|stages| v1::TraceResponse { stages }))
    }
}

async fn trace(engine: &Engine, id: &str) -> Result<Vec<v1::StageRecord>, Error> {
    let (paths, _) = engine.follow(id)?;
    let path = paths.journal();
    let attempted = format!("read {}", path.display());
    let records = engine::blocking(move || journal::trace(&path).map_err(Error::io(attempted))).await?;
    Ok(records.into_iter().map(convert::stage_to_wire).collect())
}

async fn send_log(mut reader: logs::Reader, sender: &mpsc::Sender<Result<v1::LogEntry, Status>>) {
    loop {
        let entries = match reader.next().await {
            Ok(Some(entries)) => entries.into_iter().map(|e| Ok(convert::log_entry_to_wire(e))).collect(),
            Ok(None) => return,
            Err(error) => vec![Err(status(&error))],
        };
        for entry in entries {
            let last = entry.is_err();
            if sender.send(entry).await.is_err() || last {
                return;
            }
        }
    }
}
