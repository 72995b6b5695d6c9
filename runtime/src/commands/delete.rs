//! `delete`: everything that was made for the container goes, whatever state
//! its creation had reached.

use super::{Context, kill};
use crate::cgroup::Cgroup;
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::contract::state::Status;
use crate::report::{Outcome, Reporter, refuse};
use crate::store::{Directory, IMPATIENCE, PATIENCE, Stored};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::path::Path;

/// How long a killed init may take to be gone, in milliseconds.
const GONE_WITHIN: u16 = 10_000;

/// Carries it out.
///
/// # Errors
/// Refused for a container that runs, unless forced.
pub fn run(context: &Context, args: &cli::Delete) -> Outcome<ExitCode> {
    let directory = match Directory::open(&context.root, &args.id) {
        Err(_) if args.force && is_missing(&context.root, &args.id) => return Ok(ExitCode::SUCCESS),
        result => result?,
    };
    let alone = match directory.lock(if args.force { IMPATIENCE } else { PATIENCE }) {
        Err(_) if args.force && !directory.is_current() => return Ok(ExitCode::SUCCESS),
        // Whoever is at work on it fails when its init is gone.
        Err(_) if args.force => false,
        result => result.map(|()| true)?,
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
    let ended = match status {
        Status::Stopped | Status::Created => true,
        // Its creation was cut short: nobody is at work on it.
        Status::Creating => alone,
        Status::Running | Status::Paused => false,
    };
    if !args.force && !ended {
        let mut failure = refuse(
            format!("delete the container {}", args.id),
            format!("cannot delete container {} that is not stopped: {status}", args.id),
        );
        failure.hint = "stop it first, or use --force".into();
        return Err(failure);
    }
    context.report.stage(StageKind::Delete, &args.id, || {
        end(&stored)?;
        if status == Status::Creating && !alone {
            Cgroup::open(&stored.cgroup).kill(libc::SIGKILL).map_err(Box::new)?;
        }
        remove(&directory, &stored, &context.report)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn is_missing(root: &Path, id: &str) -> bool {
    crate::contract::check_id(id).is_ok() && !root.join(id).exists()
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

/// [`remove`] for who has made the container and waited for its end: somebody
/// else may have removed it meanwhile.
///
/// # Errors
/// As [`remove`].
pub(super) fn remove_own(directory: &Directory, stored: &Stored, report: &Reporter) -> Outcome<()> {
    match directory.lock(PATIENCE) {
        Err(_) if !directory.is_current() => Ok(()),
        result => result.and_then(|()| remove(directory, stored, report)),
    }
}

/// Removes what is left of a container whose init is gone: processes that it
/// left in its cgroup, the cgroup, the state; then poststop hooks run.
///
/// # Errors
/// As the steps; the state stays when the cgroup cannot be removed.
pub(super) fn remove(directory: &Directory, stored: &Stored, report: &Reporter) -> Outcome<()> {
    let cgroup = Cgroup::open(&stored.cgroup);
    // Nobody is in it nearly always, and then there is nobody to be killed.
    if !cgroup.remove_empty() {
        remove_used(&cgroup, stored)?;
    }
    if let Some(place) = &stored.resctrl {
        place.remove()?;
    }
    directory.remove()?;
    poststop(stored, report);
    Ok(())
}

fn remove_used(cgroup: &Cgroup, stored: &Stored) -> Outcome<()> {
    let kill = || cgroup.kill(libc::SIGKILL).map_err(Box::new);
    if stored.state.status != Status::Creating {
        kill()?;
    }
    match cgroup.remove() {
        // What a creation that was cut short has made ends by itself, before long. Somebody
        // who does not is a child of a hook, or has come by exec while init was killed.
        Err(failure) if failure.errno == libc::EBUSY => {
            kill().and_then(|()| cgroup.remove().map_err(Box::new))
        }
        result => result.map_err(Box::new),
    }
}

fn poststop(stored: &Stored, report: &Reporter) {
    let hooks: Vec<_> = stored.poststop.iter().map(crate::plan::Hook::from).collect();
    let mut state = stored.state.clone();
    state.status = Status::Stopped;
    state.pid = 0;
    // runtime-spec, "Lifecycle" 13: a failure is a warning.
    for failure in crate::hooks::run_each(StageKind::HookPoststop, &hooks, &state, report) {
        crate::log::warn(&failure.to_string());
    }
}
