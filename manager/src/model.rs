//! What the manager knows and says, in its own types: containers, exits,
//! failures, events. Never on the wire and never in a shim's journal as they
//! stand here; `api::convert` and `shims::wire` translate.

mod events;
mod execs;
mod operations;
mod policies;
mod sandboxes;

pub use events::{Event, EventKind, OutputLost};
pub use execs::{Exec, Input, NewAttachment, NewExec, OutputFrom, Over, Told};
pub use operations::{Operation, Verb};
pub use policies::{
    Health, HealthCheck, HealthState, OnUnhealthy, Probe, RestartPolicy, RestartWhen, Restarting, WaitFor,
};
pub use sandboxes::{NewSandbox, Sandbox};

use crate::placement::Placement;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its shim and its namespaces are being made.
    Creating,
    /// Made; its process waits for a start.
    Created,
    /// Its process was executed and has not exited.
    Running,
    /// Its processes are stopped where they are.
    Paused,
    /// Its process has exited.
    Stopped,
    /// It is being removed, or its removal is to be repeated.
    Deleting,
    /// Its creation failed, and could not be undone either.
    Failed,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Creating => "being created",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Deleting => "being deleted",
            Self::Failed => "failed",
        })
    }
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The argument of exit(2).
    Code(i32),
    /// The signal that ended it, as in signal(7).
    Signal(i32),
    /// It cannot be known; the text says because of what.
    Unknown(String),
}

/// The end of a container's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub how: Ending,
    /// When the exit was seen.
    pub at: SystemTime,
    /// The kernel's OOM killer ended a process of the container.
    pub oom_killed: bool,
}

/// A failed step with everything that is known of its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// Stage of the runtime's report, such as `mount/3`; `shim` for one of the shim's own.
    pub stage: String,
    /// What was attempted.
    pub attempted: String,
    /// The failed system call as strace prints it.
    pub syscall: String,
    /// Its errno; 0 where none failed.
    pub errno: i32,
    /// The path or name it was about.
    pub object: String,
    /// JSON pointer into config.json (RFC 6901).
    pub pointer: String,
    /// What to do about it.
    pub hint: String,
    /// The whole as one line.
    pub message: String,
}

/// A range of host ids that belongs to one user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First id on the host.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

impl IdRange {
    /// The first id behind it.
    pub fn end(self) -> u64 {
        u64::from(self.host_id) + u64::from(self.size)
    }
}

/// What a container was asked for as; the same from its creation to its end.
#[derive(Clone, Debug)]
pub struct Given {
    /// Name and identity.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The root directory.
    pub rootfs: PathBuf,
    /// argv of the process.
    pub command: Vec<String>,
    /// Host name inside, where that is not the host's.
    pub hostname: String,
    /// As given at creation.
    pub labels: BTreeMap<String, String>,
    /// When the request was taken.
    pub created_at: SystemTime,
    /// When it is restarted.
    pub restart: RestartPolicy,
    /// How it is asked whether it is well.
    pub check: Option<HealthCheck>,
    /// Its exclusive ids, where the manager chose them.
    pub ids: Option<IdRange>,
    /// What its process's stdio is.
    pub stdio: Stdio,
    /// Where it belongs.
    pub placement: Placement,
}

impl Given {
    /// About the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let words = self.command.iter().map(|word| word.len() + size_of::<String>());
        let labels = self.labels.iter().map(|(key, value)| key.len() + value.len() + 2 * size_of::<String>());
        let probe = self.check.iter().flat_map(|check| &check.command);
        let probe = probe.map(|word| word.len() + size_of::<String>());
        let names = [self.bundle.as_os_str().len(), self.rootfs.as_os_str().len(), self.hostname.len()];
        size_of::<Self>() + self.id.len() + words.chain(labels).chain(probe).chain(names).sum::<usize>()
    }
}

/// What is known of one container at this moment. Whoever keeps one keeps what was given once for all.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What does not change; read as if it were here.
    pub given: Arc<Given>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Set while the shim does not answer: because of what.
    pub degraded: Option<String>,
    /// The container's init in the manager's pid namespace.
    pub pid: Option<i32>,
    /// The shim.
    pub shim_pid: Option<i32>,
    /// Which of its lives this is, from 1 on; 0 before the first.
    pub life: u32,
    /// When the process was executed, in this life.
    pub started_at: Option<SystemTime>,
    /// How it ended, once it has, in this life.
    pub exit: Option<Exit>,
    /// How the life before this one ended.
    pub last_exit: Option<Exit>,
    /// When the next life begins, if one is to come.
    pub next: Option<SystemTime>,
    /// Restarts by its policy since a client has started it.
    pub restarts: u32,
    /// Whether it is well; `None` without a check, and while it does not run.
    pub health: Option<Health>,
    /// The last failure that changed its life.
    pub failure: Option<Failure>,
    /// When its shim was last heard of.
    pub heard: Instant,
}

impl Deref for Snapshot {
    type Target = Given;

    fn deref(&self) -> &Given {
        &self.given
    }
}

impl Snapshot {
    /// Whether it has exited and will not be restarted.
    pub fn is_settled(&self) -> bool {
        self.exit.is_some() && self.next.is_none()
    }
}

/// What the stdio of a container's process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Its stdin can be written to; else it is /dev/null.
    pub stdin: bool,
    /// It has a terminal.
    pub terminal: bool,
}

/// One timed stage of an invocation of the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageRecord {
    /// The invocation: `create`, `start`, `delete`.
    pub command: String,
    /// The stage.
    pub stage: String,
    /// `CLOCK_MONOTONIC` at its beginning, in nanoseconds.
    pub start_ns: u64,
    /// `CLOCK_MONOTONIC` at its end, in nanoseconds.
    pub end_ns: u64,
    /// What it was about.
    pub object: String,
    /// Who did it, in its own pid namespace.
    pub pid: i32,
    /// Set when it failed.
    pub failure: Option<Failure>,
}

/// A request for a container.
#[derive(Clone, Debug)]
pub struct NewContainer {
    /// Its name; the manager makes one up where it is missing.
    pub id: Option<String>,
    /// What it is made from.
    pub source: Source,
    /// Whatever the caller wants to find again.
    pub labels: BTreeMap<String, String>,
    /// How its log is kept.
    pub log: LogOptions,
    /// What its stdio is to be; the terminal of a bundle is the bundle's to say.
    pub stdio: Stdio,
    /// Where it belongs.
    pub placement: Placement,
    /// Key of the operation, where the caller has given one.
    pub key: Option<String>,
    /// When it is restarted.
    pub restart: RestartPolicy,
    /// How it is asked whether it is well.
    pub check: Option<HealthCheck>,
}

/// How a container's log is kept; `None` is the shim's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogOptions {
    /// Largest file, in bytes.
    pub max_file_bytes: Option<u64>,
    /// Files in all.
    pub max_files: Option<u32>,
    /// Bytes of output a second.
    pub max_bytes_per_second: Option<u64>,
}

/// What a container is made from.
#[derive(Clone, Debug)]
pub enum Source {
    /// An OCI bundle directory.
    Bundle(PathBuf),
    /// A root directory and a command, for which the manager makes the bundle.
    Rootfs(RootfsSource),
}

/// A root directory and what to run in it.
#[derive(Clone, Debug)]
pub struct RootfsSource {
    /// The root directory on the host.
    pub rootfs: PathBuf,
    /// argv.
    pub command: Vec<String>,
    /// KEY=VALUE.
    pub env: Vec<String>,
    /// Absolute path inside; empty is `/`.
    pub cwd: String,
    /// Empty is the container's id.
    pub hostname: String,
    /// Resource limits.
    pub limits: Limits,
    /// Whether the root can be written.
    pub access: Access,
    /// Bind mounts.
    pub mounts: Vec<BindMount>,
}

/// Whether a file system can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Mounted read-only.
    ReadOnly,
    /// Mounted read-write.
    ReadWrite,
}

/// Resource limits; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Bytes.
    pub memory_bytes: Option<i64>,
    /// Thousandths of a CPU.
    pub cpu_millis: Option<i64>,
    /// Number of processes.
    pub pids: Option<i64>,
}

/// A directory or file of the host inside the container.
#[derive(Clone, Debug)]
pub struct BindMount {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub destination: PathBuf,
    /// Whether it can be written.
    pub access: Access,
}
