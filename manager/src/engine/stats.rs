//! What containers use now. The kernel's own files are read by the manager
//! itself, without a shim and without a process of the runtime: a shim that does
//! not answer changes nothing. What cannot be read now is answered from the last
//! sample, with its age and why.

use super::directory::Handle;
use super::error::Error;
use super::{Context, blocking};
use crate::model::{Failure, Phase, Snapshot};
use sextant_runtime::observe::{self, Usage};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// How long the kernel may take; afterwards what it has told before is the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Looks at all containers under way at once: those of further clients wait for them.
const READERS: usize = 2;

/// What a container used at a time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The container.
    pub id: String,
    /// When it was read.
    pub at: SystemTime,
    /// The same, to tell its age.
    pub read: Instant,
    /// Why there is no newer one; `None`: it was read for this answer.
    pub stale: Option<String>,
    /// What was read.
    pub usage: Arc<Usage>,
}

/// The last sample of each container.
#[derive(Debug)]
pub(crate) struct Samples {
    last: Mutex<BTreeMap<String, Last>>,
    readers: Semaphore,
}

/// The last of one, and why that of now failed.
#[derive(Clone, Debug)]
struct Last {
    sample: Option<Sample>,
    failure: Option<String>,
}

impl Default for Samples {
    fn default() -> Self {
        Self { last: Mutex::default(), readers: Semaphore::new(READERS) }
    }
}

impl Samples {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, id: &str, result: Result<Usage, String>) {
        let mut last = self.lock();
        let entry = last.entry(id.into()).or_insert(Last { sample: None, failure: None });
        match result {
            Ok(usage) => {
                let (at, read, usage) = (SystemTime::now(), Instant::now(), Arc::new(usage));
                entry.sample = Some(Sample { id: id.into(), at, read, stale: None, usage });
                entry.failure = None;
            }
            Err(because) => entry.failure = Some(because),
        }
    }

    /// The last of these, in their order.
    fn take(&self, ids: &[String], since: Instant) -> Vec<Sample> {
        let last = self.lock();
        let one = |id: &String| {
            let Last { sample, failure } = last.get(id)?;
            let mut sample = sample.clone()?;
            if sample.read < since {
                let late = || format!("the kernel has not answered within {} s", PATIENCE.as_secs());
                sample.stale = Some(failure.clone().unwrap_or_else(late));
            }
            Some(sample)
        };
        ids.iter().filter_map(one).collect()
    }

    fn failure(&self, id: &str) -> Option<String> {
        self.lock().get(id)?.failure.clone()
    }

    /// Forgets containers that are not among these.
    fn keep(&self, all: &[Handle]) {
        let ids: std::collections::BTreeSet<String> = all.iter().map(|h| h.snapshot().id.clone()).collect();
        self.lock().retain(|id, _| ids.contains(id));
    }
}

/// Samples of these containers, or, without any, of all that live.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::WrongPhase`] for one without processes; for a single one also
/// what the kernel said, when there is no sample before.
pub(super) async fn read(context: &Arc<Context>, ids: &[String]) -> Result<Vec<Sample>, Error> {
    let ids = match ids {
        [] => {
            let all = context.directory.all();
            context.samples.keep(&all);
            all.iter().map(Handle::snapshot).filter(lives).map(|s| s.id.clone()).collect()
        }
        ids => checked(context, ids)?,
    };
    let since = Instant::now();
    let work = {
        let (context, ids) = (Arc::clone(context), ids.clone());
        async move {
            let permit = context.samples.readers.acquire().await.map_err(|_| Error::Stopping)?;
            let (root, reader) = (context.settings.runtime_root(), Arc::clone(&context));
            let read = blocking(move || {
                read_all(&reader.samples, &root, &ids);
                Ok(())
            });
            let read = read.await;
            drop(permit);
            read
        }
    };
    // Not given up with its caller: what comes late is there for the next one.
    match tokio::time::timeout(PATIENCE, tokio::spawn(work)).await {
        Ok(done) => done.map_err(|_| Error::Stopping)??,
        Err(_) => tracing::warn!("the kernel takes long to tell what containers use"),
    }
    let samples = context.samples.take(&ids, since);
    match ids.as_slice() {
        [id] if samples.is_empty() => Err(unread(id, context.samples.failure(id))),
        _ => Ok(samples),
    }
}

fn read_all(samples: &Samples, root: &Path, ids: &[String]) {
    for id in ids {
        samples.put(id, observe::usage(root, id).map_err(|failure| failure.to_string()));
    }
}

fn lives(snapshot: &Snapshot) -> bool {
    matches!(snapshot.phase, Phase::Created | Phase::Running | Phase::Paused)
}

/// Those that are named, each of which has to live.
fn checked(context: &Context, ids: &[String]) -> Result<Vec<String>, Error> {
    for id in ids {
        let snapshot =
            context.directory.get(id).ok_or_else(|| Error::NotFound { id: id.clone() })?.snapshot();
        if !lives(&snapshot) {
            return Err(Error::WrongPhase {
                id: snapshot.id.clone(),
                attempted: "tell what it uses",
                phase: snapshot.phase,
                hint: "only a container that lives uses something",
            });
        }
    }
    Ok(ids.to_vec())
}

fn unread(id: &str, because: Option<String>) -> Error {
    let attempted = format!("read what container {id:?} uses");
    match because {
        None => Error::Timeout { attempted, after: PATIENCE },
        Some(message) => {
            let failure = Failure { stage: "stats".into(), message, ..Failure::default() };
            Error::Failed { attempted, failure: Box::new(failure) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sextant_runtime::contract::stats::Stats;
    use sextant_runtime::observe::Counted;

    fn usage() -> Usage {
        let counted = Counted { cpu: true, memory: false, pids: false, io: false };
        Usage { stats: Stats::default(), counted, oom_kills: None }
    }

    #[test]
    fn what_cannot_be_read_now_is_answered_from_before_with_the_reason() {
        let samples = Samples::default();
        let ids = ["a".to_owned(), "b".to_owned()];
        let begin = Instant::now();
        samples.put("a", Ok(usage()));
        assert_eq!(samples.take(&ids, begin).len(), 1, "of one there is none");
        assert_eq!(samples.take(&ids, begin)[0].stale, None);
        let later = Instant::now() + Duration::from_secs(1);
        assert!(samples.take(&ids, later)[0].stale.as_ref().unwrap().contains("has not answered"));
        samples.put("a", Err("gone".into()));
        let stale = &samples.take(&ids, later)[0];
        assert_eq!(stale.stale.as_deref(), Some("gone"));
        samples.keep(&[]);
        assert!(samples.take(&ids, begin).is_empty());
    }
}
