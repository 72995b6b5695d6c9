//! A terminal that a test types into and looks at: tmux with a server of its own,
//! on a socket in the test's directory.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::process::{DEADLINE, until};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the shell in it says when it waits for a command.
const PROMPT: &str = "outside$ ";

/// A terminal of 80 by 24 characters with a shell in it; ended when it goes.
#[derive(Debug)]
pub struct Tmux {
    socket: PathBuf,
    /// Commands of [`Tmux::run`] so far, by which their ends are told apart.
    commands: Cell<u32>,
}

impl Tmux {
    /// Starts one; `None`, and a word of it, where there is no tmux.
    pub fn start(dir: &Path) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            crate::skip("there is no tmux");
            return None;
        }
        let tmux = Self { socket: dir.join("tmux"), commands: Cell::new(0) };
        let shell = format!("env -i PATH=\"$PATH\" TERM=screen LANG=C.UTF-8 PS1='{PROMPT}' /bin/sh");
        let started =
            tmux.ask(&["-u", "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", &shell]);
        assert!(started.status.success(), "start tmux: {}", String::from_utf8_lossy(&started.stderr));
        tmux.wait_for_prompt();
        Some(tmux)
    }

    /// Types a line.
    #[track_caller]
    pub fn line(&self, text: &str) {
        self.literally(text);
        self.keys(&["Enter"]);
    }

    /// Types a text.
    #[track_caller]
    pub fn literally(&self, text: &str) {
        self.must(&["send-keys", "-l", text]);
    }

    /// Types keys by their names in tmux(1).
    #[track_caller]
    pub fn keys(&self, names: &[&str]) {
        self.must(&[&["send-keys"], names].concat());
    }

    /// Gives the terminal another size.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        self.must(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What is to be seen, with what has scrolled away, without spaces at the ends of lines.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.ask(&["capture-pane", "-p", "-J", "-S", "-"]).stdout).into_owned()
    }

    /// What is to be seen now.
    pub fn visible(&self) -> String {
        String::from_utf8_lossy(&self.ask(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// What tmux knows of the terminal, such as `#{cursor_flag}` (tmux(1), "FORMATS").
    pub fn knows(&self, format: &str) -> String {
        let output = self.ask(&["display-message", "-p", format]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until `text` is to be seen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait_until(&format!("{text:?} is not on the screen"), |screen| screen.contains(text.trim_end()));
    }

    /// Waits until the shell outside waits for a command.
    #[track_caller]
    pub fn wait_for_prompt(&self) {
        self.wait_for_end(PROMPT);
    }

    /// Waits until what is to be seen ends with `text`.
    #[track_caller]
    pub fn wait_for_end(&self, text: &str) {
        if !until(DEADLINE, || self.visible().trim_end().ends_with(text.trim_end())) {
            panic!("{text:?} is not at the end of:\n{}", self.visible());
        }
    }

    /// Waits until what is to be seen is as wanted.
    #[track_caller]
    pub fn wait_until(&self, complaint: &str, wanted: impl Fn(&str) -> bool) {
        if !until(DEADLINE, || wanted(&self.screen())) {
            panic!("{complaint}:\n{}", self.screen());
        }
    }

    /// Runs a command in the shell outside, and waits for the end of it: what it has printed, and its code.
    #[track_caller]
    pub fn run(&self, command: &str) -> (String, i32) {
        self.wait_for_prompt();
        let mark = format!("code-{}:", self.commands.get());
        self.commands.set(self.commands.get() + 1);
        self.line(&format!("{command}; echo \"{mark}$?:\""));
        let printed = |screen: &str| {
            let (_, printed) = screen.split_once(&format!("{mark}$?:\"\n"))?;
            let (text, code) = printed.split_once(&mark)?;
            Some((text.to_owned(), code.split_once(':')?.0.parse().ok()?))
        };
        self.wait_until("the command does not end", |screen| printed(screen).is_some());
        printed(&self.screen()).expect("its end is on the screen")
    }

    #[track_caller]
    fn must(&self, args: &[&str]) {
        let output = self.ask(args);
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn ask(&self, args: &[&str]) -> Output {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket).args(args).env_remove("TMUX").output().expect("run tmux")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- the terminal\n{}", self.screen());
        }
        // Its server may have ended with its last shell.
        drop(self.ask(&["kill-server"]));
    }
}
