//! `create`: the container is set up, its process waits for `start`.

use super::Context;
use crate::cli;
use crate::create::{Console, Mode, Request};
use crate::init::Pivot;
use crate::report::Outcome;
use std::process::ExitCode;

/// Carries it out.
///
/// # Errors
/// The stage that failed; nothing is left.
pub fn run(context: &Context, args: &cli::Create) -> Outcome<ExitCode> {
    crate::create::create(&request(context, args, Mode::Create), &context.report)?;
    Ok(ExitCode::SUCCESS)
}

/// What was typed, as the creation takes it.
pub(super) fn request(context: &Context, args: &cli::Create, mode: Mode) -> Request {
    Request {
        id: args.id.clone(),
        bundle: args.bundle.clone(),
        root: context.root.clone(),
        pid_file: args.pid_file.clone(),
        console: args.console_socket.clone().map_or(Console::Nowhere, Console::Socket),
        preserve_fds: args.preserve_fds,
        pivot: if args.no_pivot { Pivot::Chroot } else { Pivot::Root },
        mode,
    }
}
