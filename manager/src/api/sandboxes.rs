//! `sextant.v1.Sandboxes`, and what requests for containers say of namespaces:
//! decodes, calls the engine, encodes.

use super::convert;
use super::namespaces::pair_to_wire;
use super::status::status;
use crate::engine::Engine;
use crate::engine::error::Error;
use crate::model::{IdRange, NewSandbox, Sandbox};
use crate::namespaces::{Pair, of_host};
use crate::placement::{Mode, Modes, Placement, Shared};
use crate::shims::client::Force;
use sextant_proto::v1;
use sextant_proto::v1::namespace_mode::Kind;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    /// Does the work.
    pub engine: Engine,
}

type Answer<T> = Result<Response<T>, Status>;

fn reply<T>(result: Result<T, Error>) -> Answer<T> {
    result.map(Response::new).map_err(|e| status(&e))
}

#[tonic::async_trait]
impl v1::sandboxes_server::Sandboxes for Sandboxes {
    async fn create(&self, request: Request<v1::CreateSandboxRequest>) -> Answer<v1::CreateSandboxResponse> {
        let created = self.engine.create_sandbox(new_sandbox(request.into_inner())).await;
        reply(created.map(|s| v1::CreateSandboxResponse { sandbox: Some(sandbox_to_wire(s)) }))
    }

    async fn get(&self, request: Request<v1::GetSandboxRequest>) -> Answer<v1::GetSandboxResponse> {
        let sandbox = self.engine.sandbox(&request.into_inner().id).await;
        reply(sandbox.map(|s| v1::GetSandboxResponse { sandbox: Some(sandbox_to_wire(s)) }))
    }

    async fn list(&self, request: Request<v1::ListSandboxesRequest>) -> Answer<v1::ListSandboxesResponse> {
        let v1::ListSandboxesRequest { labels, page_size, page_token } = request.into_inner();
        let all = self.engine.sandboxes().await.map_err(|e| status(&e))?;
        let selected = all.into_iter().filter(|s| {
            let has = |key: &String, value: &String| {
                s.labels.get(key).is_some_and(|found| value.is_empty() || found == value)
            };
            s.id > page_token && labels.iter().all(|(key, value)| has(key, value))
        });
        let size = usize::try_from(page_size).ok().filter(|size| *size > 0).unwrap_or(usize::MAX);
        let mut selected = selected.map(sandbox_to_wire);
        let sandboxes: Vec<_> = selected.by_ref().take(size).collect();
        let last = sandboxes.last().filter(|_| selected.next().is_some());
        let next_page_token = last.map(|sandbox| sandbox.id.clone()).unwrap_or_default();
        Ok(Response::new(v1::ListSandboxesResponse { sandboxes, next_page_token }))
    }

    async fn delete(&self, request: Request<v1::DeleteSandboxRequest>) -> Answer<v1::DeleteSandboxResponse> {
        let v1::DeleteSandboxRequest { id, force, idempotency_key } = request.into_inner();
        let force = if force { Force::Yes } else { Force::No };
        let deleted = self.engine.delete_sandbox(&id, force, convert::key(idempotency_key)).await;
        reply(deleted.map(|()| v1::DeleteSandboxResponse {}))
    }
}

fn new_sandbox(request: v1::CreateSandboxRequest) -> NewSandbox {
    let v1::CreateSandboxRequest { id, labels, hostname, shared, idempotency_key } = request;
    let shared = shared.map_or_else(Shared::default, |shared| {
        let v1::SharedNamespaces { network, ipc, uts, user, pid } = shared;
        Shared { user, pid, network, uts, ipc }
    });
    NewSandbox {
        id: Some(id).filter(|id| !id.is_empty()),
        labels: labels.into_iter().collect(),
        hostname,
        shared,
        key: convert::key(idempotency_key),
    }
}

fn sandbox_to_wire(sandbox: Sandbox) -> v1::Sandbox {
    let status = match sandbox.because {
        None => v1::SandboxStatus::Ready,
        Some(_) => v1::SandboxStatus::NotReady,
    };
    let Shared { user, pid, network, uts, ipc } = sandbox.shared;
    let host = of_host().unwrap_or_default();
    let of_host = |kind| host.iter().find(|pair| pair.kind == kind).map_or(0, |pair| pair.host);
    let namespace = |(kind, inode)| pair_to_wire(Pair::new(kind, inode, of_host(kind)));
    v1::Sandbox {
        id: sandbox.id,
        status: status.into(),
        because: sandbox.because.unwrap_or_default(),
        labels: sandbox.labels.into_iter().collect(),
        hostname: sandbox.hostname,
        shared: Some(v1::SharedNamespaces { network, ipc, uts, user, pid }),
        created_at: convert::time(sandbox.created_at),
        ids: sandbox.ids.map(|IdRange { host_id, size }| v1::IdRange { host_id, size }),
        namespaces: sandbox.namespaces.into_iter().map(namespace).collect(),
        pins: sandbox.pins.to_string_lossy().into_owned(),
        containers: sandbox.containers,
        init_pid: sandbox.init_pid.unwrap_or(0),
    }
}

/// Where a new container belongs.
pub(super) fn placement(sandbox: String, modes: Option<v1::NamespaceModes>) -> Placement {
    let mode = |mode: Option<v1::NamespaceMode>| {
        let mode = mode.unwrap_or_default();
        match mode.kind() {
            Kind::Unspecified => Mode::Default,
            Kind::Own => Mode::Own,
            Kind::Sandbox => Mode::Sandbox,
            Kind::Host => Mode::Host,
            Kind::Container => Mode::Container(mode.container),
        }
    };
    let v1::NamespaceModes { network, ipc, uts, user, pid } = modes.unwrap_or_default();
    let modes =
        Modes { user: mode(user), pid: mode(pid), network: mode(network), uts: mode(uts), ipc: mode(ipc) };
    Placement { sandbox: Some(sandbox).filter(|id| !id.is_empty()), modes, init: false }
}

/// Whose namespaces a container is in; `None` where its bundle says that.
pub(super) fn modes_to_wire(modes: &Modes) -> Option<v1::NamespaceModes> {
    if *modes == Modes::default() {
        return None;
    }
    let mode = |mode: &Mode| {
        let (kind, container) = match mode {
            Mode::Default => (Kind::Unspecified, String::new()),
            Mode::Own => (Kind::Own, String::new()),
            Mode::Sandbox => (Kind::Sandbox, String::new()),
            Mode::Host => (Kind::Host, String::new()),
            Mode::Container(id) => (Kind::Container, id.clone()),
        };
        Some(v1::NamespaceMode { kind: kind.into(), container })
    };
    let Modes { user, pid, network, uts, ipc } = modes;
    Some(v1::NamespaceModes {
        network: mode(network),
        ipc: mode(ipc),
        uts: mode(uts),
        user: mode(user),
        pid: mode(pid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_go_through_the_wire() {
        let modes = Modes {
            user: Mode::Own,
            pid: Mode::Container("a".into()),
            network: Mode::Host,
            uts: Mode::Sandbox,
            ipc: Mode::Default,
        };
        let back = placement("s".into(), modes_to_wire(&modes));
        assert_eq!(back, Placement { sandbox: Some("s".into()), modes, init: false });
        assert_eq!(modes_to_wire(&Modes::default()), None);
        assert_eq!(placement(String::new(), None), Placement::default());
    }

    #[test]
    fn what_a_sandbox_shares_is_all_or_nothing_of_the_message() {
        let request = v1::CreateSandboxRequest::default();
        assert_eq!(new_sandbox(request.clone()).shared, Shared::default());
        let shared = Some(v1::SharedNamespaces { pid: true, ..Default::default() });
        let new = new_sandbox(v1::CreateSandboxRequest { shared, ..request });
        assert_eq!(new.shared.kinds().count(), 1);
        assert_eq!(new.id, None);
    }
}
