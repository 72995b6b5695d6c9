//! What the journal of a killed shim says of the container: the one place where
//! records are read back into the shim's own types.

use crate::event::{Exit, Handover, Phase};
use crate::journal::Reader;
use crate::oom::OomCounter;
use crate::pipe::PipeEnd;
use crate::sys::How;
use sextant_proto::shim::{self as wire, event::What};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// The container as its journal leaves it.
#[derive(Debug)]
pub(crate) struct Past {
    /// Where it is in its life.
    pub(crate) phase: Phase,
    /// Its init, which may have ended since; 0 when there was none.
    pub(crate) pid: i32,
    /// What was recorded for whoever takes over.
    pub(crate) handover: Handover,
    /// How many OOM kills were recorded.
    pub(crate) oom_kills: u64,
    /// How init ended.
    pub(crate) exit: Option<Exit>,
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
        let mut past = Self { phase, pid: 0, handover, oom_kills: 0, exit: None, last_seq: 0 };
        while let Some(event) = journal.next()? {
            past.last_seq = event.seq;
            if let Some(what) = event.what {
                past.learn(what);
            }
        }
        Ok(past)
    }

    fn learn(&mut self, what: What) {
        match what {
            What::Created(created) => {
                (self.phase, self.pid) = (Phase::Created, created.pid);
                self.handover = Handover {
                    start_time: created.start_time,
                    boot_id: created.boot_id,
                    stdout: created.stdout.map(pipe),
                    stderr: created.stderr.map(pipe),
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
            What::Deleted(_) => self.phase = Phase::Deleted,
            What::CreateFailed(_) | What::StartFailed(_) | What::Adopted(_) | What::Updated(_) => {}
        }
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
    let at = exit.at.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or(UNIX_EPOCH);
    Exit { how, at, oom_killed: exit.oom_killed }
}
