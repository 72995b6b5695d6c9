//! What there is of all that the stack makes, and whose each of it is: the kernel's and the disk's [`lists`]
//! beside the [`records`] of the engine. [`judge`] compares the two and touches nothing; what is nobody's is
//! told with its reason, its proofs and what removes it ([`Finding`]).
//!
//! Nothing is an orphan because one source says so. An object bears the name of a container or sandbox and the
//! marks of this daemon (its directories); it is suspected when neither the daemon, asked before and after the
//! look, nor the disk knows that name. Suspected, it is looked at again ([`crate::engine`] does that), and is an
//! orphan only if it is the same then: the same process, inode or mount. What belongs to a daemon with other
//! directories bears other marks, and is not listed at all.

pub mod judge;
pub mod lists;
pub mod records;
mod words;

use std::path::PathBuf;
use std::time::Duration;

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A `sextant-shim`.
    Shim,
    /// A `sextant-runtime` at work, or stopped.
    Runtime,
    /// A process in the cgroup of a container.
    Process,
    /// `STATE/runtime/ID`: what the runtime remembers of a container.
    RuntimeState,
    /// A mount below the daemon's directories.
    Mount,
    /// A file that holds a namespace.
    Namespace,
    /// A network interface in a namespace that a file holds, but for `lo`.
    Interface,
    /// The cgroup of a container, in all hierarchies.
    Cgroup,
    /// `STATE/shims/ID` with the socket of a shim.
    Socket,
    /// `STATE/shims/ID` without one.
    ShimDirectory,
    /// `STATE/pins/KIND/ID` without a namespace in it.
    PinDirectory,
    /// `ROOT/containers/ID` with a journal.
    Journal,
    /// `ROOT/containers/ID` without one.
    ContainerDirectory,
    /// `ROOT/sandboxes/ID`.
    SandboxDirectory,
    /// A file that was to replace another, and did not.
    TemporaryFile,
    /// A range of ids that was handed out.
    IdRange,
    /// A descriptor that the daemon keeps of a container.
    Descriptor,
}

impl Kind {
    /// All of them, in the order in which orphans are removed: who makes things before what is made.
    pub const ALL: [Self; 17] = [
        Self::Shim,
        Self::Runtime,
        Self::Process,
        Self::RuntimeState,
        Self::Mount,
        Self::Namespace,
        Self::Interface,
        Self::Cgroup,
        Self::Socket,
        Self::ShimDirectory,
        Self::PinDirectory,
        Self::Journal,
        Self::ContainerDirectory,
        Self::SandboxDirectory,
        Self::TemporaryFile,
        Self::IdRange,
        Self::Descriptor,
    ];

    /// Its name, as clients see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shim => "shim",
            Self::Runtime => "runtime",
            Self::Process => "process",
            Self::RuntimeState => "runtime-state",
            Self::Mount => "mount",
            Self::Namespace => "namespace",
            Self::Interface => "interface",
            Self::Cgroup => "cgroup",
            Self::Socket => "socket",
            Self::ShimDirectory => "shim-directory",
            Self::PinDirectory => "pin-directory",
            Self::Journal => "journal",
            Self::ContainerDirectory => "container-directory",
            Self::SandboxDirectory => "sandbox-directory",
            Self::TemporaryFile => "temporary-file",
            Self::IdRange => "id-range",
            Self::Descriptor => "descriptor",
        }
    }
}

/// Whose an object is by what it bears.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A container's.
    Container(String),
    /// A sandbox's.
    Sandbox(String),
    /// One of these names is a container or sandbox: the words of a command line.
    AnyOf(Vec<String>),
    /// The daemon's own.
    Daemon,
    /// Somebody's of this host, who may have put it there.
    Host,
    /// Whoever has this range of ids, by its first.
    Range(u32),
    /// Nobody's name is on it.
    Nobody,
}

/// Where an object is, for whoever looks at it again or removes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A process.
    Process(i32),
    /// Directories of one cgroup, one a hierarchy.
    Cgroup(Vec<PathBuf>),
    /// A mount, by its number in mountinfo and where it is.
    Mount(u64, PathBuf),
    /// An interface in the namespace that this file holds.
    Interface(PathBuf, String),
    /// A file or directory.
    Path(PathBuf),
    /// A range of ids.
    Range(u32),
    /// A descriptor of this process.
    Descriptor(i32),
}

/// Something that there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Its name for a person: a path, or a pid with a command.
    pub name: String,
    /// Whose it says it is.
    pub claim: Claim,
    /// Where it is.
    pub place: Place,
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A container that the daemon knows.
    Container(String),
    /// A sandbox that the daemon knows.
    Sandbox(String),
    /// A container or sandbox with a record on disk that the daemon could not read.
    Recorded(String),
    /// The daemon.
    Daemon,
    /// Not the stack's.
    Host,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Container(id) => write!(f, "container {id}"),
            Self::Sandbox(id) => write!(f, "sandbox {id}"),
            Self::Recorded(id) => write!(f, "record of {id}, which the daemon cannot read"),
            Self::Daemon => f.write_str("daemon"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// Why something is nobody's, and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// In a few words.
    pub reason: String,
    /// What was found independently of each other.
    pub proofs: Vec<String>,
    /// What removes it, in words.
    pub remedy: String,
    /// A command that does it; empty where there is none.
    pub command: String,
    /// Whether the daemon can do it.
    pub can_fix: bool,
}

/// What became of an attempt to remove an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// Nobody tried.
    No,
    /// It has gone.
    Yes,
    /// It is still there, because of this.
    Failed(String),
}

/// An object with its owner, or as an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub object: Object,
    /// Whose, or why it is nobody's.
    pub whose: Result<Owner, Orphan>,
    /// Whether it was removed.
    pub fixed: Fixed,
}

/// How many there are of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which kind.
    pub kind: Kind,
    /// With an owner.
    pub owned: usize,
    /// Without.
    pub orphans: usize,
}

/// What an audit has found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The orphans, by kind and name; behind them what has an owner, if that was asked for.
    pub findings: Vec<Finding>,
    /// Of each kind that was looked for.
    pub counts: Vec<Count>,
    /// How often it was looked.
    pub looks: u32,
    /// How long it took.
    pub took: Duration,
}
