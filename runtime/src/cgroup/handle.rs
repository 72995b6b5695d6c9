//! A container's cgroup that exists: its directories, held open.

use super::layout::Layout;
use super::plan::CgroupPlan;
use crate::contract::report::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Where the cgroup is: what the state directory keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPaths {
    /// The host's layout when it was made.
    pub layout: Layout,
    /// Hierarchy (empty: the unified one) → absolute path of the directory.
    pub paths: BTreeMap<String, PathBuf>,
}

/// A handle on the container's directories, one a hierarchy.
#[derive(Debug, Default)]
pub struct Cgroup {
    paths: CgroupPaths,
    unified: Option<OwnedFd>,
    warnings: Vec<String>,
}

impl Cgroup {
    /// Makes the directories, sets limits and device rules.
    ///
    /// # Errors
    /// What failed; everything that was made is removed again.
    pub fn create(_plan: &CgroupPlan) -> Result<Self, Failure> {
        Ok(Self::default())
    }

    /// The handle on a cgroup made earlier. Directories are opened when they
    /// are used; one that is gone counts as empty.
    pub fn open(paths: &CgroupPaths) -> Self {
        Self { paths: paths.clone(), ..Self::default() }
    }

    /// What the caller should know: that the container runs without a cgroup.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The directory for CLONE_INTO_CGROUP (clone3(2)): the unified hierarchy's.
    pub fn join_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// Moves process `pid` into the version 1 hierarchies (a process made with
    /// [`Cgroup::join_fd`] is in the unified one already).
    ///
    /// # Errors
    /// The write that failed.
    pub fn join(&self, _pid: i32) -> Result<(), Failure> {
        Ok(())
    }

    /// Moves process `pid` into the unified hierarchy, where clone3(2) could not.
    ///
    /// # Errors
    /// The write that failed.
    pub fn join_unified(&self, _pid: i32) -> Result<(), Failure> {
        Ok(())
    }

    /// Where it is, to be saved.
    pub fn paths(&self) -> CgroupPaths {
        self.paths.clone()
    }

    /// Its processes and those of its sub-cgroups, as the caller's pid
    /// namespace numbers them, ascending.
    ///
    /// # Errors
    /// The read that failed.
    pub fn procs(&self) -> Result<Vec<i32>, Failure> {
        Ok(Vec::new())
    }

    /// Sends `signal` to every process in it.
    ///
    /// # Errors
    /// The call that failed.
    pub fn kill(&self, _signal: i32) -> Result<(), Failure> {
        Ok(())
    }

    /// Stops all processes in it, and waits until they have stopped.
    ///
    /// # Errors
    /// The call that failed, or that it took too long.
    pub fn freeze(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// The write that failed.
    pub fn thaw(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether it is frozen; a cgroup that is gone is not.
    ///
    /// # Errors
    /// The read that failed.
    pub fn frozen(&self) -> Result<bool, Failure> {
        Ok(false)
    }

    /// How many processes the kernel's OOM killer has ended in it, where the
    /// memory controller says it.
    pub fn oom_kills(&self) -> Option<u64> {
        None
    }

    /// Removes it with its sub-cgroups. Removing one that is gone is success.
    ///
    /// # Errors
    /// The directory that could not be removed.
    pub fn remove(&self) -> Result<(), Failure> {
        Ok(())
    }
}
