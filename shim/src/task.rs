//! The container as a state machine. One task owns it; commands come one at a
//! time, but for signals, which get through while the runtime is at work; and the
//! end of its init comes between them:
//!
//! ```text
//!          Create             Start
//!                                             Pause
//!  empty ──────► creating ──► created ──► running ◄──► paused
//!    │ ▲            │ fails      │ init      │ Resume    │ init
//!    │ └────────────┘            │ exits     │ exits     │ is killed
//!    │                           └────┬──────┴───────────┘
//!    │ Delete                         ▼      Delete
//!    └──────────► deleted ◄──────── stopped ◄─── (kills created; running and paused with force)
//! ```
//!
//! From stopped, Create begins the next life: it goes to creating once what is left
//! of the one before is deleted, and back when it fails. Journal, log and execs go
//! on over all lives; stdio is each one's own.
//!
//! A shim that takes over from one that was killed begins where the journal of
//! that one ends ([`crate::adopt`]).
//!
//! Each transition is journalled first and published afterwards, as a
//! [`Snapshot`], which is all that State, Wait and Watch look at: they never
//! wait behind a command. How commands come in is [`crate::service`]'s, what
//! the runtime does is [`crate::runtime_cmd`]'s.

use crate::command::{Command, Force, Mailbox, New, Refusal, Snapshot, Target};
use crate::console::Console;
use crate::error::Attempted;
use crate::event::{Exit, Happening, Phase, Stage};
use crate::execs::Execs;
use crate::faults::{self, Point};
use crate::init::{Init, News, Signalled, end_of, news_of};
use crate::ledger::Ledger;
use crate::log::{Counters, Log, Settings};
use crate::reaper::Ended;
use crate::runtime_cmd::{Fault, FaultKind, Finished, Runtime};
use crate::streams::{Current, Ends, Over, Stdin};
use sextant_runtime::contract::args::{Invocation, Limits};
use sextant_runtime::contract::state::{State, Status};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Time limit of `create` and `start`, in which hooks run. Below the manager's limit for the
/// call, so that its client hears which command hung, and not only that time is up.
const LONG: Duration = Duration::from_secs(50);

/// Time limit of `kill` and `delete`.
pub(crate) const SHORT: Duration = Duration::from_secs(30);

/// The container, owned by [`Task::run`].
#[derive(Debug)]
pub(crate) struct Task {
    /// Its id.
    pub(crate) id: String,
    /// Its bundle directory.
    pub(crate) bundle: PathBuf,
    /// The directory of pid file and log.
    pub(crate) dir: PathBuf,
    /// The runtime.
    pub(crate) runtime: Runtime,
    /// How the log is kept.
    pub(crate) log: Settings,
    /// Its journal, and where its state is published.
    pub(crate) ledger: Arc<Ledger>,
    /// The stdio of its init.
    pub(crate) streams: Current,
    /// Its other processes.
    pub(crate) execs: Execs,
    /// How much was logged.
    pub(crate) counters: Arc<Counters>,
    /// Its init, while that lives.
    pub(crate) init: Option<Init>,
    /// What its last life has left may be deleted already.
    pub(crate) buried: bool,
    /// Whether the runtime was asked for a container, recorded or not: what it has left is to be deleted.
    pub(crate) begun: bool,
    /// Whether this life may have been started although no record says so.
    pub(crate) doubtful: bool,
}

/// Whether this is the state of a container whose process was executed.
pub(crate) fn has_executed(state: &State) -> bool {
    state.executed || matches!(state.status, Status::Running | Status::Paused)
}

impl Task {
    /// Carries out commands until the container is deleted.
    pub(crate) async fn run(mut self, commands: mpsc::Receiver<Command>) {
        let mut commands = Mailbox::new(commands);
        loop {
            tokio::select! {
                biased;
                news = news_of(&mut self.init) => match news {
                    News::Ended(ended) => self.exited(ended).await,
                    News::Oom(kills) => self.tell_oom(kills),
                },
                command = commands.next() => match command {
                    Some(Command::Terminate) if self.may_end() => return,
                    Some(command) => self.carry_out(command, &mut commands).await,
                    None => return,
                },
            }
            if self.phase() == Phase::Deleted {
                return;
            }
        }
    }

    /// One command. Nobody minds when who gave it has gone: it is carried out all the same.
    async fn carry_out(&mut self, command: Command, others: &mut Mailbox) {
        match command {
            Command::Create(new, reply) => drop(reply.send(self.create(new, others).await)),
            Command::Start(reply) => drop(reply.send(self.start(others).await)),
            Command::Kill(signal, target, reply) => drop(reply.send(self.kill(signal, target).await)),
            Command::Pause(reply) => drop(reply.send(self.pause().await)),
            Command::Resume(reply) => drop(reply.send(self.resume().await)),
            Command::Update(limits, reply) => drop(reply.send(self.update(limits).await)),
            Command::ReopenLog(reply) => drop(reply.send(self.reopen_log().await)),
            Command::Delete(force, reply) => drop(reply.send(self.delete(force).await)),
            Command::Terminate => {
                complain!("SIGTERM is ignored: the container is {}", self.phase())
            }
        }
    }

    /// Runs `create` or `start`, in which hooks may take their time. Signals get through
    /// meanwhile, and a forced deletion ends the invocation.
    async fn run_long(
        &mut self,
        invocation: &Invocation,
        stdin: Option<OwnedFd>,
        others: &mut Mailbox,
    ) -> Result<Finished, Fault> {
        let (runtime, abort) = (self.runtime.clone(), Notify::new());
        let mut work = std::pin::pin!(runtime.run_until(invocation, stdin, LONG, abort.notified()));
        loop {
            let command = tokio::select! {
                result = &mut work => return result,
                command = others.interruption() => command,
            };
            match command {
                Command::Kill(signal, target, reply) => drop(reply.send(self.kill(signal, target).await)),
                Command::ReopenLog(reply) => drop(reply.send(self.reopen_log().await)),
                command => {
                    if let Command::Delete(Force::Yes, _) = command {
                        abort.notify_one();
                    }
                    others.put_off(command);
                }
            }
        }
    }

    async fn create(&mut self, new: New, others: &mut Mailbox) -> Result<i32, Refusal> {
        self.require("create the container", &[Phase::Empty, Phase::Stopped])?;
        let before = self.ledger.now();
        if new.life != before.life + 1 {
            return Err(Refusal::Without("another life of the container comes next"));
        }
        if before.phase == Phase::Stopped {
            self.bury().await?;
        }
        self.ledger.publish(|s| s.phase = Phase::Creating);
        (self.begun, self.doubtful) = (true, false);
        match self.run_create(new, others).await {
            Ok((pid, trace)) => {
                let change = |s: &mut Snapshot| {
                    (s.phase, s.pid, s.exit, s.life) = (Phase::Created, pid, None, new.life);
                };
                let handover = self.init.as_ref().map(Init::handover).unwrap_or_default();
                let created = Happening::Created { life: new.life, pid, trace, handover };
                if let Err(e) = self.ledger.record(&created, change) {
                    self.init = None;
                    self.undo().await;
                    self.ledger.publish(|s| *s = Snapshot { last_seq: s.last_seq, ..before });
                    return Err(e.into());
                }
                self.buried = false;
                Ok(pid)
            }
            Err(fault) => {
                if fault.kind != FaultKind::Reported {
                    self.undo().await;
                }
                let failure = (*fault.failure).clone();
                let happening = Happening::CreateFailed { failure, trace: fault.trace.clone() };
                self.ledger.record(&happening, |s| s.phase = before.phase)?;
                Err(Refusal::Runtime(fault))
            }
        }
    }

    /// Deletes what the life before has left, so that the next one can begin.
    async fn bury(&mut self) -> Result<(), Refusal> {
        self.execs.end().await;
        self.buried = true;
        let invocation = Invocation::Delete { id: self.id.clone(), force: true };
        self.runtime.run(&invocation, SHORT).await.map_err(Refusal::Runtime)?;
        self.streams.renew();
        Ok(())
    }

    /// Invokes `create` and takes over what it leaves.
    async fn run_create(&mut self, new: New, others: &mut Mailbox) -> Result<(i32, Vec<Stage>), Fault> {
        let creation = self.runtime.reaper.remember_strangers();
        let pid_file = self.dir.join("init.pid");
        let faulty = |e| Fault::of_shim(&e, Vec::new());
        let console = new.terminal.then(|| Console::listen(&self.dir, "console.sock"));
        let console = console.transpose().map_err(faulty)?;
        let pipe = (new.stdin && !new.terminal).then(Stdin::pipe).transpose();
        let (ours, theirs) = pipe.attempted(|| "make a pipe for stdin".into()).map_err(faulty)?.unzip();
        let invocation = Invocation::Create {
            id: self.id.clone(),
            bundle: self.bundle.clone(),
            pid_file: pid_file.clone(),
            console_socket: console.as_ref().map(Console::path),
        };
        let mut finished = self.run_long(&invocation, theirs, others).await?;
        let trace = std::mem::take(&mut finished.trace);
        let made = async {
            let mut ends = Ends { stdin: ours, terminal: None };
            if let Some(console) = console {
                ends = console.receive(new.stdin, new.size).await?;
            }
            let log = Log::open(&self.dir.join("log"), self.log, Arc::clone(&self.counters))?;
            Init::take_over(&creation, &pid_file, finished, ends, (log, &self.streams.get()))
        };
        match made.await {
            Ok(init) => Ok((self.init.insert(init).pid(), trace)),
            Err(e) => Err(Fault::of_shim(&e, trace)),
        }
    }

    async fn start(&mut self, others: &mut Mailbox) -> Result<(), Refusal> {
        self.require("start the container", &[Phase::Created])?;
        self.doubtful = true;
        let result = self.run_long(&Invocation::Start { id: self.id.clone() }, None, others).await;
        let mut trace = self.init.as_mut().map(|init| init.stages("start")).unwrap_or_default();
        match result {
            Ok(mut finished) => {
                trace.append(&mut finished.trace);
                let started = Happening::Started { trace };
                Ok(self.ledger.record_surely(&started, |s| s.phase = Phase::Running).await?)
            }
            // Nobody says so, and yet it may have been: of a runtime that was killed right afterwards.
            Err(fault) if fault.kind != FaultKind::Reported && self.was_executed().await => {
                let mut stages = fault.trace;
                trace.append(&mut stages);
                let started = Happening::Started { trace };
                Ok(self.ledger.record_surely(&started, |s| s.phase = Phase::Running).await?)
            }
            Err(mut fault) => {
                trace.append(&mut fault.trace);
                let failure = (*fault.failure).clone();
                self.ledger.record(&Happening::StartFailed { failure, trace }, |_| ())?;
                Err(Refusal::Runtime(fault))
            }
        }
    }

    async fn kill(&mut self, signal: i32, target: Target) -> Result<(), Refusal> {
        self.require("signal the container", &[Phase::Created, Phase::Running, Phase::Paused])?;
        // What is frozen dies only when it is thawed, which the runtime sees to.
        let frozen = self.phase() == Phase::Paused && signal == libc::SIGKILL;
        if target == Target::All || frozen {
            let invocation = Invocation::Kill { id: self.id.clone(), signal, all: target == Target::All };
            self.runtime.run(&invocation, SHORT).await.map_err(Refusal::Runtime)?;
            return Ok(());
        }
        match self.init.as_ref().map(|init| init.signal(signal)).transpose()? {
            Some(Signalled::Sent) => Ok(()),
            Some(Signalled::Gone) | None => {
                Err(Refusal::Phase { attempted: "signal the container", phase: Phase::Stopped })
            }
        }
    }

    async fn pause(&mut self) -> Result<(), Refusal> {
        if self.phase() == Phase::Paused {
            return Ok(());
        }
        self.require("pause the container", &[Phase::Running])?;
        let invocation = Invocation::Pause { id: self.id.clone() };
        self.change(&invocation, Status::Paused).await?;
        Ok(self.ledger.record_surely(&Happening::Paused, |s| s.phase = Phase::Paused).await?)
    }

    async fn resume(&mut self) -> Result<(), Refusal> {
        if self.phase() == Phase::Running {
            return Ok(());
        }
        self.require("resume the container", &[Phase::Paused])?;
        let invocation = Invocation::Resume { id: self.id.clone() };
        self.change(&invocation, Status::Running).await?;
        Ok(self.ledger.record_surely(&Happening::Resumed, |s| s.phase = Phase::Running).await?)
    }

    /// Runs an invocation that brings the container to `wanted`. Where that fails, what counts is how the
    /// container is: the runtime may have been killed behind its work, or have nothing left to do.
    async fn change(&self, invocation: &Invocation, wanted: Status) -> Result<(), Refusal> {
        match self.runtime.run(invocation, SHORT).await {
            Ok(_) => Ok(()),
            Err(_) if self.is(wanted).await => Ok(()),
            Err(fault) => Err(Refusal::Runtime(fault)),
        }
    }

    /// What the runtime says of the container, if it says anything.
    pub(crate) async fn state(&self) -> Option<State> {
        let state = self.runtime.run(&Invocation::State { id: self.id.clone() }, SHORT).await.ok()?;
        serde_json::from_slice(&state.words).ok()
    }

    async fn is(&self, status: Status) -> bool {
        self.state().await.is_some_and(|state| state.status == status)
    }

    /// Whether the runtime knows that the user's process was executed.
    async fn was_executed(&self) -> bool {
        self.state().await.as_ref().is_some_and(has_executed)
    }

    /// The start of a life that has ended, where no record says it: of a runtime or a shim that was killed
    /// right after it.
    async fn recall_start(&mut self) {
        if self.phase() == Phase::Created && self.doubtful && self.was_executed().await {
            let started = Happening::Started { trace: Vec::new() };
            if let Err(e) = self.ledger.record_surely(&started, |s| s.phase = Phase::Running).await {
                complain!("{}", e.line());
            }
        }
    }

    async fn update(&mut self, limits: Limits) -> Result<(), Refusal> {
        let alive = [Phase::Created, Phase::Running, Phase::Paused];
        self.require("change the limits of the container", &alive)?;
        let invocation = Invocation::Update { id: self.id.clone(), limits: limits.clone() };
        self.runtime.run(&invocation, SHORT).await.map_err(Refusal::Runtime)?;
        Ok(self.ledger.record(&Happening::Updated { limits }, |_| ())?)
    }

    async fn reopen_log(&self) -> Result<(), Refusal> {
        match &self.init {
            Some(init) => Ok(init.reopen_log().await?),
            None => {
                Err(Refusal::Phase { attempted: "open the log of the container anew", phase: self.phase() })
            }
        }
    }

    async fn delete(&mut self, force: Force) -> Result<Option<Exit>, Refusal> {
        if force == Force::No {
            let phases = [Phase::Empty, Phase::Created, Phase::Stopped];
            self.require("delete the container without force", &phases)?;
        }
        self.end_init().await?;
        if self.begun || self.ledger.last_seq() > 0 {
            let force = force == Force::Yes || self.phase() == Phase::Empty || self.buried;
            let invocation = Invocation::Delete { id: self.id.clone(), force };
            self.runtime.run(&invocation, SHORT).await.map_err(Refusal::Runtime)?;
        }
        self.execs.end().await;
        if let Err(e) = self.ledger.record(&Happening::Deleted, |s| s.phase = Phase::Deleted) {
            complain!("{}", e.line());
        }
        Ok(self.ledger.now().exit)
    }

    /// Kills init, if it lives, and journals its exit.
    async fn end_init(&mut self) -> Result<(), Refusal> {
        let Some(init) = &self.init else { return Ok(()) };
        init.signal(libc::SIGKILL)?;
        if self.phase() == Phase::Paused {
            let thaw = Invocation::Resume { id: self.id.clone() };
            self.runtime.run(&thaw, SHORT).await.map_err(Refusal::Runtime)?;
        }
        let ended = tokio::time::timeout(SHORT, end_of(&mut self.init));
        let ended = ended.await.attempted(|| "wait for the end of the container's init".into())?;
        self.exited(ended).await;
        Ok(())
    }

    fn tell_oom(&mut self, kills: u64) {
        if let Err(e) = self.ledger.record(&Happening::Oom { kills }, |_| ()) {
            complain!("{}", e.line());
        }
    }

    /// Init has ended: its output is logged, then the exit journalled, then published.
    async fn exited(&mut self, ended: Ended) {
        let Some(mut init) = self.init.take() else { return };
        if let Some(kills) = init.oom_news() {
            self.tell_oom(kills);
        }
        let (exit, failure) = init.last_words(ended).await;
        self.recall_start().await;
        faults::moment(Point::ExitRecord);
        let happening = Happening::Exited { exit, failure };
        let change = |s: &mut Snapshot| (s.phase, s.pid, s.exit) = (Phase::Stopped, 0, Some(exit));
        if let Err(e) = self.ledger.record_surely(&happening, change).await {
            complain!("{}; the exit is told, but not recorded", e.line());
        }
        self.ledger.sync();
        self.streams.get().finish(Over { exit, timed_out: false });
    }

    /// Removes what a killed `create` has left.
    async fn undo(&mut self) {
        let invocation = Invocation::Delete { id: self.id.clone(), force: true };
        if let Err(fault) = self.runtime.run(&invocation, SHORT).await {
            complain!("undo the creation: {}", fault.failure);
        }
    }

    /// Whether the shim may end on request: nothing lives that only it can wait for.
    fn may_end(&self) -> bool {
        matches!(self.phase(), Phase::Empty | Phase::Stopped | Phase::Deleted)
    }

    fn require(&self, attempted: &'static str, phases: &[Phase]) -> Result<(), Refusal> {
        let phase = self.phase();
        if phases.contains(&phase) { Ok(()) } else { Err(Refusal::Phase { attempted, phase }) }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.ledger.phase()
    }
}
