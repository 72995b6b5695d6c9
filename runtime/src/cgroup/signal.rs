//! Signalling, stopping and continuing all processes of a cgroup.
//!
//! Version 2 has files for this. Version 1 has the freezer: processes are
//! stopped, listed and signalled, so that none escapes by forking meanwhile
//! and no number is used again.

use super::create::failure;
use super::handle::{Cgroup, Dir};
use super::procs::is_gone;
use crate::contract::report::{Failure, StageKind};
use crate::sys::{Error, Result};
use nix::errno::Errno;
use std::time::{Duration, Instant};

/// How long freezing may take.
const FREEZE_PATIENCE: Duration = Duration::from_secs(2);

/// One state of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Frozen,
    Thawed,
}

impl Cgroup {
    /// Sends `signal` to every process in it and below it. SIGKILL reaches
    /// frozen processes as well; after another signal a frozen cgroup stays
    /// frozen, and the signal is pending.
    ///
    /// # Errors
    /// The call that failed.
    pub fn kill(&self, signal: i32) -> std::result::Result<(), Failure> {
        if signal == libc::SIGKILL && self.kill_by_file()? {
            return self.end_frozen();
        }
        let before = if self.frozen()? { State::Frozen } else { State::Thawed };
        if before == State::Thawed {
            self.freeze()?;
        }
        let sent = self.signal_each(signal);
        if before == State::Thawed || signal == libc::SIGKILL {
            self.thaw()?;
        }
        sent
    }

    /// Stops all processes in it, and waits until they have stopped.
    ///
    /// # Errors
    /// The call that failed; ETIMEDOUT when they had not all stopped after two
    /// seconds (it is then thawed again).
    pub fn freeze(&self) -> std::result::Result<(), Failure> {
        let Some(freezer) = self.freezer() else { return Ok(()) };
        let wrap = |e: Error| failure(StageKind::Cgroup, "freeze the cgroup".into(), e, &freezer.dir().path);
        freezer.set(State::Frozen).map_err(wrap)?;
        let deadline = Instant::now() + FREEZE_PATIENCE;
        while freezer.reached(State::Frozen).map_err(wrap)? == Some(false) {
            if Instant::now() >= deadline {
                freezer.set(State::Thawed).map_err(wrap)?;
                return Err(wrap(Error { call: "wait for the freezer".into(), errno: Errno::ETIMEDOUT }));
            }
            std::thread::sleep(Duration::from_micros(500));
            freezer.nudge().map_err(wrap)?;
        }
        Ok(())
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// The write that failed.
    pub fn thaw(&self) -> std::result::Result<(), Failure> {
        let Some(freezer) = self.freezer() else { return Ok(()) };
        freezer
            .set(State::Thawed)
            .map_err(|e| failure(StageKind::Cgroup, "thaw the cgroup".into(), e, &freezer.dir().path))
    }

    /// Whether it is frozen, or is being frozen; a cgroup that is gone is not.
    ///
    /// # Errors
    /// The read that failed.
    pub fn frozen(&self) -> std::result::Result<bool, Failure> {
        let Some(freezer) = self.freezer() else { return Ok(false) };
        freezer.asked().map_err(|e| {
            failure(StageKind::Cgroup, "ask whether the cgroup is frozen".into(), e, &freezer.dir().path)
        })
    }

    /// Whether [`Cgroup::freeze`] has anything to stop processes with.
    pub fn has_freezer(&self) -> bool {
        self.freezer().is_some()
    }

    /// The directory whose files stop its processes.
    pub fn freezer_path(&self) -> Option<&std::path::Path> {
        self.freezer().map(|freezer| match freezer {
            Freezer::V1(dir) | Freezer::V2(dir) => dir.path.as_path(),
        })
    }

    fn freezer(&self) -> Option<Freezer<'_>> {
        match self.controller("freezer") {
            Some(dir) => Some(Freezer::V1(dir)),
            None => self.unified().map(Freezer::V2),
        }
    }

    /// `cgroup.kill` (Linux 5.14), where it reaches all processes.
    fn kill_by_file(&self) -> std::result::Result<bool, Failure> {
        let Some(dir) = self.unified() else { return Ok(false) };
        match dir.write("cgroup.kill", "1") {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => {
                Ok(false)
            }
            Err(error) => Err(failure(StageKind::Kill, "kill the cgroup".into(), error, &dir.path)),
        }
    }

    /// After `cgroup.kill` on a hybrid host: processes that are in the version
    /// 1 cgroups only are signalled, and those that its freezer holds let go.
    fn end_frozen(&self) -> std::result::Result<(), Failure> {
        if self.controller("freezer").is_none() {
            return Ok(());
        }
        self.signal_each(libc::SIGKILL)?;
        if self.frozen()? { self.thaw() } else { Ok(()) }
    }

    fn signal_each(&self, signal: i32) -> std::result::Result<(), Failure> {
        for pid in self.procs()? {
            match crate::sys::signal::kill(pid, signal) {
                Ok(()) => {}
                Err(error) if error.errno == Errno::ESRCH => {}
                Err(error) => {
                    let attempted = format!("send signal {signal} to process {pid}");
                    return Err(failure(StageKind::Kill, attempted, error, std::path::Path::new("")));
                }
            }
        }
        Ok(())
    }
}

/// The files that stop processes.
#[derive(Clone, Copy)]
enum Freezer<'a> {
    V1(&'a Dir),
    V2(&'a Dir),
}

impl Freezer<'_> {
    fn dir(&self) -> &Dir {
        match self {
            Self::V1(dir) | Self::V2(dir) => dir,
        }
    }

    fn set(&self, state: State) -> Result<()> {
        let (dir, file, value) = match (self, state) {
            (Self::V1(dir), State::Frozen) => (dir, "freezer.state", "FROZEN"),
            (Self::V1(dir), State::Thawed) => (dir, "freezer.state", "THAWED"),
            (Self::V2(dir), State::Frozen) => (dir, "cgroup.freeze", "1"),
            (Self::V2(dir), State::Thawed) => (dir, "cgroup.freeze", "0"),
        };
        match dir.write(file, value) {
            Err(error) if is_gone(error.errno) => Ok(()),
            result => result,
        }
    }

    /// Whether that state is reached; `None` when the cgroup is gone.
    fn reached(&self, state: State) -> Result<Option<bool>> {
        let frozen = match self {
            Self::V1(dir) => dir.read("freezer.state")?.map(|text| text.trim() == "FROZEN"),
            Self::V2(dir) => dir.read("cgroup.events")?.map(|text| text.lines().any(|l| l == "frozen 1")),
        };
        Ok(frozen.map(|frozen| frozen == (state == State::Frozen)))
    }

    /// Whether freezing was asked for.
    fn asked(&self) -> Result<bool> {
        let text = match self {
            Self::V1(dir) => dir.read("freezer.state")?.map(|text| text.trim() != "THAWED"),
            Self::V2(dir) => dir.read("cgroup.freeze")?.map(|text| text.trim() == "1"),
        };
        Ok(text.unwrap_or(false))
    }

    /// Version 1 misses a process that forks while it is frozen; writing the
    /// state again catches it (cgroup-v1/freezer-subsystem.rst, "FREEZING").
    fn nudge(&self) -> Result<()> {
        match self {
            Self::V1(_) => self.set(State::Frozen),
            Self::V2(_) => Ok(()),
        }
    }
}
