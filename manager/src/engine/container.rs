//! What an actor owns of its container: the record, the shim, and how much of
//! the shim's journal it has taken in. An event goes into the global journal
//! first and into the snapshot then, so that whoever sees the new state finds
//! the event.

use super::error::Error;
use super::halt::Halt;
use super::ids::Lease;
use super::record::{Paths, Record};
use super::{Context, blocking};
use crate::metrics::Dropped;
use crate::model::{Ending, Event, EventKind, Exit, Failure, Given, Health, Phase, Snapshot};
use crate::shims::client::Client;
use crate::shims::hold::Held;
use crate::shims::{Fact, Init, ShimEvent, journal};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::watch;

/// One container, as its actor holds it.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) context: Arc<Context>,
    pub(super) record: Record,
    pub(super) paths: Paths,
    pub(super) shim: Client,
    /// Given back when this is dropped.
    pub(super) leases: Vec<Lease>,
    pub(super) snapshot: watch::Sender<Snapshot>,
    /// Last record of the shim's journal that the snapshot shows.
    pub(super) learned: u64,
    /// How far the file was read to that.
    pub(super) place: journal::Place,
    /// Last record of the shim's journal that is in the global journal.
    pub(super) told: u64,
    /// Whether clients were told that it is degraded, and not that it recovered.
    pub(super) degraded_told: bool,
    /// Whether they were told that it is deleted: what is left of it may still have to be removed.
    pub(super) deleted_told: bool,
    /// What the journal says of its init.
    pub(super) init: Init,
    /// Execs of the current life of whose end the journal does not tell.
    pub(super) open_execs: BTreeSet<String>,
    /// What is kept for another shim while init lives.
    pub(super) held: Option<Held>,
    /// What is counted of the output that this shim has dropped.
    pub(super) dropped: (i32, Dropped),
    /// Whether a client has stopped it.
    pub(super) halt: Halt,
    /// When its next life is to begin, or to be started.
    pub(super) due: Option<Instant>,
    /// Whether that is to be given up instead, once it can be written down.
    pub(super) gives_up: bool,
    /// Whether an exit that is taken in is to be acted upon: not while the past is learnt.
    pub(super) acts: bool,
    /// The exit of which a manager before this one was the only witness, and of which life.
    pub(super) witnessed: Option<(u32, Exit)>,
}

/// What the record of a container says that it was asked for as.
pub(super) fn given(record: &Record) -> Arc<Given> {
    Arc::new(Given {
        id: record.id.clone(),
        bundle: record.bundle.clone(),
        rootfs: record.rootfs.clone(),
        command: record.command.clone(),
        hostname: record.hostname.clone(),
        labels: record.labels.clone(),
        created_at: record.created_at,
        restart: record.restart.clone(),
        check: record.check.clone(),
        ids: record.ids,
        stdio: record.stdio,
        placement: record.placement.clone(),
    })
}

/// The snapshot of a container of which nothing has happened yet.
pub(super) fn first_snapshot(record: &Record) -> Snapshot {
    Snapshot {
        given: given(record),
        phase: Phase::Creating,
        degraded: None,
        pid: None,
        shim_pid: None,
        life: 0,
        started_at: None,
        exit: None,
        last_exit: None,
        next: None,
        restarts: 0,
        health: None,
        failure: None,
        heard: Instant::now(),
    }
}

impl Container {
    pub(super) fn id(&self) -> &str {
        &self.record.id
    }

    pub(super) fn phase(&self) -> Phase {
        self.snapshot.borrow().phase
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(change);
    }

    /// Takes in one record of the shim's journal, once, whichever way it came.
    ///
    /// # Errors
    /// When it cannot be put into the global journal; it comes again then.
    pub(super) async fn take_in(&mut self, event: ShimEvent) -> Result<(), Error> {
        if event.seq <= self.learned {
            return Ok(());
        }
        if event.seq > self.told {
            if let Some(event) = self.public(&event) {
                self.publish(event).await?;
            }
            event.stages.iter().for_each(|stage| self.context.metrics.stage(stage));
            self.told = event.seq;
        }
        self.shim.is_told(self.told);
        self.learned = event.seq;
        match &event.fact {
            Fact::Created(init) => {
                (self.init, self.held) = (init.clone(), None);
                self.open_execs.clear();
            }
            Fact::ExecStarted(exec, _) => drop(self.open_execs.insert(exec.clone())),
            Fact::ExecExited(exec, _) => drop(self.open_execs.remove(exec)),
            Fact::Adopted(ends, _) => self.init.ends = *ends,
            Fact::Exited(_) => self.held = None,
            _ => {}
        }
        // Before it is seen that it has ended: whoever sees that sees what comes as well.
        let next = match &event.fact {
            Fact::Exited(exit) if self.acts && self.snapshot.borrow().exit.is_none() => {
                self.decide(Some(exit)).await
            }
            _ => self.snapshot.borrow().next,
        };
        let course = &self.record.course;
        self.snapshot.send_modify(|snapshot| {
            snapshot.next = next;
            learn(snapshot, &event);
            snapshot.restarts = course.done(snapshot.life);
        });
        Ok(())
    }

    /// Takes in what is in the journal's file. Right after an answer of the
    /// shim this makes its effect visible before the watch brings it.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Container::take_in`].
    pub(super) async fn catch_up(&mut self) -> Result<(), Error> {
        // What cannot be taken in is read again.
        let (path, place, after) = (self.paths.journal(), std::mem::take(&mut self.place), self.learned);
        let attempted = format!("read {}", path.display());
        let read = move || journal::events_from(&path, place, after).map_err(Error::io(attempted));
        let (place, events) = blocking(read).await?;
        for event in events {
            self.take_in(event).await?;
        }
        self.place = place;
        Ok(())
    }

    /// The same after a change that has come about: what fails for a moment is no reason to say that it has not.
    ///
    /// # Errors
    /// When it fails once more.
    pub(super) async fn catch_up_with_change(&mut self) -> Result<(), Error> {
        let Err(error) = self.catch_up().await else { return Ok(()) };
        tracing::warn!(container = self.id(), error = error.chain(), "tried once more");
        self.catch_up().await
    }

    /// A shim tells what it has dropped of the output since it began.
    pub(super) fn count_dropped(&mut self, shim: i32, dropped: Dropped) {
        let (known, before) = std::mem::replace(&mut self.dropped, (shim, dropped));
        let before = if known == shim { before } else { Dropped::default() };
        self.context.metrics.log_dropped(dropped.since(before));
    }

    /// Keeps what another shim will need, should this one be killed: once init lives and
    /// the shim is known. What is kept already stays.
    pub(super) fn hold(&mut self) {
        let (shim, over) = {
            let snapshot = self.snapshot.borrow();
            (snapshot.shim_pid, snapshot.exit.is_some())
        };
        if !over && self.init.pid > 0 {
            let held = self.held.take().or_else(|| Held::init(&self.init));
            self.held = held.map(|held| held.with_output(&self.init, shim));
            if let Some(held) = &mut self.held {
                held.list(&self.context.kept, &self.record.id);
            }
        }
    }

    /// Tells an event of which the manager itself is the witness.
    ///
    /// # Errors
    /// When it cannot be put into the global journal.
    pub(super) async fn tell(
        &self,
        kind: EventKind,
        exit: Option<Exit>,
        failure: Option<Failure>,
    ) -> Result<(), Error> {
        let event = Event { exit, failure, ..self.event(kind, SystemTime::now(), 0) };
        self.publish(event).await
    }

    async fn publish(&self, event: Event) -> Result<(), Error> {
        let kind = event.kind;
        self.context.events.append(event).await?;
        self.context.metrics.event(kind);
        Ok(())
    }

    /// Its shim does not answer: told once, until it recovers.
    pub(super) async fn degrade(&mut self, because: String) {
        if self.snapshot.borrow().degraded.as_ref() == Some(&because) {
            return;
        }
        tracing::warn!(container = self.id(), because, "degraded");
        if !self.degraded_told {
            let failure = Failure { stage: "shim".into(), message: because.clone(), ..Failure::default() };
            self.degraded_told = self.told(EventKind::Degraded, Some(failure)).await;
        }
        self.set(|s| s.degraded = Some(because));
    }

    /// Its shim answers, or it needs none any more.
    pub(super) async fn recover(&mut self) {
        if self.degraded_told {
            self.degraded_told = !self.told(EventKind::Recovered, None).await;
        }
        if self.snapshot.borrow().degraded.is_some() {
            tracing::info!(container = self.id(), "no more degraded");
            self.set(|s| s.degraded = None);
        }
    }

    /// Tells an event that can be done without: whether that came about.
    async fn told(&self, kind: EventKind, failure: Option<Failure>) -> bool {
        let told = self.tell(kind, None, failure).await;
        if let Err(error) = &told {
            tracing::warn!(container = self.id(), error = error.chain(), "cannot tell an event");
        }
        told.is_ok()
    }

    /// The process has ended, and the manager is the only witness.
    ///
    /// # Errors
    /// As [`Container::tell`].
    pub(super) async fn witness_exit(&mut self, how: Ending) -> Result<(), Error> {
        let exit = Exit { how, at: SystemTime::now(), oom_killed: false };
        self.tell(EventKind::Exited, Some(exit.clone()), None).await?;
        self.held = None;
        let next = self.decide(Some(&exit)).await;
        self.set(|snapshot| {
            snapshot.next = next;
            ended(snapshot, exit);
        });
        Ok(())
    }

    /// What clients are told of a shim's record. Failed creation and deletion
    /// are told when they are complete, which the shim cannot know.
    fn public(&self, event: &ShimEvent) -> Option<Event> {
        let of = |kind| self.event(kind, event.at, event.seq);
        match &event.fact {
            Fact::Created(init) => {
                Some(Event { pid: Some(init.pid), life: init.life, ..of(EventKind::Created) })
            }
            // Of the first life it is told when it is undone; of a later one nothing else comes.
            Fact::CreateFailed(failure) if self.snapshot.borrow().life > 0 => {
                let life = self.snapshot.borrow().life + 1;
                Some(Event { failure: Some(failure.clone()), life, ..of(EventKind::StartFailed) })
            }
            Fact::Adopted(_, lost) => Some(Event { output_lost: lost.clone(), ..of(EventKind::Adopted) }),
            Fact::Started => Some(of(EventKind::Started)),
            Fact::StartFailed(failure) => {
                Some(Event { failure: Some(failure.clone()), ..of(EventKind::StartFailed) })
            }
            Fact::Paused => Some(of(EventKind::Paused)),
            Fact::Resumed => Some(of(EventKind::Resumed)),
            Fact::Updated => Some(of(EventKind::Updated)),
            Fact::Oom(kills) => Some(Event { oom_kills: *kills, ..of(EventKind::Oom) }),
            // The manager may have been the witness of it before its shim.
            Fact::Exited(_) if self.is_witnessed() => None,
            Fact::Exited(exit) => Some(Event { exit: Some(exit.clone()), ..of(EventKind::Exited) }),
            Fact::ExecStarted(exec, pid) => {
                Some(Event { pid: Some(*pid), exec: Some(exec.clone()), ..of(EventKind::ExecStarted) })
            }
            Fact::ExecExited(exec, exit) => {
                let (exec, exit) = (Some(exec.clone()), Some(exit.clone()));
                Some(Event { pid: None, exec, exit, ..of(EventKind::ExecExited) })
            }
            Fact::CreateFailed(_) | Fact::Deleted | Fact::Unknown => None,
        }
    }

    /// Whether clients were told the end of the current life.
    fn is_witnessed(&self) -> bool {
        let snapshot = self.snapshot.borrow();
        let before = self.witnessed.as_ref().is_some_and(|(life, _)| *life == snapshot.life);
        before || snapshot.exit.is_some()
    }

    /// An event of its current life.
    pub(super) fn event(&self, kind: EventKind, at: SystemTime, container_seq: u64) -> Event {
        let (pid, life) = {
            let snapshot = self.snapshot.borrow();
            (snapshot.pid, snapshot.life)
        };
        Event {
            seq: 0,
            container: self.id().into(),
            kind,
            at,
            pid,
            exit: None,
            failure: None,
            container_seq,
            output_lost: None,
            oom_kills: 0,
            exec: None,
            life,
            restarting: None,
            probe: None,
        }
    }
}

/// What a record changes.
fn learn(snapshot: &mut Snapshot, event: &ShimEvent) {
    snapshot.heard = Instant::now();
    let before = snapshot.phase;
    match &event.fact {
        Fact::Created(init) => {
            snapshot.pid = Some(init.pid);
            if init.life > snapshot.life {
                snapshot.life = init.life;
                snapshot.last_exit = snapshot.exit.take().or(snapshot.last_exit.take());
                (snapshot.started_at, snapshot.failure, snapshot.next) = (None, None, None);
            }
            if matches!(before, Phase::Creating | Phase::Stopped) && snapshot.exit.is_none() {
                snapshot.phase = Phase::Created;
            }
        }
        Fact::Started => {
            snapshot.started_at = Some(event.at);
            if matches!(before, Phase::Creating | Phase::Created) {
                snapshot.phase = Phase::Running;
                snapshot.health = snapshot.check.as_ref().map(|_| Health::STARTING);
            }
        }
        Fact::Paused if before == Phase::Running => snapshot.phase = Phase::Paused,
        Fact::Resumed if before == Phase::Paused => snapshot.phase = Phase::Running,
        Fact::CreateFailed(failure) | Fact::StartFailed(failure) => snapshot.failure = Some(failure.clone()),
        Fact::Exited(exit) => ended(snapshot, exit.clone()),
        Fact::Paused | Fact::Resumed | Fact::Updated | Fact::Oom(_) => {}
        Fact::Adopted(..) | Fact::ExecStarted(..) | Fact::ExecExited(..) | Fact::Deleted | Fact::Unknown => {}
    }
}

/// The first word about an end is the last.
pub(super) fn ended(snapshot: &mut Snapshot, exit: Exit) {
    if snapshot.exit.is_none() {
        snapshot.exit = Some(exit);
    }
    (snapshot.pid, snapshot.health) = (None, None);
    if matches!(snapshot.phase, Phase::Creating | Phase::Created | Phase::Running | Phase::Paused) {
        snapshot.phase = Phase::Stopped;
    }
}
