//! Operations: what can be done, and what is known of one that has a key.

use super::Failure;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Makes a container.
    Create,
    /// Executes its process.
    Start,
    /// Ends it.
    Stop,
    /// Removes it.
    Delete,
    /// Stops its processes where they are.
    Pause,
    /// Lets them go on.
    Resume,
    /// Changes its limits.
    Update,
    /// Executes one more process in it.
    Exec,
    /// Ends it and begins its next life.
    Restart,
    /// Makes a sandbox.
    CreateSandbox,
    /// Removes a sandbox.
    DeleteSandbox,
}

impl Verb {
    /// What it is done to.
    pub fn object(self) -> &'static str {
        match self {
            Self::CreateSandbox | Self::DeleteSandbox => "sandbox",
            _ => "container",
        }
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Delete => "delete",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Update => "update",
            Self::Exec => "execute a process in",
            Self::Restart => "restart",
            Self::CreateSandbox => "create",
            Self::DeleteSandbox => "delete",
        })
    }
}

/// An operation that its client has given a key.
#[derive(Clone, Debug)]
pub struct Operation {
    /// As given.
    pub key: String,
    /// What it does.
    pub verb: Verb,
    /// To which container, or sandbox.
    pub container: String,
    /// When it began.
    pub begun_at: SystemTime,
    /// When it ended, once it has.
    pub ended_at: Option<SystemTime>,
    /// Why it failed, when it has.
    pub failure: Option<Failure>,
}
