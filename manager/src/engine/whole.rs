//! Files of JSON that are replaced whole: written to a new file, synced, renamed
//! over the old one, the directory synced (rename(2)). Whenever the manager is
//! killed, the old or the new content is there; without the syncs, an empty file may be there
//! after the host has failed, which is read as none.

use super::error::Error;
use crate::faults::{self, Point};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Largest file that is read back.
const MAX: u64 = 16 << 20;

/// Writes `value` as the file `name` of `dir`; on disk when this returns.
///
/// # Errors
/// [`Error::Io`]; the old file is whole then.
pub(super) fn write(dir: &Path, name: &str, value: &impl Serialize) -> Result<(), Error> {
    let written =
        replace(dir, name, value, |file| faults::reach(Point::RecordSync).and_then(|()| file.sync_all()))
            .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(Error::io(format!("write {}", dir.join(name).display())))
}

/// The same for a file that is to be synced later, or whose loss loses nothing.
///
/// # Errors
/// As [`write`].
pub(super) fn write_unsynced(dir: &Path, name: &str, value: &impl Serialize) -> Result<(), Error> {
    let written = replace(dir, name, value, |_| Ok(()));
    written.map_err(Error::io(format!("write {}", dir.join(name).display())))
}

fn replace(
    dir: &Path,
    name: &str,
    value: &impl Serialize,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    let bytes = serde_json::to_vec_pretty(value)?;
    faults::write(Point::RecordWrite, &bytes, |bytes| file.write_all(bytes))?;
    sync(&file)?;
    std::fs::rename(&new, dir.join(name))
}

/// Reads it back; `None` when there is none, or an empty one.
///
/// # Errors
/// [`Error::Io`], also for a file that has something else in it.
pub(super) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>, Error> {
    let path = dir.join(name);
    let attempted = format!("read {}", path.display());
    let bytes = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MAX => {
            let size = format!("it has {} bytes", metadata.len());
            return Err(Error::io(attempted)(io::Error::other(size)));
        }
        Ok(metadata) if metadata.len() == 0 => return Ok(None),
        Ok(_) => std::fs::read(&path).map_err(Error::io(&attempted))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(attempted)(e)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::io(attempted)(e.into()))
}
