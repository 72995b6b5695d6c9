//! One verb a file. Each takes what was typed, and gives the exit status.

pub mod checkpoint;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod explain;
pub mod features;
pub mod kill;
pub mod list;
pub mod pause;
pub mod pin;
pub mod ps;
pub mod quantity;
mod resctrl;
pub mod restore;
pub mod resume;
pub mod run;
pub mod spec;
pub mod start;
pub mod state;
mod terminal;
pub mod update;

use crate::contract::ExitCode;
use crate::report::{Outcome, Reporter, refuse};
use crate::seal::Mount;
use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;

/// What every command gets.
#[derive(Debug)]
pub struct Context {
    /// Where states are kept.
    pub root: PathBuf,
    /// criu(8), by path or by its name in `PATH`.
    pub criu: PathBuf,
    /// Who may do without a cgroup (`--rootless`).
    pub may_lack: crate::cgroup::plan::MayLack,
    /// Who makes cgroups (`--systemd-cgroup`).
    pub driver: crate::cgroup::Driver,
    /// For the stages.
    pub report: Reporter,
    /// Closed when the container's process has been told to go on.
    pub sealed: RefCell<Option<Mount>>,
}

/// Prints to stdout. A reader that has gone away is no error of the command.
///
/// # Errors
/// As write(2).
pub fn print(text: &str) -> Outcome<ExitCode> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(refuse("print", e.to_string())),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints a value as indented JSON.
///
/// # Errors
/// As write(2).
fn print_json(value: &impl serde::Serialize) -> Outcome<ExitCode> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| refuse("print as JSON", e.to_string()))?;
    text.push('\n');
    print(&text)
}
