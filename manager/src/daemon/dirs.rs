//! The daemon's directories: made with mode 0700, refused when somebody else
//! owns them or can reach into them, and locked.

use super::lock::{self, Lock};
use crate::engine::error::Error;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes `dir` and those below it, and takes its lock.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn prepare(dir: &Path, below: &[&str]) -> Result<Lock, Error> {
    private(dir)?;
    let lock = lock::take(&dir.join("lock"), &format!("the directory {}", dir.display()))?;
    for name in below {
        private(&dir.join(name))?;
    }
    Ok(lock)
}

/// Makes a directory that only its owner can enter.
///
/// # Errors
/// [`Error::Io`], also when it belongs to somebody else.
pub(super) fn private(dir: &Path) -> Result<(), Error> {
    make(dir).map_err(Error::io(format!("make {}", dir.display())))
}

fn make(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        // Those above are made as usual: they may be /var/lib or /run.
        DirBuilder::new().recursive(true).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let metadata = std::fs::symlink_metadata(dir)?;
    if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("it is not a directory of this user"));
    }
    if metadata.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_private_also_when_they_were_not() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("a/b");
        std::fs::create_dir_all(dir.join("c")).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let _lock = prepare(&dir, &["c", "d"]).unwrap();
        for path in [dir.clone(), dir.join("d")] {
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700, "{}", path.display());
        }
        std::os::unix::fs::symlink("/tmp", base.path().join("link")).unwrap();
        assert!(private(&base.path().join("link")).is_err());
    }
}
