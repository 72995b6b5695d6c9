//! `create`: the container is set up, its process waits for `start`.

use super::{Context, delete};
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::Failure;
use crate::create::net_devices::Moved;
use crate::create::{Console, Created, Mode, Request};
use crate::init::{Keyring, Pivot};
use crate::pass::Passed;
use crate::report::{Attempt, Outcome};
use crate::sys;
use std::os::fd::{AsFd, OwnedFd};

/// Carries it out.
///
/// # Errors
/// The stage that failed; nothing is left.
pub fn run(context: &Context, args: &cli::Create) -> Outcome<ExitCode> {
    let pidfd_to = pidfd_socket(args)?;
    let created = crate::create::create(&request(context, args, Mode::Create), &context.report)?;
    send_pidfd(pidfd_to.as_ref(), created.stored.state.pid)
        .map_err(|failure| undo(&created, context, failure))?;
    Ok(ExitCode::SUCCESS)
}

/// The other end of `--pidfd-socket`, if it was given.
pub(super) fn pidfd_socket(args: &cli::Create) -> Outcome<Option<OwnedFd>> {
    args.pidfd_socket.as_deref().map(|path| crate::pass::reach("--pidfd-socket", path)).transpose()
}

/// Gives it a pidfd.
pub(super) fn send_pidfd(socket: Option<&OwnedFd>, pid: i32) -> Outcome<()> {
    let Some(socket) = socket else { return Ok(()) };
    let pidfd = sys::process::pidfd_open(pid).attempt(|| format!("open a pidfd of process {pid}"))?;
    crate::pass::send(socket, pidfd.as_fd(), "pidfd")
}

/// Takes a creation back that failed late. The failure is what the user has to
/// see; leftovers are told beside it.
pub(super) fn undo(created: &Created, context: &Context, failure: Box<Failure>) -> Box<Failure> {
    let pid = created.stored.state.pid;
    let removed = sys::process::pidfd_open(pid)
        .and_then(|init| sys::process::pidfd_send_signal(init.as_fd(), libc::SIGKILL))
        .and_then(|()| sys::process::wait(pid).map(drop))
        .or_else(|e| if e.errno == nix::errno::Errno::ESRCH { Ok(()) } else { Err(e) })
        .attempt(|| "kill what was created".into())
        .and_then(|()| delete::remove(&created.directory, &created.stored, &context.report));
    for left in created.devices.iter().flat_map(Moved::back) {
        crate::log::warn(&left);
    }
    if let Err(left) = removed {
        crate::log::warn(&left.to_string());
    }
    failure
}

/// What was typed, as the creation takes it.
pub(super) fn request(context: &Context, args: &cli::Create, mode: Mode) -> Request {
    Request {
        id: args.id.clone(),
        bundle: args.bundle.clone(),
        root: context.root.clone(),
        pid_file: args.pid_file.clone(),
        console: args.console_socket.clone().map_or(Console::Nowhere, Console::Socket),
        passed: Passed::of(args.preserve_fds),
        pivot: if args.no_pivot { Pivot::Chroot } else { Pivot::Root },
        keyring: if args.no_new_keyring { Keyring::Inherited } else { Keyring::Own },
        may_lack: context.may_lack,
        driver: context.driver,
        mode,
    }
}
