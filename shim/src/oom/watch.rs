//! Hearing of OOM kills when they happen. Version 1 signals an eventfd that is
//! registered for `memory.oom_control` (admin-guide/cgroup-v1/memory.rst, "OOM
//! Control"); version 2 makes `memory.events` readable with POLLPRI when a
//! counter in it has grown. Both only say that it is time to look at the counter.

use super::{OomCounter, count};
use crate::sys;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// Time between two words about kills that go on, doubled up to the second.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// How often the counter is looked at after version 1 has signalled: that comes before the kill.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(10);

/// Waits for the counter to grow.
#[derive(Debug)]
pub(crate) struct OomWatch {
    counter: OomCounter,
    /// Its value that was told last.
    told: u64,
    source: Option<Source>,
    /// Not before then is anything told again.
    next: Instant,
    pause: Duration,
    /// Looks that are left since the last signal.
    looks: u32,
}

#[derive(Debug)]
enum Source {
    /// The file is kept open for the eventfd.
    Eventfd(AsyncFd<OwnedFd>, #[allow(dead_code, reason = "held open")] File),
    Events(AsyncFd<OwnedFd>),
}

impl OomWatch {
    /// Of a counter, of whose kills so many were told. Where the kernel lets nobody wait for it,
    /// it is looked at only at the end.
    pub(crate) fn new(counter: OomCounter, kills: u64) -> Self {
        let source = Source::of(&counter);
        let source = source.map_err(|e| complain!("watch {}: {e}", counter.file.display()));
        let told = counter.before.saturating_add(kills);
        let (next, pause) = (Instant::now(), FIRST_PAUSE);
        Self { counter, told, source: source.ok(), next, pause, looks: 0 }
    }

    /// The counter.
    pub(crate) fn counter(&self) -> &OomCounter {
        &self.counter
    }

    /// Kills since the creation, when there are some that were not told.
    pub(crate) fn news(&mut self) -> Option<u64> {
        let now = count(&self.counter.file).filter(|now| *now > self.told)?;
        self.told = now;
        Some(now.saturating_sub(self.counter.before))
    }

    /// The same, once there are some. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> u64 {
        loop {
            tokio::time::sleep_until(self.next).await;
            if let Some(kills) = self.news() {
                let quiet = self.next.elapsed() > LAST_PAUSE;
                self.pause = if quiet { FIRST_PAUSE } else { (self.pause * 2).min(LAST_PAUSE) };
                (self.next, self.looks) = (Instant::now() + self.pause, 0);
                return kills;
            }
            if self.looks > 0 {
                tokio::time::sleep(LOOK).await;
                self.looks -= 1;
            } else {
                match &self.source {
                    Some(source) => source.signalled().await,
                    None => std::future::pending().await,
                }
                self.looks = LOOKS;
            }
        }
    }
}

impl Source {
    fn of(counter: &OomCounter) -> io::Result<Self> {
        let file = File::open(&counter.file)?;
        if counter.file.file_name().is_some_and(|name| name == "memory.events") {
            return sys::with_interest(file.into(), Interest::PRIORITY).map(Self::Events);
        }
        let eventfd = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let line = format!("{} {}", eventfd.as_raw_fd(), file.as_raw_fd());
        std::fs::write(counter.file.with_file_name("cgroup.event_control"), line)?;
        Ok(Self::Eventfd(sys::with_interest(eventfd.into(), Interest::READABLE)?, file))
    }

    /// Returns when it is time to look.
    async fn signalled(&self) {
        let (fd, interest) = match self {
            Self::Eventfd(fd, _) => (fd, Interest::READABLE),
            Self::Events(fd) => (fd, Interest::PRIORITY),
        };
        match fd.ready(interest).await {
            Ok(mut ready) => ready.clear_ready(),
            // It cannot be polled (any more): the counter is looked at now and then.
            Err(_) => tokio::time::sleep(LAST_PAUSE).await,
        }
        let mut bytes = [0; 4096];
        match self {
            // EAGAIN says that it was read already.
            Self::Eventfd(fd, _) => drop(nix::unistd::read(fd.get_ref(), &mut bytes)),
            // Reading arms the next signal.
            Self::Events(fd) => {
                let again = fd.get_ref().try_clone().map(File::from);
                drop(again.and_then(|file| file.read_at(&mut bytes, 0)));
            }
        }
    }
}
