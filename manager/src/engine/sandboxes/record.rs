//! `sandbox.json`: what the manager intends with a sandbox, on disk before the
//! first side effect and until after the last one, replaced whole.

use crate::engine::error::Error;
use crate::engine::operations::Fingerprint;
use crate::engine::removal::remove_tree;
use crate::engine::whole;
use crate::model::IdRange;
use crate::placement::Shared;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

/// Its name.
const FILE: &str = "sandbox.json";

/// What the manager is about to do, or has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::engine) enum Intent {
    /// Make it. Where a manager starts with this, the one before was killed meanwhile: it is undone.
    Create,
    /// It is made: keep it.
    Keep,
    /// Remove it, its containers first.
    Delete,
}

/// One sandbox's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::engine) struct Record {
    /// Its name.
    pub(in crate::engine) id: String,
    /// What is intended.
    pub(in crate::engine) intent: Intent,
    /// As given.
    pub(in crate::engine) labels: BTreeMap<String, String>,
    /// Host name inside; empty where it shares no uts namespace.
    pub(in crate::engine) hostname: String,
    /// What its containers share.
    pub(in crate::engine) shared: Shared,
    /// When the request was taken.
    pub(in crate::engine) created_at: SystemTime,
    /// The ids of its user namespace, where it shares one.
    pub(in crate::engine) ids: Option<IdRange>,
    /// Key of its creation, where the client has given one.
    pub(in crate::engine) key: Option<String>,
    /// What was asked for with that key.
    #[serde(default)]
    pub(in crate::engine) asked: Option<Fingerprint>,
}

impl Record {
    /// Writes it into `dir`; on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]; the old record is whole then.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        whole::write(dir, FILE, self)
    }

    /// Reads the one in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Io`], also for a record that is not one.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        whole::read(dir, FILE)
    }
}

/// All records below `dir`. A directory without one was made by a creation that had not begun, and
/// is removed; a record that cannot be read is left alone.
///
/// # Errors
/// When the directory cannot be read; none is there before the first sandbox.
pub(super) fn read_all(dir: &Path) -> Result<Vec<Record>, Error> {
    let attempted = || format!("read {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(attempted())(e)),
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(attempted()))?.path();
        match Record::read(&path) {
            Ok(Some(record)) if path.file_name().is_some_and(|n| n == record.id.as_str()) => {
                records.push(record);
            }
            Ok(Some(record)) => {
                tracing::error!(dir = %path.display(), sandbox = record.id, "its record is another's: left alone");
            }
            Ok(None) => {
                if let Err(error) = remove_tree(&path) {
                    tracing::error!(dir = %path.display(), %error, "half made, and cannot be removed: left alone");
                }
            }
            Err(error) => tracing::error!(error = error.chain(), "left alone"),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_back_and_what_has_none_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_all(&dir.path().join("none")).unwrap().is_empty());
        let record = Record {
            id: "a".into(),
            intent: Intent::Create,
            labels: BTreeMap::new(),
            hostname: "h".into(),
            shared: Shared::default(),
            created_at: SystemTime::UNIX_EPOCH,
            ids: Some(IdRange { host_id: 9, size: 1 }),
            key: Some("k".into()),
            asked: Some(Fingerprint::of("k")),
        };
        for name in ["a", "b", "c"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        record.write(&dir.path().join("a")).unwrap();
        // Another's, which is not believed.
        record.write(&dir.path().join("b")).unwrap();
        assert_eq!(read_all(dir.path()).unwrap(), [record]);
        assert!(dir.path().join("b").exists() && !dir.path().join("c").exists());
    }
}
