//! Writing to a process: its stdin pipe, or the master of its terminal. Clients
//! take turns, a piece at a time; a process that does not read keeps its writers
//! waiting, and nothing is kept for it here.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, watch};

/// The end to which is written.
#[derive(Debug)]
pub(crate) struct Stdin {
    end: AsyncFd<OwnedFd>,
    turn: Mutex<()>,
    closed: watch::Sender<bool>,
}

/// What became of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The process can read it.
    All,
    /// Nobody reads it any more.
    Closed,
}

impl Stdin {
    /// Of this end. Within a tokio runtime.
    ///
    /// # Errors
    /// Of fcntl(2) and epoll_ctl(2).
    pub(crate) fn new(end: OwnedFd) -> io::Result<Self> {
        fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let end = crate::sys::writable(end)?;
        Ok(Self { end, turn: Mutex::new(()), closed: watch::Sender::new(false) })
    }

    /// A new pipe: the writing end, and the reading end for a child.
    ///
    /// # Errors
    /// Of pipe2(2), and as [`Stdin::new`].
    pub(crate) fn pipe() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        Ok((Self::new(write)?, read))
    }

    /// Writes all of it, and waits for the process to read as far as that is needed.
    pub(crate) async fn write(&self, bytes: &[u8]) -> Written {
        let mut closed = self.closed.subscribe();
        let written = async {
            let _turn = self.turn.lock().await;
            self.write_in_turn(bytes).await
        };
        tokio::select! {
            written = written => written,
            _ = closed.wait_for(|closed| *closed) => Written::Closed,
        }
    }

    async fn write_in_turn(&self, mut bytes: &[u8]) -> Written {
        while !bytes.is_empty() {
            let Ok(mut ready) = self.end.writable().await else { return Written::Closed };
            match nix::unistd::write(&self.end, bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                // The process has closed it, or has ended.
                Err(_) => return Written::Closed,
            }
        }
        Written::All
    }

    /// Sends whoever writes away. The end itself is closed when nobody holds it any more.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_process_that_does_not_read_keeps_its_writers_waiting_until_it_is_closed() {
        let (stdin, read) = Stdin::pipe().unwrap();
        let stdin = Arc::new(stdin);
        assert_eq!(stdin.write(b"one").await, Written::All);
        let writer = Arc::clone(&stdin);
        let writer = tokio::spawn(async move { writer.write(&vec![b'x'; 1 << 20]).await });
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        stdin.close();
        assert_eq!(writer.await.unwrap(), Written::Closed);
        drop(stdin);
        let mut text = Vec::new();
        std::fs::File::from(read).read_to_end(&mut text).unwrap();
        assert!(text.starts_with(b"onex"));
    }

    #[tokio::test]
    async fn a_process_that_has_ended_reads_nothing() {
        let (stdin, read) = Stdin::pipe().unwrap();
        drop(read);
        assert_eq!(stdin.write(b"one").await, Written::Closed);
    }
}
