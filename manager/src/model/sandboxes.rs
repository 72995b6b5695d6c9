//! Sandboxes: what is asked for, and what is known of one.

use super::IdRange;
use crate::placement::Shared;
use sextant_runtime::plan::NamespaceKind;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// A request for a sandbox.
#[derive(Clone, Debug)]
pub struct NewSandbox {
    /// Its name; the manager makes one up where it is missing.
    pub id: Option<String>,
    /// Whatever the caller wants to find again.
    pub labels: BTreeMap<String, String>,
    /// Empty is the sandbox's id.
    pub hostname: String,
    /// What its containers share.
    pub shared: Shared,
    /// Key of the operation, where the caller has given one.
    pub key: Option<String>,
}

/// What is known of one sandbox at this moment.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Name and identity.
    pub id: String,
    /// Why containers cannot join it; `None`: they can.
    pub because: Option<String>,
    /// As given at creation.
    pub labels: BTreeMap<String, String>,
    /// Host name inside; empty where it shares no uts namespace.
    pub hostname: String,
    /// What its containers share.
    pub shared: Shared,
    /// When the request was taken.
    pub created_at: SystemTime,
    /// The ids of its user namespace.
    pub ids: Option<IdRange>,
    /// Types and inodes of the namespaces that it holds.
    pub namespaces: Vec<(NamespaceKind, u64)>,
    /// Directory of the files that hold them.
    pub pins: PathBuf,
    /// Those that joined it, by name.
    pub containers: Vec<String>,
    /// Its init.
    pub init_pid: Option<i32>,
}
