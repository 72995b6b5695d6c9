//! The reading end of a pipe under tokio. Reading what is there right now asks
//! the kernel, never tokio's idea of readiness, which may lag behind a child
//! that wrote and exited.

use crate::hand::Hand;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use tokio::io::unix::AsyncFd;

/// Bytes read at once.
pub(crate) const CHUNK: usize = 16 << 10;

/// Default of /proc/sys/fs/pipe-max-size (pipe(7)).
const MAX_CAPACITY: usize = 1 << 20;

/// Which pipe, and where this process has its reading end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeEnd {
    /// Number of the descriptor.
    pub(crate) fd: i32,
    /// Number of the pipe, which no other pipe has (`st_ino`).
    pub(crate) inode: u64,
}

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
        let (read, write) = make()?;
        Ok((Self(crate::sys::readable(read)?), write))
    }

    /// Of a reading end that another process has handed over, or the master of a terminal.
    ///
    /// # Errors
    /// Of fcntl(2) or epoll_ctl(2).
    pub(crate) fn of(end: OwnedFd) -> io::Result<Self> {
        fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self(crate::sys::readable(end)?))
    }

    /// Whether it is a terminal, whose end is an error (EIO) and may come late.
    pub(crate) fn is_terminal(&self) -> bool {
        std::io::IsTerminal::is_terminal(&self.0.get_ref().as_fd())
    }

    /// Another reading end of the pipe with this `inode`, to which the process
    /// `pid` writes as its descriptor `fd`; `None` when it writes elsewhere
    /// (any more). What it writes to instead is never opened.
    ///
    /// # Errors
    /// Of open(2), fstat(2) or epoll_ctl(2).
    pub(crate) fn reopen(pid: i32, fd: i32, inode: u64) -> io::Result<Option<Self>> {
        let by =
            |path: String, flags: OFlag| OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
        let found = by(format!("/proc/{pid}/fd/{fd}"), OFlag::O_PATH)?;
        let metadata = found.metadata()?;
        if !metadata.file_type().is_fifo() || metadata.ino() != inode {
            return Ok(None);
        }
        let end = by(format!("/proc/self/fd/{}", found.as_raw_fd()), OFlag::O_NONBLOCK)?;
        Ok(Some(Self(crate::sys::readable(end.into())?)))
    }

    /// Which pipe this is.
    ///
    /// # Errors
    /// Of fstat(2).
    pub(crate) fn end(&self) -> io::Result<PipeEnd> {
        let inode = nix::sys::stat::fstat(&self.0)?.st_ino;
        Ok(PipeEnd { fd: self.0.as_raw_fd(), inode })
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

    /// The same into what is in the hand of the shim: how many bytes; none at the end.
    ///
    /// # Errors
    /// Of read(2).
    pub(crate) async fn read_to(&self, hand: &mut Hand) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match hand.read(self)? {
                Some(count) => return Ok(count),
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
        read_now(self.0.as_fd())
    }

    /// Fills as much of `bytes` as can be read without waiting: how much; `None` when
    /// there is nothing now, none at the end.
    ///
    /// # Errors
    /// Of read(2).
    pub(crate) fn read_into(&self, bytes: &mut [u8]) -> io::Result<Option<usize>> {
        read_into(self.0.as_fd(), bytes)
    }

    /// How many bytes can be read now (ioctl(2), `FIONREAD`).
    ///
    /// # Errors
    /// Of ioctl(2).
    pub(crate) fn readable_bytes(&self) -> io::Result<usize> {
        crate::sys::readable_bytes(self.0.as_fd())
    }

    /// Hands over what is in the pipe now, until `take` says that no more will
    /// come. A pipe holds no more than its capacity, which bounds what was
    /// written before this call, and so the work of it.
    pub(crate) fn drain(&self, take: impl FnMut(&[u8]) -> Flow) {
        drain(self.0.as_fd(), take);
    }

    /// How many bytes the kernel holds for this pipe at most (fcntl(2), `F_GETPIPE_SZ`), or the most
    /// of any where it does not say.
    pub(crate) fn capacity(&self) -> usize {
        capacity(self.0.as_fd())
    }
}

/// The reading end of a pipe into which one looks now and then: no write wakes this process.
#[derive(Debug)]
pub(crate) struct Still(OwnedFd);

impl Still {
    /// A new pipe, as [`Pipe::new`].
    ///
    /// # Errors
    /// Of pipe2(2) or fcntl(2).
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = make()?;
        Ok((Self(read), write))
    }

    /// As [`Pipe::drain`].
    pub(crate) fn drain(&self, take: impl FnMut(&[u8]) -> Flow) {
        drain(self.0.as_fd(), take);
    }
}

/// A pipe whose reading end does not block; both ends are closed on exec.
fn make() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}

fn read_into(end: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match nix::unistd::read(end, bytes) {
            Ok(count) => return Ok(Some(count)),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn read_now(end: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; CHUNK];
    Ok(read_into(end, &mut bytes)?.map(|count| {
        bytes.truncate(count);
        bytes
    }))
}

fn drain(end: BorrowedFd<'_>, mut take: impl FnMut(&[u8]) -> Flow) {
    let mut left = capacity(end);
    while left > 0 {
        match read_now(end) {
            Ok(Some(bytes)) if take(&bytes) == Flow::Open => left = left.saturating_sub(bytes.len()),
            _ => return,
        }
    }
}

fn capacity(end: BorrowedFd<'_>) -> usize {
    let size = fcntl(end, FcntlArg::F_GETPIPE_SZ).ok();
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(MAX_CAPACITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn a_pipe_is_found_again_by_its_writer_and_its_number() {
        let (first, write) = Pipe::new().unwrap();
        let inode = first.end().unwrap().inode;
        let pid = i32::try_from(std::process::id()).unwrap();
        std::fs::File::from(write.try_clone().unwrap()).write_all(b"kept").unwrap();
        let again = Pipe::reopen(pid, write.as_raw_fd(), inode).unwrap().unwrap();
        drop(first);
        assert_eq!(again.read().await.unwrap(), b"kept");
        assert!(Pipe::reopen(pid, write.as_raw_fd(), inode + 1).unwrap().is_none(), "another pipe");
        let file = tempfile::tempfile().unwrap();
        assert!(Pipe::reopen(pid, file.as_raw_fd(), inode).unwrap().is_none(), "no pipe");
    }
}
