//! The user's side of a container's terminal, for `run` in the foreground: the
//! caller's own terminal is made raw for the while, and bytes go both ways.

use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A container's terminal and what the caller's looked like before.
#[derive(Debug)]
pub(super) struct Terminal {
    master: OwnedFd,
    saved: Option<Termios>,
}

/// Both ends of the way that a terminal's master takes.
///
/// # Errors
/// As socketpair(2).
pub(super) fn way() -> Outcome<(OwnedFd, OwnedFd)> {
    let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC);
    sys::named(pair, || "socketpair(AF_UNIX)".into()).attempt(|| "make a way for the terminal".into())
}

/// Takes the master that init has sent, if it has, and makes the caller's terminal raw.
///
/// # Errors
/// As recvmsg(2) and tcsetattr(3).
pub(super) fn receive(way: &OwnedFd) -> Outcome<Option<Terminal>> {
    let what = || "take the container's terminal".to_owned();
    let mut byte = [0; 64];
    let mut text = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let received = match recvmsg::<()>(way.as_raw_fd(), &mut text, Some(&mut space), flags) {
        Err(Errno::EAGAIN) => return Ok(None),
        result => sys::named(result, || "recvmsg(SCM_RIGHTS)".into()).attempt(what)?,
    };
    let messages = sys::named(received.cmsgs(), || "cmsgs".into()).attempt(what)?;
    let fd = messages
        .filter_map(|m| match m {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        })
        .next();
    let Some(fd) = fd else { return Ok(None) };
    Terminal::take(sys::file::adopt_fd(fd).attempt(what)?).map(Some)
}

impl Terminal {
    /// Takes this master, and makes the caller's terminal raw.
    ///
    /// # Errors
    /// As tcsetattr(3).
    pub(super) fn take(master: OwnedFd) -> Outcome<Self> {
        let mut terminal = Self { master, saved: None };
        terminal.resize();
        terminal.make_raw().attempt(|| "take the container's terminal".into())?;
        Ok(terminal)
    }

    /// The container's side, to be polled.
    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Gives the container's terminal the size of the caller's, if that is one.
    pub(super) fn resize(&self) {
        if let Some(size) = sys::file::terminal_size(std::io::stdin().as_fd()) {
            // The size is a courtesy: a terminal without one works.
            sys::file::set_terminal_size(self.master.as_fd(), size).ok();
        }
    }

    fn make_raw(&mut self) -> sys::Result<()> {
        let stdin = std::io::stdin();
        let Ok(saved) = tcgetattr(&stdin) else { return Ok(()) };
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        sys::named(tcsetattr(&stdin, SetArg::TCSANOW, &raw), || "tcsetattr(raw)".into())?;
        self.saved = Some(saved);
        Ok(())
    }

    /// Copies what the container has written; false when it has closed its side.
    pub(super) fn output(&self) -> Flow {
        let mut bytes = [0; 16 << 10];
        match nix::unistd::read(&self.master, &mut bytes) {
            Ok(0) => Flow::Ended,
            Ok(n) => {
                let mut stdout = std::io::stdout();
                let text = bytes.get(..n).unwrap_or_default();
                if stdout.write_all(text).and_then(|()| stdout.flush()).is_err() {
                    Flow::Ended
                } else {
                    Flow::Open
                }
            }
            Err(Errno::EINTR | Errno::EAGAIN) => Flow::Open,
            Err(_) => Flow::Ended, // EIO: no process has the slave open
        }
    }

    /// Copies what the user has typed.
    pub(super) fn input(&self) -> Flow {
        let mut bytes = [0; 4 << 10];
        match nix::unistd::read(std::io::stdin(), &mut bytes) {
            Ok(0) => {
                // The end of the input is ctrl-d for a terminal.
                nix::unistd::write(&self.master, &[4]).ok();
                Flow::Ended
            }
            Ok(n) => {
                let mut rest = bytes.get(..n).unwrap_or_default();
                while let Ok(written) = nix::unistd::write(&self.master, rest)
                    && written < rest.len()
                {
                    rest = rest.get(written..).unwrap_or_default();
                }
                Flow::Open
            }
            Err(Errno::EINTR | Errno::EAGAIN) => Flow::Open,
            Err(_) => Flow::Ended,
        }
    }

    /// Copies what is left after the container's exit.
    pub(super) fn drain(&self) -> Outcome<()> {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        sys::named(fcntl(&self.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)), || "fcntl(O_NONBLOCK)".into())
            .map_err(|e| refuse("drain the terminal", e.to_string()))?;
        let mut bytes = [0; 16 << 10];
        while let Ok(n) = nix::unistd::read(&self.master, &mut bytes)
            && n > 0
        {
            if std::io::stdout().write_all(bytes.get(..n).unwrap_or_default()).is_err() {
                break;
            }
        }
        std::io::stdout().flush().attempt(|| "drain the terminal".into())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // On the way out there is nothing better to do than to try.
            tcsetattr(std::io::stdin(), SetArg::TCSANOW, saved).ok();
        }
    }
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It can.
    Open,
    /// It has ended.
    Ended,
}
