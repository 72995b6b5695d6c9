//! Who shares which namespace with whom: the host, all sandboxes and all
//! containers that live, by the numbers that the kernel has for namespaces
//! (namespaces(7): two are the same if device and inode of their files are).

use crate::engine::error::Error;
use crate::model::{Sandbox, Snapshot};
use crate::namespaces::{self, Pair};
use sextant_runtime::plan::NamespaceKind;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody with namespaces is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// The manager's host.
    Host,
    /// A sandbox.
    Sandbox,
    /// A container.
    Container,
}

/// Somebody with namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// What it is.
    pub kind: OwnerKind,
    /// Its name; empty for the host.
    pub id: String,
    /// Of a container: its sandbox.
    pub sandbox: Option<String>,
    /// Its init.
    pub pid: Option<i32>,
    /// Its namespaces.
    pub pairs: Vec<Pair>,
}

/// Ids by namespace.
type Sharers = BTreeMap<(&'static str, u64), BTreeSet<String>>;

/// Everybody: the host, then sandboxes, then containers, as they come. A container that ends
/// meanwhile is left out, and so is the init of a sandbox, whose namespaces are the sandbox's.
///
/// # Errors
/// [`Error::Io`] when the host's cannot be read.
pub fn all(sandboxes: &[Sandbox], containers: &[Snapshot]) -> Result<Vec<Owner>, Error> {
    let host = namespaces::of_host()?;
    let of_host = |kind: NamespaceKind| host.iter().find(|p| p.kind == kind).map_or(0, |p| p.host);
    let pinned = sandboxes.iter().map(|sandbox| Owner {
        kind: OwnerKind::Sandbox,
        id: sandbox.id.clone(),
        sandbox: None,
        pid: sandbox.init_pid,
        pairs: sandbox
            .namespaces
            .iter()
            .map(|(kind, inode)| Pair::new(*kind, *inode, of_host(*kind)))
            .collect(),
    });
    let living = containers.iter().filter(|snapshot| !snapshot.placement.init).filter_map(|snapshot| {
        let pairs = namespaces::pairs(snapshot).ok()?;
        let (id, sandbox) = (snapshot.id.clone(), snapshot.placement.sandbox.clone());
        Some(Owner { kind: OwnerKind::Container, id, sandbox, pid: snapshot.pid, pairs })
    });
    let mut owners: Vec<Owner> = pinned.chain(living).collect();
    owners
        .insert(0, Owner { kind: OwnerKind::Host, id: String::new(), sandbox: None, pid: None, pairs: host });
    let mut sharers = Sharers::new();
    for owner in owners.iter().filter(|owner| owner.kind != OwnerKind::Host) {
        for pair in &owner.pairs {
            sharers.entry((pair.kind.name(), pair.container)).or_default().insert(owner.id.clone());
        }
    }
    for owner in &mut owners {
        for pair in &mut owner.pairs {
            let others = sharers.get(&(pair.kind.name(), pair.container)).into_iter().flatten();
            pair.sharers = others.filter(|id| **id != owner.id).cloned().collect();
        }
    }
    Ok(owners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{record::tests::record, snapshot_for_tests};
    use crate::placement::Shared;
    use std::sync::Arc;
    use std::time::SystemTime;

    #[test]
    fn who_is_in_the_same_namespace_is_found_by_its_number() {
        // This process stands for two containers, both in the host's namespaces.
        let container = |id: &str| {
            let mut snapshot = snapshot_for_tests(&record(id));
            snapshot.pid = i32::try_from(std::process::id()).ok();
            snapshot
        };
        let uts = namespaces::of_host().unwrap().iter().find(|p| p.kind == NamespaceKind::Uts).unwrap().host;
        let sandbox = Sandbox {
            id: "pod".into(),
            because: None,
            labels: BTreeMap::new(),
            hostname: String::new(),
            shared: Shared::default(),
            created_at: SystemTime::UNIX_EPOCH,
            ids: None,
            namespaces: vec![(NamespaceKind::Uts, uts), (NamespaceKind::Network, 7)],
            pins: "/p".into(),
            containers: vec![],
            init_pid: None,
        };
        let mut init = container("pod");
        Arc::make_mut(&mut init.given).placement.init = true;
        let mut gone = container("gone");
        gone.pid = None;
        let owners = all(&[sandbox], &[container("a"), container("b"), gone, init]).unwrap();
        let names: Vec<_> = owners.iter().map(|o| (o.kind, o.id.as_str())).collect();
        use OwnerKind::{Container, Host, Sandbox as Pod};
        assert_eq!(names, [(Host, ""), (Pod, "pod"), (Container, "a"), (Container, "b")]);
        let sharers =
            |owner: &Owner, kind| owner.pairs.iter().find(|p| p.kind == kind).unwrap().sharers.clone();
        assert_eq!(sharers(&owners[2], NamespaceKind::Uts), ["b", "pod"]);
        assert_eq!(sharers(&owners[2], NamespaceKind::Network), ["b"]);
        assert_eq!(sharers(&owners[0], NamespaceKind::Uts), ["a", "b", "pod"]);
        assert!(sharers(&owners[1], NamespaceKind::Network).is_empty());
    }
}
