//! What a command says when it cannot do its work. Errors are made where they
//! happen, carried up, and printed once, by [`super::main`], as
//!
//! ```text
//! sextant: WHAT WAS ATTEMPTED: BECAUSE OF WHAT
//!   stage: mount/3
//! hint: WHAT TO DO
//! ```
//!
//! How an answer of the daemon becomes these lines is in [`explain`].

mod explain;

use super::client::Address;
use super::output::{Colour, Paint};
use super::width::printable;
use nix::libc::{EACCES, EISDIR, ENOENT, ENOEXEC};
use sextant_proto::client;
use std::fmt;
use std::io;
use std::process::ExitCode;
use tonic_types::StatusExt;

/// Exit code after a failed request.
pub const EXIT_FAILURE: u8 = 1;
/// Exit code for a command line that makes no sense.
pub const EXIT_USAGE: u8 = 2;
/// `run` exits with this plus N after signal N, as a shell does.
pub const EXIT_SIGNAL_BASE: u8 = 128;
/// Exit code when a program cannot be executed, as a shell's.
pub const EXIT_NOT_EXECUTABLE: u8 = 126;
/// Exit code when there is no such program, as a shell's.
pub const EXIT_NO_PROGRAM: u8 = 127;
/// Exit code of `run` and `exec` when there is no exit code of a container, as Docker's.
pub const EXIT_RUN_FAILED: u8 = 125;

/// Why a command ends early.
#[derive(Debug)]
pub enum Error {
    /// Nobody reads our output any more (`| head`): no reason to complain.
    OutputClosed,
    /// What failed; one report for each container.
    Failed {
        /// At least one.
        reports: Vec<Report>,
        /// What to exit with.
        code: u8,
    },
}

/// One failure. Displays what was attempted; its source says why.
#[derive(Debug)]
pub struct Report {
    attempted: String,
    cause: Cause,
}

/// Why something failed.
#[derive(Debug)]
enum Cause {
    /// The daemon refused, or broke off.
    Request(Box<tonic::Status>),
    /// Nobody answers at the address.
    Connect { address: Address, source: io::Error },
    /// Our own input or output.
    Io(io::Error),
    /// Anything else, with a hint if there is one.
    Other { because: String, hint: String },
}

impl Report {
    /// `attempted` was asked of the daemon, which answered with `status`.
    pub fn request(attempted: impl Into<String>, status: tonic::Status) -> Self {
        Self { attempted: attempted.into(), cause: Cause::Request(Box::new(status)) }
    }

    /// `attempted` failed because of `because`; `hint` may be empty.
    pub fn other(attempted: impl Into<String>, because: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            attempted: attempted.into(),
            cause: Cause::Other { because: because.into(), hint: hint.into() },
        }
    }

    /// The text for a person, newline at its end.
    pub fn render(&self, paint: Paint) -> String {
        let why = match &self.cause {
            Cause::Request(status) => explain::status(status),
            Cause::Connect { address, source } => explain::connect(address, source),
            Cause::Io(error) => explain::Why { because: error.to_string(), ..Default::default() },
            Cause::Other { because, hint } => {
                explain::Why { because: because.clone(), hint: hint.clone(), ..Default::default() }
            }
        };
        let name = paint.colour(Colour::Red, "sextant:");
        let mut text = format!("{name} {}\n", printable(&self.sentence(&why.because)));
        for (key, value) in &why.details {
            text += &format!("  {}: {}\n", paint.colour(Colour::Dim, &printable(key)), printable(value));
        }
        if !why.hint.is_empty() {
            text += &format!("{} {}\n", paint.colour(Colour::Green, "hint:"), printable(&why.hint));
        }
        text
    }
}

impl Report {
    /// What was attempted and because of what; the latter alone when the daemon
    /// says itself what was attempted: `start a`, `start container "a": …`.
    fn sentence(&self, because: &str) -> String {
        let verb = self.attempted.split(' ').next().unwrap_or_default();
        if because.starts_with(&format!("{verb} container ")) {
            return because.to_owned();
        }
        format!("{}: {because}", self.attempted)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempted)
    }
}

impl std::error::Error for Report {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Request(status) => Some(status),
            Cause::Connect { source, .. } | Cause::Io(source) => Some(source),
            Cause::Other { .. } => None,
        }
    }
}

impl From<Report> for Error {
    fn from(report: Report) -> Self {
        Self::Failed { reports: vec![report], code: EXIT_FAILURE }
    }
}

impl Error {
    /// Turns a refused request into an error, for `map_err`.
    pub fn request(attempted: impl Into<String>) -> impl FnOnce(tonic::Status) -> Self {
        let attempted = attempted.into();
        |status| Report::request(attempted, status).into()
    }

    /// Turns what a client's function says into an error, for `map_err`.
    pub fn client(attempted: impl Into<String>) -> impl FnOnce(client::Error) -> Self {
        let attempted = attempted.into();
        |error| match error {
            client::Error::Connect { address, source } => Self::connect(address, source),
            other => Report::request(attempted, other.into_status()).into(),
        }
    }

    /// The same failure, of a process that could not be executed: its exit code is 127 when there
    /// is no such program, 126 when it is none, else [`EXIT_RUN_FAILED`].
    #[must_use]
    pub fn of_process(self) -> Self {
        let errno = match &self {
            Self::Failed { reports, .. } => reports.first().and_then(|report| match &report.cause {
                Cause::Request(status) => exec_errno(status),
                _ => None,
            }),
            Self::OutputClosed => None,
        };
        self.exits(match errno {
            Some(ENOENT) => EXIT_NO_PROGRAM,
            Some(EACCES | ENOEXEC | EISDIR) => EXIT_NOT_EXECUTABLE,
            _ => EXIT_RUN_FAILED,
        })
    }

    /// Turns a failed system call into an error, for `map_err`.
    pub fn io(attempted: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempted = attempted.into();
        |error| Report { attempted, cause: Cause::Io(error) }.into()
    }

    /// The daemon at `address` could not be reached.
    pub fn connect(address: Address, source: io::Error) -> Self {
        Report { attempted: "reach sextantd".into(), cause: Cause::Connect { address, source } }.into()
    }

    /// Standard output or error could not be written.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::io("write the output")(error),
        }
    }

    /// A value could not be written as JSON.
    pub fn encode(error: serde_json::Error) -> Self {
        Self::io("write the answer as JSON")(error.into())
    }

    /// The same failure with another exit code.
    #[must_use]
    pub fn exits(self, code: u8) -> Self {
        match self {
            Self::OutputClosed => self,
            Self::Failed { reports, .. } => Self::Failed { reports, code },
        }
    }

    /// The text for a person; empty when there is nothing to say.
    pub fn render(&self, paint: Paint) -> String {
        match self {
            Self::OutputClosed => String::new(),
            Self::Failed { reports, .. } => reports.iter().map(|report| report.render(paint)).collect(),
        }
    }

    /// What to exit with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::OutputClosed => ExitCode::SUCCESS,
            Self::Failed { code, .. } => ExitCode::from(*code),
        }
    }
}

/// The errno of execve(2), when it is that which failed.
fn exec_errno(status: &tonic::Status) -> Option<i32> {
    let info = status.get_details_error_info()?;
    let metadata = |key: &str| info.metadata.get(key).map(String::as_str);
    if metadata("stage") != Some("exec") {
        return None;
    }
    match (metadata("errno"), metadata("pointer")) {
        (Some(errno), _) => errno.parse().ok(),
        // It was searched for, and is nowhere.
        (None, Some("/process/args/0")) => Some(ENOENT),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_why_and_what_to_do() {
        let report = Report::other("stop a", "it is gone", "look at ps");
        assert_eq!(report.render(Paint::Plain), "sextant: stop a: it is gone\nhint: look at ps\n");
        assert_eq!(Report::other("stop a", "x", "").render(Paint::Plain), "sextant: stop a: x\n");
    }

    #[test]
    fn what_was_attempted_is_said_once() {
        let text =
            |message: &str| Report::request("start a", tonic::Status::internal(message)).render(Paint::Plain);
        assert_eq!(text("start container \"a\": x"), "sextant: start container \"a\": x\n");
        assert_eq!(text("stop container \"a\": x"), "sextant: start a: stop container \"a\": x\n");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = Error::output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.render(Paint::Plain), "");
        let full = Error::output(io::ErrorKind::StorageFull.into());
        assert!(full.render(Paint::Plain).starts_with("sextant: write the output: "));
    }

    #[test]
    fn texts_of_others_cannot_steer_the_terminal() {
        let text = Report::other("stop \x1b[2J", "a\nb", "").render(Paint::Plain);
        assert_eq!(text, "sextant: stop \\u{1b}[2J: a\\nb\n");
    }
}
