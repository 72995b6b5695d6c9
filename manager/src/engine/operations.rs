//! Operations that a client has given a key (an *idempotency key*): a second
//! call with the key attaches to the first, while that is under way and for a
//! while after it has succeeded. After a failure the key is as new, so that
//! trying again tries again. Whoever waits may go; the operation goes on.
//!
//! Kept in memory, with bounds ([`table`]), and in a file ([`book`]), from which a manager that is
//! started again knows them. Of one that was under way when the manager was killed, what
//! became of it is found out when somebody asks ([`Operations::doubt`]). The key of a
//! creation is in the container's record.

pub(super) mod book;
mod fingerprint;
mod table;

use super::error::Error;
use crate::model::{Exec, Exit, Operation, Snapshot, Verb};
use book::{Book, End, Line};
pub(crate) use fingerprint::Fingerprint;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use table::{MEMORY, Table};
use tokio::sync::{Semaphore, watch};

/// Operations with a key that are under way, at most.
const RUNNING: usize = 1024;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) verb: Verb,
    pub(super) container: String,
    /// How many lives of it had begun before.
    pub(super) lives: u32,
    /// The request; `None` when only its container is known, as of what an older manager has kept.
    pub(super) request: Option<Fingerprint>,
}

/// What comes of an operation.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Container(Box<Snapshot>),
    Exit(Exit),
    Exec(Box<Exec>),
    /// The name of a sandbox.
    Sandbox(String),
    Done,
}

/// How an operation ended.
#[derive(Clone, Debug)]
struct Outcome {
    result: Result<Answer, Error>,
    at: SystemTime,
    /// The same, for the memory.
    ended: Instant,
}

/// All operations with a key.
#[derive(Debug)]
pub(crate) struct Operations {
    table: Arc<Mutex<Table>>,
    /// Those that were under way when the manager before was killed, by key.
    doubts: Mutex<BTreeMap<String, Line>>,
    book: Book,
    running: Arc<Semaphore>,
}

impl Default for Operations {
    fn default() -> Self {
        let (table, doubts, book) = Default::default();
        Self { table, doubts, book, running: Arc::new(Semaphore::new(RUNNING)) }
    }
}

impl Operations {
    /// With those of the managers before, as far as they are remembered. The ones that have ended are given
    /// back, for [`Operations::remember`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Line>), Error> {
        let now = SystemTime::now();
        let is_young = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age < MEMORY);
        let keep = |line: &Line| is_young(line.ended.as_ref().map_or(line.begun, |(at, _)| *at));
        let (book, lines) = Book::open(path, keep)?;
        let (ended, doubts): (Vec<Line>, Vec<Line>) =
            lines.into_iter().partition(|line| line.ended.is_some());
        let doubts = doubts.into_iter().map(|line| (line.key.clone(), line)).collect();
        Ok((Self { book, doubts: Mutex::new(doubts), ..Self::default() }, ended))
    }

    /// The operation with this key that was under way when a manager was killed. It is in doubt until it is
    /// remembered, or begun again.
    pub(super) fn doubt(&self, key: &str) -> Option<Line> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The operation with this key that has failed. It may have had its effect all the same: a shim that was
    /// killed in the middle of it tells nobody.
    pub(super) fn failed(&self, key: &str) -> Option<Line> {
        let table = self.lock();
        let line = table.get(key).filter(|entry| entry.failed())?.line(key);
        Some(Line { ended: None, ..line })
    }

    /// The keys of all that are in doubt.
    pub(super) fn doubts(&self) -> Vec<String> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Does `work`, or waits for the one with this key that does it already.
    ///
    /// # Errors
    /// Those of the work; [`Error::KeyReused`], [`Error::Exhausted`].
    pub(super) async fn once(
        &self,
        asked: Asked,
        work: impl Future<Output = Result<Answer, Error>> + Send + 'static,
    ) -> Result<Answer, Error> {
        let mut outcome = self.attach(asked, work)?;
        let ended = outcome.wait_for(Option::is_some).await.map_err(|_| Error::Stopping)?;
        ended.as_ref().map_or(Err(Error::Stopping), |outcome| outcome.result.clone())
    }

    fn attach(
        &self,
        asked: Asked,
        work: impl Future<Output = Result<Answer, Error>> + Send + 'static,
    ) -> Result<watch::Receiver<Option<Outcome>>, Error> {
        let mut table = self.lock();
        let now = Instant::now();
        let known = table.get(&asked.key).filter(|entry| !entry.failed() && !entry.is_old(now));
        if let Some(entry) = known {
            return match entry.asked().is(&asked) {
                true => Ok(entry.attach()),
                false => Err(Error::KeyReused { key: asked.key, first: entry.asked().words() }),
            };
        }
        let permit = Arc::clone(&self.running).try_acquire_owned().map_err(|_| {
            let what = format!("operations with a key: {RUNNING} are under way");
            Error::Exhausted { what, hint: "wait for those under way" }
        })?;
        let (publish, outcome) = watch::channel(None);
        let (key, verb) = (asked.key.clone(), asked.verb);
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        table.begin(asked, outcome.clone());
        let line = table.get(&key).map(|entry| entry.line(&key));
        drop(table);
        // Keys of these are known to the records, and those of execs to their shims.
        let line = line.filter(|_| !matches!(verb, Verb::Create | Verb::CreateSandbox | Verb::Exec));
        let (book, known) = (self.book.clone(), Arc::clone(&self.table));
        tokio::spawn(async move {
            let table = Arc::clone(&known);
            let all = move || lock(&table).lines();
            let written = match line.clone() {
                Some(line) => book.add(line, all.clone()).await,
                None => Ok(()),
            };
            let outcome = Outcome::now(match written {
                // What would be done twice by whoever asks again is not begun.
                Err(error) if matches!(verb, Verb::Start | Verb::Restart) => Err(error),
                other => {
                    forgotten(other);
                    work.await
                }
            });
            if let Some(line) = line {
                let ended = Some((outcome.at, End::of(&outcome.result)));
                forgotten(book.add(Line { ended, ..line }, all).await);
            }
            lock(&known).end(&key, outcome.clone());
            publish.send_replace(Some(outcome));
            drop(permit);
        });
        Ok(outcome)
    }

    /// One that has ended before the manager was started, or whose effect shows that it has.
    pub(super) fn remember(&self, asked: Asked, begun: SystemTime, result: Result<Answer, Error>) {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).remove(&asked.key);
        self.lock().remember(asked, begun, Outcome::now(result));
    }

    /// What is known of the operation with this key.
    pub(super) fn get(&self, key: &str) -> Option<Operation> {
        self.lock().view(key)
    }

    /// What is known of all, by key.
    pub(super) fn all(&self) -> Vec<Operation> {
        self.lock().views()
    }

    /// Gives up what was remembered for long enough.
    pub(super) fn forget_old(&self) {
        self.lock().forget_old(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that an operation is not written down, if it is not: what is lost is the memory of a manager that is
/// killed now.
fn forgotten(written: Result<(), Error>) {
    if let Err(error) = written {
        tracing::warn!(error = error.chain(), "an operation is not written down");
    }
}

impl Asked {
    fn is(&self, other: &Self) -> bool {
        let known = self.request.as_ref().zip(other.request.as_ref()).and_then(|(one, other)| one.is(other));
        // A name that was made up is not asked for again.
        let makes = matches!(self.verb, Verb::Create | Verb::CreateSandbox);
        self.verb == other.verb && known.unwrap_or(makes || self.container == other.container)
    }

    fn words(&self) -> String {
        format!("{} {} {:?}", self.verb, self.verb.object(), self.container)
    }
}

impl Outcome {
    fn now(result: Result<Answer, Error>) -> Self {
        Self { result, at: SystemTime::now(), ended: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::table::KNOWN;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::sync::Notify;

    fn asked(key: &str, request: &str) -> Asked {
        let (key, container, request) = (key.into(), "c".into(), Some(Fingerprint::of(request)));
        Asked { key, verb: Verb::Start, container, lives: 0, request }
    }

    #[tokio::test]
    async fn a_second_call_attaches_and_a_waiter_that_goes_changes_nothing() {
        let operations = Arc::new(Operations::default());
        let (go, count) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let call = || {
            let (operations, go, count) = (operations.clone(), go.clone(), count.clone());
            async move {
                let work = async move {
                    go.notified().await;
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok(Answer::Done)
                };
                operations.once(asked("k", "r"), work).await
            }
        };
        let first = tokio::time::timeout(Duration::ZERO, call()).await;
        assert!(first.is_err(), "its deadline");
        let second = tokio::spawn(call());
        let other = operations.once(asked("k", "another"), async { Ok(Answer::Done) }).await;
        assert!(matches!(other, Err(Error::KeyReused { .. })), "{other:?}");
        assert!(operations.get("k").unwrap().ended_at.is_none());
        go.notify_one();
        second.await.unwrap().unwrap();
        call().await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(operations.all()[0].ended_at.is_some());
    }

    #[tokio::test]
    async fn after_a_failure_the_key_is_as_new() {
        let operations = Operations::default();
        for _ in 0..2 {
            let failed = operations.once(asked("k", "r"), async { Err(Error::Stopping) }).await;
            assert!(failed.is_err());
            assert!(operations.get("k").unwrap().failure.is_some());
        }
        operations.once(asked("k", "another"), async { Ok(Answer::Done) }).await.unwrap();
        assert!(operations.get("k").unwrap().failure.is_none());
    }

    #[tokio::test]
    async fn memory_has_a_bound() {
        let operations = Operations::default();
        for n in 0..KNOWN + 50 {
            operations.once(asked(&n.to_string(), ""), async { Ok(Answer::Done) }).await.unwrap();
        }
        assert!(operations.all().len() <= KNOWN, "{}", operations.all().len());
        assert!(operations.get(&(KNOWN + 49).to_string()).is_some(), "the last one stays");
        for n in 0..RUNNING {
            let running = asked(&format!("running {n}"), "");
            drop(operations.attach(running, std::future::pending()).unwrap());
        }
        let more = operations.once(asked("more", ""), async { Ok(Answer::Done) }).await;
        assert!(matches!(more, Err(Error::Exhausted { .. })), "{more:?}");
    }
}
