//! The bytes of a connection: the socket, the greeting (D-Bus specification,
//! "Authentication Protocol", EXTERNAL: the kernel says who one is), and one deadline
//! over all that is sent and read.

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a whole operation may take: a unit is started or stopped in
/// milliseconds, but the manager may be busy with a boot.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest line of the greeting.
const LINE: usize = 1024;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Stream {
    socket: UnixStream,
    deadline: Instant,
}

impl Stream {
    /// Connects; the time runs from now on.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        Ok(Self { socket: dial(path)?, deadline })
    }

    /// All in one write; the answers come in one or several reads.
    pub(super) fn authenticate(&mut self) -> Result<()> {
        // Without an id in the first line the peer takes the one that the kernel tells.
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        match (self.line()?.as_str(), self.line()?.split(' ').next()) {
            ("DATA", Some("OK")) => Ok(()),
            (first, _) => Err(protocol(format!("it does not take EXTERNAL authentication: {first}"))),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.fill(&mut byte)?;
            line.extend(byte);
            if line.len() > LINE {
                return Err(protocol("its greeting is too long".into()));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write_all(bytes).map_err(late)
    }

    pub(super) fn fill(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.socket.set_read_timeout(Some(self.left()?))?;
            match self.socket.read(bytes) {
                Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "it closed the connection")),
                Ok(count) => bytes = bytes.get_mut(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(late(error)),
            }
        }
        Ok(())
    }

    /// What is left of the time; never nothing, which would be no limit.
    fn left(&self) -> Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(late(ErrorKind::TimedOut.into())) } else { Ok(left) }
    }
}

/// connect(2) waits where a listener's queue is full, no longer than a write may.
fn dial(path: &Path) -> Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::milliseconds(i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX));
    setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

fn late(error: Error) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            Error::new(ErrorKind::TimedOut, format!("systemd did not answer within {} s", PATIENCE.as_secs()))
        }
        _ => error,
    }
}

/// The peer does not keep to the protocol.
pub(super) fn protocol(text: String) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}
