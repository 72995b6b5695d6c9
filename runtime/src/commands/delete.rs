//! `delete`: everything that was made for the container goes, whatever state
//! its creation had reached.

use super::{Context, kill};
use crate::cgroup::Cgroup;
use crate::cli;
use crate::contract::report::StageKind;
use crate::contract::state::Status;
use crate::report::{Outcome, Reporter, refuse};
use crate::store::{Directory, Stored};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

/// How long a killed init may take to be gone, in milliseconds.
const GONE_WITHIN: u16 = 10_000;

/// Carries it out.
///
/// # Errors
/// Refused for a container that runs, unless forced.
pub fn run(context: &Context, args: &cli::Delete) -> Outcome<ExitCode> {
    let directory = match Directory::open(&context.root, &args.id) {
        Err(_) if args.force && !exists(&context.root, &args.id) => return Ok(ExitCode::SUCCESS),
        result => result?,
    };
    let stored = match directory.read() {
        // Its creation was cut short before there was anything to remember.
        Err(_) if args.force => {
            directory.remove()?;
            return Ok(ExitCode::SUCCESS);
        }
        result => result?,
    };
    let status = stored.state.status;
    if !args.force && !matches!(status, Status::Stopped | Status::Created) {
        let mut failure = refuse(
            format!("delete the container {}", args.id),
            format!("cannot delete container {} that is not stopped: {status}", args.id),
        );
        failure.hint = "stop it first, or use --force".into();
        return Err(failure);
    }
    context.report.stage(StageKind::Delete, &args.id, || {
        end(&stored)?;
        remove(&directory, &stored, &context.report)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn exists(root: &Path, id: &str) -> bool {
    crate::contract::check_id(id).is_ok() && root.join(id).exists()
}

/// Kills init and waits until it is gone.
pub(super) fn end(stored: &Stored) -> Outcome<()> {
    let Some(init) = stored.init()? else { return Ok(()) };
    kill::send(&init, libc::SIGKILL)?;
    if stored.state.status == Status::Paused {
        Cgroup::open(&stored.cgroup).thaw().map_err(Box::new)?;
    }
    match poll(&mut [PollFd::new(init.as_fd(), PollFlags::POLLIN)], PollTimeout::from(GONE_WITHIN)) {
        Ok(0) => Err(refuse("wait for the killed init", "it is still there after 10 s, stuck in the kernel")),
        _ => Ok(()),
    }
}

/// Removes what is left of a container whose init is gone: processes that it
/// left in its cgroup, the cgroup, the state; then poststop hooks run.
///
/// # Errors
/// As the steps; the state stays when the cgroup cannot be removed.
pub(super) fn remove(directory: &Directory, stored: &Stored, report: &Reporter) -> Outcome<()> {
    let cgroup = Cgroup::open(&stored.cgroup);
    cgroup.kill(libc::SIGKILL).map_err(Box::new)?;
    cgroup.remove().map_err(Box::new)?;
    directory.remove()?;
    let hooks: Vec<_> = stored.poststop.iter().map(crate::plan::Hook::from).collect();
    let mut state = stored.state.clone();
    state.status = Status::Stopped;
    state.pid = 0;
    // runtime-spec, "Lifecycle" 13: a failure is a warning.
    if let Err(failure) = crate::hooks::run(StageKind::HookPoststop, &hooks, &state, report) {
        crate::log::warn(&failure.to_string());
    }
    Ok(())
}
