//! `sextant.v1.Containers`: decodes, calls the engine, encodes.

use super::container::Mask;
use super::convert;
use super::filter;
use super::logs;
use super::namespaces;
use super::policies;
use super::resources;
use super::status::status;
use crate::engine;
use crate::engine::Engine;
use crate::engine::error::{Error, Violation};
use crate::model::Snapshot;
use crate::shims::client::{Force, Target};
use crate::shims::journal;
use sextant_proto::v1;
use std::ops::ControlFlow;
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Grace of a stop that names none.
const GRACE: Duration = Duration::from_secs(10);
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
        let mut request = request.into_inner();
        let (restart, check) = (request.restart.take(), request.health_check.take());
        let new = convert::new_container(request);
        let new =
            new.ok_or_else(|| refused("create a container", "source", "neither bundle nor rootfs is given"));
        let created = match new.and_then(|new| policies::with_policies(new, restart, check)) {
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

    async fn restart(&self, request: Request<v1::RestartRequest>) -> Answer<v1::RestartResponse> {
        let v1::RestartRequest { id, grace, signal: number, idempotency_key } = request.into_inner();
        let key = convert::key(idempotency_key);
        let restarted = match grace.map_or(Some(GRACE), convert::duration) {
            Some(grace) => self.engine.restart(&id, signal(number), grace, key).await,
            None => Err(refused("restart a container", "grace", "it is negative or too long")),
        };
        reply(restarted.map(|s| v1::RestartResponse { container: Some(convert::container_to_wire(s)) }))
    }

    async fn delete(&self, request: Request<v1::DeleteRequest>) -> Answer<v1::DeleteResponse> {
        let v1::DeleteRequest { id, force, idempotency_key } = request.into_inner();
        let force = if force { Force::Yes } else { Force::No };
        let deleted = self.engine.delete(&id, force, convert::key(idempotency_key)).await;
        reply(deleted.map(|()| v1::DeleteResponse {}))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        let v1::GetRequest { id, read_mask } = request.into_inner();
        let found = Mask::of(read_mask, "get a container")
            .and_then(|mask| self.engine.look(&id, |snapshot| mask.apply(snapshot)));
        reply(found.map(|container| v1::GetResponse { container: Some(container) }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<v1::ListResponse> {
        reply(list(&self.engine, request.into_inner()))
    }

    async fn wait(&self, request: Request<v1::WaitRequest>) -> Answer<v1::WaitResponse> {
        let request = request.into_inner();
        let exit = self.engine.wait(&request.id, policies::wait_for(request.condition())).await;
        reply(exit.map(|exit| v1::WaitResponse { exit: Some(convert::exit_to_wire(exit)) }))
    }

    type LogsStream = logs::Entries;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        reply(logs::read(&self.engine, request.into_inner()))
    }

    async fn reopen_log(&self, request: Request<v1::ReopenLogRequest>) -> Answer<v1::ReopenLogResponse> {
        let reopened = self.engine.reopen_log(&request.into_inner().id).await;
        reply(reopened.map(|()| v1::ReopenLogResponse {}))
    }

    async fn pause(&self, request: Request<v1::PauseRequest>) -> Answer<v1::PauseResponse> {
        let v1::PauseRequest { id, idempotency_key } = request.into_inner();
        let paused = self.engine.pause(&id, convert::key(idempotency_key)).await;
        reply(paused.map(|s| v1::PauseResponse { container: Some(convert::container_to_wire(s)) }))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Answer<v1::ResumeResponse> {
        let v1::ResumeRequest { id, idempotency_key } = request.into_inner();
        let resumed = self.engine.resume(&id, convert::key(idempotency_key)).await;
        reply(resumed.map(|s| v1::ResumeResponse { container: Some(convert::container_to_wire(s)) }))
    }

    async fn update_resources(
        &self,
        request: Request<v1::UpdateResourcesRequest>,
    ) -> Answer<v1::UpdateResourcesResponse> {
        let v1::UpdateResourcesRequest { id, limits, idempotency_key } = request.into_inner();
        let limits = convert::limits_update(limits.unwrap_or_default());
        let updated = self.engine.update(&id, limits, convert::key(idempotency_key)).await;
        reply(updated.map(|s| v1::UpdateResourcesResponse { container: Some(convert::container_to_wire(s)) }))
    }

    async fn stats(&self, request: Request<v1::StatsRequest>) -> Answer<v1::StatsResponse> {
        let v1::StatsRequest { ids, selector } = request.into_inner();
        reply(resources::stats(&self.engine, &ids, &selector).await)
    }

    type StreamStatsStream = resources::Samples;

    async fn stream_stats(
        &self,
        request: Request<v1::StreamStatsRequest>,
    ) -> Answer<Self::StreamStatsStream> {
        reply(resources::stream(&self.engine, request.into_inner()).await)
    }

    async fn processes(&self, request: Request<v1::ProcessesRequest>) -> Answer<v1::ProcessesResponse> {
        reply(resources::processes(&self.engine, &request.into_inner().id).await)
    }

    async fn namespaces(&self, request: Request<v1::NamespacesRequest>) -> Answer<v1::NamespacesResponse> {
        reply(namespaces::read(&self.engine, &request.into_inner().id).await)
    }

    async fn trace(&self, request: Request<v1::TraceRequest>) -> Answer<v1::TraceResponse> {
        let trace = trace(&self.engine, &request.into_inner().id).await;
        reply(trace.map(|stages| v1::TraceResponse { stages }))
    }
}

/// A page of the containers that are asked for.
fn list(engine: &Engine, request: v1::ListRequest) -> Result<v1::ListResponse, Error> {
    let attempted = "list the containers";
    let v1::ListRequest { labels, page_size, page_token, read_mask, selector } = request;
    let mask = Mask::of(read_mask, attempted)?;
    let selector = filter::selector(&selector, attempted)?;
    let has = |snapshot: &Snapshot, key: &String, value: &String| {
        snapshot.labels.get(key).is_some_and(|found| value.is_empty() || found == value)
    };
    let size = usize::try_from(page_size).ok().filter(|size| *size > 0).unwrap_or(usize::MAX);
    let (mut containers, mut last, mut next_page_token) = (Vec::new(), String::new(), String::new());
    engine.look_at_all(|snapshot| {
        // The inits of sandboxes are theirs, and listed nowhere. A token is the last id of the page before:
        // what is made or deleted meanwhile moves no other container to another page.
        let is_wanted = !engine.is_init(snapshot)
            && snapshot.id > page_token
            && labels.iter().all(|(key, value)| has(snapshot, key, value))
            && selector.matches(&snapshot.labels);
        if is_wanted && containers.len() == size {
            next_page_token = std::mem::take(&mut last);
            return ControlFlow::Break(());
        }
        if is_wanted {
            last.clone_from(&snapshot.id);
            containers.push(mask.apply(snapshot));
        }
        ControlFlow::Continue(())
    });
    Ok(v1::ListResponse { containers, next_page_token })
}

async fn trace(engine: &Engine, id: &str) -> Result<Vec<v1::StageRecord>, Error> {
    let (paths, _) = engine.follow(id)?;
    let path = paths.journal();
    let attempted = format!("read {}", path.display());
    let records = engine::blocking(move || journal::trace(&path).map_err(Error::io(attempted))).await?;
    Ok(records.into_iter().map(convert::stage_to_wire).collect())
}
