//! Receiving the master of a terminal: the runtime makes it inside the container
//! and sends it over the socket that `--console-socket` names.

use crate::error::{Attempted, Error, Result};
use crate::listen::{self, Socket};
use crate::streams::{Ends, Stdin};
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the master may be on its way once the runtime has ended; it was sent before.
const ARRIVAL: Duration = Duration::from_secs(5);

/// A socket for one terminal.
#[derive(Debug)]
pub(crate) struct Console {
    socket: Socket,
}

impl Console {
    /// Listens as `name` in `dir`, in the place of whatever a killed shim has left there.
    ///
    /// # Errors
    /// Of unlink(2), bind(2) and listen(2).
    pub(crate) fn listen(dir: &Path, name: &str) -> Result<Self> {
        Ok(Self { socket: listen::replace(dir, name)? })
    }

    /// Where the runtime reaches it.
    pub(crate) fn path(&self) -> PathBuf {
        self.socket.path_for_others()
    }

    /// The master, once the runtime has ended: set to `size`, and written to where `stdin` is open.
    ///
    /// # Errors
    /// When nothing came, or something else than a terminal.
    pub(crate) async fn receive(self, stdin: bool, size: Option<(u16, u16)>) -> Result<Ends> {
        let attempted = || "receive the terminal from the runtime".to_owned();
        let master = tokio::time::timeout(ARRIVAL, self.master());
        let master = master.await.attempted(attempted)?.attempted(attempted)?;
        let master = master.ok_or_else(|| Error::new(attempted(), "nothing came"))?;
        if !std::io::IsTerminal::is_terminal(&master.as_fd()) {
            return Err(Error::new(attempted(), "what came is no terminal"));
        }
        if let Some((rows, columns)) = size {
            sys::resize(master.as_fd(), rows, columns).attempted(|| "set the size of the terminal".into())?;
        }
        let input = stdin.then(|| master.try_clone().and_then(Stdin::new)).transpose();
        Ok(Ends { stdin: input.attempted(|| "write to the terminal".into())?, terminal: Some(master) })
    }

    async fn master(&self) -> std::io::Result<Option<OwnedFd>> {
        let stream = self.socket.first().await?;
        stream.readable().await?;
        let received = sys::receive(stream.as_fd())?;
        Ok(received.into_iter().next().map(|(_, fd)| fd))
    }
}
