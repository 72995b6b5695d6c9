//! Starting a shim and knowing when it listens; ending one that does not
//! answer. A shim is a session of its own and outlives the manager; while both
//! live, the manager reaps it.

use super::client::{Listener, listener};
use super::hold::Held;
use crate::engine::error::Error;
use crate::faults::{self, Point};
use crate::files;
use crate::model::{Failure, LogOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a shim may take until it listens.
const READY: Duration = Duration::from_secs(10);
/// Most bytes that are kept of a complaint.
const COMPLAINT: u64 = 16 << 10;

/// What a shim is started with.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The shim's binary.
    pub shim: &'a Path,
    /// The container.
    pub id: &'a str,
    /// Directory of its journal, log and record.
    pub dir: &'a Path,
    /// Its bundle.
    pub bundle: &'a Path,
    /// The runtime's binary.
    pub runtime: &'a Path,
    /// The runtime's `--root`.
    pub runtime_root: &'a Path,
    /// How it keeps the log.
    pub log: LogOptions,
    /// Where it shall listen; its directory exists.
    pub socket: &'a Path,
    /// Whether it takes the container over from a shim that was killed.
    pub origin: Origin<'a>,
}

/// How a shim comes to its container.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// It will create it.
    New,
    /// It takes it over, with what was kept for it.
    Adopt(Option<&'a Held>),
}

/// Starts a shim and waits until it listens; its pid. A task reaps it.
///
/// # Errors
/// [`Error::Failed`] of stage `shim`, with the shim's own complaint.
pub async fn spawn(plan: Plan<'_>) -> Result<i32, Error> {
    let attempted = || format!("start the shim of container {:?}", plan.id);
    let failed = |because: String| Error::Failed {
        attempted: attempted(),
        failure: Box::new(Failure {
            stage: "shim".into(),
            attempted: attempted(),
            object: plan.shim.display().to_string(),
            message: because,
            ..Failure::default()
        }),
    };
    let stdin = stdin(plan.origin).map_err(|e| failed(format!("hand descriptors over: {e}")))?;
    let child = faults::pass(Point::ShimSpawn).await.and_then(|()| command(&plan).stdin(stdin).spawn());
    let mut child = child.map_err(|e| failed(format!("{}: {e}", plan.shim.display())))?;
    match tokio::time::timeout(READY, ready(&mut child)).await {
        Ok(Ok(())) => {}
        Ok(Err(because)) => {
            end(&mut child).await;
            return Err(failed(because));
        }
        Err(_) => {
            end(&mut child).await;
            return Err(failed(format!("it was not ready within {} s", READY.as_secs())));
        }
    }
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
    let id = plan.id.to_owned();
    tokio::spawn(async move {
        match child.wait().await {
            Ok(status) => tracing::debug!(container = id, pid, %status, "shim ended"),
            Err(error) => tracing::warn!(container = id, pid, %error, "cannot reap the shim"),
        }
    });
    Ok(pid)
}

/// A socket with what was kept, or nothing.
fn stdin(origin: Origin<'_>) -> std::io::Result<Stdio> {
    match origin {
        Origin::Adopt(Some(held)) => held.send().map(Stdio::from),
        Origin::Adopt(None) | Origin::New => Ok(Stdio::null()),
    }
}

fn command(plan: &Plan<'_>) -> Command {
    let mut command = Command::new(plan.shim);
    let arguments: [(&str, &OsStr); 6] = [
        ("--id", plan.id.as_ref()),
        ("--dir", plan.dir.as_ref()),
        ("--bundle", plan.bundle.as_ref()),
        ("--runtime", plan.runtime.as_ref()),
        ("--runtime-root", plan.runtime_root.as_ref()),
        ("--socket", plan.socket.as_ref()),
    ];
    for (flag, value) in arguments {
        command.arg(flag).arg(value);
    }
    if let Origin::Adopt(_) = plan.origin {
        command.arg("--adopt");
    }
    let LogOptions { max_file_bytes, max_files, max_bytes_per_second } = plan.log;
    let log = [
        ("--log-size", max_file_bytes),
        ("--log-files", max_files.map(u64::from)),
        ("--log-rate", max_bytes_per_second),
    ];
    for (flag, value) in log {
        if let Some(value) = value {
            command.arg(flag).arg(value.to_string());
        }
    }
    if let Some(soft) = files::before() {
        command.arg("--nofile").arg(soft.to_string());
    }
    command.env_clear();
    for name in ["PATH", "LD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some((name, value)) = faults::handed_on() {
        command.env(name, value);
    }
    // No directory is changed to: std would fork for it, and copy the manager's page tables.
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Out of the manager's process group: Ctrl-C on a terminal is not for it.
        .process_group(0);
    command
}

/// Waits for the line `ready`; otherwise says what came on stderr instead.
async fn ready(child: &mut Child) -> Result<(), String> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("its pipes are missing".into());
    };
    let mut line = String::new();
    let read = BufReader::new(stdout.take(64)).read_line(&mut line).await;
    if line == "ready\n" {
        return Ok(());
    }
    let mut complaint = String::new();
    let heard = stderr.take(COMPLAINT).read_to_string(&mut complaint).await;
    match (complaint.trim(), read.and(heard)) {
        ("", Err(error)) => Err(format!("its output cannot be read: {error}")),
        ("", Ok(_)) => Err("it ended without a word".into()),
        (complaint, _) => Err(complaint.into()),
    }
}

/// Kills and reaps a child that never became a shim.
async fn end(child: &mut Child) {
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "cannot end a shim that was not ready");
    }
}

/// Kills whoever listens at `socket`, a shim that does not answer, and waits
/// until nobody does. The pid comes from the connection itself (SO_PEERCRED).
///
/// # Errors
/// [`Error::Unreachable`] when it cannot be killed or does not end.
pub async fn kill_listener(id: &str, socket: &Path) -> Result<(), Error> {
    let failed = |because: &str| Error::Unreachable {
        attempted: format!("end the shim of container {id:?}"),
        because: because.into(),
    };
    let mut because = "it was killed and still listens";
    for _ in 0..200 {
        match listener(socket).await {
            Listener::Absent => return Ok(()),
            Listener::Present(Some(pid)) if pid > 1 => {
                if let Err(errno) = kill(Pid::from_raw(pid), Signal::SIGKILL)
                    && errno != nix::errno::Errno::ESRCH
                {
                    return Err(failed(errno.desc()));
                }
            }
            // It has just ended, and was reaped: its last connection is told the pid 0.
            Listener::Present(_) => because = "its pid is not known",
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(failed(because))
}
