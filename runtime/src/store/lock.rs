//! Two commands on one container: those that change it take the lock of its
//! directory (flock(2)), so that they come one after the other. Whoever only
//! reads, signals or executes does not. The lock ends with its holder, however
//! that ends; a container whose creation was cut short has none.

use super::{Directory, gone, open_below};
use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a command waits for another one.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long it waits that ends the other one, if need be (`delete --force`).
pub const IMPATIENCE: Duration = Duration::from_secs(1);

impl Directory {
    /// Opens the directory of an existing container and locks it.
    ///
    /// # Errors
    /// As [`Directory::open`] and [`Directory::lock`].
    pub fn claim(root: &Path, id: &str) -> Outcome<Self> {
        let directory = Self::open(root, id)?;
        directory.lock(PATIENCE)?;
        Ok(directory)
    }

    /// Takes the lock, which the directory keeps until it is closed, here and in
    /// every process that was cloned meanwhile.
    ///
    /// # Errors
    /// Refused when another command holds it for longer than `patience`, and when the
    /// container has been removed meanwhile.
    pub fn lock(&self, patience: Duration) -> Outcome<()> {
        let what = || format!("lock the container {}", self.id);
        let end = Instant::now() + patience;
        let mut pause = Duration::from_micros(500);
        while sys::file::try_lock(self.fd.as_fd()).attempt(what)? == sys::file::Locked::Elsewhere {
            if Instant::now() >= end {
                let mut failure = refuse(what(), "another command is at work on it");
                failure.hint = "it may be waiting for a hook; try again, or end it".into();
                return Err(failure);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        if self.is_current() { Ok(()) } else { Err(gone(what())) }
    }

    /// Gives the lock back ahead of the directory's end.
    ///
    /// # Errors
    /// As flock(2).
    pub fn unlock(&self) -> Outcome<()> {
        sys::file::unlock(self.fd.as_fd()).attempt(|| format!("unlock the container {}", self.id))
    }

    /// Whether this still is the directory of the container: it may have been
    /// removed, and another one of the same id made.
    pub fn is_current(&self) -> bool {
        let identity = |fd: &OwnedFd| sys::file::stat(fd.as_fd()).map(|s| (s.st_dev, s.st_ino)).ok();
        let now = open_below(&self.parent, &self.id).ok().and_then(|fd| identity(&fd));
        now.is_some() && now == identity(&self.fd)
    }
}
