//! A cgroup of an exec's own, below the container's: whoever is in it was started
//! by the exec, also a process that has left its parent, its session or its
//! group. So a timeout ends these and nobody else. On cgroup v1 it is one of the
//! `pids` hierarchy alone; limits count in it as above it.

use crate::oom::{below, mounted};
use crate::sys;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rounds of killing until nobody is left, each of which meets what was forked in the last.
const ROUNDS: u32 = 100;

/// The time between two rounds.
const ROUND: Duration = Duration::from_millis(10);

/// The cgroup of one exec.
#[derive(Debug)]
pub(super) struct ExecCgroup {
    dir: PathBuf,
    /// What the runtime's `--cgroup` takes.
    flag: String,
}

impl ExecCgroup {
    /// Makes one below that of `init`; `None` when `init` has none of its own.
    ///
    /// # Errors
    /// Of mkdir(2).
    pub(super) fn make(init: i32, exec: &str) -> io::Result<Option<Self>> {
        let Some((dir, version)) = of_init(init)? else { return Ok(None) };
        let name = name(exec);
        let dir = dir.join(&name);
        fs::create_dir(&dir)?;
        let flag = match version {
            Version::One => format!("pids:{name}"),
            Version::Two => name,
        };
        Ok(Some(Self { dir, flag }))
    }

    /// Ends whoever is in the one of this name, and removes it, should a shim before this one
    /// have left it.
    pub(super) async fn clear(init: i32, exec: &str) {
        // What cannot be read now is told when one is made.
        let Ok(Some((dir, _))) = of_init(init) else { return };
        let left = Self::known(dir.join(name(exec)));
        if left.dir.is_dir() {
            left.kill().await;
            left.remove();
        }
    }

    /// One that a shim before this one has made.
    pub(super) fn known(dir: PathBuf) -> Self {
        Self { dir, flag: String::new() }
    }

    /// What the runtime's `--cgroup` takes.
    pub(super) fn flag(&self) -> String {
        self.flag.clone()
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills everybody in it, until nobody is.
    pub(super) async fn kill(&self) {
        for _ in 0..ROUNDS {
            // cgroup.kill is of Linux 5.14 and cgroup v2; it meets all at once.
            if fs::write(self.dir.join("cgroup.kill"), "1").is_err() {
                self.kill_each();
            }
            if self.members().is_empty() {
                return;
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Removes it. Where processes that the exec has left behind are in it, it stays
    /// until the container is deleted.
    pub(super) fn remove(&self) {
        fs::remove_dir(&self.dir).unwrap_or_default();
    }

    fn kill_each(&self) {
        for pid in self.members() {
            let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
            // Looked at afterwards: the number may have become another process's before.
            if self.members().contains(&pid) {
                // It may have ended meanwhile, which is as wanted.
                sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap_or_default();
            }
        }
    }

    /// Who is in it, and in what the container may have made below it.
    fn members(&self) -> Vec<i32> {
        let mut dirs = vec![self.dir.clone()];
        let mut members = Vec::new();
        while let Some(dir) = dirs.pop() {
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            members.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
            let entries = fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok);
            dirs.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        }
        members
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

fn name(exec: &str) -> String {
    format!("exec-{exec}")
}

/// The cgroup of `init`; `None` when it has none of its own.
fn of_init(init: i32) -> io::Result<Option<(PathBuf, Version)>> {
    let read = |who: &str| fs::read_to_string(format!("/proc/{who}/cgroup"));
    let (theirs, ours) = (read(&init.to_string())?, read("self")?);
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let Some(found) = place(&theirs, &mounts) else { return Ok(None) };
    let own = place(&ours, &mounts).is_some_and(|(own, _)| own == found.0);
    Ok((!own).then_some(found))
}

/// Where the cgroup of a process is, from the texts of `/proc/PID/cgroup` and `/proc/self/mountinfo`.
fn place(cgroup: &str, mounts: &str) -> Option<(PathBuf, Version)> {
    let fields = || cgroup.lines().filter_map(|l| l.split_once(':')?.1.split_once(':'));
    let found = match fields().find(|(list, _)| list.split(',').any(|c| c == "pids")) {
        Some((_, path)) => {
            let mount = mounts.lines().find_map(|l| mounted(l, "cgroup", Some("pids")))?;
            (below(mount, path, ""), Version::One)
        }
        None => {
            let (_, path) = fields().find(|(list, _)| list.is_empty())?;
            let mount = mounts.lines().find_map(|l| mounted(l, "cgroup2", None))?;
            (below(mount, path, ""), Version::Two)
        }
    };
    Some((found.0?, found.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 22 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n\
31 22 0:28 / /sys/fs/cgroup/pids rw,nosuid shared:9 - cgroup cgroup rw,pids\n";

    #[test]
    fn the_hierarchy_of_pids_or_the_unified_one() {
        let (dir, version) = place("5:cpu,cpuacct:/a\n4:pids:/a/b\n0::/c\n", MOUNTS).unwrap();
        assert_eq!((dir.as_path(), version), (Path::new("/sys/fs/cgroup/pids/a/b"), Version::One));
        let (dir, version) = place("0::/c\n", MOUNTS).unwrap();
        assert_eq!((dir.as_path(), version), (Path::new("/sys/fs/cgroup/unified/c"), Version::Two));
        assert!(place("", MOUNTS).is_none());
    }
}
