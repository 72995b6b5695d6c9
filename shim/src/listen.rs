//! The shim's socket: in the file system, mode 0600, in a private directory;
//! and every caller's identity is looked at once it has connected.

use crate::error::{Attempted, Error, Result};
use crate::faults::{self, Point};
use nix::sys::stat::{Mode, umask};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How long accepting rests after an error, such as too many open files.
const REST: Duration = Duration::from_millis(100);

/// The socket, unlinked when this goes.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    place: Place,
}

/// Where a socket is. It is named through its open directory, so that the
/// length of the path does not matter (unix(7), `sun_path`).
#[derive(Debug)]
pub(crate) struct Place {
    dir: File,
    name: String,
}

impl Place {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{}", self.dir.as_raw_fd(), self.name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match std::fs::remove_file(self.path()) {
            // Its owner may have removed the whole directory already.
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                complain!("remove the socket {}: {e}", self.name);
            }
            _ => {}
        }
    }
}

/// Makes the socket `name` in `dir` and listens on it. Within a tokio runtime.
///
/// # Errors
/// Of open(2), bind(2) and listen(2).
pub(crate) fn bind(dir: &std::path::Path, name: &str) -> Result<Socket> {
    let attempted = || format!("listen on {}", dir.join(name).display());
    faults::reach(Point::SocketBind).attempted(attempted)?;
    let dir_fd = File::open(dir).attempted(attempted)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", dir_fd.as_raw_fd()));
    // One thread: nobody else makes a file meanwhile.
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    match bound {
        Ok(listener) => Ok(Socket { listener, place: Place { dir: dir_fd, name: name.to_owned() } }),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Error::new(attempted(), e).hint("another shim listens there, or left its socket"))
        }
        Err(e) => Err(Error::new(attempted(), e)),
    }
}

/// As [`bind`], in the place of a shim that was killed and left its socket.
/// For the holder of the journal's lock only: nobody else listens then.
///
/// # Errors
/// Of unlink(2), and as [`bind`].
pub(crate) fn replace(dir: &std::path::Path, name: &str) -> Result<Socket> {
    match std::fs::remove_file(dir.join(name)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).attempted(|| format!("remove the socket {}", dir.join(name).display()))
        }
        _ => bind(dir, name),
    }
}

impl Socket {
    /// Where another process of this user reaches it, whatever the length of its path.
    pub(crate) fn path_for_others(&self) -> PathBuf {
        let (pid, fd) = (nix::unistd::getpid(), self.place.dir.as_raw_fd());
        PathBuf::from(format!("/proc/{pid}/fd/{fd}/{}", self.place.name))
    }

    /// The first connection of somebody who is allowed.
    ///
    /// # Errors
    /// Of accept(2).
    pub(crate) async fn first(&self) -> std::io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            if is_allowed(&stream) {
                return Ok(stream);
            }
        }
    }

    /// The connections that may be served, and the place, which is to be kept as long.
    pub(crate) fn connections(self) -> (ReceiverStream<std::io::Result<UnixStream>>, Place) {
        let (accepted, connections) = mpsc::channel(1);
        tokio::spawn(accept(self.listener, accepted));
        (ReceiverStream::new(connections), self.place)
    }
}

async fn accept(listener: UnixListener, accepted: mpsc::Sender<std::io::Result<UnixStream>>) {
    while !accepted.is_closed() {
        match listener.accept().await {
            Ok((stream, _)) if is_allowed(&stream) => drop(accepted.send(Ok(stream)).await),
            Ok((stream, _)) => drop(stream),
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

/// Whether the other side is root or this process's user (unix(7), `SO_PEERCRED`).
fn is_allowed(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw())
}
