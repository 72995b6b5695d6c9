//! `run`: create and start in one process, and, unless detached, wait: signals
//! are passed on, orphans reaped, and the container's exit status is our own.

use super::terminal::{Flow, Terminal};
use super::{Context, create, delete, start, terminal};
use crate::cli;
use crate::contract::EXIT_SIGNAL_BASE;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::create::{Console, Created, Mode};
use crate::handshake::ToInit;
use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use crate::sys::process::Ended;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Carries it out.
///
/// # Errors
/// The stage that failed; nothing is left.
pub fn run(context: &Context, args: &cli::Run) -> Outcome<ExitCode> {
    if !args.detach && !args.no_subreaper {
        sys::privilege::become_subreaper().attempt(|| "become the container's reaper".into())?;
    }
    let mut request = create::request(context, &args.create, Mode::Run);
    let way = if args.detach || args.create.console_socket.is_some() {
        None
    } else {
        let (ours, inits) = terminal::way()?;
        request.console = Console::Foreground(inits);
        Some(ours)
    };
    let pidfd_to = create::pidfd_socket(&args.create)?;
    let mut created = crate::create::create(&request, &context.report)?;
    drop(request);
    let pid = created.stored.state.pid;
    let begun = || {
        let terminal = way.as_ref().map(terminal::receive).transpose()?.flatten();
        let signals = if args.detach { None } else { Some(catch_signals()?) };
        create::send_pidfd(pidfd_to.as_ref(), pid)?;
        begin(&created, context)?;
        Ok((terminal, signals))
    };
    let (terminal, signals) = begun().map_err(|failure| create::undo(&created, context, failure))?;
    // From here on they are the container's, and its namespace is not held.
    created.devices = None;
    created.directory.unlock()?;
    start::poststart(&created.stored, &context.report)
        .map_err(|failure| create::undo(&created, context, failure))?;
    let Some(signals) = signals else { return Ok(ExitCode::SUCCESS) };
    let ended = context
        .report
        .stage(StageKind::Wait, &args.create.id, || attend(pid, &signals, terminal.as_ref()))?;
    if !args.keep {
        delete::remove_own(&created.directory, &created.stored, &context.report)?;
    }
    Ok(ExitCode::from(status_of(ended)))
}

/// The exit status that stands for an end.
pub(super) fn status_of(ended: Ended) -> u8 {
    match ended {
        Ended::Code(code) => code,
        Ended::Signal(signal) => EXIT_SIGNAL_BASE.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX)),
    }
}

fn begin(created: &Created, context: &Context) -> Outcome<()> {
    context.report.stage(StageKind::Start, "", || created.channel.say(&ToInit::Start))?;
    drop(context.sealed.take());
    start::hear_execution(&created.channel, &context.report)
}

/// From now on signals arrive as reads; those of a terminal's job control keep their meaning.
pub(super) fn catch_signals() -> Outcome<SignalFd> {
    let what = || "catch signals".to_owned();
    let mut mask = SigSet::all();
    for own in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        mask.remove(own);
    }
    sys::named(mask.thread_block(), || "sigprocmask(SIG_BLOCK)".into()).attempt(what)?;
    sys::named(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK), || {
        "signalfd()".into()
    })
    .attempt(what)
}

/// Passes signals on, and the terminal's bytes, until init has exited.
pub(super) fn attend(pid: i32, signals: &SignalFd, terminal: Option<&Terminal>) -> Outcome<Ended> {
    let what = || "wait for the container".to_owned();
    let init = sys::process::pidfd_open(pid).attempt(what)?;
    let (mut output, mut input) = match terminal {
        Some(_) => (Flow::Open, Flow::Open),
        None => (Flow::Ended, Flow::Ended),
    };
    let stdin = std::io::stdin();
    loop {
        let mut fds = vec![
            PollFd::new(init.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(terminal) = terminal {
            for (fd, flow) in [(terminal.master(), output), (stdin.as_fd(), input)] {
                if flow == Flow::Open {
                    fds.push(PollFd::new(fd, PollFlags::POLLIN));
                }
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            result => sys::named(result, || "poll()".into()).attempt(what)?,
        };
        if let Some(terminal) = terminal {
            let ready = |fd: BorrowedFd<'_>| {
                fds.iter().any(|p| p.as_fd().as_raw_fd() == fd.as_raw_fd() && p.any() == Some(true))
            };
            if output == Flow::Open && ready(terminal.master()) {
                output = terminal.output();
            }
            if input == Flow::Open && ready(stdin.as_fd()) {
                input = terminal.input();
            }
        }
        pass_signals(&init, signals, terminal)?;
        while let Some((dead, ended)) = sys::process::reap_any() {
            if dead == pid {
                if let (Some(terminal), Flow::Open) = (terminal, output) {
                    terminal.drain()?;
                }
                return Ok(ended);
            }
        }
    }
}

fn pass_signals(init: &OwnedFd, signals: &SignalFd, terminal: Option<&Terminal>) -> Outcome<()> {
    while let Ok(Some(info)) = signals.read_signal() {
        let signal = i32::try_from(info.ssi_signo).map_err(|e| refuse("pass a signal on", e.to_string()))?;
        match (signal, terminal) {
            (libc::SIGCHLD, _) => {}
            (libc::SIGWINCH, Some(terminal)) => terminal.resize(),
            _ => super::kill::send(init, signal)?,
        }
    }
    Ok(())
}
