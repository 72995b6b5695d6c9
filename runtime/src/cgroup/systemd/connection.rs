//! A connection to a systemd manager: the greeting (D-Bus specification,
//! "Authentication Protocol", EXTERNAL: the kernel says who one is), calls and
//! their answers, and the end of jobs. One deadline stands over all of it.

use super::address::{Address, Peer};
use super::message::{FIXED, Kind, Message};
use super::wire::{self, Target, Writer};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a whole operation may take: a unit is started or stopped in
/// milliseconds, but the manager may be busy with a boot.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Longest line of the greeting.
const LINE: usize = 1024;

/// Most ends of jobs that are kept while an answer is waited for.
const KEPT: usize = 256;

/// What went wrong with a call.
#[derive(Debug)]
pub(super) enum Fault {
    /// The manager's own refusal: its name, and a sentence.
    Refused { name: String, text: String },
    /// The connection.
    Broken(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// The end of a job.
#[derive(Debug)]
struct Removed {
    job: String,
    result: String,
}

/// An authenticated connection.
#[derive(Debug)]
pub(in crate::cgroup) struct Connection {
    stream: UnixStream,
    deadline: Instant,
    serial: u32,
    removed: VecDeque<Removed>,
}

const SYSTEMD: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";

impl Connection {
    /// Connects, and makes itself known.
    pub(super) fn open(address: &Address) -> std::result::Result<Self, Fault> {
        let deadline = Instant::now() + PATIENCE;
        let mut connection = Self { stream: dial(address)?, deadline, serial: 0, removed: VecDeque::new() };
        connection.authenticate()?;
        if address.peer == Peer::Bus {
            connection.join_bus()?;
        }
        Ok(connection)
    }

    /// All in one write; the answers come in one or several reads.
    fn authenticate(&mut self) -> Result<()> {
        // Without an id in the first line the peer takes the one that the kernel tells.
        self.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        match (self.line()?.as_str(), self.line()?.split(' ').next()) {
            ("DATA", Some("OK")) => Ok(()),
            (first, _) => Err(protocol(format!("it does not take EXTERNAL authentication: {first}"))),
        }
    }

    /// A bus daemon wants a greeting, and passes on only what is asked for.
    fn join_bus(&mut self) -> std::result::Result<(), Fault> {
        let bus = |member| Target { destination: BUS, path: "/org/freedesktop/DBus", interface: BUS, member };
        self.call(bus("Hello"), "", Writer::default())?;
        let mut rule = Writer::default();
        rule.text(&format!("type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'"));
        self.call(bus("AddMatch"), "s", rule)?;
        self.manager("Subscribe", "", Writer::default()).map(drop)
    }

    /// Calls a method of the manager.
    pub(super) fn manager(
        &mut self,
        member: &str,
        signature: &str,
        body: Writer,
    ) -> std::result::Result<Message, Fault> {
        let target = Target { destination: SYSTEMD, path: OBJECT, interface: MANAGER, member };
        self.call(target, signature, body)
    }

    /// A property of the manager that is a string.
    pub(super) fn property(&mut self, name: &str) -> std::result::Result<String, Fault> {
        let interface = "org.freedesktop.DBus.Properties";
        let mut body = Writer::default();
        body.text(MANAGER);
        body.text(name);
        let target = Target { destination: SYSTEMD, path: OBJECT, interface, member: "Get" };
        let answer = self.call(target, "ss", body)?;
        let mut reader = answer.body();
        let value = reader.signature().filter(|s| s == "s").and_then(|_| reader.text());
        Ok(value.ok_or_else(|| protocol(format!("the property {name} is not a string")))?)
    }

    /// Waits for the end of a job that a method has begun; gives its result.
    pub(super) fn finished(&mut self, begun: &Message) -> Result<String> {
        let Some(job) = begun.body().text() else {
            return Err(protocol("there is no job in the answer".into()));
        };
        loop {
            if let Some(removed) = self.removed.iter().find(|removed| removed.job == job) {
                return Ok(removed.result.clone());
            }
            let message = self.hear()?;
            self.keep(&message);
        }
    }

    fn call(
        &mut self,
        target: Target<'_>,
        signature: &str,
        body: Writer,
    ) -> std::result::Result<Message, Fault> {
        self.serial += 1;
        let serial = self.serial;
        self.send(&wire::call(serial, target, signature, body))?;
        loop {
            let message = self.hear()?;
            match message.kind {
                Kind::Return if message.reply_to == Some(serial) => return Ok(message),
                Kind::Error if message.reply_to == Some(serial) => {
                    let text = message.body().text().unwrap_or_default();
                    return Err(Fault::Refused { name: message.error, text });
                }
                _ => self.keep(&message),
            }
        }
    }

    /// A job may end before the answer that names it is read.
    fn keep(&mut self, message: &Message) {
        if message.kind != Kind::Signal || message.member != "JobRemoved" {
            return;
        }
        let mut body = message.body();
        if let (Some(_id), Some(job), Some(_unit), Some(result)) =
            (body.u32(), body.text(), body.text(), body.text())
        {
            if self.removed.len() == KEPT {
                self.removed.pop_front();
            }
            self.removed.push_back(Removed { job, result });
        }
    }

    fn hear(&mut self) -> Result<Message> {
        let mut fixed = [0; FIXED];
        self.fill(&mut fixed)?;
        let broken = || protocol("it sent what is no message, or too long a one".into());
        let mut rest = vec![0; Message::rest_of(&fixed).ok_or_else(broken)?];
        self.fill(&mut rest)?;
        Message::parse(&fixed, &rest).ok_or_else(broken)
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

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes).map_err(late)
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(bytes) {
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
fn dial(address: &Address) -> Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::milliseconds(i64::try_from(PATIENCE.as_millis()).unwrap_or(i64::MAX));
    setsockopt(&fd, sockopt::SendTimeout, &limit)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(&address.socket)?)?;
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

fn protocol(text: String) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}
