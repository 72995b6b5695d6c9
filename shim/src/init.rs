//! The container's init: taken over as an orphan of `create`, or from a shim that
//! was killed; signalled and waited for by pidfd, listened to until its end. [`crate::task`] decides what
//! its end means.

use crate::error::{Attempted, Error, Result};
use crate::event::{Exit, Handover, OutputEnds, Stage, TerminalEnd};
use crate::faults::{self, Point};
use crate::log::Log;
use crate::oom::{OomCounter, OomWatch};
use crate::orphan;
use crate::pipe::Pipe;
use crate::reaper::{Creation, Ended, Process};
use crate::report::Report;
use crate::runtime_cmd::Finished;
use crate::stdio::{Logged, Output};
use crate::streams::{Ends, Streams};
use sextant_runtime::contract::report::Failure;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// A living init, or one whose end is not dealt with yet.
#[derive(Debug)]
pub(crate) struct Init {
    process: Process,
    output: Output,
    /// The report of `create`, which init writes to until its execve(2).
    report: Report,
    /// The first failure of that report.
    failure: Option<Failure>,
    oom: Option<OomWatch>,
    /// What its output passes through.
    ends: OutputEnds,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signalled {
    /// Init has it.
    Sent,
    /// Init has ended before.
    Gone,
}

impl Init {
    /// Takes over what `create` left: the process named in its pid file, its
    /// output, which goes to `streams` and to `log` from now on, and its report.
    ///
    /// # Errors
    /// When the pid file cannot be read, or names a process that is no orphan of this creation.
    pub(crate) fn take_over(
        creation: &Creation,
        pid_file: &Path,
        left: Finished,
        ends: Ends,
        (log, streams): (Log, &Arc<Streams>),
    ) -> Result<Self> {
        let logged = Logged::new(log)?;
        let process = orphan_of(creation, pid_file, "the container's init")?;
        let Finished { stdout, stderr, report, .. } = left;
        let pipes = match &ends.terminal {
            Some(master) => [Some(terminal_pipe(master)?), None],
            None => [Some(stdout), Some(stderr)],
        };
        let known = known(&pipes, &logged, ends.terminal.as_ref());
        streams.connect(ends);
        let output = Output::carry(pipes, Some(logged), Arc::clone(streams));
        let oom = OomCounter::of(process.pid).map(|counter| OomWatch::new(counter, 0));
        Ok(Self { process, output, report, failure: None, oom, ends: known })
    }

    /// One that a shim before this one had, which was killed, and had told of so many OOM kills.
    pub(crate) fn adopt(
        process: Process,
        (pipes, logged, ends): ([Option<Pipe>; 2], Logged, Ends),
        streams: &Arc<Streams>,
        past: Handover,
        oom_kills: u64,
    ) -> Self {
        let known = known(&pipes, &logged, ends.terminal.as_ref());
        streams.connect(ends);
        let output = Output::carry(pipes, Some(logged), Arc::clone(streams));
        let oom = past.oom.map(|counter| OomWatch::new(counter, oom_kills));
        Self { process, output, report: Report::lost(), failure: None, oom, ends: known }
    }

    /// What its output passes through.
    pub(crate) fn ends(&self) -> OutputEnds {
        self.ends
    }

    /// What another shim will need, should this one be killed.
    pub(crate) fn handover(&self) -> Handover {
        let start_time = orphan::start_time(self.process.pid).unwrap_or(0);
        let oom = self.oom.as_ref().map(|watch| watch.counter().clone());
        Handover { start_time, boot_id: orphan::boot_id(), ends: self.ends, oom }
    }

    /// Its number in the shim's pid namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Of pidfd_send_signal(2), apart from ESRCH.
    pub(crate) fn signal(&self, signal: i32) -> Result<Signalled> {
        match self.process.signal(signal) {
            Ok(()) => Ok(Signalled::Sent),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(Signalled::Gone),
            Err(e) => Err(Error::new(format!("send signal {signal} to the container's init"), e)),
        }
    }

    /// Goes on with its output in a new log file, if the old one was moved away.
    ///
    /// # Errors
    /// When it cannot be opened, or nothing is logged any more.
    pub(crate) async fn reopen_log(&self) -> Result<()> {
        self.output.reopen_log().await
    }

    /// The stages that it has reported since `create`, as part of `command`.
    pub(crate) fn stages(&mut self, command: &'static str) -> Vec<Stage> {
        self.report.drain();
        let stages = self.report.take(command);
        let failure = || stages.iter().find_map(|s| s.record.failure.clone());
        self.failure = self.failure.take().or_else(failure);
        stages
    }

    /// OOM kills since the creation, when there are some that were not told.
    pub(crate) fn oom_news(&mut self) -> Option<u64> {
        self.oom.as_mut()?.news()
    }

    /// After its end: logs the rest of its output, and says how it ended and,
    /// when it reported that it failed before the user's process, why.
    pub(crate) async fn last_words(mut self, ended: Ended) -> (Exit, Option<Failure>) {
        self.output.drain().await;
        self.stages("start");
        let oom_killed = self.oom.is_some_and(|oom| oom.counter().grew());
        (Exit { how: ended.how, at: ended.at, oom_killed }, self.failure)
    }
}

/// What the manager is told, so that it can keep it for the next shim.
fn known(pipes: &[Option<Pipe>; 2], logged: &Logged, terminal: Option<&OwnedFd>) -> OutputEnds {
    let pipes = pipes.each_ref().map(|pipe| pipe.as_ref()?.end().ok());
    let terminal = terminal.and_then(|master| {
        let number = crate::sys::terminal_number(master.as_fd()).ok()?;
        Some(TerminalEnd { fd: master.as_raw_fd(), number })
    });
    OutputEnds {
        // A terminal cannot be opened by its number.
        pipes: if terminal.is_some() { [None, None] } else { pipes },
        hands: logged.hands.each_ref().map(|hand| hand.end().ok()),
        terminal,
    }
}

/// What becomes of init.
#[derive(Debug)]
pub(crate) enum News {
    /// It has ended.
    Ended(Ended),
    /// The OOM killer has ended so many processes of its cgroup since the creation.
    Oom(u64),
}

/// The next that becomes of init; never, while there is none.
pub(crate) async fn news_of(init: &mut Option<Init>) -> News {
    let Some(init) = init else { return std::future::pending().await };
    let oom = async {
        match &mut init.oom {
            Some(watch) => watch.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ended = end(&mut init.process) => News::Ended(ended),
        kills = oom => News::Oom(kills),
    }
}

/// The orphan of this creation that its pid file names; `what` it is, for the error.
///
/// # Errors
/// When the pid file cannot be read, or names a process that is no orphan of this creation.
pub(crate) fn orphan_of(creation: &Creation, pid_file: &Path, what: &str) -> Result<Process> {
    let attempted = || format!("read the runtime's pid file {}", pid_file.display());
    faults::reach(Point::InitClaim).attempted(attempted)?;
    let text = std::fs::read_to_string(pid_file).attempted(attempted)?;
    let pid = text.trim().parse().attempted(attempted)?;
    creation.claim(pid).attempted(|| format!("take over {what}, pid {pid}"))
}

/// What is read from a terminal.
///
/// # Errors
/// Of fcntl(2) or epoll_ctl(2).
pub(crate) fn terminal_pipe(master: &OwnedFd) -> Result<Pipe> {
    master.try_clone().and_then(Pipe::of).attempted(|| "read a terminal".into())
}

/// The end of init; never, while there is none.
pub(crate) async fn end_of(init: &mut Option<Init>) -> Ended {
    let Some(init) = init else { return std::future::pending().await };
    end(&mut init.process).await
}

async fn end(process: &mut Process) -> Ended {
    match (&mut process.ended).await {
        Ok(ended) => ended,
        // The reaper keeps the sender until the end is told.
        Err(_) => std::future::pending().await,
    }
}
