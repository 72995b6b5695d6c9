//! Whether a client has stopped a container, so that its restart policy leaves it
//! alone: a file beside its record, since it has to survive the manager, and since
//! `Stop` goes past the actor, who owns the record and may be busy with a start
//! that hangs.

use super::blocking;
use super::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The mark of one container. Cloning shares it.
#[derive(Clone, Debug)]
pub(super) struct Halt(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    set: AtomicBool,
}

impl Halt {
    /// Of the container whose files are in `dir`; not set before it was read.
    pub(super) fn new(dir: &Path) -> Self {
        Self(Arc::new(Shared { path: dir.join("halted"), set: AtomicBool::new(false) }))
    }

    /// Whether it is set.
    pub(super) fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Learns what a manager before this one has left.
    pub(super) async fn read(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.0);
        blocking(move || {
            shared.set.store(shared.path.exists(), Ordering::Release);
            Ok(())
        })
        .await
    }

    /// Sets it; on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) async fn set(&self) -> Result<(), Error> {
        self.change(true, |path| File::create(path).map(drop)).await
    }

    /// Takes it away; from the disk as well when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) async fn clear(&self) -> Result<(), Error> {
        self.change(false, |path| match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    async fn change(&self, to: bool, by: fn(&Path) -> io::Result<()>) -> Result<(), Error> {
        if self.0.set.swap(to, Ordering::AcqRel) == to {
            return Ok(());
        }
        let shared = Arc::clone(&self.0);
        blocking(move || {
            let synced = || File::open(shared.path.parent().unwrap_or(Path::new("/")))?.sync_all();
            let done = by(&shared.path).and_then(|()| synced());
            done.map_err(Error::io(format!("write {}", shared.path.display())))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_mark_outlives_who_has_set_it() {
        let dir = tempfile::tempdir().unwrap();
        let halt = Halt::new(dir.path());
        halt.read().await.unwrap();
        assert!(!halt.is_set());
        halt.set().await.unwrap();
        let next = Halt::new(dir.path());
        assert!(!next.is_set());
        next.read().await.unwrap();
        assert!(next.is_set());
        next.clear().await.unwrap();
        next.clear().await.unwrap();
        halt.read().await.unwrap();
        assert!(!halt.is_set());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
