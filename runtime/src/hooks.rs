//! Hooks (runtime-spec, "POSIX-platform Hooks"): run one after the other, with
//! the container's state on stdin. One that fails, or takes longer than its
//! timeout, ends the creation, or, of poststart, the container; failures of poststop
//! are warnings, and those behind it run all the same.

use crate::contract::report::{Failure, Stage, StageKind};
use crate::contract::state::State;
use crate::plan::Hook;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its stdin: EPIPE is its right.
        drop(stdin.write_all(&json));
    }
    let status = match hook.timeout {
        None => child.wait().attempt(what)?,
        Some(seconds) => {
            wait_until(&mut child, Duration::from_secs(seconds.into())).attempt(what)?.ok_or_else(|| {
                refuse(what(), format!("it took longer than its timeout of {seconds} s and was killed"))
            })?
        }
    };
    if status.success() {
        return Ok(());
    }
    let how = match status.signal() {
        Some(signal) => format!("it was ended by signal {signal}"),
        None => format!("it exited with status {}", status.code().unwrap_or(-1)),
    };
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        drop(stderr.take(1024).read_to_string(&mut said));
    }
    let said = said.trim();
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

/// `None`: the time is over, and it was killed.
fn wait_until(child: &mut Child, limit: Duration) -> std::io::Result<Option<std::process::ExitStatus>> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let deadline = Instant::now() + limit;
    let pid = i32::try_from(child.id()).unwrap_or(-1);
    let pidfd = crate::sys::process::pidfd_open(pid).map_err(|e| std::io::Error::from(e.errno))?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let millis = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
        let ready = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(millis));
        match ready {
            Ok(n) if n > 0 => return child.wait().map(Some),
            Ok(_) if left.is_zero() => {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
