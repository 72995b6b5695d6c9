//! How a process gets into the cgroup: by the clone, by its own writes, or by those of its parent.
//!
//! Of version 1 each hierarchy is joined by itself. A write of a pid to `cgroup.procs` takes the kernel's lock of
//! thread groups (`cgroup_threadgroup_rwsem`) as a writer, and the first writer in a while waits for a grace period of
//! RCU: 6 to 15 ms here, with which all other changes of cgroups on the host wait. A process that has one thread and
//! writes `0` to `tasks` moves itself without that lock (Linux 5.4, `cgroup_procs_write_start`).

use super::create::failure;
use super::files;
use super::handle::{Cgroup, Dir};
use super::layout::Version;
use super::systemd::Instance;
use crate::contract::report::{Failure, StageKind};
use crate::report::{Outcome, Reporter};
use crate::sys;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Who writes to the files of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joiner {
    /// The process itself, by [`Cgroup::enter`].
    Itself,
    /// Its parent, by [`Cgroup::join`].
    Parent,
}

impl Joiner {
    /// Whoever has the right to move a process of any user leaves it to the process; `held` says that something
    /// else keeps the place of the process, and has to be let go by the parent afterwards.
    pub(super) fn of_caller(held: bool) -> Self {
        if !held && crate::namespaces::user::is_root_of_host() { Self::Itself } else { Self::Parent }
    }

    /// The file of version 1 that is written to.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Itself => "tasks",
            Self::Parent => "cgroup.procs",
        }
    }
}

/// Where a process is after its clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In the cgroup of the unified hierarchy (`CLONE_INTO_CGROUP`).
    Inside,
    /// Where who cloned it is: it has to be put there. A namespace was joined behind which the cgroup takes no
    /// clone, or it takes none at all.
    Outside,
}

/// A file of the cgroup that is open for the join.
#[derive(Debug)]
pub(super) enum Door {
    /// `tasks` of version 1, for the process itself.
    Tasks(OwnedFd),
    /// `cgroup.procs`, for the parent.
    Procs(OwnedFd),
}

impl Door {
    /// Opens it.
    pub(super) fn open(dir: BorrowedFd<'_>, version: Version, who: Joiner) -> sys::Result<Self> {
        match (version, who) {
            (Version::V1, Joiner::Itself) => files::open_writable(dir, who.file()).map(Self::Tasks),
            _ => files::open_writable(dir, Joiner::Parent.file()).map(Self::Procs),
        }
    }
}

impl Dir {
    fn join(&self, pid: i32) -> Result<(), Failure> {
        let file = Joiner::Parent.file();
        let value = pid.to_string();
        let result = match (&self.door, self.open()) {
            (Some(Door::Procs(procs)), _) => files::write_to(procs.as_fd(), file, &value),
            (_, Ok(Some(fd))) => files::write(fd, file, &value),
            (_, Ok(None)) => return Ok(()),
            (_, Err(error)) => Err(error),
        };
        result.map_err(|error| self.refused(&format!("process {pid}"), error))
    }

    fn enter(&self, tasks: &OwnedFd) -> Result<(), Failure> {
        files::write_to(tasks.as_fd(), Joiner::Itself.file(), "0")
            .map_err(|error| self.refused("this process", error))
    }

    fn refused(&self, who: &str, error: sys::Error) -> Failure {
        Failure {
            hint: "the process may have ended; or real-time processes need cpu.rt_runtime_us, \
                   and a version 2 cgroup with controllers for its children takes no process"
                .into(),
            ..failure(StageKind::CgroupJoin, format!("move {who} into the cgroup"), error, &self.path)
        }
    }

    /// The file that the process itself writes to.
    fn tasks(&self) -> Option<&OwnedFd> {
        match &self.door {
            Some(Door::Tasks(tasks)) => Some(tasks),
            _ => None,
        }
    }
}

impl Cgroup {
    /// The directory for CLONE_INTO_CGROUP (clone3(2)): the unified
    /// hierarchy's. `None` where there is none, or it is gone; or in a unit of systemd
    /// whose first process still counts against its limit, or to which only systemd
    /// may move a process. [`Cgroup::join_unified`] is the way then.
    pub fn join_fd(&self) -> Option<BorrowedFd<'_>> {
        if let Some(unit) = &self.unit()
            && (unit.instance == Instance::User || self.holder.borrow().is_some())
        {
            return None;
        }
        self.unified().and_then(|dir| dir.open().ok().flatten())
    }

    /// Those of version 1. The freezer comes last: a process that joins a frozen cgroup stops there.
    fn version_1(&self) -> impl Iterator<Item = &Dir> {
        let (freezer, others): (Vec<_>, Vec<_>) =
            self.dirs().iter().filter(|d| d.version == Version::V1).partition(|d| d.has("freezer"));
        others.into_iter().chain(freezer)
    }

    /// Moves process `pid` into all hierarchies where its clone has not `placed` it, but for those that it
    /// [enters](Cgroup::enter) itself.
    ///
    /// # Errors
    /// The write that failed.
    pub fn take_in(&self, pid: i32, placed: Placed, report: &Reporter) -> Outcome<()> {
        let enters = self.is_entered();
        if placed == Placed::Inside && enters {
            return Ok(());
        }
        report.stage(StageKind::CgroupJoin, "", || {
            if placed == Placed::Outside {
                self.join_unified(pid).map_err(Box::new)?;
            }
            if enters { Ok(()) } else { self.join(pid).map_err(Box::new) }
        })
    }

    /// Moves process `pid` into the version 1 hierarchies (a process made with
    /// [`Cgroup::join_fd`] is in the unified one already). What holds the place
    /// of the first process ends with this, so it is the last step of joining.
    ///
    /// # Errors
    /// The write that failed.
    pub fn join(&self, pid: i32) -> Result<(), Failure> {
        self.version_1().try_for_each(|dir| dir.join(pid))?;
        drop(self.holder.take());
        Ok(())
    }

    /// Whether the process itself joins those of version 1, by [`Cgroup::enter`] in place of [`Cgroup::join`].
    pub fn is_entered(&self) -> bool {
        self.dirs().iter().any(|dir| dir.tasks().is_some())
    }

    /// Moves the caller, which has one thread, into the version 1 hierarchies.
    ///
    /// # Errors
    /// The write that failed.
    pub fn enter(&self) -> Result<(), Failure> {
        let mut doors = self.version_1().filter_map(|dir| Some((dir, dir.tasks()?)));
        doors.try_for_each(|(dir, tasks)| dir.enter(tasks))
    }

    /// The descriptors of [`Cgroup::enter`].
    pub fn doors(&self) -> impl Iterator<Item = i32> {
        self.dirs().iter().filter_map(Dir::tasks).map(AsRawFd::as_raw_fd)
    }

    /// Moves process `pid` into the unified hierarchy, where clone3(2) could not.
    ///
    /// # Errors
    /// The write that failed.
    pub fn join_unified(&self, pid: i32) -> Result<(), Failure> {
        let Some(dir) = self.unified() else { return Ok(()) };
        match (dir.join(pid), self.unit()) {
            (Err(failure), Some(unit)) if [libc::EACCES, libc::EPERM].contains(&failure.errno) => {
                let inside = dir.path.iter().skip_while(|part| *part != unit.name.as_str()).skip(1);
                unit.attach(self.line.take(), &inside.collect::<PathBuf>(), pid)
            }
            (result, _) => result,
        }
    }
}
