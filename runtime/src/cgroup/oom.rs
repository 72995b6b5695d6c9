//! Waiting for the kernel to run out of the memory that a cgroup may use.
//!
//! Version 1 signals an eventfd that is registered for `memory.oom_control`
//! (admin-guide/cgroup-v1/memory.rst, "OOM Control"). Version 2 makes
//! `memory.events` readable with POLLPRI whenever a counter in it has grown.

use super::create::failure;
use super::files;
use super::handle::{Cgroup, Dir};
use crate::contract::report::{Failure, StageKind};
use crate::sys::Error;
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// What a caller polls, and then asks.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Eventfd { eventfd: EventFd, control: std::path::PathBuf },
    Events { file: std::fs::File, seen: u64 },
}

impl OomWatch {
    /// Watches from now on. `None` where the host has no memory controller, or
    /// the cgroup is gone.
    ///
    /// # Errors
    /// The call that failed.
    pub fn new(cgroup: &Cgroup) -> Result<Option<Self>, Failure> {
        let (dir, file) = match cgroup.controller("memory") {
            Some(dir) => (dir, "memory.oom_control"),
            None => match cgroup.unified() {
                Some(dir) => (dir, "memory.events"),
                None => return Ok(None),
            },
        };
        let wrap = |e| failure(StageKind::Stats, "watch for OOM events".into(), e, &dir.path.join(file));
        let Some(opened) = open(dir, file).map_err(wrap)? else { return Ok(None) };
        let source = if file == "memory.events" {
            let file = std::fs::File::from(opened);
            let seen = kills(&file);
            Source::Events { file, seen }
        } else {
            Source::Eventfd { eventfd: register(dir, &opened).map_err(wrap)?, control: dir.path.join(file) }
        };
        Ok(Some(Self { source }))
    }

    /// What to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Eventfd { eventfd, .. } => eventfd.as_fd(),
            Source::Events { file, .. } => file.as_fd(),
        }
    }

    /// For what.
    pub fn flags(&self) -> PollFlags {
        match self.source {
            Source::Eventfd { .. } => PollFlags::POLLIN,
            Source::Events { .. } => PollFlags::POLLPRI,
        }
    }

    /// How many times it happened since this was last asked.
    pub fn happened(&mut self) -> u64 {
        match &mut self.source {
            // EAGAIN is none. The removal of the cgroup counts as one, which it is not.
            Source::Eventfd { eventfd, control } => {
                let count = eventfd.read().unwrap_or(0);
                if control.exists() { count } else { 0 }
            }
            Source::Events { file, seen } => {
                let before = std::mem::replace(seen, kills(file));
                seen.saturating_sub(before)
            }
        }
    }
}

fn open(dir: &Dir, file: &str) -> crate::sys::Result<Option<OwnedFd>> {
    let Some(fd) = dir.open()? else { return Ok(None) };
    let opened = crate::sys::file::open_strict(fd, file.as_ref(), OFlag::O_RDONLY);
    match opened {
        Err(error) if super::procs::is_gone(error.errno) => Ok(None),
        result => result.map(Some),
    }
}

fn register(dir: &Dir, control: &OwnedFd) -> crate::sys::Result<EventFd> {
    let made = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
    let eventfd = made.map_err(|errno| Error { call: "eventfd(0, EFD_NONBLOCK)".into(), errno })?;
    if let Some(fd) = dir.open()? {
        let line = format!("{} {}", eventfd.as_raw_fd(), control.as_raw_fd());
        files::write(fd, "cgroup.event_control", &line)?;
    }
    Ok(eventfd)
}

/// The counter `oom_kill`. Reading also arms the next POLLPRI.
fn kills(file: &std::fs::File) -> u64 {
    let mut bytes = [0; 4096];
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(bytes.get(..read).unwrap_or_default());
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    count.unwrap_or(0)
}
