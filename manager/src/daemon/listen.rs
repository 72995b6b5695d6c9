//! Where clients come in. A unix socket of our own: mode 0600, and only for its
//! own user and root (SO_PEERCRED, unix(7)), or 0660 and for a group as well.
//! One that is there already is replaced only by the holder of the lock beside
//! it, which proves that no manager listens on it. Or the socket that systemd
//! passes, whose mode is systemd's to set. Or TCP, behind TLS.

use super::config::{Config, Listen};
use super::lock::{self, Lock};
use super::stream::By;
use super::tls;
use crate::api::limits::Who;
use crate::engine::error::Error;
use nix::unistd::Gid;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;

/// How long a client may take to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Listens where the configuration, or else systemd, says.
///
/// # Errors
/// [`Error::Io`].
pub(super) async fn listen(config: &Config) -> Result<Vec<Socket>, Error> {
    let mut sockets = passed()?;
    if !sockets.is_empty() && config.listen.is_empty() {
        return Ok(sockets);
    }
    for address in config.addresses() {
        sockets.push(match &address {
            Listen::Unix(path) => Socket::Unix(own(path, config.group)?),
            Listen::Tcp(host) => {
                let attempted = || Error::io(format!("listen on {address}"));
                let missing = || attempted()(io::Error::other("there is no certificate"));
                let acceptor = tls::acceptor(config.tls.as_ref().ok_or_else(missing)?)?;
                let listener = TcpListener::bind(host).await.map_err(attempted())?;
                Socket::Tcp(Tcp { listener, acceptor })
            }
        });
    }
    Ok(sockets)
}

/// The sockets that systemd has passed.
fn passed() -> Result<Vec<Socket>, Error> {
    let attempted = || Error::io("take the sockets of LISTEN_FDS");
    let fds = sd_notify::listen_fds().map_err(attempted())?;
    let mut sockets = Vec::new();
    for fd in fds {
        let listener = crate::sys::passed_listener(fd).map_err(attempted())?;
        listener.set_nonblocking(true).map_err(attempted())?;
        let listener = UnixListener::from_std(listener).map_err(attempted())?;
        sockets.push(Socket::Passed(listener));
    }
    Ok(sockets)
}

/// Something that is listened on.
#[derive(Debug)]
pub(super) enum Socket {
    /// Made here.
    Unix(Own),
    /// Made by systemd, which says who may connect.
    Passed(UnixListener),
    /// For clients with a certificate.
    Tcp(Tcp),
}

impl Socket {
    /// As a client would write it.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Unix(own) => format!("unix:{}", own.path.display()),
            Self::Passed(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(|| "a socket of systemd".into(), |path| format!("unix:{}", path.display()))
            }
            Self::Tcp(tcp) => tcp.listener.local_addr().map(|a| format!("tcp:{a}")).unwrap_or_default(),
        }
    }

    /// The next connection of who may connect.
    ///
    /// # Errors
    /// As accept(2); the caller may try again.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(own) => own.accept().await.map(Accepted::Unix),
            Self::Passed(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
            Self::Tcp(tcp) => {
                let (stream, address) = tcp.listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, tcp.acceptor.clone(), address.to_string()))
            }
        }
    }
}

/// A connection that has not yet said who it is.
pub(super) enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, TlsAcceptor, String),
}

impl Accepted {
    /// Who is at the other end.
    pub(super) fn who(&self) -> Who {
        match self {
            Self::Unix(stream) => {
                let peer = stream.peer_cred().ok();
                Who { uid: peer.map(|peer| peer.uid()), pid: peer.and_then(|peer| peer.pid()), address: None }
            }
            Self::Tcp(_, _, address) => Who { address: Some(address.as_str().into()), ..Who::default() },
        }
    }

    /// The connection, once TLS is agreed on; `None` is told in the log.
    pub(super) async fn secured(self) -> Option<By> {
        let (stream, acceptor, address) = match self {
            Self::Unix(stream) => return Some(By::Unix(stream)),
            Self::Tcp(stream, acceptor, address) => (stream, acceptor, address),
        };
        match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => return Some(By::Tls(Box::new(stream))),
            Ok(Err(error)) => tracing::warn!(%address, %error, "refused a connection"),
            Err(_) => tracing::warn!(%address, "refused a connection: it showed no certificate"),
        }
        None
    }
}

/// TCP with TLS.
pub(super) struct Tcp {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tcp").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// A unix socket with its lock; the file goes when this is dropped.
#[derive(Debug)]
pub(super) struct Own {
    listener: UnixListener,
    path: PathBuf,
    group: Option<Gid>,
    _lock: Lock,
}

/// Listens at `path`, which may be longer than a socket address (107 bytes).
///
/// # Errors
/// [`Error::Io`].
pub(super) fn own(path: &Path, group: Option<Gid>) -> Result<Own, Error> {
    let attempted = || format!("listen on {}", path.display());
    let invalid = || Error::io(attempted())(io::ErrorKind::InvalidInput.into());
    let (dir, name) = path.parent().zip(path.file_name()).ok_or_else(invalid)?;
    if !dir.exists() {
        super::dirs::private(dir, group)?;
    }
    let mut lock_name = name.to_owned();
    lock_name.push(".lock");
    let lock = lock::take(&dir.join(lock_name), &format!("the socket {}", path.display()))?;
    let listener = bind(path, dir, group).map_err(Error::io(attempted()))?;
    Ok(Own { listener, path: path.into(), group, _lock: lock })
}

/// Binds where nobody else comes, and moves the socket to its place once its mode is set.
fn bind(path: &Path, dir: &Path, group: Option<Gid>) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket"));
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let private = tempfile::Builder::new()
        .prefix(".sextantd-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(dir)?;
    let directory = std::fs::File::open(private.path())?;
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/s", directory.as_raw_fd()))?;
    let made = private.path().join("s");
    if group.is_some() {
        nix::unistd::chown(&made, None, group)?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(mode))?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(socket = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

impl Own {
    /// The next connection of who may connect.
    ///
    /// # Errors
    /// As accept(2).
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                // Who is of the group has passed the mode of the file, whatever its primary group is.
                Ok(peer) if self.group.is_some() || allowed(peer.uid()) => return Ok(stream),
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
        let socket = own(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(own(&path, None).unwrap_err().chain().contains("pid"));
        let (accepted, _stream) = tokio::join!(socket.accept(), crate::shims::client::connect(&path));
        accepted.unwrap();
        drop(socket);
        assert!(!path.exists());
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the lock stays: {left:?}");
        drop(std::os::unix::net::UnixListener::bind(base.path().join("stale")).unwrap());
        drop(own(&base.path().join("stale"), None).unwrap());
        std::fs::write(base.path().join("file"), "").unwrap();
        assert!(own(&base.path().join("file"), None).is_err());
    }

    #[tokio::test]
    async fn a_group_may_connect() {
        let base = tempfile::tempdir().unwrap();
        let group = nix::unistd::getegid();
        let path = base.path().join("d/s");
        let _socket = own(&path, Some(group)).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o710));
    }

    #[test]
    fn only_the_owner_and_root() {
        assert!(allowed(0) && allowed(nix::unistd::geteuid().as_raw()));
        assert!(!allowed(nix::unistd::geteuid().as_raw() + 1));
    }
}
