//! `record.json`: what the manager intends with a container, in its directory before
//! the first side effect and until after the last one. Written whole: to a new
//! file that is renamed over the old one (rename(2)). A killed manager finds it as it was;
//! for the case that the host fails it is synced, before anybody hears of the container.
//! That the container is to go again says a second file, whose presence is enough: no
//! sync has to keep record and intent together.
//!
//! What *happened* is not here but in the shim's journal; after a crash the
//! two together say what is to be finished or undone (`reconcile`).

use super::error::Error;
use super::operations::Fingerprint;
use super::removal::remove_tree;
use super::restarts::Course;
use super::whole;
use crate::faults::{self, Point};
use crate::model::{Failure, HealthCheck, IdRange, LogOptions, RestartPolicy, Stdio};
use crate::placement::Placement;
use serde::{Deserialize, Serialize};
use sextant_runtime::contract::args::Limits;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::task::JoinSet;

/// Its name.
const FILE: &str = "record.json";
/// Present where the container is to be removed.
const DELETE: &str = "intent.delete";
/// Present where its creation is to be undone; the failure is in it.
const UNDO: &str = "intent.undo";

/// What the manager is about to do, or has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// Make it and keep it. Whether that was done says the journal.
    Create,
    /// Undo its creation, which failed because of this.
    Undo(Failure),
    /// Remove it.
    Delete,
}

/// One container's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its name.
    pub id: String,
    /// What is intended.
    pub intent: Intent,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The root directory.
    pub rootfs: PathBuf,
    /// argv.
    pub command: Vec<String>,
    /// Host name inside.
    pub hostname: String,
    /// As given.
    pub labels: BTreeMap<String, String>,
    /// When the request was taken.
    pub created_at: SystemTime,
    /// The range of ids that is this container's alone.
    pub ids: Option<IdRange>,
    /// Number of the last event before this container: later events of this
    /// name are its own, not those of a namesake before it.
    pub events_after: u64,
    /// Key of its creation, where the client has given one.
    #[serde(default)]
    pub key: Option<String>,
    /// What was asked for with that key.
    #[serde(default)]
    pub(crate) asked: Option<Fingerprint>,
    /// What its limits were changed to, for its further lives.
    #[serde(default)]
    pub limits: Limits,
    /// How its log is kept.
    #[serde(default)]
    pub log: LogOptions,
    /// What its process's stdio is.
    #[serde(default)]
    pub stdio: Stdio,
    /// When it is restarted.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How it is asked whether it is well.
    #[serde(default)]
    pub check: Option<HealthCheck>,
    /// Its restarts, and the one that is to come.
    #[serde(default)]
    pub course: Course,
    /// Where it belongs.
    #[serde(default)]
    pub placement: Placement,
}

/// Where the files of one container are.
#[derive(Clone, Debug)]
pub struct Paths {
    /// ROOT/containers/ID.
    pub dir: PathBuf,
    /// STATE/shims/ID.
    pub shim_dir: PathBuf,
}

impl Paths {
    /// The record.
    pub fn record(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The bundle that the manager makes.
    pub fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    /// The shim's journal.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// The shim's socket.
    pub fn socket(&self) -> PathBuf {
        self.shim_dir.join("shim.sock")
    }

    /// Removes both directories; it is no error when they are not there. A shim that is about to end may still
    /// add a file meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`] naming the directory.
    pub fn remove(&self) -> Result<(), Error> {
        for dir in [&self.shim_dir, &self.dir] {
            remove_tree(dir).map_err(Error::io(format!("remove {}", dir.display())))?;
        }
        Ok(())
    }
}

impl Record {
    /// Writes it into `dir`; on disk after [`Record::sync`].
    ///
    /// # Errors
    /// [`Error::Io`]; the old record is whole then.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        whole::write_unsynced(dir, FILE, self)
    }

    /// Writes it over the one that is in `dir`, which was synced: also when the host fails, one of the two
    /// is there, whole.
    ///
    /// # Errors
    /// As [`Record::write`].
    pub fn rewrite(&self, dir: &Path) -> Result<(), Error> {
        whole::write(dir, FILE, self)
    }

    /// Writes the intent to undo or delete; the record stays as it is. On disk it need not be
    /// until that is told (fsync of the events): until then nothing has gone that would be missed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn mark(&self, dir: &Path) -> Result<(), Error> {
        match &self.intent {
            Intent::Create => Ok(()),
            Intent::Delete => whole::write_unsynced(dir, DELETE, &()),
            Intent::Undo(failure) => whole::write_unsynced(dir, UNDO, failure),
        }
    }

    /// Waits until the record in `dir` is on disk (fsync(2)): its bytes, its name and its directory's name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn sync(dir: &Path) -> Result<(), Error> {
        let paths = [Some(dir.join("record.json")), Some(dir.into()), dir.parent().map(Into::into)];
        let mut syncs = JoinSet::new();
        for path in paths.into_iter().flatten() {
            syncs.spawn_blocking(move || {
                let synced = faults::reach(Point::RecordSync)
                    .and_then(|()| File::open(&path))
                    .and_then(|file| file.sync_all());
                synced.map_err(Error::io(format!("sync {}", path.display())))
            });
        }
        while let Some(synced) = syncs.join_next().await {
            synced.map_err(|_| Error::Stopping)??;
        }
        Ok(())
    }

    /// Reads the one in `dir`; `None` when there is none, or an empty one: that of a creation which
    /// nobody heard of before the host failed.
    ///
    /// # Errors
    /// [`Error::Io`], also for a record that is not one.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let Some(mut record) = whole::read::<Self>(dir, FILE)? else { return Ok(None) };
        if dir.join(DELETE).exists() {
            record.intent = Intent::Delete;
        } else if let Ok(failure) = std::fs::read(dir.join(UNDO)) {
            // Cut short by the host's failure, it says no less that there was one.
            record.intent = Intent::Undo(serde_json::from_slice(&failure).unwrap_or_default());
        }
        Ok(Some(record))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            intent: Intent::Create,
            bundle: "/b".into(),
            rootfs: "/r".into(),
            command: vec!["true".into()],
            hostname: id.into(),
            labels: BTreeMap::from([("k".into(), "v".into())]),
            created_at: SystemTime::UNIX_EPOCH,
            ids: Some(IdRange { host_id: 9, size: 1 }),
            events_after: 3,
            key: Some("key".into()),
            asked: None,
            limits: Limits::default(),
            log: LogOptions { max_files: Some(3), ..LogOptions::default() },
            stdio: Stdio { stdin: true, terminal: false },
            restart: RestartPolicy { max_retries: Some(3), ..RestartPolicy::default() },
            check: None,
            course: Course { row: 1, ..Course::default() },
            placement: Placement { sandbox: Some("s".into()), ..Placement::default() },
        }
    }

    #[tokio::test]
    async fn a_record_comes_back_and_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), None);
        let mut record = record("a");
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap().as_ref(), Some(&record));
        record.hostname = "b".into();
        record.rewrite(dir.path()).unwrap();
        Record::sync(dir.path()).await.unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), Some(record));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_intended_since_stands_beside_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = record("a");
        record.write(dir.path()).unwrap();
        record.intent = Intent::Undo(Failure { stage: "clone".into(), ..Failure::default() });
        record.mark(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap().as_ref(), Some(&record));
        std::fs::write(dir.path().join(UNDO), "{\"sta").unwrap();
        let torn = Record::read(dir.path()).unwrap().unwrap();
        assert_eq!(torn.intent, Intent::Undo(Failure::default()));
        record.intent = Intent::Delete;
        record.mark(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), Some(record));
    }

    #[test]
    fn an_empty_record_is_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("record.json"), "").unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("record.json"), "{").unwrap();
        let error = Record::read(dir.path()).unwrap_err();
        assert!(error.chain().contains("record.json"), "{}", error.chain());
    }
}
