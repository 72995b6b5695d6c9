//! One process at a time: flock(2) on a file that holds the owner's pid. The
//! kernel lets go when the owner dies, however it dies.

use crate::engine::error::Error;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the lock of a dead owner is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Takes the lock at `path`; `what` it stands for is named in the error.
///
/// # Errors
/// [`Error::Io`] that names the process that holds it.
pub(super) fn take(path: &Path, what: &str) -> Result<Lock, Error> {
    let attempted = || format!("take {what} ({})", path.display());
    let open = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    let file = open.map_err(Error::io(attempted()))?;
    let mut file = match lock(file) {
        Ok(file) => file,
        Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
            let because = format!("a sextantd is using it already, {}", owner(&file));
            return Err(Error::io(attempted())(io::Error::new(io::ErrorKind::AddrInUse, because)));
        }
        Err((_, errno)) => return Err(Error::io(attempted())(errno.into())),
    };
    let written =
        file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(Error::io(attempted()))?;
    Ok(Lock { _file: file })
}

/// Locks the file; when its owner is dead, tries again for a while: a child that the
/// owner was starting when it was killed has the lock until its execve(2).
fn lock(mut file: File) -> Result<Flock<File>, (File, nix::errno::Errno)> {
    let end = Instant::now() + PATIENCE;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(locked),
            Err((file, errno)) if Instant::now() >= end || !owner_is_dead(&file) => {
                return Err((file, errno));
            }
            Err((file, _)) => file,
        };
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn owner_is_dead(file: &File) -> bool {
    // A zombie has no program any more.
    pid(file).is_some_and(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_err())
}

/// What the owner has written.
fn pid(file: &File) -> Option<String> {
    let mut bytes = [0; 32];
    let read = file.read_at(&mut bytes, 0).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..read)?).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn owner(file: &File) -> String {
    pid(file).map_or_else(|| "of unknown pid".into(), |pid| format!("pid {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_by_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = take(&path, "the root").unwrap();
        let error = take(&path, "the root").unwrap_err().chain();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(held);
        take(&path, "the root").unwrap();
    }

    #[test]
    fn the_lock_that_a_child_of_a_dead_owner_still_has_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = take(&path, "the root").unwrap();
        // As if a process that is dead by now had taken it.
        let mut owner = std::process::Command::new("true").spawn().unwrap();
        std::fs::write(&path, owner.id().to_string()).unwrap();
        owner.wait().unwrap();
        let waiting = std::thread::spawn(move || take(&path, "the root").map(drop));
        std::thread::sleep(Duration::from_millis(20));
        drop(held);
        waiting.join().unwrap().unwrap();
    }
}
