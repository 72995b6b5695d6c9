//! What a container can be told, what is known of it, and why a command may be
//! refused: the types between [`crate::service`] and [`crate::task`].

use crate::error::Error;
use crate::event::{Exit, Phase};
use crate::runtime_cmd::Fault;
use sextant_runtime::contract::args::Limits;
use std::collections::VecDeque;
use tokio::sync::{mpsc, oneshot};

/// What is known of the container; published after it is on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    /// Where it is in its life.
    pub(crate) phase: Phase,
    /// Its init in the shim's pid namespace; 0 when there is none.
    pub(crate) pid: i32,
    /// How init ended.
    pub(crate) exit: Option<Exit>,
    /// Which life this is, from 1 on; 0 before the first.
    pub(crate) life: u32,
    /// Number of the last record in the journal.
    pub(crate) last_seq: u64,
}

impl Snapshot {
    /// Before anything happened.
    pub(crate) const EMPTY: Self = Self { phase: Phase::Empty, pid: 0, exit: None, life: 0, last_seq: 0 };
}

/// Where the answer to a command goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// The life of a container that is to begin, and its stdio.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct New {
    /// Which, from 1 on.
    pub(crate) life: u32,
    /// Its stdin is open; else it is /dev/null.
    pub(crate) stdin: bool,
    /// It has a terminal, as its config says.
    pub(crate) terminal: bool,
    /// Rows and columns of that, where they are not those of the config.
    pub(crate) size: Option<(u16, u16)>,
}

/// What a container can be told to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Create it; answers with the pid of its init.
    Create(New, Reply<i32>),
    /// Execute its process.
    Start(Reply<()>),
    /// Send a signal.
    Kill(i32, Target, Reply<()>),
    /// Stop its processes where they are.
    Pause(Reply<()>),
    /// Let them go on.
    Resume(Reply<()>),
    /// Change its limits.
    Update(Limits, Reply<()>),
    /// Go on in a new log file.
    ReopenLog(Reply<()>),
    /// Delete it, which ends this task.
    Delete(Force, Reply<Option<Exit>>),
    /// End this task when nothing lives.
    Terminate,
}

/// Commands that wait for the one that is carried out.
#[derive(Debug)]
pub(crate) struct Mailbox {
    commands: mpsc::Receiver<Command>,
    /// Looked at already, and still to be carried out.
    later: VecDeque<Command>,
}

/// Commands that are put off, at most.
const LATER: usize = 16;

impl Mailbox {
    /// Of these commands.
    pub(crate) fn new(commands: mpsc::Receiver<Command>) -> Self {
        Self { commands, later: VecDeque::new() }
    }

    /// The next command to carry out; `None` when there will be none.
    pub(crate) async fn next(&mut self) -> Option<Command> {
        match self.later.pop_front() {
            Some(command) => Some(command),
            None => self.commands.recv().await,
        }
    }

    /// The next one that came while another is carried out.
    pub(crate) async fn interruption(&mut self) -> Command {
        if self.later.len() < LATER
            && let Some(command) = self.commands.recv().await
        {
            return command;
        }
        std::future::pending().await
    }

    /// Keeps a command for [`Mailbox::next`].
    pub(crate) fn put_off(&mut self, command: Command) {
        self.later.push_back(command);
    }
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The container's init.
    Init,
    /// Every process of the container.
    All,
}

/// Whether a running container may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// It is killed.
    Yes,
    /// It is left alone, and that is an error.
    No,
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Not in this phase.
    Phase {
        /// The command.
        attempted: &'static str,
        /// Where the container is.
        phase: Phase,
    },
    /// The runtime failed.
    Runtime(Fault),
    /// There is no exec of this name.
    NoExec(String),
    /// There are too many of these.
    TooMany(&'static str),
    /// The key belongs to another request.
    KeyReused(String),
    /// It has no such stdin or terminal; what to do.
    Without(&'static str),
    /// The shim failed.
    Shim(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Shim(error)
    }
}
