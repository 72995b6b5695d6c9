//! What is known of the container, in its file first and published then: the journal
//! and the [`Snapshot`], for [`crate::task`] and [`crate::execs`], which both have
//! something to tell. One thread; the lock is never held over a wait.

use crate::command::Snapshot;
use crate::error::{Error, Result};
use crate::event::{Happening, Phase};
use crate::faults::{self, Point};
use crate::journal::{Journal, Stamp};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often the journalling of what cannot be undone is tried again, on a disk that takes no more than was reserved.
const RETRIES: u32 = 20;

/// The time between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// Journal and snapshot.
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: Mutex<Journal>,
    /// Number of the last record that the manager has in its own journal.
    told: AtomicU64,
    snapshot: watch::Sender<Snapshot>,
}

impl Ledger {
    /// Of this journal; published through `snapshot`.
    pub(crate) fn new(journal: Journal, snapshot: watch::Sender<Snapshot>) -> Self {
        Self { journal: Mutex::new(journal), told: AtomicU64::new(0), snapshot }
    }

    /// Number of the last record; 0 when there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.journal().last_seq()
    }

    /// The manager has the records up to this one in its own journal: they may be forgotten.
    pub(crate) fn is_told(&self, seq: u64) {
        self.told.fetch_max(seq, Ordering::Relaxed);
    }

    /// What is published.
    pub(crate) fn now(&self) -> Snapshot {
        *self.snapshot.borrow()
    }

    /// Where the container is in its life.
    pub(crate) fn phase(&self) -> Phase {
        self.now().phase
    }

    /// Publishes a change that needs no record.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(change);
    }

    /// Journals what happened, then publishes the change that it is.
    ///
    /// # Errors
    /// When it could not be journalled; the change is published all the same,
    /// since it has come about.
    pub(crate) fn record(&self, what: &Happening, change: impl FnOnce(&mut Snapshot)) -> Result<()> {
        let written = self.journal().append(what);
        self.journal().keep_short(self.told.load(Ordering::Relaxed));
        self.publish_written(written, change)
    }

    /// The same for what nobody can observe a second time, or undo: tried again for a while.
    ///
    /// # Errors
    /// As [`Ledger::record`].
    pub(crate) async fn record_surely(
        &self,
        what: &Happening,
        change: impl FnOnce(&mut Snapshot),
    ) -> Result<()> {
        let mut written = self.journal().append(what);
        for _ in 0..RETRIES {
            if written.is_ok() {
                break;
            }
            tokio::time::sleep(RETRY).await;
            written = self.journal().append(what);
        }
        self.journal().keep_short(self.told.load(Ordering::Relaxed));
        self.publish_written(written, change)
    }

    /// Has what is journalled written to the disk (fdatasync(2)); nobody waits for it.
    pub(crate) fn sync(&self) {
        let file = self.journal().file();
        tokio::task::spawn_blocking(move || {
            let synced = faults::reach(Point::JournalSync).and(file).and_then(|file| file.sync_data());
            if let Err(e) = synced {
                complain!("sync the journal: {e}");
            }
        });
    }

    fn publish_written(
        &self,
        written: std::result::Result<Stamp, Error>,
        change: impl FnOnce(&mut Snapshot),
    ) -> Result<()> {
        self.publish(|s| {
            s.last_seq = written.as_ref().map_or(s.last_seq, |stamp| stamp.seq);
            change(s);
        });
        written.map(drop)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
