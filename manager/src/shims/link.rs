//! The connection to one shim. It costs some 50 KiB on this side and as much in the shim, and most
//! containers are left alone for most of their lives: it is made when it is needed, and given up again.

use super::client::connect;
use crate::sys;
use hyper_util::rt::TokioIo;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tonic::transport::{Channel, Endpoint, Uri};

/// A process, by its pid and a descriptor that refers to it.
type Process = (i32, Arc<OwnedFd>);

/// How one shim is reached.
#[derive(Debug)]
pub(super) struct Link {
    socket: PathBuf,
    kept: Mutex<Kept>,
    /// Who listened when the last connection was made.
    peer: Arc<Mutex<Option<Process>>>,
}

#[derive(Debug, Default)]
struct Kept {
    channel: Option<Channel>,
    /// Since it was looked at the last time.
    used: bool,
}

impl Link {
    /// To whoever listens at `socket` when it is needed.
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.into(), kept: Mutex::default(), peer: Arc::default() }
    }

    /// Where the shim listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The connection that calls share; it is kept while it is used now and then.
    pub(super) fn shared(&self) -> Channel {
        let mut kept = self.kept();
        kept.used = true;
        kept.channel.get_or_insert_with(|| self.apart()).clone()
    }

    /// One that goes with the caller.
    pub(super) fn apart(&self) -> Channel {
        let (path, peer) = (self.socket.clone(), Arc::clone(&self.peer));
        let connector = tower::service_fn(move |_: Uri| {
            let (path, peer) = (path.clone(), Arc::clone(&peer));
            async move {
                let stream = connect(&path).await?;
                let pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
                let process = pid.and_then(|pid| Some((pid, Arc::new(sys::pidfd_open(pid).ok()?))));
                *peer.lock().unwrap_or_else(PoisonError::into_inner) = process;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        Endpoint::from_static("http://shim").connect_with_connector_lazy(connector)
    }

    /// The shared connection if there is one; otherwise one that goes with the caller.
    pub(super) fn present(&self) -> Channel {
        let kept = self.kept().channel.clone();
        kept.unwrap_or_else(|| self.apart())
    }

    /// Whether there is a shared connection.
    pub(super) fn is_kept(&self) -> bool {
        self.kept().channel.is_some()
    }

    /// Gives the shared connection up unless it was used since this was called the last time. Calls under
    /// way on it come to their end.
    pub(super) fn rest(&self) {
        let mut kept = self.kept();
        if !std::mem::take(&mut kept.used) {
            kept.channel = None;
        }
    }

    /// Gives the shared connection up. Calls under way on it come to their end.
    pub(super) fn leave(&self) {
        self.kept().channel = None;
    }

    /// The process that was connected to last. Its descriptor is older than an answer that comes now, and so
    /// refers to who has answered, and to no later process with its pid.
    pub(super) fn peer(&self) -> Option<Arc<OwnedFd>> {
        self.last().map(|(_, fd)| fd)
    }

    /// The same, if it is the process `pid`, which has just answered.
    pub(super) fn process(&self, pid: i32) -> Option<Arc<OwnedFd>> {
        self.last().filter(|(known, _)| *known == pid).map(|(_, fd)| fd)
    }

    fn last(&self) -> Option<Process> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_not_used_is_given_up() {
        let link = Link::new(Path::new("/nowhere/shim.sock"));
        drop(link.present());
        assert!(!link.is_kept(), "a question keeps none");
        drop(link.shared());
        link.rest();
        assert!(link.is_kept(), "it was used since");
        drop(link.present());
        link.rest();
        assert!(!link.is_kept());
        drop(link.shared());
        assert!(link.is_kept());
        link.leave();
        assert!(!link.is_kept());
    }
}
