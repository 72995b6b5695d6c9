//! Running a command to its end, with a deadline and its output in files.
//!
//! Files and not pipes: what `create` leaves waiting keeps its stdio open, and
//! a pipe would never come to its end.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::seen::Seen;
use serde_json::Value;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No command of a test takes longer.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Path of another runtime to test (`scripts/security`).
pub const OTHER: &str = "SEXTANT_RUNTIME";

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; 128 + N after signal N.
    pub code: i32,
    /// What it, and what it started, wrote so far.
    pub stdout: String,
    /// Likewise.
    pub stderr: String,
}

impl Ran {
    /// Asserts that it succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exited(0)
    }

    /// Asserts its exit code.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Asserts that it failed with a message that has all these words, whatever their case.
    /// Another runtime only has to fail: its words are its own.
    #[track_caller]
    pub fn failed_with(self, words: &[&str]) -> Self {
        if std::env::var_os(OTHER).is_some() {
            assert_ne!(self.code, 0, "it was not refused: {}", self.stdout);
            return self;
        }
        let text = self.stderr.to_lowercase();
        assert_eq!(self.code, 1, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        for word in words {
            assert!(text.contains(&word.to_lowercase()), "{word:?} is not in: {}", self.stderr);
        }
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        json_of(&self.stdout)
    }

    /// What the probe printed.
    #[track_caller]
    pub fn seen(&self) -> Seen {
        parse_seen(&self.stdout).unwrap_or_else(|e| {
            panic!("{e}: exit {}\nstdout: {}\nstderr: {}", self.code, self.stdout, self.stderr)
        })
    }
}

/// A text that is JSON.
#[track_caller]
pub fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The first line that is the probe's document.
///
/// # Errors
/// When no line is.
pub fn parse_seen(output: &str) -> Result<Seen, String> {
    let line = output.lines().find(|l| l.starts_with('{')).ok_or("the probe printed nothing")?;
    serde_json::from_str(line).map_err(|e| format!("what the probe printed: {e}"))
}

/// Runs `command` to its end. Its output goes to `stdout` and `stderr` in `dir`,
/// which are appended to; only what is new is given back.
#[track_caller]
pub fn run(command: &mut Command, dir: &Path) -> Ran {
    let out = Sink::open(dir, "stdout");
    let err = Sink::open(dir, "stderr");
    command.stdin(Stdio::null()).stdout(out.stdio()).stderr(err.stdio());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let status = wait(&mut child)
        .unwrap_or_else(|| panic!("{command:?} did not end\nstdout: {}\nstderr: {}", out.text(), err.text()));
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ran { code, stdout: out.text(), stderr: err.text() }
}

/// Waits for the end; `None` when it had to be killed at the deadline.
pub fn wait(child: &mut Child) -> Option<ExitStatus> {
    let mut status = None;
    let ended = until(DEADLINE, || {
        status = child.try_wait().expect("wait for a child");
        status.is_some()
    });
    if !ended {
        child.kill().expect("kill a child");
        child.wait().expect("wait for a killed child");
    }
    status
}

/// Asks again and again, until the answer is true or the time is over; gives the last answer.
pub fn until(time: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + time;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// A file for output, and where what is new in it begins.
struct Sink {
    path: PathBuf,
    begin: usize,
}

impl Sink {
    fn open(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        let begin = std::fs::read(&path).map_or(0, |bytes| bytes.len());
        Self { path, begin }
    }

    fn stdio(&self) -> Stdio {
        let file = File::options().create(true).append(true).open(&self.path);
        file.unwrap_or_else(|e| panic!("open {}: {e}", self.path.display())).into()
    }

    fn text(&self) -> String {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.begin..).unwrap_or_default()).into_owned()
    }
}
