//! Events: what happens to containers, in the order that all clients see.

use super::{Exit, Failure, Probe, Restarting};
use std::time::SystemTime;

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was made.
    Created,
    /// It could not be made.
    CreateFailed,
    /// Its process was executed.
    Started,
    /// Its process could not be executed.
    StartFailed,
    /// Its process ended.
    Exited,
    /// It was removed.
    Deleted,
    /// Events before this one are lost for good.
    Gap,
    /// Its shim was killed, and another has taken over.
    Adopted,
    /// Its processes are stopped where they are.
    Paused,
    /// They go on.
    Resumed,
    /// Its limits were changed.
    Updated,
    /// The kernel's OOM killer ended a process of it.
    Oom,
    /// Its shim does not answer, or is gone and cannot be replaced.
    Degraded,
    /// It is no more degraded.
    Recovered,
    /// One more process was executed in it.
    ExecStarted,
    /// That process ended.
    ExecExited,
    /// Its process has ended, and its next life is to come.
    Restarting,
    /// Its health check has become good.
    Healthy,
    /// Its health check has become bad.
    Unhealthy,
}

/// Output is missing in a log: what the container wrote while nobody read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLost {
    /// Byte of the log behind which it is missing.
    pub log_offset: u64,
    /// When the log was last written to before.
    pub from: SystemTime,
    /// When output was read again; `None` when it no more is.
    pub until: Option<SystemTime>,
    /// Why nobody read.
    pub because: String,
}

/// One event in the order that all clients see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Place in the global order, from 1 on; given by the journal.
    pub seq: u64,
    /// The container; empty for a gap.
    pub container: String,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: SystemTime,
    /// Its init, when it was made.
    pub pid: Option<i32>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Number of the record in the container's own journal; 0 where the manager itself is the witness.
    pub container_seq: u64,
    /// Of [`EventKind::Adopted`]: what its log lacks.
    pub output_lost: Option<OutputLost>,
    /// Of [`EventKind::Oom`]: processes that were ended since the creation.
    pub oom_kills: u64,
    /// Of an exec: which.
    pub exec: Option<String>,
    /// Which life of the container it is about, from 1 on; 0: it is not known.
    pub life: u32,
    /// Of [`EventKind::Restarting`].
    pub restarting: Option<Restarting>,
    /// Of [`EventKind::Healthy`] and [`EventKind::Unhealthy`]: what made it so.
    pub probe: Option<Probe>,
}
