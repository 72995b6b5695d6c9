//! This program in the place of a process: what is typed goes to it, what it
//! writes comes here, its terminal has the size of ours, and it ends as it does.
//! A daemon that is restarted meanwhile is waited for, and output goes on where it
//! was, as far as the shim keeps it.

pub(super) mod keyboard;
pub(super) mod raw;

pub use raw::stdin_is_terminal;

use super::client::Client;
use super::detach::{DetachKeys, Matcher};
use super::error::{Error, Report};
use super::output;
use super::signals::{Caught, Target};
use super::view::Exit;
use keyboard::Keyboard;
use raw::Raw;
use sextant_proto::client::{self, Heard, Input, Output, Patience};
use sextant_proto::v1::attach_open::From;
use sextant_proto::v1::log_entry::Stream;
use sextant_proto::v1::{AttachOpen, GetRequest, SlowClient, WindowSize};
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::Status;

/// Exit code after an exec whose time was over, as timeout(1)'s.
pub const EXIT_TIMED_OUT: u8 = 124;

/// How we attach.
#[derive(Debug)]
pub struct Plan {
    /// To what.
    pub target: Target,
    /// Whether our stdin is handed on.
    pub stdin: bool,
    /// Whether the process has a terminal.
    pub tty: bool,
    /// Whether signals are handed on to a process without a terminal.
    pub sig_proxy: bool,
    /// What detaches.
    pub detach_keys: DetachKeys,
    /// What becomes of output that we do not read.
    pub slow: SlowClient,
    /// So many of the last bytes come first; `None`: all that are kept.
    pub replay: Option<u64>,
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// The process has.
    Exited {
        /// How.
        exit: Exit,
        /// Because its time was over.
        timed_out: bool,
    },
    /// The process goes on.
    Detached,
}

impl Ended {
    /// The process's own code; 128 + N after signal N; 124 when its time was over; 0 detached.
    ///
    /// # Errors
    /// When nobody knows how it ended.
    pub fn code(&self, what: &str) -> Result<ExitCode, Error> {
        let Self::Exited { exit, timed_out } = self else { return Ok(ExitCode::SUCCESS) };
        if *timed_out {
            return Ok(ExitCode::from(EXIT_TIMED_OUT));
        }
        match exit.shell_code().map(u8::try_from) {
            Some(Ok(code)) => Ok(ExitCode::from(code)),
            _ => {
                let because =
                    exit.unknown.clone().unwrap_or_else(|| format!("{} is no exit code", exit.summary()));
                Err(Report::other(format!("tell the exit code of {what}"), because, "").into())
            }
        }
    }
}

/// Attaches, does `begin` once that is done, and stays until the process has ended or the keys
/// that detach were typed. Signals that are `caught` go to the process, or end us.
///
/// # Errors
/// What the daemon says, what `begin` says, or that output cannot be written.
pub async fn attach(
    client: &Client,
    plan: &Plan,
    caught: &mut Caught,
    begin: impl AsyncFnOnce() -> Result<(), Error>,
) -> Result<Ended, Error> {
    let mut session = Session::new(plan)?;
    let (mut patience, mut begin) = (Patience::default(), Some(begin));
    loop {
        let lost = match client.attach(session.open(), plan.tty.then(size).flatten()).await {
            Err(error) => error,
            // Whatever the process writes from here on will be heard.
            Ok((input, heard)) => {
                patience = Patience::default();
                session.takes_input = heard.attached.stdin;
                if let Some(begin) = begin.take() {
                    begin().await?;
                }
                let raw = session.raw()?;
                let after = session.run(client, heard, input, caught).await;
                if raw.is_some() && !matches!(after, Ok(After::Ended(Ended::Exited { .. }))) {
                    drop(raw);
                    // Whatever comes next is not to stand in a line of the process.
                    output::write_all(std::io::stderr().lock(), b"\n")?;
                }
                match after? {
                    After::Ended(ended) => return Ok(ended),
                    After::Lost(error) => error,
                }
            }
        };
        patience.wait(lost).await.map_err(Error::client(format!("attach to {}", plan.target)))?;
    }
}

/// What became of one connection.
enum After {
    Ended(Ended),
    Lost(client::Error),
}

struct Session<'a> {
    plan: &'a Plan,
    keyboard: Option<Keyboard>,
    matcher: Matcher,
    resized: Signal,
    /// Where output goes on, once some came.
    offset: Option<u64>,
    takes_input: bool,
}

impl<'a> Session<'a> {
    fn new(plan: &'a Plan) -> Result<Self, Error> {
        let resized = signal(SignalKind::window_change()).map_err(Error::io("catch signals"))?;
        Ok(Self {
            plan,
            keyboard: None,
            matcher: Matcher::new(&plan.detach_keys),
            resized,
            offset: None,
            takes_input: false,
        })
    }

    /// To what, and from where on.
    fn open(&self) -> AttachOpen {
        let from = match (self.offset, self.plan.replay) {
            (Some(offset), _) => Some(From::FromOffset(offset)),
            (None, Some(bytes)) => Some(From::ReplayBytes(bytes)),
            (None, None) => None,
        };
        AttachOpen {
            container: self.plan.target.container.clone(),
            exec: self.plan.target.exec.clone().unwrap_or_default(),
            slow: self.plan.slow.into(),
            from,
            no_output: false,
        }
    }

    /// Our terminal becomes raw where the process has one of its own and reads ours.
    fn raw(&self) -> Result<Option<Raw>, Error> {
        let keys = self.plan.tty && self.plan.stdin && self.takes_input && stdin_is_terminal();
        keys.then(Raw::enter).transpose()
    }

    /// Until the process has ended, we are detached, or the connection is lost.
    async fn run(
        &mut self,
        client: &Client,
        heard: Output,
        input: Input,
        caught: &mut Caught,
    ) -> Result<After, Error> {
        if self.plan.stdin && self.takes_input && self.keyboard.is_none() {
            self.keyboard = Some(Keyboard::new());
        }
        let Self { plan, keyboard, matcher, resized, offset, .. } = self;
        let proxy = plan.sig_proxy && !plan.tty;
        tokio::select! {
            after = listen(heard, offset, plan) => after,
            () = typed(client, keyboard, matcher, &input, plan) => Ok(After::Ended(Ended::Detached)),
            () = sizes(resized, &input, plan) => Ok(After::Ended(Ended::Detached)),
            error = caught.hand_on(client, &plan.target, proxy) => Err(error),
        }
    }
}

/// Writes what the process writes, until it has ended or the connection is lost.
async fn listen(mut process: Output, offset: &mut Option<u64>, plan: &Plan) -> Result<After, Error> {
    loop {
        match process.next().await {
            Ok(Some(Heard::Output(piece))) => {
                let length = u64::try_from(piece.data.len()).unwrap_or(u64::MAX);
                *offset = Some(piece.offset.saturating_add(length));
                match piece.stream() {
                    Stream::Stderr => output::write_all(std::io::stderr().lock(), &piece.data)?,
                    Stream::Stdout | Stream::Unspecified => {
                        output::write_all(std::io::stdout().lock(), &piece.data)?;
                    }
                }
            }
            Ok(Some(Heard::Dropped(bytes))) => {
                // On the terminal of a program it would be in the way.
                if !plan.tty {
                    let words = format!("sextant: {bytes} bytes of output are missing here\n");
                    output::write_all(std::io::stderr().lock(), words.as_bytes())?;
                }
            }
            Ok(Some(Heard::Ended(over))) => {
                let exit = over.exit.unwrap_or_default().into();
                return Ok(After::Ended(Ended::Exited { exit, timed_out: over.timed_out }));
            }
            Ok(None) => {
                let status = Status::unavailable("the stream ended without an exit");
                return Ok(After::Lost(status.into()));
            }
            Err(error) => return Ok(After::Lost(error)),
        }
    }
}

/// Hands on what is typed. Returns when the keys that detach were.
async fn typed(
    client: &Client,
    keyboard: &mut Option<Keyboard>,
    matcher: &mut Matcher,
    input: &Input,
    plan: &Plan,
) {
    let Some(keys) = keyboard else { return std::future::pending().await };
    while let Some(piece) = keys.next().await {
        // What is piped in is not typed.
        let (pass, detached) = match plan.tty {
            true => {
                let typed = matcher.feed(&piece);
                (typed.pass, typed.detached)
            }
            false => (piece, false),
        };
        let last_words = detached && !pass.is_empty();
        if !pass.is_empty() {
            input.stdin(pass).await;
        }
        if last_words {
            // An answer to something else says that what was typed before has left as well.
            drop(
                client
                    .clone()
                    .containers
                    .get(GetRequest { id: plan.target.container.clone(), ..Default::default() })
                    .await,
            );
        }
        if detached {
            return;
        }
    }
    *keyboard = None;
    if !plan.tty {
        input.close_stdin().await;
    }
    std::future::pending().await
}

/// Hands on each new size of our terminal.
async fn sizes(resized: &mut Signal, input: &Input, plan: &Plan) {
    while plan.tty && resized.recv().await.is_some() {
        if let Some(size) = size() {
            input.resize(size).await;
        }
    }
    std::future::pending().await
}

/// The size of our terminal, where we have one.
pub fn size() -> Option<WindowSize> {
    let (rows, columns) = crate::sys::terminal_size()?;
    Some(WindowSize { rows: rows.into(), columns: columns.into() })
}

/// Refuses `-it` without a terminal to type on, as Docker does.
///
/// # Errors
/// That.
pub fn check_terminal(interactive: bool, tty: bool) -> Result<(), Error> {
    if interactive && tty && !stdin_is_terminal() {
        let hint = "leave -t away to hand on a pipe or a file";
        return Err(Report::other("attach a terminal", "our stdin is none", hint).into());
    }
    Ok(())
}
