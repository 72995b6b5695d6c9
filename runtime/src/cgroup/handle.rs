//! A container's cgroup that exists: its directories, one a hierarchy, held
//! open or opened when they are used.

use super::create::{create, failure, guard};
use super::files;
use super::join::{Door, Joiner};
use super::layout::{Layout, Version};
use super::plan::{CgroupPlan, Directory};
use super::procs::{self, is_gone};
use super::systemd::{Line, Started, Unit};
use crate::contract::CGROUP_OWNER;
use crate::contract::report::{Failure, StageKind};
use serde::{Deserialize, Serialize};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long [`Cgroup::remove`] waits for processes that have ended to leave.
const REMOVE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the cgroup is: what the state directory keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPaths {
    /// The host's layout when it was made.
    pub layout: Layout,
    /// Hierarchy (empty: the unified one) → absolute path of the directory.
    pub paths: BTreeMap<String, PathBuf>,
    /// The unit of systemd that it belongs to, where systemd has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub systemd: Option<Unit>,
}

impl CgroupPaths {
    /// The one directory, on a host with version 2 alone.
    pub fn unified(&self) -> Option<&Path> {
        let path = self.paths.get("").filter(|_| self.layout == Layout::V2);
        path.map(PathBuf::as_path)
    }
}

/// The container's directory in one hierarchy.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) hierarchy: String,
    pub(super) version: Version,
    pub(super) path: PathBuf,
    pub(super) fd: OnceCell<OwnedFd>,
    /// What the join is written to, opened ahead of it.
    pub(super) door: Option<Door>,
}

impl Dir {
    /// A directory just made.
    pub(super) fn made(directory: &Directory, fd: OwnedFd, who: Joiner) -> Result<Self, Failure> {
        let path = directory.mount.join(&directory.path);
        let door = Door::open(fd.as_fd(), directory.version, who).map_err(|e| {
            failure(StageKind::Cgroup, "prepare to join the cgroup".into(), e, &path.join(who.file()))
        })?;
        Ok(Self {
            hierarchy: directory.hierarchy.clone(),
            version: directory.version,
            path,
            fd: OnceCell::from(fd),
            door: Some(door),
        })
    }

    fn known(hierarchy: &str, path: &Path) -> Self {
        let version = if hierarchy.is_empty() { Version::V2 } else { Version::V1 };
        Self { hierarchy: hierarchy.into(), version, path: path.into(), fd: OnceCell::new(), door: None }
    }

    /// Its descriptor, where it is open.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.get().map(AsFd::as_fd)
    }

    /// Its descriptor, opened if need be; `None` when the directory is gone.
    pub(super) fn open(&self) -> crate::sys::Result<Option<BorrowedFd<'_>>> {
        if self.fd.get().is_none() {
            match files::open_directory(&self.path, self.version) {
                Ok(fd) => drop(self.fd.set(fd)),
                Err(error) if is_gone(error.errno) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(self.fd())
    }

    /// Whether `controller` is in its hierarchy (version 1).
    pub(super) fn has(&self, controller: &str) -> bool {
        self.version == Version::V1 && self.hierarchy.split(',').any(|c| c == controller)
    }

    /// One try at removing it.
    fn remove(&self) -> crate::sys::Result<()> {
        let Some(fd) = self.open()? else { return Ok(()) };
        procs::remove_below(fd)?;
        self.remove_itself()
    }

    fn remove_itself(&self) -> crate::sys::Result<()> {
        let (Some(parent), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(()) };
        match files::open_directory(parent, self.version) {
            Ok(parent) => files::remove(parent.as_fd(), Path::new(name)),
            Err(error) if is_gone(error.errno) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A handle on the container's directories, one a hierarchy.
#[derive(Debug, Default)]
pub struct Cgroup {
    layout: Layout,
    pub(super) dirs: Vec<Dir>,
    warnings: Vec<String>,
    unit: Option<Unit>,
    /// What keeps the unit from ending before init is in it.
    pub(super) holder: RefCell<Started>,
    /// To its manager, opened ahead of a join that only this can make.
    pub(super) line: RefCell<Option<Line>>,
}

impl Cgroup {
    /// Makes the directories, sets limits and device rules.
    ///
    /// # Errors
    /// What failed; everything that was made is removed again.
    pub fn create(plan: &CgroupPlan) -> Result<Self, Failure> {
        create(plan)
    }

    /// Says on each directory of which container it is, by the state directory of that ([`CGROUP_OWNER`]): so
    /// an audit knows whose a cgroup is of which nothing else is left. Only root of the host can say it, or
    /// unsay it; where that is not who calls, the state alone says whose it is.
    pub fn mark(&self, state: &Path) {
        let Ok(state) = std::path::absolute(state) else { return };
        for fd in self.dirs.iter().filter_map(Dir::fd) {
            crate::sys::file::set_attribute(fd, CGROUP_OWNER, state.as_os_str().as_bytes())
                .unwrap_or_default();
        }
    }

    /// The handle on a cgroup made earlier. Directories are opened when they
    /// are used; one that is gone counts as empty.
    pub fn open(paths: &CgroupPaths) -> Self {
        let dirs = paths.paths.iter().map(|(hierarchy, path)| Dir::known(hierarchy, path)).collect();
        Self { layout: paths.layout, dirs, unit: paths.systemd.clone(), ..Self::default() }
    }

    pub(super) fn made(plan: &CgroupPlan, dirs: Vec<Dir>) -> Self {
        let unit = plan.unit.as_ref().map(|plan| plan.unit.clone());
        Self { layout: plan.layout, dirs, unit, ..Self::default() }
    }

    /// Puts the device rules of version 2 in force. Apart from the creation, since the
    /// kernel takes 0.1 ms for the program: init can be at work meanwhile, which opens no
    /// device; only the user's process must not run before. Gives a warning where the
    /// caller has no right to.
    ///
    /// # Errors
    /// The call that failed.
    pub fn guard(&self, plan: &CgroupPlan) -> Result<Option<String>, Failure> {
        guard(&self.dirs, plan)
    }

    pub(super) fn without(layout: Layout, warning: String) -> Self {
        Self { layout, warnings: vec![warning], ..Self::default() }
    }

    /// Keeps the unit's first process until [`Cgroup::join`].
    pub(super) fn held_by(self, started: Started) -> Self {
        Self { holder: RefCell::new(started), ..self }
    }

    /// The unit of systemd that it belongs to.
    pub(super) fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// What the caller should know, such as that the container runs without a cgroup.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where it is, to be saved.
    pub fn paths(&self) -> CgroupPaths {
        let paths = self.dirs.iter().map(|d| (d.hierarchy.clone(), d.path.clone())).collect();
        CgroupPaths { layout: self.layout, paths, systemd: self.unit.clone() }
    }

    /// Its processes and those of its sub-cgroups, as the caller's pid
    /// namespace numbers them, ascending.
    ///
    /// # Errors
    /// The read that failed.
    pub fn procs(&self) -> Result<Vec<i32>, Failure> {
        let listing = |dir: &Dir| match dir.open() {
            Ok(Some(fd)) => procs::below(fd),
            Ok(None) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        let mut pids = Vec::new();
        for dir in self.listing_dirs() {
            let found = listing(dir).map_err(|e| {
                failure(StageKind::Cgroup, "list the processes of the cgroup".into(), e, &dir.path)
            })?;
            pids.extend(found);
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether this controller counts for it; the empty name stands for the unified hierarchy itself.
    pub fn counts(&self, controller: &str) -> bool {
        if controller.is_empty() {
            return self.unified().is_some();
        }
        let unified = || {
            let text = self.unified()?.read("cgroup.controllers").ok()??;
            Some(text.split_whitespace().any(|name| name == controller))
        };
        self.controller(controller).is_some() || unified() == Some(true)
    }

    /// How many processes the kernel's OOM killer has ended in it, where the
    /// memory controller says it.
    pub fn oom_kills(&self) -> Option<u64> {
        let (dir, file) = match self.controller("memory") {
            Some(dir) => (dir, "memory.oom_control"),
            None => (self.unified()?, "memory.events"),
        };
        let text = files::read(dir.open().ok()??, file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    /// Removes it if nobody is in it and nothing below it, and says whether it is gone. One call a
    /// hierarchy: rmdir(2) refuses a cgroup that is used by itself.
    pub fn remove_empty(&self) -> bool {
        self.unit.is_none() && self.dirs.iter().all(|dir| dir.remove_itself().is_ok())
    }

    /// Removes it with its sub-cgroups; its parents stay. Removing one that is
    /// gone is success. A process that has just ended may still be leaving:
    /// for up to two seconds it is tried again.
    ///
    /// # Errors
    /// The directory that could not be removed, and who is in it.
    pub fn remove(&self) -> Result<(), Failure> {
        drop(self.holder.take());
        self.remove_directories()?;
        self.unit.as_ref().map_or(Ok(()), Unit::stop)
    }

    fn remove_directories(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + REMOVE_PATIENCE;
        let mut pause = Duration::from_micros(200);
        let mut left: Vec<&Dir> = self.dirs.iter().collect();
        loop {
            let mut last = None;
            left.retain(|dir| match dir.remove() {
                Ok(()) => false,
                Err(error) => {
                    last = Some(removal_failure(dir, error));
                    true
                }
            });
            match last {
                None => return Ok(()),
                Some(failure) if failure.errno != EBUSY || Instant::now() >= deadline => return Err(failure),
                Some(_) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn dirs(&self) -> &[Dir] {
        &self.dirs
    }

    /// The directory in the unified hierarchy.
    pub(super) fn unified(&self) -> Option<&Dir> {
        self.dirs.iter().find(|d| d.version == Version::V2)
    }

    /// The directory in the version 1 hierarchy of `controller`.
    pub(super) fn controller(&self, controller: &str) -> Option<&Dir> {
        self.dirs.iter().find(|d| d.has(controller))
    }

    /// The directories whose processes are all of the container's: the unified
    /// one, and one of version 1 (a process joins all or none of those).
    fn listing_dirs(&self) -> impl Iterator<Item = &Dir> {
        let first =
            self.controller("freezer").or_else(|| self.dirs.iter().find(|d| d.version == Version::V1));
        self.unified().into_iter().chain(first)
    }
}

/// EBUSY, as a [`Failure`] has it.
const EBUSY: i32 = libc::EBUSY;

fn removal_failure(dir: &Dir, error: crate::sys::Error) -> Failure {
    let pids = dir.fd().and_then(|fd| procs::below(fd).ok()).unwrap_or_default();
    let hint = match pids.as_slice() {
        [] => String::new(),
        pids => format!("processes are in it: {pids:?}"),
    };
    Failure { hint, ..failure(StageKind::Delete, "remove the cgroup".into(), error, &dir.path) }
}

impl Dir {
    /// Reads a file, `None` when the directory is gone.
    pub(super) fn read(&self, file: &str) -> crate::sys::Result<Option<String>> {
        let Some(fd) = self.open()? else { return Ok(None) };
        match files::read(fd, file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if is_gone(error.errno) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a file; nothing where the directory is gone.
    pub(super) fn write(&self, file: &str, value: &str) -> crate::sys::Result<()> {
        match self.open()? {
            Some(fd) => files::write(fd, file, value),
            None => Ok(()),
        }
    }
}
