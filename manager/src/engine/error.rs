//! Why the engine refuses or fails, as the rest of the manager sees it. Never a
//! status code: `api::status` is the one place that chooses those.

use crate::model::{Failure, Phase};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One mistake of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field of the request, or a JSON pointer into config.json.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it; empty where it is plain.
    pub hint: String,
}

/// Why an operation was refused or failed; each who waits for it is told.
#[derive(Clone, Debug)]
pub enum Error {
    /// The request or its bundle has mistakes; all of them.
    Refused {
        /// What was attempted.
        attempted: String,
        /// The mistakes; not empty.
        violations: Vec<Violation>,
    },
    /// There is no container of that name.
    NotFound {
        /// The name.
        id: String,
    },
    /// The name is taken.
    Exists {
        /// The name.
        id: String,
    },
    /// The container is not in a phase that allows it.
    WrongPhase {
        /// The container.
        id: String,
        /// What was attempted: `start it`.
        attempted: &'static str,
        /// Where it is.
        phase: Phase,
        /// What to do instead.
        hint: &'static str,
    },
    /// A limit of the manager is reached.
    Exhausted {
        /// Which: `operations waiting for container "a"`.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A step of the runtime or the shim failed.
    Failed {
        /// What was attempted.
        attempted: String,
        /// The step.
        failure: Box<Failure>,
    },
    /// The shim did not answer in time.
    Timeout {
        /// The call.
        attempted: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The shim cannot be reached.
    Unreachable {
        /// What was attempted.
        attempted: String,
        /// Because of what.
        because: String,
    },
    /// The operating system refused something to the manager itself.
    Io {
        /// What was attempted.
        attempted: String,
        /// Its answer.
        source: Arc<std::io::Error>,
    },
    /// The container was removed while it was waited for.
    Removed {
        /// The container.
        id: String,
    },
    /// It was given up before its end, on request; what it had done is undone.
    Cancelled {
        /// The container.
        id: String,
        /// What was under way: `start it`.
        attempted: &'static str,
        /// Who asked: `it is deleted`.
        because: &'static str,
    },
    /// The key belongs to another operation.
    KeyReused {
        /// The key.
        key: String,
        /// That operation: `start container "a"`.
        first: String,
    },
    /// No operation of that key is remembered.
    NoOperation {
        /// The key.
        key: String,
    },
    /// There is no exec of that name in the container, or it is forgotten.
    NoExec {
        /// The container.
        id: String,
        /// The name.
        exec: String,
    },
    /// Its process has no such stdin or terminal, or has ended.
    Without {
        /// What was attempted.
        attempted: String,
        /// What is not there.
        because: String,
    },
    /// There is no sandbox of that name.
    NoSandbox {
        /// The name.
        id: String,
    },
    /// The name is that of a sandbox.
    SandboxExists {
        /// The name.
        id: String,
    },
    /// Containers cannot join the sandbox.
    SandboxNotReady {
        /// The sandbox.
        id: String,
        /// Because of what.
        because: String,
    },
    /// The sandbox has containers.
    SandboxInUse {
        /// The sandbox.
        id: String,
        /// Their names.
        containers: Vec<String>,
    },
    /// The container is the init of the sandbox of its name, and goes with that.
    IsInit {
        /// The name.
        id: String,
    },
    /// The manager is stopping.
    Stopping,
}

impl Error {
    /// For `map_err`: an I/O error of the manager itself, with what was attempted.
    pub fn io(attempted: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let attempted = attempted.into();
        move |source| Self::Io { attempted, source: Arc::new(source) }
    }

    /// Its kind, as clients know it: the reason of their `ErrorInfo` (docs/errors.md).
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "INVALID_REQUEST",
            Self::NotFound { .. } => "CONTAINER_NOT_FOUND",
            Self::Exists { .. } => "CONTAINER_EXISTS",
            Self::WrongPhase { .. } => "WRONG_STATUS",
            Self::Exhausted { .. } => "LIMIT_REACHED",
            Self::Failed { .. } => "STEP_FAILED",
            Self::Timeout { .. } => "SHIM_TIMEOUT",
            Self::Unreachable { .. } => "SHIM_UNREACHABLE",
            Self::Io { .. } => "HOST_ERROR",
            Self::Removed { .. } => "CONTAINER_REMOVED",
            Self::Cancelled { .. } => "CANCELLED",
            Self::KeyReused { .. } => "KEY_REUSED",
            Self::NoOperation { .. } => "OPERATION_NOT_FOUND",
            Self::NoExec { .. } => "EXEC_NOT_FOUND",
            Self::Without { .. } => "NOT_THERE",
            Self::NoSandbox { .. } => "SANDBOX_NOT_FOUND",
            Self::SandboxExists { .. } => "SANDBOX_EXISTS",
            Self::SandboxNotReady { .. } => "SANDBOX_NOT_READY",
            Self::SandboxInUse { .. } => "SANDBOX_IN_USE",
            Self::IsInit { .. } => "SANDBOX_INIT",
            Self::Stopping => "STOPPING",
        }
    }

    /// The error as a failure record, for an event or a snapshot.
    pub fn to_failure(&self) -> Failure {
        let message = self.chain();
        match self {
            Self::Failed { failure, .. } => (**failure).clone(),
            Self::Io { attempted, source } => Failure {
                stage: "manager".into(),
                attempted: attempted.clone(),
                errno: source.raw_os_error().unwrap_or(0),
                message,
                ..Failure::default()
            },
            Self::Timeout { attempted, .. } | Self::Unreachable { attempted, .. } => {
                Failure { stage: "shim".into(), attempted: attempted.clone(), message, ..Failure::default() }
            }
            _ => Failure { stage: "manager".into(), message, ..Failure::default() },
        }
    }

    /// The error and its sources in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { attempted, violations } => {
                write!(f, "{attempted}")?;
                for (index, v) in violations.iter().enumerate() {
                    write!(f, "{} {}: {}", if index == 0 { ":" } else { ";" }, v.field, v.message)?;
                }
                Ok(())
            }
            Self::NotFound { id } => write!(f, "there is no container {id:?}"),
            Self::Exists { id } => write!(f, "a container {id:?} exists already"),
            Self::WrongPhase { id, attempted, phase, .. } => {
                write!(f, "cannot {attempted}: container {id:?} is {phase}")
            }
            Self::Exhausted { what, .. } => write!(f, "no more {what}"),
            Self::Failed { attempted, failure } => write!(f, "{attempted}: {}", failure.message),
            Self::Timeout { attempted, after } => {
                write!(f, "{attempted}: no answer within {} s", after.as_secs())
            }
            Self::Unreachable { attempted, because } => write!(f, "{attempted}: {because}"),
            Self::Io { attempted, .. } => f.write_str(attempted),
            Self::Removed { id } => write!(f, "container {id:?} was removed and had no exit status"),
            Self::Cancelled { id, attempted, because } => {
                write!(f, "cannot {attempted}: container {id:?}: {because}")
            }
            Self::KeyReused { key, first } => {
                write!(f, "the key {key:?} belongs to another operation: {first}")
            }
            Self::NoOperation { key } => write!(f, "no operation with the key {key:?} is remembered"),
            Self::NoExec { id, exec } => write!(f, "there is no exec {exec:?} in container {id:?}"),
            Self::Without { attempted, because } => write!(f, "{attempted}: {because}"),
            Self::NoSandbox { id } => write!(f, "there is no sandbox {id:?}"),
            Self::SandboxExists { id } => write!(f, "a sandbox {id:?} exists already"),
            Self::SandboxNotReady { id, because } => write!(f, "sandbox {id:?} is not ready: {because}"),
            Self::SandboxInUse { id, containers } => {
                write!(f, "sandbox {id:?} has containers: {}", containers.join(", "))
            }
            Self::IsInit { id } => write!(f, "container {id:?} is the init of the sandbox {id:?}"),
            Self::Stopping => f.write_str("the manager is stopping"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
