//! One process at a time: flock(2) on a file that holds the owner's pid. The
//! kernel lets go when the owner dies, however it dies.

use crate::engine::error::Error;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let because = format!("a sextantd is using it already, {}", owner(&mut file));
            return Err(Error::io(attempted())(io::Error::new(io::ErrorKind::AddrInUse, because)));
        }
        Err((_, errno)) => return Err(Error::io(attempted())(errno.into())),
    };
    let written =
        file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    written.map_err(Error::io(attempted()))?;
    Ok(Lock { _file: file })
}

fn owner(file: &mut File) -> String {
    let mut pid = String::new();
    match file.take(32).read_to_string(&mut pid) {
        Ok(n) if n > 0 => format!("pid {}", pid.trim()),
        _ => "of unknown pid".into(),
    }
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
}
