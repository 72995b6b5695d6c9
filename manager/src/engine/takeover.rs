//! A container whose shim was killed gets another one, which finds out what
//! became of it. Where no shim can be started for a process that has ended, the
//! manager is the witness of its exit: with the status that the kernel tells,
//! or *unknown, because …*.

use super::container::Container;
use super::create::make_dir;
use super::error::Error;
use super::{Context, blocking};
use crate::faults::{self, Point};
use crate::model::{Ending, Phase};
use crate::shims::client::{Listener, listener};
use crate::shims::{hold, spawn};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Attempts with a process that has ended, until the manager does without a shim.
const ATTEMPTS: u32 = 4;
/// Pause before the second attempt in a row, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// A shim that was there for so long was not killed by what its container does, nor by what it has found.
const STEADY: Duration = Duration::from_secs(10);

/// Attempts in a row to give a container another shim: since one was there for a while.
#[derive(Debug)]
pub(super) struct Attempts {
    count: u32,
    /// When the last shim was started or found.
    since: Instant,
}

impl Attempts {
    /// A container with a shim that nobody has killed.
    pub(super) fn none() -> Self {
        Self { count: 0, since: Instant::now() }
    }

    /// A shim is there at `now`.
    pub(super) fn has_shim(&mut self, now: Instant) {
        self.since = now;
    }

    /// Its shim has gone at `now`: how long to wait, so that one that ends again and again does not take the
    /// host's time. `None` for what was there for a while: the next one is started at once.
    pub(super) fn has_gone(&mut self, now: Instant) -> Option<Duration> {
        if now.saturating_duration_since(self.since) >= STEADY {
            self.count = 0;
        }
        (self.count > 0).then(|| self.pause())
    }

    /// One more; which one it is, from 1 on.
    pub(super) fn next(&mut self) -> u32 {
        self.count = self.count.saturating_add(1);
        self.count
    }

    /// The time until the next one.
    pub(super) fn pause(&self) -> Duration {
        let doubled = self.count.saturating_sub(1).min(10);
        FIRST_PAUSE.saturating_mul(1 << doubled).min(LAST_PAUSE)
    }
}

/// Whether a container has a shim again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakenOver {
    /// It has.
    Yes,
    /// It needs none: its exit is known, or it was never made.
    Needless,
}

/// Gives a container another shim, unless there is nothing to supervise.
///
/// # Errors
/// When the shim cannot be started; the process lives on then, or this is not the last attempt.
pub(super) async fn take_over(container: &mut Container, attempt: u32) -> Result<TakenOver, Error> {
    container.catch_up().await?;
    let over = container.snapshot.borrow().exit.is_some();
    // The ends of its execs are to be told as well.
    if over && container.open_execs.is_empty() || container.phase() == Phase::Failed {
        return Ok(TakenOver::Needless);
    }
    let socket = container.paths.socket();
    // One that a manager before this one started may be there by now.
    if listener(&socket).await != Listener::Absent {
        return Ok(TakenOver::Yes);
    }
    match adopt(container).await {
        Ok(()) => {
            container.catch_up().await?;
            Ok(TakenOver::Yes)
        }
        Err(error) if attempt < ATTEMPTS => Err(error),
        Err(error) if over => {
            tracing::warn!(
                container = container.id(),
                error = error.chain(),
                "no shim tells the ends of its execs"
            );
            Ok(TakenOver::Needless)
        }
        Err(error) => {
            let how = match &container.held {
                Some(held) if !held.ended() => return Err(error),
                Some(held) => held.ending(),
                None => None,
            };
            tracing::warn!(container = container.id(), error = error.chain(), "no shim sees its exit");
            let unknown = || Ending::Unknown("because the shim was killed".into());
            container.witness_exit(how.unwrap_or_else(unknown)).await?;
            Ok(TakenOver::Needless)
        }
    }
}

/// Starts another shim for a container whose own is gone.
///
/// # Errors
/// When it cannot be started, or finds nothing to adopt.
pub(super) async fn adopt(container: &mut Container) -> Result<(), Error> {
    container.hold();
    let attempted = || format!("give container {:?} another shim", container.id());
    faults::pass(Point::ShimAdopt).await.map_err(|e| Error::io(attempted())(e))?;
    let shim_dir = container.paths.shim_dir.clone();
    // It does not survive a restart of the machine.
    blocking(move || make_dir(&shim_dir)).await?;
    let settings = &container.context.settings;
    let pid = spawn::spawn(spawn::Plan {
        shim: &settings.shim,
        id: container.id(),
        dir: &container.paths.dir,
        bundle: &container.record.bundle,
        runtime: &settings.runtime,
        runtime_root: &settings.runtime_root(),
        log: container.record.log,
        socket: &container.paths.socket(),
        origin: spawn::Origin::Adopt(container.held.as_ref()),
    })
    .await?;
    tracing::warn!(container = container.id(), pid, "its shim was killed: another has taken over");
    container.set(|s| s.shim_pid = Some(pid));
    Ok(())
}

/// Says in the log whether this kernel tells exit statuses to whoever is not the parent.
pub(super) fn probe(context: &Arc<Context>) {
    let binary = context.settings.runtime.clone();
    tokio::task::spawn_blocking(move || match hold::probe(&binary) {
        Ok(true) => tracing::debug!("the exit status of a container whose shim was killed will be known"),
        Ok(false) => tracing::warn!(
            "the exit status of a container whose shim was killed may be unknown: \
             this kernel has no PIDFD_INFO_EXIT (Linux 6.15)"
        ),
        Err(error) => tracing::warn!(%error, runtime = %binary.display(), "the runtime cannot be run"),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shim_that_ends_soon_after_the_one_before_is_waited_with() {
        let (mut attempts, begun) = (Attempts::none(), Instant::now());
        let mut now = begun;
        // Killed every 15 seconds: each time the next one is started at once, however often.
        for _ in 0..20 {
            now += Duration::from_secs(15);
            assert_eq!(attempts.has_gone(now), None, "after {:?}", now - begun);
            assert_eq!(attempts.next(), 1);
            attempts.has_shim(now);
        }
        // One that ends as soon as it is there is waited with, longer and longer, up to a bound.
        let pauses: Vec<_> = (0..10)
            .filter_map(|_| {
                let pause = attempts.has_gone(now)?;
                attempts.next();
                attempts.has_shim(now);
                Some(pause.as_millis())
            })
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        assert_eq!(attempts.has_gone(now + STEADY), None, "until one was there for a while");
    }
}
