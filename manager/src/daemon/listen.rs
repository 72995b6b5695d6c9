//! The socket: mode 0600, and only for its own user and root (SO_PEERCRED,
//! unix(7)). One that is there already is replaced only by the holder of the
//! lock beside it, which proves that no manager listens on it.

use super::lock::{self, Lock};
use crate::engine::error::Error;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// A listening socket with its lock; the file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    _lock: Lock,
}

/// Listens at `path`, which may be longer than a socket address (107 bytes).
///
/// # Errors
/// [`Error::Io`].
pub(super) fn listen(path: &Path) -> Result<Socket, Error> {
    let attempted = || format!("listen on {}", path.display());
    let invalid = || Error::io(attempted())(io::ErrorKind::InvalidInput.into());
    let (dir, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
    if !dir.exists() {
        super::dirs::private(dir)?;
    }
    let mut lock_name = name.to_owned();
    lock_name.push(".lock");
    let lock = lock::take(&dir.join(lock_name), &format!("the socket {}", path.display()))?;
    let bind = || {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let directory = std::fs::File::open(dir)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        // Nobody connects before the mode is set: SO_PEERCRED is checked as well.
        let listener = UnixListener::bind(&short)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    let listener = bind().map_err(Error::io(attempted()))?;
    Ok(Socket { listener, path: path.into(), _lock: lock })
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(socket = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

impl Socket {
    /// The next connection of a user who may connect.
    ///
    /// # Errors
    /// As accept(2); the caller may try again.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if allowed(peer.uid()) => return Ok(stream),
                Ok(peer) => tracing::warn!(uid = peer.uid(), pid = peer.pid(), "refused a connection"),
                Err(error) => tracing::warn!(%error, "refused a connection of an unknown user"),
            }
        }
    }
}

fn allowed(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_paths_stale_sockets_and_second_listeners() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("d".repeat(150)).join("s");
        let socket = listen(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(listen(&path).unwrap_err().chain().contains("pid"));
        let (accepted, _stream) = tokio::join!(socket.accept(), crate::shims::client::connect(&path));
        accepted.unwrap();
        drop(socket);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(base.path().join("stale")).unwrap());
        drop(listen(&base.path().join("stale")).unwrap());
        std::fs::write(base.path().join("file"), "").unwrap();
        assert!(listen(&base.path().join("file")).is_err());
    }

    #[test]
    fn only_the_owner_and_root() {
        assert!(allowed(0) && allowed(nix::unistd::geteuid().as_raw()));
        assert!(!allowed(nix::unistd::geteuid().as_raw() + 1));
    }
}
