//! Sandboxes: namespaces that outlive every process, and the containers that
//! share them. No actor: a sandbox changes twice in its life.
//!
//! ```text
//! (name taken) ── create ──▶ Kept ── delete ──▶ Deleting ──▶ (gone)
//!       │ failed                                   └─▶ Deleting, to be repeated
//!       └─▶ undone
//! ```
//!
//! [`record`] is what is intended, [`make`] and [`remove`] the two changes,
//! [`joining`] what it means for a container to be in the namespaces of others,
//! [`pause`] the init of a shared pid namespace, [`view`] what is told of a
//! sandbox, which is looked up in the kernel each time. Containers and sandboxes
//! have one name space (`directory`), and the lock of a sandbox's state decides
//! between who joins it and who removes it.

pub(super) mod joining;
mod make;
mod pause;
pub(super) mod reconcile;
mod record;
mod remove;
mod view;

use super::error::Error;
use super::ids::Lease;
use super::operations::{Answer, Asked, Fingerprint};
use super::{Context, Engine, request};
use crate::model::{IdRange, NewSandbox, Sandbox, Snapshot, Verb};
use crate::placement::Placement;
use crate::shims::client::Force;
use record::Record;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All sandboxes by name.
#[derive(Debug, Default)]
pub(crate) struct Sandboxes {
    all: Mutex<BTreeMap<String, Arc<Entry>>>,
}

/// Where a sandbox is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Creating,
    Kept,
    /// Why it has to be repeated, if it failed.
    Deleting(Option<String>),
}

/// One sandbox.
#[derive(Debug)]
pub(super) struct Entry {
    id: String,
    state: Mutex<State>,
    /// Held by who makes or removes it.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    record: Record,
    phase: Phase,
    /// Given back when it is gone.
    leases: Vec<Lease>,
}

impl Entry {
    fn new(record: Record, phase: Phase, leases: Vec<Lease>) -> Arc<Self> {
        let id = record.id.clone();
        Arc::new(Self {
            id,
            state: Mutex::new(State { record, phase, leases }),
            changing: Default::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> Record {
        self.lock().record.clone()
    }
}

impl Sandboxes {
    /// The sandbox of this name.
    ///
    /// # Errors
    /// [`Error::NoSandbox`].
    pub(super) fn get(&self, id: &str) -> Result<Arc<Entry>, Error> {
        self.lock().get(id).cloned().ok_or_else(|| Error::NoSandbox { id: id.into() })
    }

    /// Lets a container take its name, by `reserve`, if the sandbox that it joins will be there.
    ///
    /// # Errors
    /// [`Error::NoSandbox`], [`Error::SandboxNotReady`], or those of `reserve`.
    pub(super) fn admit(
        &self,
        placement: &Placement,
        reserve: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(id) = &placement.sandbox else { return reserve() };
        let sandbox = self.get(id)?;
        // Held until the name is taken: who removes the sandbox sees the container, or is seen.
        let state = sandbox.lock();
        match &state.phase {
            Phase::Kept => reserve(),
            Phase::Creating if placement.init => reserve(),
            phase => Err(Error::SandboxNotReady { id: id.clone(), because: view::words(phase) }),
        }
    }

    /// The ids of all, by name.
    pub(super) fn ids(&self) -> BTreeMap<String, Option<IdRange>> {
        self.all().iter().map(|sandbox| (sandbox.id.clone(), sandbox.lock().record.ids)).collect()
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.lock().values().cloned().collect()
    }

    fn insert(&self, sandbox: &Arc<Entry>) {
        self.lock().insert(sandbox.id.clone(), Arc::clone(sandbox));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the record and what is made for it are.
fn dir(context: &Context, id: &str) -> PathBuf {
    context.settings.root.join("sandboxes").join(id)
}

impl Engine {
    /// Makes a sandbox. Runs to its end also when the caller does not wait for it.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::SandboxExists`], [`Error::Exists`], [`Error::Exhausted`], or the
    /// failed step; then nothing is left.
    pub async fn create_sandbox(&self, new: NewSandbox) -> Result<Sandbox, Error> {
        let (words, id) = (format!("{new:?}"), request::check_sandbox(&new)?);
        let (key, context, name) = (new.key.clone(), Arc::clone(&self.context), id.clone());
        let kept = key.is_some().then(|| Fingerprint::of(&words));
        let work = async move { make::create(context, name, new, kept).await.map(Answer::Sandbox) };
        match self.once(key, Verb::CreateSandbox, &id, words, work).await? {
            Answer::Sandbox(id) => self.sandbox(&id).await,
            _ => Err(Error::Stopping),
        }
    }

    /// Removes a sandbox and all that was made for it; with force, its containers first. Runs to its
    /// end also when the caller does not wait for it.
    ///
    /// # Errors
    /// [`Error::NoSandbox`]; [`Error::SandboxInUse`] without force; or the failed step, after which it
    /// is still *being deleted* and can be deleted again.
    pub async fn delete_sandbox(&self, id: &str, force: Force, key: Option<String>) -> Result<(), Error> {
        let (context, name) = (Arc::clone(&self.context), id.to_owned());
        let work = async move { remove::delete(context, name, force).await.map(|()| Answer::Done) };
        self.once(key, Verb::DeleteSandbox, id, format!("{id} {force:?}"), work).await.map(drop)
    }

    /// What is known of one sandbox.
    ///
    /// # Errors
    /// [`Error::NoSandbox`].
    pub async fn sandbox(&self, id: &str) -> Result<Sandbox, Error> {
        let (context, sandbox) = (Arc::clone(&self.context), self.context.sandboxes.get(id)?);
        super::blocking(move || Ok(view::of(&context, &sandbox))).await
    }

    /// What is known of all sandboxes, by name.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn sandboxes(&self) -> Result<Vec<Sandbox>, Error> {
        let (context, all) = (Arc::clone(&self.context), self.context.sandboxes.all());
        super::blocking(move || Ok(all.iter().map(|sandbox| view::of(&context, sandbox)).collect())).await
    }

    /// Whether a container is the init of a sandbox that exists, and so belongs to that.
    pub fn is_init(&self, snapshot: &Snapshot) -> bool {
        snapshot.placement.init && self.context.sandboxes.get(&snapshot.id).is_ok()
    }
}

impl Asked {
    /// A creation that a manager before this one has carried out.
    fn of_record(key: String, record: &Record) -> Self {
        let (container, request) = (record.id.clone(), record.asked.clone());
        Self { key, verb: Verb::CreateSandbox, container, lives: 0, request }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Shared;
    use record::Intent;
    use std::cell::Cell;
    use std::time::SystemTime;

    #[test]
    fn a_container_takes_its_name_only_while_its_sandbox_is_kept() {
        let record = Record {
            id: "pod".into(),
            intent: Intent::Create,
            labels: BTreeMap::new(),
            hostname: String::new(),
            shared: Shared::default(),
            created_at: SystemTime::UNIX_EPOCH,
            ids: None,
            key: None,
            asked: None,
        };
        let (sandboxes, sandbox) = (Sandboxes::default(), Entry::new(record, Phase::Creating, Vec::new()));
        let taken = Cell::new(0);
        let admit = |sandbox: Option<&str>, init| {
            let placement = Placement { sandbox: sandbox.map(Into::into), init, ..Placement::default() };
            sandboxes.admit(&placement, || {
                taken.set(taken.get() + 1);
                Ok(())
            })
        };
        assert!(matches!(admit(Some("pod"), false), Err(Error::NoSandbox { .. })));
        sandboxes.insert(&sandbox);
        assert!(matches!(admit(Some("pod"), false), Err(Error::SandboxNotReady { .. })));
        admit(Some("pod"), true).unwrap();
        sandbox.lock().phase = Phase::Kept;
        admit(Some("pod"), false).unwrap();
        admit(None, false).unwrap();
        sandbox.lock().phase = Phase::Deleting(Some("the disk is full".into()));
        for init in [false, true] {
            let refused = admit(Some("pod"), init).unwrap_err().to_string();
            assert!(refused.contains("the disk is full; delete it again"), "{refused}");
        }
        assert_eq!(taken.get(), 3);
    }
}
