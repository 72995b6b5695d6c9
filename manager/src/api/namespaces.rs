//! `Containers.Namespaces`: of a container, of a sandbox, or of all.

use crate::engine::error::Error;
use crate::engine::{Engine, blocking};
use crate::model::Sandbox;
use crate::namespaces::{self, Namespaces, Pair};
use crate::sharing::{self, Owner, OwnerKind};
use sextant_proto::v1;
use sextant_runtime::plan::{IdMapping, NamespaceKind};

/// Answers for `id`, or, where it is empty, for everybody.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::WrongPhase`] for a container without a process; [`Error::Io`].
pub(super) async fn read(engine: &Engine, id: &str) -> Result<v1::NamespacesResponse, Error> {
    let (sandboxes, containers) = (engine.sandboxes().await?, engine.list());
    if id.is_empty() {
        let owners = blocking(move || sharing::all(&sandboxes, &containers)).await?;
        let owners = owners.into_iter().map(owner_to_wire).collect();
        return Ok(v1::NamespacesResponse { owners, ..Default::default() });
    }
    if let Some(index) = sandboxes.iter().position(|sandbox| sandbox.id == id) {
        return blocking(move || of_sandbox(&sandboxes, index, &containers)).await;
    }
    let snapshot = engine.get(id)?;
    blocking(move || {
        let mut found = namespaces::read(&snapshot)?;
        let owners = sharing::all(&sandboxes, &containers)?;
        for pair in &mut found.pairs {
            pair.sharers = sharers(&owners, &snapshot.id, pair);
            if pair.kind == NamespaceKind::Uts && pair.container == pair.host {
                found.hostname.clone_from(&found.host_hostname);
            }
        }
        Ok(to_wire(found))
    })
    .await
}

/// Those that others have in common with one.
fn sharers(owners: &[Owner], id: &str, pair: &Pair) -> Vec<String> {
    let owner = owners.iter().find(|owner| owner.id == id);
    let pairs = owner.into_iter().flat_map(|owner| &owner.pairs);
    let same = |other: &&Pair| other.kind == pair.kind && other.container == pair.container;
    pairs.into_iter().find(same).map(|pair| pair.sharers.clone()).unwrap_or_default()
}

fn of_sandbox(
    sandboxes: &[Sandbox],
    index: usize,
    containers: &[crate::model::Snapshot],
) -> Result<v1::NamespacesResponse, Error> {
    let owners = sharing::all(sandboxes, containers)?;
    // The host is the first of them, and sandboxes come next.
    let pairs = owners.into_iter().nth(index + 1).map(|owner| owner.pairs).unwrap_or_default();
    let sandbox = sandboxes.get(index);
    let map = sandbox.and_then(|s| s.ids).map(|ids| IdMapping {
        container_id: 0,
        host_id: ids.host_id,
        size: ids.size,
    });
    let maps: Vec<IdMapping> = map.into_iter().collect();
    Ok(to_wire(Namespaces {
        pairs,
        uids: maps.clone(),
        gids: maps,
        hostname: sandbox.map(|s| s.hostname.clone()).unwrap_or_default(),
        host_hostname: namespaces::hostname().map_err(Error::io("read the host name"))?,
    }))
}

fn to_wire(found: Namespaces) -> v1::NamespacesResponse {
    let mappings = |all: Vec<IdMapping>| {
        let one =
            |m: IdMapping| v1::IdMapping { container_id: m.container_id, host_id: m.host_id, size: m.size };
        all.into_iter().map(one).collect()
    };
    v1::NamespacesResponse {
        namespaces: found.pairs.into_iter().map(pair_to_wire).collect(),
        uid_mappings: mappings(found.uids),
        gid_mappings: mappings(found.gids),
        hostname: found.hostname,
        host_hostname: found.host_hostname,
        owners: Vec::new(),
    }
}

fn owner_to_wire(owner: Owner) -> v1::NamespaceOwner {
    let kind = match owner.kind {
        OwnerKind::Host => v1::namespace_owner::Kind::Host,
        OwnerKind::Sandbox => v1::namespace_owner::Kind::Sandbox,
        OwnerKind::Container => v1::namespace_owner::Kind::Container,
    };
    v1::NamespaceOwner {
        kind: kind.into(),
        id: owner.id,
        sandbox: owner.sandbox.unwrap_or_default(),
        pid: owner.pid.unwrap_or(0),
        namespaces: owner.pairs.into_iter().map(pair_to_wire).collect(),
    }
}

/// A namespace.
pub(super) fn pair_to_wire(pair: Pair) -> v1::Namespace {
    v1::Namespace {
        r#type: pair.kind.name().into(),
        inode: pair.container,
        host_inode: pair.host,
        sharers: pair.sharers,
    }
}
