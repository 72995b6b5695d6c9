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

/// Default of /proc/sys/fs/pipe-max-size (pipe(7)).
const MAX_CAPACITY: usize = 1 << 20;

/// Whether more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It may.
    Open,
    /// That was the end.
    Ended,
}

impl Flow {
    /// What these bytes say: a read of none is the end.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() { Self::Ended } else { Self::Open }
    }
}

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

    /// Hands over what is in the pipe now, until `take` says that no more will
    /// come. A pipe holds no more than its capacity, which bounds what was
    /// written before this call, and so the work of it.
    pub(crate) fn drain(&self, mut take: impl FnMut(&[u8]) -> Flow) {
        let mut left = self.capacity().unwrap_or(MAX_CAPACITY);
        while left > 0 {
            match self.read_now() {
                Ok(Some(bytes)) if take(&bytes) == Flow::Open => left = left.saturating_sub(bytes.len()),
                _ => return,
            }
        }
    }

    /// How many bytes the kernel holds for this pipe at most (fcntl(2), `F_GETPIPE_SZ`).
    ///
    /// # Errors
    /// Of fcntl(2).
    fn capacity(&self) -> io::Result<usize> {
        usize::try_from(fcntl(&self.0, FcntlArg::F_GETPIPE_SZ)?).map_err(io::Error::other)
    }
}
