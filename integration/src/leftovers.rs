//! What a test must not leave behind: processes, mounts, cgroups, sockets and
//! directories that bear its marks. A mark is the test's temporary directory or
//! the id of one of its containers, which no other test has, so tests may run
//! at the same time.

#![allow(clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::process::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A process that was killed needs a moment until the kernel has let go of everything,
/// and more than that on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The marks of a test, and the directories that have to be empty.
#[derive(Clone, Debug)]
pub struct Leftovers {
    marks: Vec<String>,
    empty: Vec<PathBuf>,
}

impl Leftovers {
    /// Looks for this directory and these ids.
    pub fn of(dir: &Path, ids: &[&str]) -> Self {
        let mut marks = vec![dir.display().to_string()];
        marks.extend(ids.iter().map(ToString::to_string));
        Self { marks, empty: Vec::new() }
    }

    /// Also asserts that this directory has no entry, or does not exist.
    #[must_use]
    pub fn empty_dir(mut self, dir: PathBuf) -> Self {
        self.empty.push(dir);
        self
    }

    /// Everything found, one line each.
    pub fn find(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.processes().into_iter().map(|(pid, what)| format!("process {pid}: {what}")).collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        found.extend(mounts.lines().filter(|l| self.marked(l)).map(|l| format!("mount {l}")));
        found.extend(self.cgroups().iter().map(|path| format!("cgroup {}", path.display())));
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        found.extend(sockets.lines().filter(|l| self.marked(l)).map(|l| format!("socket {l}")));
        for dir in &self.empty {
            let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
            found.extend(entries.map(|e| format!("entry {}", e.path().display())));
        }
        found
    }

    /// Asserts that nothing is left, once the kernel had its moment.
    #[track_caller]
    pub fn assert_none(&self) {
        if !until(PATIENCE, || self.find().is_empty()) {
            panic!("left behind:\n  {}", self.find().join("\n  "));
        }
    }

    /// Kills the processes, lets go of the mounts and removes the cgroups, after a test that failed.
    pub fn clean_up(&self) {
        for (pid, _) in self.processes() {
            if let Err(e) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
                eprintln!("kill {pid} at the end of a test: {e}");
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // The last is on top; one that has gone with another is no loss.
        for target in mounts.lines().rev().filter(|l| self.marked(l)).filter_map(|l| l.split(' ').nth(4)) {
            nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH).unwrap_or_default();
        }
        until(Duration::from_secs(1), || {
            self.cgroups().iter().rev().filter(|path| fs::remove_dir(path).is_err()).count() == 0
        });
    }

    fn marked(&self, text: &str) -> bool {
        self.marks.iter().any(|mark| text.contains(mark))
    }

    /// Processes whose command line, cgroup, root or working directory bears a mark.
    fn processes(&self) -> Vec<(i32, String)> {
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        pids.filter(|pid| *pid != own)
            .filter_map(|pid| {
                let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
                let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
                let links = format!("{} {}", link("cwd").display(), link("root").display());
                let what = format!("{command}| {} | {links}", cgroup.replace('\n', " "));
                self.marked(&what).then_some((pid, what))
            })
            .collect()
    }

    /// Directories of all hierarchies whose name bears a mark, parents first.
    fn cgroups(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(dir) = todo.pop() {
            let entries = fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok);
            for entry in entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
                let path = entry.path();
                if self.marked(&path.display().to_string()) {
                    found.push(path.clone());
                }
                todo.push(path);
            }
        }
        found.sort();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_and_a_socket_are_found() {
        let dir = crate::bundle::temp_dir();
        let leftovers = Leftovers::of(dir.path(), &[]);
        assert_eq!(leftovers.find(), Vec::<String>::new());
        let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let mut child = Command::new("sleep").arg("100").current_dir(dir.path()).spawn().unwrap();
        assert!(until(PATIENCE, || leftovers.find().len() == 2), "{:?}", leftovers.find());
        leftovers.clean_up();
        child.wait().unwrap();
        drop(socket);
        leftovers.assert_none();
    }
}
