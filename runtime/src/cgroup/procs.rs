//! The processes of a cgroup and of those below it.

use super::files;
use crate::sys::Result;
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How deep sub-cgroups are followed: deeper than anyone nests them.
const DEPTH: u32 = 64;

/// All processes of this cgroup and those below, ascending. One of another
/// pid namespace, which has the number 0, is left out.
pub(super) fn below(dir: BorrowedFd<'_>) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    collect(dir, DEPTH, &mut pids)?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn collect(dir: BorrowedFd<'_>, depth: u32, pids: &mut Vec<i32>) -> Result<()> {
    match files::read(dir, "cgroup.procs") {
        Ok(text) => {
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        }
        Err(error) if is_gone(error.errno) => return Ok(()),
        // A threaded cgroup: its processes are listed in the one above it.
        Err(error) if error.errno == Errno::EOPNOTSUPP => {}
        Err(error) => return Err(error),
    }
    if depth == 0 {
        return Ok(());
    }
    for name in or_nothing(files::children(dir))? {
        match files::open_below(dir, Path::new(&name)) {
            Ok(child) => collect(child.as_fd(), depth - 1, pids)?,
            Err(error) if is_gone(error.errno) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes everything below `dir`, deepest first.
pub(super) fn remove_below(dir: BorrowedFd<'_>) -> Result<()> {
    remove_children(dir, DEPTH)
}

fn remove_children(dir: BorrowedFd<'_>, depth: u32) -> Result<()> {
    for name in or_nothing(files::children(dir))? {
        let name = Path::new(&name);
        if depth > 0 {
            match files::open_below(dir, name) {
                Ok(child) => remove_children(child.as_fd(), depth - 1)?,
                Err(error) if is_gone(error.errno) => continue,
                Err(error) => return Err(error),
            }
        }
        files::remove(dir, name)?;
    }
    Ok(())
}

/// What reading a cgroup says that is being removed.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

fn or_nothing<T>(result: Result<Vec<T>>) -> Result<Vec<T>> {
    match result {
        Err(error) if is_gone(error.errno) => Ok(Vec::new()),
        other => other,
    }
}

/// The cgroup that holds process `pid`: this one or one below it.
pub(super) fn holder(dir: BorrowedFd<'_>, pid: i32) -> Result<Option<OwnedFd>> {
    find(files::open_below(dir, Path::new("."))?, pid, DEPTH)
}

fn find(dir: OwnedFd, pid: i32, depth: u32) -> Result<Option<OwnedFd>> {
    let listed = match files::read(dir.as_fd(), "cgroup.procs") {
        Ok(text) => text.lines().any(|line| line.parse() == Ok(pid)),
        Err(_) => false,
    };
    if listed {
        return Ok(Some(dir));
    }
    if depth > 0 {
        for name in or_nothing(files::children(dir.as_fd()))? {
            let Ok(child) = files::open_below(dir.as_fd(), Path::new(&name)) else { continue };
            if let Some(found) = find(child, pid, depth - 1)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}
