//! The daemon's directories: made with mode 0700, refused when somebody else
//! owns them or can reach into them, and locked. A group that may connect can
//! enter the one with the socket, and read nothing there (0710).

use super::lock::{self, Lock};
use crate::engine::error::Error;
use nix::unistd::Gid;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes `dir` and those below it, and takes its lock.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn prepare(dir: &Path, below: &[&str], group: Option<Gid>) -> Result<Lock, Error> {
    private(dir, group)?;
    let lock = lock::take(&dir.join("lock"), &format!("the directory {}", dir.display()))?;
    for name in below {
        private(&dir.join(name), None)?;
    }
    Ok(lock)
}

/// Makes a directory that only its owner can enter, and `group`.
///
/// # Errors
/// [`Error::Io`], also when it belongs to somebody else.
pub(super) fn private(dir: &Path, group: Option<Gid>) -> Result<(), Error> {
    make(dir, group).map_err(Error::io(format!("make {}", dir.display())))
}

fn make(dir: &Path, group: Option<Gid>) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        // Those above are made as usual: they may be /var/lib or /run.
        DirBuilder::new().recursive(true).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let metadata = std::fs::symlink_metadata(dir)?;
    if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("it is not a directory of this user"));
    }
    if group.is_some() && group != Some(Gid::from_raw(metadata.gid())) {
        nix::unistd::chown(dir, None, group)?;
    }
    let mode = if group.is_some() { 0o710 } else { 0o700 };
    if metadata.mode() & 0o777 != mode {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))?;
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
        let _lock = prepare(&dir, &["c", "d"], None).unwrap();
        for path in [dir.clone(), dir.join("d")] {
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700, "{}", path.display());
        }
        std::os::unix::fs::symlink("/tmp", base.path().join("link")).unwrap();
        assert!(private(&base.path().join("link"), None).is_err());
    }
}
