//! What the journal of a killed shim says of the container: the one place where
//! records are read back into the shim's own types.

use crate::event::{ExecStart, Exit, Handover, OutputEnds, Phase};
use crate::journal::Reader;
use crate::oom::OomCounter;
use crate::pipe::PipeEnd;
use crate::streams::Over;
use crate::sys::How;
use sextant_proto::shim::{self as wire, event::What};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Execs that are taken from a journal, at most, as long as some of them have ended.
const EXECS: usize = 256;

/// The container as its journal leaves it.
#[derive(Debug)]
pub(crate) struct Past {
    /// Where it is in its life.
    pub(crate) phase: Phase,
    /// Which life that is, from 1 on; 0 before the first.
    pub(crate) life: u32,
    /// Its init, which may have ended since; 0 when there was none.
    pub(crate) pid: i32,
    /// What was recorded for whoever takes over.
    pub(crate) handover: Handover,
    /// How many OOM kills of this life were recorded.
    pub(crate) oom_kills: u64,
    /// How init of this life ended.
    pub(crate) exit: Option<Exit>,
    /// Its execs, in the order of their starts, with their ends.
    pub(crate) execs: Vec<(ExecStart, Option<Over>)>,
    /// Number of the last record.
    pub(crate) last_seq: u64,
}

impl Past {
    /// Reads all records.
    ///
    /// # Errors
    /// Of pread(2).
    pub(crate) fn read(journal: &mut Reader) -> io::Result<Self> {
        let (phase, handover) = (Phase::Empty, Handover::default());
        let (life, pid, oom_kills, last_seq) = (0, 0, 0, 0);
        let mut past =
            Self { phase, life, pid, handover, oom_kills, exit: None, execs: Vec::new(), last_seq };
        while let Some(event) = journal.next()? {
            past.last_seq = event.seq;
            if let Some(what) = event.what {
                past.learn(what, time(event.at));
            }
        }
        Ok(past)
    }

    fn learn(&mut self, what: What, at: SystemTime) {
        match what {
            What::Created(created) => {
                (self.phase, self.pid) = (Phase::Created, created.pid);
                self.life = created.life.max(1);
                (self.oom_kills, self.exit) = (0, None);
                self.handover = Handover {
                    start_time: created.start_time,
                    boot_id: created.boot_id,
                    ends: OutputEnds {
                        pipes: [created.stdout.map(pipe), created.stderr.map(pipe)],
                        // Of the shim that was killed: what counts is handed over.
                        ..OutputEnds::default()
                    },
                    oom: created.oom.map(|o| OomCounter { file: o.file.into(), before: o.before }),
                };
            }
            What::Started(_) => self.phase = Phase::Running,
            What::Paused(_) => self.phase = Phase::Paused,
            What::Resumed(_) => self.phase = Phase::Running,
            What::Oom(oom) => self.oom_kills = oom.kills,
            What::Exited(exited) => {
                self.phase = Phase::Stopped;
                self.exit = exited.exit.map(exit);
            }
            What::ExecStarted(started) => {
                // Of those that have ended, the oldest are forgotten.
                if self.execs.len() >= EXECS
                    && let Some(oldest) = self.execs.iter().position(|(_, over)| over.is_some())
                {
                    self.execs.remove(oldest);
                }
                self.execs.push((exec(started, at), None));
            }
            What::ExecExited(exited) => {
                let over = exited.exit.map(|e| Over { exit: exit(e), timed_out: exited.timed_out });
                if let Some((_, end)) = self.execs.iter_mut().find(|(start, _)| start.exec == exited.exec) {
                    *end = over;
                }
            }
            What::Deleted(_) => self.phase = Phase::Deleted,
            What::CreateFailed(_) | What::StartFailed(_) | What::Adopted(_) | What::Updated(_) => {}
        }
    }
}

fn exec(started: wire::ExecStarted, at: SystemTime) -> ExecStart {
    ExecStart {
        exec: started.exec,
        at,
        pid: started.pid,
        start_time: started.start_time,
        boot_id: started.boot_id,
        command: started.command,
        terminal: started.terminal,
        key: started.key,
        request_hash: started.request_hash,
        deadline: started.deadline.map(|at| time(Some(at))),
        cgroup: Some(started.cgroup).filter(|dir| !dir.is_empty()).map(Into::into),
    }
}

fn pipe(pipe: wire::Pipe) -> PipeEnd {
    PipeEnd { fd: pipe.fd, inode: pipe.inode }
}

fn exit(exit: wire::Exit) -> Exit {
    let how = match exit.how {
        Some(wire::exit::How::Code(code)) => How::Code(code),
        Some(wire::exit::How::Signal(signal)) => How::Signal(signal),
        // Kept to the end of this process, which reads one journal once.
        Some(wire::exit::How::Unknown(because)) => How::Unknown(because.leak()),
        None => How::Unknown("because the journal does not say"),
    };
    Exit { how, at: time(exit.at), oom_killed: exit.oom_killed }
}

fn time(at: Option<prost_types::Timestamp>) -> SystemTime {
    at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(UNIX_EPOCH)
}
