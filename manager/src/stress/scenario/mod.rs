//! What the load consists of. A scenario prepares what has to stand, says what one unit of load is, and
//! what comes when all units have ended.

mod crowd;
mod inside;
mod lives;
mod mix;

pub(crate) use mix::parse as parse_mix;

use super::book::Book;
use super::drive::{Stop, Ticket};
use super::target::{Doing, Ended, Fault, Target, Verb, Wish};
use std::fmt::Debug;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// One life in so many is asked for the stages of its start-up.
const TRACED: u64 = 10;

/// Times that it is tried to have something stand where failures happen on purpose.
const TRIES: u32 = 20;

/// How scenarios are varied.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How long `density` holds its containers.
    pub(crate) hold: Duration,
    /// Containers that stand there for `exec`, `attach` and `list`.
    pub(crate) standing: usize,
    /// Containers in each sandbox.
    pub(crate) in_sandbox: usize,
    /// In place of what the scenario would run.
    pub(crate) command: Vec<String>,
    /// Containers that `density` deletes at once.
    pub(crate) at_once: usize,
    /// Failures happen on purpose: also what has to stand is tried again.
    pub(crate) faulty: bool,
    pub(crate) seed: u64,
}

/// What a unit of load stands on.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) target: Arc<dyn Target>,
    pub(crate) book: Arc<Book>,
    pub(crate) options: Options,
    pub(crate) stop: Stop,
    run: String,
    next: AtomicU64,
    /// Containers that exist now.
    pub(crate) alive: AtomicI64,
    /// Units that have succeeded.
    pub(crate) units: AtomicU64,
}

impl Ground {
    pub(crate) fn new(
        target: Arc<dyn Target>,
        book: Arc<Book>,
        options: Options,
        stop: Stop,
        run: String,
    ) -> Self {
        let (next, alive, units) = (AtomicU64::new(0), AtomicI64::new(0), AtomicU64::new(0));
        Self { target, book, options, stop, run, next, alive, units }
    }

    /// A name that no other container has.
    pub(crate) fn name(&self) -> String {
        format!("stress-{}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// A wish for a container that runs `command`, or what was given in its place.
    pub(crate) fn wish(&self, command: &[&str]) -> Wish {
        let command = match self.options.command.as_slice() {
            [] => command.iter().map(ToString::to_string).collect(),
            given => given.to_vec(),
        };
        Wish { id: self.name(), command, ..Wish::default() }
    }

    /// Does something, and writes down how long it took since `intended`.
    pub(crate) async fn call<T>(
        &self,
        name: &'static str,
        intended: Instant,
        doing: Doing<'_, T>,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let result = doing.await;
        self.book.done(name, intended, begun, result.as_ref().err());
        result
    }

    /// `create` and `start`; what cannot be started is removed.
    pub(crate) async fn run(&self, wish: &Wish, intended: Instant) -> Result<(), Fault> {
        self.call("create", intended, self.target.create(wish)).await?;
        self.alive.fetch_add(1, Ordering::Relaxed);
        let started = self.call("start", Instant::now(), self.target.start(&wish.id)).await;
        if started.is_err() {
            self.drop_quietly(&wish.id).await;
        }
        started
    }

    /// `delete`, of what has ended or, with `force`, may still run.
    pub(crate) async fn remove(&self, id: &str, force: bool) -> Result<(), Fault> {
        self.alive.fetch_sub(1, Ordering::Relaxed);
        let removed = self.call("delete", Instant::now(), self.target.delete(id, force)).await;
        if removed.is_err() {
            // What is left then, the clean-up at the end finds.
            drop(self.target.delete(id, true).await);
        }
        removed
    }

    async fn drop_quietly(&self, id: &str) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
        drop(self.target.delete(id, true).await);
    }

    /// The stages of its start-up, of some of all; how long it took to ask.
    pub(crate) async fn trace(&self, id: &str, number: u64) -> Duration {
        let begun = Instant::now();
        if number.is_multiple_of(TRACED)
            && let Ok(stages) = self.target.stages(id).await
        {
            for (stage, took) in stages {
                self.book.stage(&stage, took);
            }
        }
        begun.elapsed()
    }

    /// The whole unit has ended well.
    pub(crate) fn unit(&self, name: &'static str, intended: Instant, begun: Instant) {
        self.units.fetch_add(1, Ordering::Relaxed);
        self.book.done(name, intended, begun, None);
    }
}

/// A fault where a process has not ended with code 0.
pub(crate) fn expect_success(what: &str, ended: &Ended) -> Result<(), Fault> {
    match ended {
        Ended::Code(0) => Ok(()),
        other => Err(Fault::new("UNEXPECTED_EXIT", format!("{what} ended with {other:?}"))),
    }
}

/// What the load consists of.
pub(crate) trait Scenario: Debug + Send + Sync {
    fn name(&self) -> String;

    /// What the target has to be able to do.
    fn verbs(&self) -> Vec<Verb>;

    /// Programs that the root directory has to have.
    fn programs(&self) -> Vec<&'static str>;

    /// Makes what has to stand before the load begins.
    fn prepare<'a>(&'a self, _ground: &'a Ground) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// One unit of load. What fails is written down; the error only ends this unit.
    fn unit<'a>(&'a self, ground: &'a Ground, ticket: Ticket) -> Doing<'a, ()>;

    /// What comes when all units have ended.
    fn finish<'a>(&'a self, _ground: &'a Ground) -> Doing<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Units that there are to be where nobody has said how many or how long.
    fn default_count(&self) -> Option<u64> {
        None
    }
}

/// The scenarios by name, with what each does.
pub(crate) const NAMES: [&str; 10] =
    ["churn", "density", "exec", "logs", "attach", "list", "bombs", "forks", "kills", "sandbox"];

/// The scenario of this name.
pub(crate) fn by_name(name: &str) -> Option<Arc<dyn Scenario>> {
    Some(match name {
        "churn" => Arc::new(lives::Churn),
        "forks" => Arc::new(lives::Forks),
        "bombs" => Arc::new(lives::Bombs),
        "kills" => Arc::new(lives::Kills),
        "logs" => Arc::new(lives::Logs),
        "sandbox" => Arc::new(crowd::Sandbox),
        "density" => Arc::new(crowd::Density::default()),
        "list" => Arc::new(crowd::List::default()),
        "exec" => Arc::new(inside::Exec::default()),
        "attach" => Arc::new(inside::Attach::default()),
        _ => return None,
    })
}

/// Why this scenario cannot be had of this target with this root directory: one sentence each.
pub(crate) fn obstacles(
    scenario: &dyn Scenario,
    target: &dyn Target,
    rootfs: &Path,
    given: bool,
) -> Vec<String> {
    let name = scenario.name();
    let lacks = scenario.verbs().into_iter().filter_map(|verb| {
        let because = target.lacks(verb)?;
        Some(format!("{name}: this target cannot {}: {because}", verb.name()))
    });
    let programs = if given { Vec::new() } else { scenario.programs() };
    let missing = programs.into_iter().filter(|program| !is_there(rootfs, program));
    let missing = missing.map(|program| format!("{name}: there is no {program} in {}", rootfs.display()));
    lacks.chain(missing).collect()
}

/// Whether a file is below the root; links inside are not followed, so that none leads out of it.
fn is_there(rootfs: &Path, program: &str) -> bool {
    let below = program.trim_start_matches('/');
    rootfs.as_os_str().is_empty() || rootfs.join(below).symlink_metadata().is_ok()
}

/// A unit that a task can do by itself.
pub(crate) fn task(
    scenario: Arc<dyn Scenario>,
    ground: Arc<Ground>,
    ticket: Ticket,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        ground.book.late(ticket.intended.elapsed());
        // What has failed is in the book.
        drop(scenario.unit(&ground, ticket).await);
    })
}

/// Creates and starts what is no part of the load.
async fn stand(ground: &Ground, wish: &Wish) -> Result<(), Fault> {
    ground.target.create(wish).await?;
    ground.target.start(&wish.id).await?;
    ground.alive.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Containers that stand there while the load goes on.
#[derive(Debug, Default)]
pub(crate) struct Standing(std::sync::RwLock<Vec<String>>);

impl Standing {
    /// Makes them; their operations are written down as those of any container.
    pub(crate) async fn make(&self, ground: &Ground, wish: impl Fn() -> Wish) -> Result<(), Fault> {
        for _ in 0..ground.options.standing.max(1) {
            if *ground.stop.borrow() {
                return Ok(());
            }
            let mut tries = if ground.options.faulty { TRIES } else { 1 };
            let id = loop {
                let wish = wish();
                tries -= 1;
                match stand(ground, &wish).await {
                    Ok(()) => break wish.id,
                    Err(fault) if tries == 0 => return Err(fault),
                    Err(_) => drop(ground.target.delete(&wish.id, true).await),
                }
            };
            if let Ok(mut all) = self.0.write() {
                all.push(id);
            }
        }
        Ok(())
    }

    /// One of them, in turn.
    pub(crate) fn one(&self, number: u64) -> String {
        let all = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let length = u64::try_from(all.len()).unwrap_or(1).max(1);
        let index = usize::try_from(number % length).unwrap_or(0);
        all.get(index).cloned().unwrap_or_default()
    }
}
