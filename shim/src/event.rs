//! What happens to a container, as the shim's own types. [`crate::task`] makes
//! them, [`crate::journal`] keeps them; only [`crate::service`] knows what they
//! look like on the wire and on disk.

use crate::oom::OomCounter;
use crate::pipe::PipeEnd;
use crate::streams::Over;
use crate::sys::How;
use sextant_runtime::contract::args::Limits;
use sextant_runtime::contract::report::{Failure, Record};
use std::path::PathBuf;
use std::time::SystemTime;

/// Where the container is in its life; the transitions are drawn in [`crate::task`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not created.
    Empty,
    /// `create` is at work.
    Creating,
    /// Its init waits for `start`.
    Created,
    /// Its init executes the user's process.
    Running,
    /// Every process of it is stopped where it is.
    Paused,
    /// Its init has exited.
    Stopped,
    /// Deleted; the shim is about to end.
    Deleted,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "not created",
            Self::Creating => "being created",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Deleted => "deleted",
        })
    }
}

/// The end of the container's init.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    /// How it ended.
    pub(crate) how: How,
    /// When that was seen.
    pub(crate) at: SystemTime,
    /// Whether the kernel's OOM killer ended a process of its cgroup.
    pub(crate) oom_killed: bool,
}

/// What the output of init passes through in a shim, for whoever keeps it for the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutputEnds {
    /// Where its stdout and its stderr are read.
    pub(crate) pipes: [Option<PipeEnd>; 2],
    /// What is in the hand of each.
    pub(crate) hands: [Option<PipeEnd>; 2],
    /// The master of its terminal, and the number of that.
    pub(crate) terminal: Option<TerminalEnd>,
}

/// The master of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TerminalEnd {
    /// Number of the descriptor.
    pub(crate) fd: i32,
    /// Which terminal of its devpts (ioctl_tty(2), `TIOCGPTN`).
    pub(crate) number: u32,
}

/// What another shim needs to know of init when this one is killed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover {
    /// When init began, in clock ticks since boot; 0 when that is not known.
    pub(crate) start_time: u64,
    /// Which boot of the machine that was in.
    pub(crate) boot_id: String,
    /// What its output passes through.
    pub(crate) ends: OutputEnds,
    /// The counter of its OOM kills.
    pub(crate) oom: Option<OomCounter>,
}

/// A process that was executed in the container, and what another shim needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct ExecStart {
    /// Its name.
    pub(crate) exec: String,
    /// When that was recorded.
    pub(crate) at: SystemTime,
    /// Its number in the shim's pid namespace.
    pub(crate) pid: i32,
    /// When it began, in clock ticks since boot; 0 when that is not known.
    pub(crate) start_time: u64,
    /// Which boot of the machine that was in.
    pub(crate) boot_id: String,
    /// The beginning of its argv.
    pub(crate) command: Vec<String>,
    /// Whether it has a terminal.
    pub(crate) terminal: bool,
    /// Key of the request; empty: none.
    pub(crate) key: String,
    /// Hash of the request.
    pub(crate) request_hash: u64,
    /// When it is to be killed.
    pub(crate) deadline: Option<SystemTime>,
    /// The cgroup of its own.
    pub(crate) cgroup: Option<PathBuf>,
}

/// Output is missing in the log: what init wrote while nobody read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputLost {
    /// Length of the log up to there.
    pub(crate) log_offset: u64,
    /// When it was last written to before.
    pub(crate) from: SystemTime,
    /// When output was read again; `None` when it no more is.
    pub(crate) until: Option<SystemTime>,
    /// Why nobody read.
    pub(crate) because: &'static str,
}

/// A record of the runtime, and the invocation that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// "create", "start" or "delete".
    pub(crate) command: &'static str,
    /// The record as it came.
    pub(crate) record: Record,
}

/// One entry of the journal, without its number and time.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// The container's init waits for `start`.
    Created {
        /// Which of its lives begins.
        life: u32,
        /// Its init, in the shim's pid namespace.
        pid: i32,
        /// The stages of `create`.
        trace: Vec<Stage>,
        /// For a shim that takes over.
        handover: Handover,
    },
    /// Another shim took over from one that was killed.
    Adopted {
        /// What init's output passes through now.
        ends: OutputEnds,
        /// What the log lacks.
        lost: Option<OutputLost>,
    },
    /// `create` failed; nothing of the container is left.
    CreateFailed {
        /// Why.
        failure: Failure,
        /// The stages up to there.
        trace: Vec<Stage>,
    },
    /// The user's process is executed.
    Started {
        /// The stages of `start`.
        trace: Vec<Stage>,
    },
    /// `start` failed.
    StartFailed {
        /// Why.
        failure: Failure,
        /// The stages up to there.
        trace: Vec<Stage>,
    },
    /// Its processes are stopped where they are.
    Paused,
    /// They go on.
    Resumed,
    /// Its limits were changed.
    Updated {
        /// To these.
        limits: Limits,
    },
    /// The kernel's OOM killer has ended processes of it.
    Oom {
        /// So many since the creation.
        kills: u64,
    },
    /// Init has exited.
    Exited {
        /// How.
        exit: Exit,
        /// Why, when it failed before it executed the user's process.
        failure: Option<Failure>,
    },
    /// One more process was executed in it.
    ExecStarted(ExecStart),
    /// That process has ended.
    ExecExited {
        /// Its name.
        exec: String,
        /// How.
        over: Over,
    },
    /// The container is deleted; the last entry.
    Deleted,
}
