//! Signals that `run`, `exec` and `attach` hand on to the process they stand for.

use super::client::Client;
use super::error::{EXIT_SIGNAL_BASE, Error, Report};
use sextant_proto::v1::{KillExecRequest, KillRequest};
use std::fmt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::{Code, Status};

/// Interrupts after which we give up waiting for a container that ignores them.
const PATIENCE: u8 = 3;

/// A process that signals are handed on to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The container.
    pub container: String,
    /// An exec in it; `None`: its own process.
    pub exec: Option<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.exec {
            Some(exec) => write!(f, "exec {exec} of {}", self.container),
            None => f.write_str(&self.container),
        }
    }
}

impl Target {
    async fn kill(&self, client: &Client, signal: i32) -> Result<(), Status> {
        let container = self.container.clone();
        match self.exec.clone() {
            Some(exec) => {
                client.clone().execs.kill(KillExecRequest { container, exec, signal }).await.map(drop)
            }
            None => {
                let request = KillRequest { id: container, signal, all: false };
                client.clone().containers.kill(request).await.map(drop)
            }
        }
    }
}

/// The caught signals. From its creation on they do not end this process.
#[derive(Debug)]
pub struct Caught {
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    user1: Signal,
    user2: Signal,
}

impl Caught {
    /// Catches SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2.
    ///
    /// # Errors
    /// What sigaction(2) said.
    pub fn new() -> Result<Self, Error> {
        let catch = |kind| signal(kind).map_err(Error::io("catch signals"));
        Ok(Self {
            hangup: catch(SignalKind::hangup())?,
            interrupt: catch(SignalKind::interrupt())?,
            quit: catch(SignalKind::quit())?,
            terminate: catch(SignalKind::terminate())?,
            user1: catch(SignalKind::user_defined1())?,
            user2: catch(SignalKind::user_defined2())?,
        })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.hangup.recv() => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.user1.recv() => SignalKind::user_defined1(),
            _ = self.user2.recv() => SignalKind::user_defined2(),
        }
    }

    /// Hands every signal on to `target`; answers only with an error:
    /// when a signal cannot be sent, or after [`PATIENCE`] times SIGINT or
    /// SIGTERM, which a process that is pid 1 of its namespace ignores unless
    /// it handles them (pid_namespaces(7)).
    pub async fn forward(&mut self, client: &Client, target: &Target) -> Error {
        let mut interrupts = 0;
        loop {
            let kind = self.next().await;
            let number = kind.as_raw_value();
            match target.kill(client, number).await {
                Ok(()) => {}
                // It has exited, and its log is just being read to the end.
                Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {}
                Err(status) => {
                    return Report::request(format!("send signal {number} to {target}"), status).into();
                }
            }
            if kind == SignalKind::interrupt() || kind == SignalKind::terminate() {
                interrupts += 1;
            }
            if interrupts == PATIENCE {
                return gave_up(&target.container, number);
            }
        }
    }

    /// As [`Caught::forward`] with `proxy`; else the first signal ends us and not the target.
    pub async fn hand_on(&mut self, client: &Client, target: &Target, proxy: bool) -> Error {
        if proxy {
            return self.forward(client, target).await;
        }
        let number = self.next().await.as_raw_value();
        let because = format!("interrupted by signal {number}");
        let report = Report::other(format!("stay attached to {target}"), because, "it goes on");
        Error::from(report).exits(code(number))
    }

    /// Does `work`, whose name is `attempted`, unless a signal comes: there is
    /// no container any more that it could be meant for.
    ///
    /// # Errors
    /// What `work` says, or that it was interrupted.
    pub async fn unless_caught<T>(
        &mut self,
        attempted: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            done = work => done,
            kind = self.next() => {
                let number = kind.as_raw_value();
                let because = format!("interrupted by signal {number}");
                Err(Error::from(Report::other(attempted, because, "see sextant ps -a")).exits(code(number)))
            }
        }
    }
}

fn gave_up(id: &str, number: i32) -> Error {
    let hint = format!("if sextant ps still shows it, sextant stop {id} ends it");
    Error::from(Report::other(format!("interrupt {id}"), "it ignores the signal", hint)).exits(code(number))
}

/// 128 + `number`.
fn code(number: i32) -> u8 {
    u8::try_from(number).map_or(EXIT_SIGNAL_BASE, |number| EXIT_SIGNAL_BASE.saturating_add(number))
}
