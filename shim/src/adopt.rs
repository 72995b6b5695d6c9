//! Taking a container over from a shim that was killed. The journal says where
//! the container is in its life; the pidfd and the pipes that were kept for it
//! come from whoever starts this shim, or are opened anew:
//!
//! | | handed over | else |
//! |---|---|---|
//! | init | a pidfd that was open before it ended | pidfd_open(2), if its start time is still the recorded one |
//! | stdout, stderr | reading ends that were open all the time, or the master of the terminal: nothing is lost | the pipe that init still has as its descriptor 1 or 2, if its number is the recorded one; the journal says what was lost |
//! | what was read and not logged | memory of the killed shim ([`crate::hand`]): it is logged, once | with the pipes |

use crate::error::{Attempted, Error, Result};
use crate::event::{Handover, Happening, OutputLost, Phase};
use crate::faults::{self, Point};
use crate::init::{Init, terminal_pipe};
use crate::journal::Reader;
use crate::log::Log;
use crate::orphan;
use crate::pipe::Pipe;
use crate::service::past::Past;
use crate::stdio::Logged;
use crate::streams::{Ends, Over, Stdin};
use crate::sys;
use crate::task::{Task, has_executed};
use sextant_runtime::contract::state::Status;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// Why output is missing.
const NOBODY_READ: &str = "the shim was killed, and nobody had kept the pipes of its output";

/// Why output is missing although the pipes were kept.
const NOT_TOLD_APART: &str =
    "the shim was killed, and what it had read cannot be told apart from what it had logged";

/// How often the runtime is asked for the state of a container. Of one that it has deleted it says nothing.
const QUESTIONS: u32 = 3;

/// What was kept for the next shim.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Init, by a pidfd.
    init: Option<OwnedFd>,
    /// The reading end of its stdout.
    stdout: Option<OwnedFd>,
    /// The reading end of its stderr.
    stderr: Option<OwnedFd>,
    /// What was read of either, and not logged.
    hands: [Option<OwnedFd>; 2],
    /// The master of its terminal, in place of the reading ends.
    terminal: Option<OwnedFd>,
}

impl Held {
    /// Takes what came with stdin, if that is a socket: see `--adopt`.
    ///
    /// # Errors
    /// Of recvmsg(2).
    pub(crate) fn receive() -> Result<Self> {
        let mut held = Self::default();
        let received =
            sys::receive(std::io::stdin().as_fd()).attempted(|| "receive descriptors from stdin".into())?;
        for (name, fd) in received {
            match name {
                b'i' => held.init = Some(fd),
                b'o' => held.stdout = Some(fd),
                b'e' => held.stderr = Some(fd),
                b'O' => held.hands[0] = Some(fd),
                b'E' => held.hands[1] = Some(fd),
                b't' => held.terminal = Some(fd),
                _ => {}
            }
        }
        Ok(held)
    }
}

impl Task {
    /// Begins where the journal ends. An exit that the killed shim did not see is found
    /// out and journalled by [`Task::run`].
    ///
    /// # Errors
    /// When there is no container, or its journal or log cannot be used.
    pub(crate) async fn adopt(&mut self, held: Held) -> Result<()> {
        let attempted = || format!("take over container {}", self.id);
        let past = Reader::open(&self.dir.join("journal")).and_then(|mut journal| Past::read(&mut journal));
        faults::reach(Point::AdoptTakeover).attempted(attempted)?;
        let past = past.attempted(attempted)?;
        if !matches!(past.phase, Phase::Created | Phase::Running | Phase::Paused | Phase::Stopped) {
            let why = format!("its journal says that it is {}", past.phase);
            return Err(Error::new(attempted(), why).hint("there is nothing to supervise: delete it"));
        }
        self.ledger.publish(|s| {
            (s.phase, s.exit, s.life, s.last_seq) = (past.phase, past.exit, past.life, past.last_seq);
        });
        self.execs.adopt(&past.execs);
        // How far the killed one came with what a life leaves is not known.
        self.buried = true;
        if let Some(exit) = past.exit {
            self.streams.get().finish(Over { exit, timed_out: false });
        }
        if past.phase == Phase::Stopped {
            return Ok(());
        }
        // Asked first: an init that has ended is soon reaped.
        let Handover { start_time, ref boot_id, .. } = past.handover;
        let executed = orphan::has_executed(past.pid, start_time, boot_id);
        self.doubtful = true;
        self.take(past, held)?;
        self.learn_from_runtime(executed).await
    }

    /// Takes hold of init and its output, and journals it.
    fn take(&mut self, past: Past, held: Held) -> Result<()> {
        let pid = past.pid;
        let attempted = || format!("take hold of the container's init, pid {pid}");
        let pidfd = match held.init {
            Some(pidfd) => Some(pidfd),
            None => {
                orphan::hold(pid, past.handover.start_time, &past.handover.boot_id).attempted(attempted)?
            }
        };
        let process = match pidfd {
            Some(pidfd) => orphan::adopt(pid, pidfd).attempted(attempted)?,
            None => orphan::lost(pid, &past.handover.boot_id),
        };
        let path = self.dir.join("log");
        let written = std::fs::metadata(&path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let log = Log::open(&path, self.log, Arc::clone(&self.counters))?;
        let kept = held.terminal.is_some() || held.stdout.is_some() && held.stderr.is_some();
        let (pipes, ends) = match held.terminal {
            Some(master) => {
                let stdin = master.try_clone().and_then(Stdin::new).ok();
                ([Some(terminal_pipe(&master)?), None], Ends { stdin, terminal: Some(master) })
            }
            None => {
                let [stdout, stderr] = past.handover.ends.pipes;
                let wanted = [(1, held.stdout, stdout), (2, held.stderr, stderr)];
                let pipes = wanted.map(|(fd, held, known)| match held {
                    Some(end) => Pipe::of(end).ok(),
                    // A process that has ended, or has closed its stdout, writes nothing more.
                    None => known.and_then(|known| Pipe::reopen(pid, fd, known.inode).ok().flatten()),
                });
                (pipes, Ends::default())
            }
        };
        let (logged, found) = Logged::recover(log, held.hands)?;
        let because = if !kept { Some(NOBODY_READ) } else { (!found).then_some(NOT_TOLD_APART) };
        let lost = because.map(|because| OutputLost {
            log_offset: self.counters.written.load(Ordering::Relaxed),
            from: written,
            until: pipes.iter().all(Option::is_some).then(SystemTime::now),
            because,
        });
        let streams = self.streams.get();
        let init = Init::adopt(process, (pipes, logged, ends), &streams, past.handover, past.oom_kills);
        let ends = init.ends();
        self.init = Some(init);
        self.ledger.record(&Happening::Adopted { ends, lost }, |s| s.pid = pid)
    }

    /// Records what the killed shim could not: that the process was executed, that it was paused,
    /// or that it goes on.
    async fn learn_from_runtime(&mut self, executed: bool) -> Result<()> {
        let mut state = self.state().await;
        for _ in 1..QUESTIONS {
            if state.is_none() {
                state = self.state().await;
            }
        }
        if self.phase() == Phase::Created && (executed || state.as_ref().is_some_and(has_executed)) {
            let started = Happening::Started { trace: Vec::new() };
            self.ledger.record_surely(&started, |s| s.phase = Phase::Running).await?;
        }
        let Some(status) = state.map(|state| state.status) else { return Ok(()) };
        match (self.phase(), status) {
            (Phase::Running, Status::Paused) => {
                self.ledger.record(&Happening::Paused, |s| s.phase = Phase::Paused)
            }
            (Phase::Paused, Status::Running) => {
                self.ledger.record(&Happening::Resumed, |s| s.phase = Phase::Running)
            }
            _ => Ok(()),
        }
    }
}
