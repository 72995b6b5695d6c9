//! Killing an exec in a container that has no cgroup of its own: the process and
//! its descendants, as the kernel lists them (`/proc/PID/task/TID/children`). A
//! descendant whose parent has ended is not among them; that is why an exec has a
//! cgroup wherever there can be one ([`super::cgroup`]).

use crate::sys;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Processes that are looked at, at most.
const MOST: usize = 4096;

/// Kills the process `pid`, which `pidfd` refers to, and its descendants.
pub(super) fn kill(pid: i32, pidfd: Option<BorrowedFd<'_>>) {
    let Some(pidfd) = pidfd else { return };
    // Stopped, it forks no more while its descendants are listed.
    sys::pidfd_send_signal(pidfd, libc::SIGSTOP).unwrap_or_default();
    let mut family: Vec<(i32, OwnedFd)> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            let Ok(pidfd) = sys::pidfd_open(child) else { continue };
            // Looked at afterwards: the number may have become another process's before.
            if family.len() < MOST && children(parent).contains(&child) {
                sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGSTOP).unwrap_or_default();
                family.push((child, pidfd));
                parents.push(child);
            }
        }
    }
    for (_, pidfd) in &family {
        // It may have ended meanwhile, which is as wanted.
        sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap_or_default();
    }
    sys::pidfd_send_signal(pidfd, libc::SIGKILL).unwrap_or_default();
}

fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn children_go_with_their_parent_and_a_stranger_stays() {
        let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let held = sys::pidfd_open(grandchild).unwrap();
        let pidfd = sys::pidfd_open(pid).unwrap();
        kill(pid, Some(pidfd.as_fd()));
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        // Its stdout, which it shares, comes to its end with it.
        std::io::Read::read_to_string(&mut out, &mut line).unwrap();
        drop(held);
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
