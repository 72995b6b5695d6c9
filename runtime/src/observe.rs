//! What a manager may look at without a process of the runtime for each look:
//! what a container uses, and its processes. Nothing is written, no lock is
//! taken; safe to call from any thread.
//!
//! A sample reads a dozen files of the kernel. An invocation of `events --stats`
//! reads the same, and costs a fork, an execve(2) and the sealing of the binary
//! beside it.

use crate::cgroup::{Cgroup, stats};
use crate::contract::CGROUP_OWNER;
use crate::contract::state::Status;
use crate::contract::stats::Stats;
use crate::report::{Outcome, refuse};
use crate::store::{Directory, Stored};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What a container uses.
#[derive(Clone, Debug)]
pub struct Usage {
    /// CPU, memory, processes and I/O; the rest is empty.
    pub stats: Stats,
    /// Which of the controllers `memory`, `pids` and `io` count for it. What the others do not
    /// count is zero in `stats`, and not known.
    pub counted: Counted,
    /// Processes that the kernel's OOM killer has ended, where it says that.
    pub oom_kills: Option<u64>,
}

/// Which controllers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of controllers, in version 1 cpuacct and blkio")]
pub struct Counted {
    pub cpu: bool,
    pub memory: bool,
    pub pids: bool,
    pub io: bool,
}

/// What the container `id` below the state directory `root` uses.
///
/// # Errors
/// Refused when there is no such container, or it has no processes; the read that failed.
pub fn usage(root: &Path, id: &str) -> Outcome<Usage> {
    let cgroup = Cgroup::open(&alive(root, id)?.cgroup);
    Ok(Usage {
        stats: stats::read_usage(&cgroup).map_err(Box::new)?,
        counted: Counted {
            // Version 2 counts CPU time in every cgroup.
            cpu: cgroup.counts("cpuacct") || cgroup.counts(""),
            memory: cgroup.counts("memory"),
            pids: cgroup.counts("pids"),
            io: cgroup.counts("blkio") || cgroup.counts("io"),
        },
        oom_kills: cgroup.oom_kills(),
    })
}

/// The processes of a container, as the caller's pid namespace numbers them, ascending.
///
/// # Errors
/// As [`usage`].
pub fn processes(root: &Path, id: &str) -> Outcome<Vec<i32>> {
    let stored = alive(root, id)?;
    if stored.cgroup.paths.is_empty() {
        return crate::commands::ps::in_pid_namespace_of(stored.state.pid);
    }
    Cgroup::open(&stored.cgroup).procs().map_err(Box::new)
}

/// What the state directory knows of a container, whether it lives or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its init, with the time of its start (`/proc/PID/stat`, field 22), as they were; 0 when it had none.
    pub init: (i32, u64),
    /// The directories of its cgroup.
    pub cgroup: Vec<PathBuf>,
}

/// What is remembered of the container `id` below the state directory `root`.
///
/// # Errors
/// Refused when there is no such container, or its creation was cut short; the read that failed.
pub fn known(root: &Path, id: &str) -> Outcome<Known> {
    let stored = Directory::open(root, id)?.read()?;
    let cgroup = stored.cgroup.paths.into_values().collect();
    Ok(Known { init: (stored.state.pid, stored.init_started), cgroup })
}

/// The state directory of the container that has the cgroup at `path`, as its runtime has said when it made
/// it; `None` where nobody has, or there is no such cgroup.
pub fn owner(path: &Path) -> Option<PathBuf> {
    let owner = crate::sys::file::attribute(path, CGROUP_OWNER).ok()?;
    Some(PathBuf::from(OsString::from_vec(owner)))
}

fn alive(root: &Path, id: &str) -> Outcome<Stored> {
    let stored = Directory::open(root, id)?.read()?;
    match stored.state.status {
        Status::Stopped | Status::Creating => {
            Err(refuse(format!("look at the container {id}"), format!("it is {}", stored.state.status)))
        }
        _ => Ok(stored),
    }
}
