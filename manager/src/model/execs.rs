//! Further processes of containers, and clients that attach to processes.

use super::{Exit, Stdio};
use std::time::{Duration, SystemTime};

/// A request for one more process in a container: its own process, changed by this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewExec {
    /// argv.
    pub command: Vec<String>,
    /// KEY=VALUE, added.
    pub env: Vec<String>,
    /// Absolute path inside; empty: as its own process.
    pub cwd: String,
    /// `UID[:GID]`; empty: as its own process.
    pub user: String,
    /// More groups.
    pub additional_gids: Vec<u32>,
    /// More capabilities.
    pub capabilities: Vec<String>,
    /// What its stdio is to be.
    pub stdio: Stdio,
    /// Rows and columns of its terminal.
    pub size: Option<(u16, u16)>,
    /// The time until it is killed.
    pub timeout: Option<Duration>,
    /// Its output is not read before a client has attached.
    pub hold_output: bool,
    /// Bytes of output that are taken; 0: all.
    pub output_limit: u64,
    /// Key of the operation, where the caller has given one.
    pub key: Option<String>,
}

/// One more process of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The container.
    pub container: String,
    /// Its name in it.
    pub id: String,
    /// Its pid, while it runs.
    pub pid: Option<i32>,
    /// The beginning of its argv.
    pub command: Vec<String>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// When it was started.
    pub started_at: SystemTime,
    /// How it ended, once it has.
    pub over: Option<Over>,
}

/// The end of an exec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// How.
    pub exit: Exit,
    /// It was killed because its time was over.
    pub timed_out: bool,
}

/// What a client attaches to, and how.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    /// An exec; `None`: the container's own process.
    pub exec: Option<String>,
    /// Whether the process waits for a client that does not read.
    pub block: bool,
    /// From where on output comes; `None`: it does not.
    pub from: Option<OutputFrom>,
}

/// From where on output comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFrom {
    /// All that is kept.
    Kept,
    /// The last bytes, so many.
    Last(u64),
    /// An offset.
    Offset(u64),
}

/// What an attached client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes for stdin.
    Stdin(Vec<u8>),
    /// Rows and columns of its terminal.
    Resize(u16, u16),
    /// Nothing more comes.
    CloseStdin,
}

/// What an attached client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The first: it is attached.
    Attached(Stdio),
    /// Bytes of output, those of stderr with `true`, and how many came before.
    Output {
        /// Where they were written to.
        stream: crate::logs::Stream,
        /// At least one.
        data: Vec<u8>,
        /// Bytes of both streams before.
        offset: u64,
    },
    /// So many bytes are missing here.
    Dropped(u64),
    /// The last: the process has ended.
    Over(Over),
}
