//! Sandboxes and namespaces, as `--json` prints them.

use crate::cli::time::rfc3339;
use crate::cli::view::IdRange;
use serde::Serialize;
use sextant_proto::v1;
use sextant_proto::v1::namespace_mode::Kind;
use std::collections::BTreeMap;

/// A sandbox.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Sandbox, described there")]
pub struct Sandbox {
    pub id: String,
    pub status: String,
    pub because: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub hostname: String,
    pub shared: Vec<&'static str>,
    pub created_at: Option<String>,
    pub ids: Option<IdRange>,
    pub namespaces: Vec<Namespace>,
    pub pins: String,
    pub containers: Vec<String>,
    pub init_pid: Option<i32>,
}

/// A namespace.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Namespace, described there")]
pub struct Namespace {
    #[serde(rename = "type")]
    pub kind: String,
    pub inode: u64,
    pub host_inode: u64,
    /// Whether it is the host's.
    pub shared: bool,
    pub sharers: Vec<String>,
}

/// Somebody with namespaces.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.NamespaceOwner, described there")]
pub struct Owner {
    pub kind: &'static str,
    pub id: String,
    pub sandbox: Option<String>,
    pub pid: Option<i32>,
    pub namespaces: Vec<Namespace>,
}

impl From<v1::Sandbox> for Sandbox {
    fn from(s: v1::Sandbox) -> Self {
        let status = match s.status() {
            v1::SandboxStatus::Ready => "ready",
            v1::SandboxStatus::NotReady => "not-ready",
            v1::SandboxStatus::Unspecified => "unknown",
        };
        Self {
            status: status.into(),
            because: Some(s.because).filter(|because| !because.is_empty()),
            id: s.id,
            labels: s.labels.into_iter().collect(),
            hostname: s.hostname,
            shared: shared(&s.shared.unwrap_or_default()),
            created_at: s.created_at.as_ref().map(rfc3339),
            ids: s.ids.map(|v1::IdRange { host_id, size }| IdRange { host_id, size }),
            namespaces: s.namespaces.into_iter().map(Namespace::from).collect(),
            pins: s.pins,
            containers: s.containers,
            init_pid: Some(s.init_pid).filter(|pid| *pid != 0),
        }
    }
}

fn shared(shared: &v1::SharedNamespaces) -> Vec<&'static str> {
    let v1::SharedNamespaces { network, ipc, uts, user, pid } = shared;
    let all = [("user", user), ("pid", pid), ("network", network), ("uts", uts), ("ipc", ipc)];
    all.into_iter().filter(|(_, shares)| **shares).map(|(name, _)| name).collect()
}

impl From<v1::Namespace> for Namespace {
    fn from(ns: v1::Namespace) -> Self {
        Self {
            shared: ns.inode == ns.host_inode,
            kind: ns.r#type,
            inode: ns.inode,
            host_inode: ns.host_inode,
            sharers: ns.sharers,
        }
    }
}

impl From<v1::NamespaceOwner> for Owner {
    fn from(owner: v1::NamespaceOwner) -> Self {
        let kind = match owner.kind() {
            v1::namespace_owner::Kind::Host => "host",
            v1::namespace_owner::Kind::Sandbox => "sandbox",
            v1::namespace_owner::Kind::Container => "container",
            v1::namespace_owner::Kind::Unspecified => "unknown",
        };
        Self {
            kind,
            id: owner.id,
            sandbox: Some(owner.sandbox).filter(|sandbox| !sandbox.is_empty()),
            pid: Some(owner.pid).filter(|pid| *pid != 0),
            namespaces: owner.namespaces.into_iter().map(Namespace::from).collect(),
        }
    }
}

/// Whose namespaces a container is in, each as the flag of its name is written.
pub fn modes(modes: v1::NamespaceModes) -> BTreeMap<&'static str, String> {
    let v1::NamespaceModes { network, ipc, uts, user, pid } = modes;
    let all = [("network", network), ("ipc", ipc), ("uts", uts), ("user", user), ("pid", pid)];
    let word = |mode: v1::NamespaceMode| match mode.kind() {
        Kind::Unspecified => "default".to_owned(),
        Kind::Own => "own".into(),
        Kind::Sandbox => "sandbox".into(),
        Kind::Host => "host".into(),
        Kind::Container => format!("container:{}", mode.container),
    };
    all.into_iter().map(|(name, mode)| (name, word(mode.unwrap_or_default()))).collect()
}
