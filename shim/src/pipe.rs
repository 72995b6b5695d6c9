//! The reading end of a pipe under tokio. Reading what is there right now asks
//! the kernel, never tokio's idea of readiness, which may lag behind a child
//! that wrote and exited.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Bytes read at once.
pub(crate) const CHUNK: usize = 16 << 10;

/// The reading end of a pipe, not blocking.
#[derive(Debug)]
pub(crate) struct Pipe(AsyncFd<OwnedFd>);

impl Pipe {
    /// A new pipe: its reading end, and the writing end for a child. Both are
    /// closed on exec.
    ///
    /// # Errors
    /// Of pipe2(2), fcntl(2) or epoll_ctl(2).
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self(crate::sys::readable(read)?), write))
    }

    /// The next bytes, at most [`CHUNK`] of them; none at the end.
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// Of read(2).
    pub(crate) async fn read(&self) -> io::Result<Vec<u8>> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.read_now()? {
                Some(bytes) => return Ok(bytes),
                None => ready.clear_ready(),
            }
        }
    }

    /// What can be read without waiting, at most [`CHUNK`] bytes: `None` when
    /// there is nothing now, no bytes at the end.
    ///
    /// # Errors
    /// Of read(2).
    pub(crate) fn read_now(&self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; CHUNK];
        loop {
            match nix::unistd::read(&self.0, &mut bytes) {
                Ok(n) => {
                    bytes.truncate(n);
                    return Ok(Some(bytes));
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// How many bytes the kernel holds for this pipe at most (fcntl(2), `F_GETPIPE_SZ`).
    ///
    /// # Errors
    /// Of fcntl(2).
    pub(crate) fn capacity(&self) -> io::Result<usize> {
        usize::try_from(fcntl(&self.0, FcntlArg::F_GETPIPE_SZ)?).map_err(io::Error::other)
    }
}
