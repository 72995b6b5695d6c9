//! From one life of a container to the next: decided when it ends, on disk before it
//! is begun, and begun by its actor when it is due. The shim goes on, or another one
//! adopts the stopped container; it deletes what the life before has left and makes
//! the next one, whose number the request names. So whatever is killed meanwhile, the
//! journal says whether that life has begun, and it is never begun twice.
//!
//! | after a crash: the record says | the journal says | then |
//! |---|---|---|
//! | nothing of the next life | this one has ended | it is decided now |
//! | life N + 1 | N has ended | N + 1 is begun when it is due |
//! | life N + 1 | N + 1 is created | it is started |
//! | life N + 1 | N + 1 was started, or more | nothing: that is done |
//! | life N + 1, by a client's restart | N runs | N is ended, and N + 1 begun |

use super::actor::{Actor, Command};
use super::blocking;
use super::container::Container;
use super::error::Error;
use super::mailbox::Mailbox;
use super::record::Intent;
use super::restarts::{Cause, Course, End, Next};
use crate::model::{Event, EventKind, Exit, Phase, RestartWhen, Restarting, Snapshot};
use crate::shims::client::Target;
use sextant_runtime::contract::args::Limits;
use std::time::{Duration, Instant, SystemTime};

/// Why what a client has asked for is given up.
const HALTED: &str = "it was stopped";
/// The least time before a start is tried again that its shim did not answer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Container {
    /// Decides what comes after the current life; without an exit, after a next one that could not
    /// begin. Gives the time of the next life, which is on disk and told then.
    pub(super) async fn decide(&mut self, exit: Option<&Exit>) -> Option<SystemTime> {
        let (life, started_at, phase) = self.now();
        if phase == Phase::Deleting || self.record.intent != Intent::Create {
            return None;
        }
        let (now, halted, coming) = (SystemTime::now(), self.halt.is_set(), self.coming().cloned());
        if let (Some(Next { cause: Cause::Start | Cause::Restart(..), at, .. }), Some(_), false) =
            (&coming, exit, halted)
        {
            self.due = Some(Instant::now());
            return Some(*at);
        }
        let end = End { exit, started_at: exit.and(started_at), halted };
        let course = &self.record.course;
        let Some((row, delay)) = course.after(&self.record.restart, &end) else {
            self.give_up().await;
            return self.record.course.next.as_ref().map(|next| next.at);
        };
        let count = course.count.saturating_add(u32::from(coming.is_none()));
        // After an absence of the manager the time may be over.
        let at = exit.map_or(now, |exit| exit.at).checked_add(delay).unwrap_or(now).max(now);
        let next = Next { life: life + 1, at, cause: Cause::Policy };
        self.record.course = Course { row, count, next: Some(next) };
        self.gives_up = false;
        self.write_course().await;
        self.due = Some(Instant::now() + at.duration_since(now).unwrap_or_default());
        self.tell_restart(Restarting { attempt: row, delay, at }).await;
        Some(at)
    }

    /// Begins where a manager before this one was: `told` are the container's events so far.
    pub(super) async fn resume_course(&mut self, told: &[Event]) {
        let (life, _, phase) = self.now();
        let policy = self.record.restart.clone();
        if policy.when == RestartWhen::Always
            && let Err(error) = self.halt.clear().await
        {
            tracing::warn!(container = self.id(), error = error.chain(), "it stays stopped");
        }
        let coming = self.coming().cloned();
        match (phase, coming) {
            (Phase::Stopped, Some(next)) if !self.halt.is_set() => {
                let wait = next.at.duration_since(SystemTime::now()).unwrap_or_default();
                // A clock that was set back does not hold it up.
                self.due = Some(Instant::now() + wait.min(policy.max_delay));
                let is_told = |e: &Event| e.kind == EventKind::Restarting && e.life == next.life;
                if next.cause == Cause::Policy && !told.iter().any(is_told) {
                    let (attempt, delay) = (self.record.course.row, wait);
                    self.tell_restart(Restarting { attempt, delay, at: next.at }).await;
                }
                self.set(|s| s.next = Some(next.at));
            }
            (Phase::Stopped, _) => {
                let exit = self.snapshot.borrow().exit.clone();
                let next = self.decide(exit.as_ref()).await;
                self.set(|s| s.next = next);
            }
            (Phase::Running | Phase::Paused, Some(next)) => self.set(|s| s.next = Some(next.at)),
            (Phase::Created, Some(next)) if next.life == life => self.due = Some(Instant::now()),
            _ => {}
        }
        let restarts = self.record.course.done(life);
        self.set(|s| s.restarts = restarts);
    }

    /// What a client wants ends a row of restarts, and is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing has changed then.
    pub(super) async fn wish(&mut self, cause: Cause) -> Result<(), Error> {
        let (life, ..) = self.now();
        let at = SystemTime::now();
        let course = Course { next: Some(Next { life: life + 1, at, cause }), ..Course::default() };
        let before = std::mem::replace(&mut self.record.course, course);
        if let Err(error) = self.write_record().await {
            self.record.course = before;
            return Err(error);
        }
        self.halt.clear().await?;
        (self.due, self.gives_up) = (None, false);
        // Also while the life before is ended: a stop has to know that there is something to give up.
        self.set(|s| (s.next, s.restarts) = (Some(at), 0));
        Ok(())
    }

    /// No life is to come. Nobody hears of that before it is on disk: the next manager would begin the one that
    /// is there.
    pub(super) async fn give_up(&mut self) {
        (self.due, self.gives_up) = (None, false);
        if let Some(next) = self.record.course.next.take()
            && let Err(error) = self.write_record().await
        {
            tracing::warn!(
                container = self.id(),
                error = error.chain(),
                "that it stays stopped is not on disk"
            );
            self.record.course.next = Some(next);
            (self.due, self.gives_up) = (Some(Instant::now() + PATIENCE), true);
            return;
        }
        self.set(|s| s.next = None);
    }

    /// The signal and the time with which a client's restart is still to end this life.
    pub(super) fn restart_to_finish(&self) -> Option<(i32, Duration)> {
        let (life, _, phase) = self.now();
        let next = self.record.course.next.as_ref().filter(|next| next.life == life + 1)?;
        match next.cause {
            Cause::Restart(signal, grace) if matches!(phase, Phase::Running | Phase::Paused) => {
                Some((signal, grace))
            }
            _ => None,
        }
    }

    /// The life that is to begin, or that has begun and is to be started.
    fn coming(&self) -> Option<&Next> {
        let (life, _, phase) = self.now();
        self.record.course.next.as_ref().filter(|next| match phase {
            Phase::Created => next.life == life,
            _ => next.life == life + 1,
        })
    }

    fn now(&self) -> (u32, Option<SystemTime>, Phase) {
        let snapshot = self.snapshot.borrow();
        (snapshot.life, snapshot.started_at, snapshot.phase)
    }

    async fn write_record(&self) -> Result<(), Error> {
        let (record, dir) = (self.record.clone(), self.paths.dir.clone());
        blocking(move || record.rewrite(&dir)).await
    }

    /// Keeps a change of limits for further lives.
    pub(super) async fn keep_limits(&mut self, change: &Limits) {
        self.record.limits = std::mem::take(&mut self.record.limits).then(change);
        if let Err(error) = self.write_record().await {
            tracing::warn!(container = self.id(), error = error.chain(), "its limits are not on disk");
        }
    }

    /// A full disk keeps nobody from being restarted; it is decided again after a crash.
    async fn write_course(&self) {
        if let Err(error) = self.write_record().await {
            tracing::warn!(container = self.id(), error = error.chain(), "a restart is not on disk");
        }
    }

    async fn tell_restart(&self, restarting: Restarting) {
        let life = self.now().0 + 1;
        tracing::info!(container = self.id(), life, attempt = restarting.attempt, "to be restarted");
        let event = self.event(EventKind::Restarting, SystemTime::now(), 0);
        let event = Event { life, restarting: Some(restarting), ..event };
        if let Err(error) = self.context.events.append(event).await {
            tracing::warn!(container = self.id(), error = error.chain(), "cannot tell an event");
        }
    }
}

impl Actor {
    /// Begins the life that is due. What fails is tried again, as the policy says.
    pub(super) async fn revive(&mut self, mailbox: &mut Mailbox) {
        self.container.due = None;
        if self.container.gives_up {
            return self.container.give_up().await;
        }
        let Err(error) = self.live(mailbox).await else { return };
        tracing::warn!(container = self.container.id(), error = error.chain(), "not restarted");
        // It may have begun all the same, and the journal of events could not be written.
        if let Err(error) = self.container.catch_up().await {
            tracing::warn!(container = self.container.id(), error = error.chain(), "to be looked at again");
            self.container.due = Some(Instant::now() + PATIENCE);
            return;
        }
        let (life, _, phase) = self.container.now();
        let next = self.container.coming().map(|next| next.life);
        match phase {
            // With another time, its next life has begun and ended meanwhile.
            Phase::Stopped if next == Some(life + 1) && self.container.due.is_none() => {
                let next = self.container.decide(None).await;
                self.container.set(|s| s.next = next);
            }
            Phase::Created => {
                let pause = self.container.record.restart.min_delay.max(PATIENCE);
                self.container.due = Some(Instant::now() + pause);
            }
            _ => {}
        }
    }

    /// Begins the next life of a stopped container for a client.
    pub(super) async fn start_anew(&mut self, mailbox: &mut Mailbox) -> Result<Snapshot, Error> {
        self.container.wish(Cause::Start).await?;
        self.live_for_client(mailbox).await
    }

    /// Ends the current life, if it is not over, and begins the next one.
    pub(super) async fn restart(
        &mut self,
        signal: i32,
        grace: Duration,
        mailbox: &mut Mailbox,
    ) -> Result<Snapshot, Error> {
        let phase = self.container.phase();
        match phase {
            Phase::Created => return self.start(mailbox).await,
            Phase::Running | Phase::Paused | Phase::Stopped => {}
            phase => {
                let hint = "only a container that was created can be restarted";
                let id = self.container.id().into();
                return Err(Error::WrongPhase { id, attempted: "restart it", phase, hint });
            }
        }
        self.container.wish(Cause::Restart(signal, grace)).await?;
        if phase != Phase::Stopped
            && let Err(error) = self.end(signal, grace, mailbox).await
        {
            self.container.give_up().await;
            return Err(error);
        }
        self.live_for_client(mailbox).await
    }

    async fn live_for_client(&mut self, mailbox: &mut Mailbox) -> Result<Snapshot, Error> {
        self.container.due = None;
        let lived = match self.go_on() {
            Ok(()) => self.live(mailbox).await,
            Err(halted) => Err(halted),
        };
        if let Err(error) = lived {
            let (life, ..) = self.container.now();
            if self
                .container
                .coming()
                .is_some_and(|next| next.life == life + 1 && next.cause != Cause::Policy)
            {
                self.container.give_up().await;
            }
            return Err(error);
        }
        Ok(self.container.snapshot.borrow().clone())
    }

    /// Signal, grace, SIGKILL, exit.
    async fn end(&mut self, signal: i32, grace: Duration, mailbox: &mut Mailbox) -> Result<(), Error> {
        let id = self.container.id().to_owned();
        let context = std::sync::Arc::clone(&self.container.context);
        let handle = context.directory.get(&id).ok_or_else(|| Error::NotFound { id: id.clone() })?;
        tokio::select! {
            ended = self.attend(async { handle.end(&context.runtime, signal, grace).await }) => ended.map(drop),
            because = mailbox.interrupted(Command::ends_start) => {
                Err(Error::Cancelled { id, attempted: "restart it", because })
            }
        }
    }

    /// Makes the life that is to come, unless that is done, and starts it.
    async fn live(&mut self, mailbox: &mut Mailbox) -> Result<(), Error> {
        self.container.catch_up().await?;
        let Some(next) = self.container.coming().cloned() else { return Ok(()) };
        if self.container.phase() == Phase::Stopped {
            self.go_on()?;
            self.supply().await?;
            self.create(next.life, mailbox).await?;
        }
        if let Err(error) = self.go_on() {
            self.kill();
            return Err(error);
        }
        if let Err(error) = self.limit().await {
            self.kill();
            return Err(error);
        }
        let started = self.execute(mailbox).await;
        if let Err(Error::Timeout { .. }) = &started {
            self.kill();
        }
        started
    }

    /// Gives a life that was made from the bundle the limits that clients have set since.
    async fn limit(&mut self) -> Result<(), Error> {
        let limits = self.container.record.limits.clone();
        if limits == Limits::default() {
            return Ok(());
        }
        let shim = self.container.shim.clone();
        let limited = self.attend(async move { shim.update(&limits).await }).await;
        self.container.catch_up().await?;
        limited
    }

    /// Refuses to go on once a client has stopped the container.
    fn go_on(&self) -> Result<(), Error> {
        match self.container.halt.is_set() {
            true => {
                let id = self.container.id().into();
                Err(Error::Cancelled { id, attempted: "begin its next life", because: HALTED })
            }
            false => Ok(()),
        }
    }

    /// Asks the shim for the life of this number. That it has begun is what the journal says.
    async fn create(&mut self, life: u32, mailbox: &mut Mailbox) -> Result<(), Error> {
        let (shim, stdio) = (self.container.shim.clone(), self.container.record.stdio);
        let id = self.container.id().to_owned();
        let created = tokio::select! {
            created = self.attend(async move { shim.create(life, stdio).await }) => created,
            because = mailbox.interrupted(Command::ends_start) => {
                Err(Error::Cancelled { id: id.clone(), attempted: "begin its next life", because })
            }
        };
        self.container.catch_up_with_change().await?;
        if let Err(error @ Error::Timeout { .. }) = &created {
            self.container.degrade(error.chain()).await;
        }
        let (now, _, phase) = self.container.now();
        match created {
            _ if now == life && phase == Phase::Created => {
                self.container.hold();
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Err(Error::Unreachable {
                attempted: format!("begin life {life} of container {id:?}"),
                because: "its shim says that it did, and its journal does not".into(),
            }),
        }
    }

    /// Kills init, and waits for nobody.
    pub(super) fn kill(&self) {
        let (id, context) = (self.container.id().to_owned(), std::sync::Arc::clone(&self.container.context));
        let Some(handle) = context.directory.get(&id) else { return };
        tokio::spawn(async move {
            let killed = handle.kill(&context.runtime, nix::libc::SIGKILL, Target::Init).await;
            if let Err(error) = killed {
                tracing::info!(container = id, error = error.chain(), "it could not be killed");
            }
        });
    }
}
