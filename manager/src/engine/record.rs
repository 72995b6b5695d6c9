//! `record.json`: what the manager intends with a container, on disk before the
//! first side effect and until after the last one. Replaced whole (`whole`).
//!
//! What *happened* is not here but in the shim's journal; after a crash the
//! two together say what is to be finished or undone (`reconcile`).

use super::error::Error;
use super::whole;
use crate::model::{Failure, IdRange, LogOptions, Stdio};
use crate::placement::Placement;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Its name.
const FILE: &str = "record.json";

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
    /// How its log is kept.
    #[serde(default)]
    pub log: LogOptions,
    /// What its process's stdio is.
    #[serde(default)]
    pub stdio: Stdio,
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

    /// Removes both directories; it is no error when they are not there.
    ///
    /// # Errors
    /// [`Error::Io`] naming the directory.
    pub fn remove(&self) -> Result<(), Error> {
        for dir in [&self.shim_dir, &self.dir] {
            remove_dir(dir).map_err(Error::io(format!("remove {}", dir.display())))?;
        }
        Ok(())
    }
}

/// A shim that is about to end may still add a file: try again then.
fn remove_dir(dir: &Path) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        match std::fs::remove_dir_all(dir) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && attempts < 10 => attempts += 1,
            Err(e) => return Err(e),
        }
    }
}

impl Record {
    /// Writes it into `dir`; on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]; the old record is whole then.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        whole::write(dir, FILE, self)
    }

    /// Reads the one in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Io`], also for a record that is not one.
    pub fn read(dir: &Path) -> Result<Option<Self>, Error> {
        whole::read(dir, FILE)
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
            log: LogOptions { max_files: Some(3), ..LogOptions::default() },
            stdio: Stdio { stdin: true, terminal: false },
            placement: Placement { sandbox: Some("s".into()), ..Placement::default() },
        }
    }

    #[test]
    fn a_record_comes_back_and_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), None);
        let mut record = record("a");
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap().as_ref(), Some(&record));
        record.intent = Intent::Undo(Failure { stage: "clone".into(), ..Failure::default() });
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()).unwrap(), Some(record));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("record.json"), "{").unwrap();
        let error = Record::read(dir.path()).unwrap_err();
        assert!(error.chain().contains("record.json"), "{}", error.chain());
    }
}
