//! The state of a container as `state` prints it (runtime-spec, "State").

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a container is in its life (runtime-spec, "Lifecycle").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Set up; its process has not been executed.
    Created,
    /// Its process was executed and has not exited.
    Running,
    /// Frozen.
    Paused,
    /// Its process has exited.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// What `state` prints: the spec's fields, then runc's additions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the runtime-spec.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Where it is in its life.
    pub status: Status,
    /// Its init in the caller's pid namespace; 0 when it has none (any more).
    #[serde(default)]
    pub pid: i32,
    /// Of one that `create` has made and that has stopped: whether a `start` has heard that its process
    /// was executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executed: bool,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Annotations of the config, unaltered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Absolute path of the root file system (as runc's).
    #[serde(default)]
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 in UTC (as runc's).
    #[serde(default)]
    pub created: String,
    /// Name or id of the user who created it (as runc's).
    #[serde(default)]
    pub owner: String,
}
