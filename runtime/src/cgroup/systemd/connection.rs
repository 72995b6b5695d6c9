//! A connection to a systemd manager: calls and their answers, and the end of jobs.
//! The bytes go over [`super::stream`], which has the deadline.

use super::address::{Address, Peer};
use super::message::{FIXED, Kind, Message};
use super::stream::{Stream, protocol};
use super::wire::{self, Target, Writer};
use std::collections::VecDeque;
use std::io::{Error, Result};

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
    stream: Stream,
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
        let mut stream = Stream::open(&address.socket)?;
        stream.authenticate()?;
        let mut connection = Self { stream, serial: 0, removed: VecDeque::new() };
        if address.peer == Peer::Bus {
            connection.join_bus()?;
        }
        Ok(connection)
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
        self.stream.send(&wire::call(serial, target, signature, body))?;
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
        self.stream.fill(&mut fixed)?;
        let broken = || protocol("it sent what is no message, or too long a one".into());
        let mut rest = vec![0; Message::rest_of(&fixed).ok_or_else(broken)?];
        self.stream.fill(&mut rest)?;
        Message::parse(&fixed, &rest).ok_or_else(broken)
    }
}
