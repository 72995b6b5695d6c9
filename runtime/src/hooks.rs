//! Hooks (runtime-spec, "POSIX-platform Hooks"): run one after the other, with
//! the container's state on stdin. One that fails, or takes longer than its
//! timeout, ends the creation, or, of poststart, the container; failures of poststop
//! are warnings, and those behind it run all the same.

mod attend;

use crate::contract::report::{Failure, Stage, StageKind};
use crate::contract::state::State;
use crate::plan::Hook;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Runs all hooks of one kind.
///
/// # Errors
/// The first hook that fails; those behind it are not run.
pub fn run(kind: StageKind, hooks: &[Hook], state: &State, report: &Reporter) -> Outcome<()> {
    for (index, hook) in hooks.iter().enumerate() {
        let path = hook.path.display().to_string();
        report.stage(Stage::nth(kind, index), &path, || run_one(hook, state).at(&hook.pointer))?;
    }
    Ok(())
}

/// Runs all hooks of one kind, whatever becomes of each; gives the failures.
pub fn run_each(kind: StageKind, hooks: &[Hook], state: &State, report: &Reporter) -> Vec<Box<Failure>> {
    let one = |(index, hook): (usize, &Hook)| {
        let path = hook.path.display().to_string();
        report.stage(Stage::nth(kind, index), &path, || run_one(hook, state).at(&hook.pointer)).err()
    };
    hooks.iter().enumerate().filter_map(one).collect()
}

fn run_one(hook: &Hook, state: &State) -> Outcome<()> {
    let what = || format!("run the hook {}", hook.path.display());
    let json = serde_json::to_vec(state).map_err(|e| refuse(what(), e.to_string()))?;
    let mut child =
        command(hook).spawn().attempt(what).hint(Errno::ENOENT, "the path is taken on the host")?;
    let limit = hook.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let ended = attend::until_end(&mut child, &json, limit).attempt(what)?;
    let Some(status) = ended.status else {
        let seconds = hook.timeout.unwrap_or_default();
        return Err(refuse(what(), format!("it took longer than its timeout of {seconds} s and was killed")));
    };
    if status.success() {
        return Ok(());
    }
    let how = match status.signal() {
        Some(signal) => format!("it was ended by signal {signal}"),
        None => format!("it exited with status {}", status.code().unwrap_or(-1)),
    };
    let said = ended.said.trim();
    Err(refuse(what(), if said.is_empty() { how } else { format!("{how}: {said}") }))
}

fn command(hook: &Hook) -> Command {
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(OsStr::from_bytes(name.to_bytes()));
        command.args(rest.iter().map(|a| OsStr::from_bytes(a.to_bytes())));
    }
    command.env_clear();
    for pair in &hook.env {
        let bytes = pair.to_bytes();
        let at = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
        let (key, value) = bytes.split_at(at);
        command.env(OsStr::from_bytes(key), OsStr::from_bytes(value.get(1..).unwrap_or_default()));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}
