//! `exec`: one more process of a container. Unless detached, wait: signals are
//! passed on, and its exit status is our own.

use super::{Context, create, run, start, terminal};
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::create::Console;
use crate::exec::process::{Changes, Source};
use crate::exec::{Entered, Paused, Request};
use crate::handshake::ToInit;
use crate::pass::Passed;
use crate::pidfile::PidFile;
use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use std::os::fd::OwnedFd;

/// Carries it out.
///
/// # Errors
/// The stage that failed; the process is gone then.
pub fn run(context: &Context, args: &cli::Exec) -> Outcome<ExitCode> {
    let changes = changes(args)?;
    let pid_file = args.pid_file.as_deref().map(PidFile::at).transpose()?;
    let pidfd_to =
        args.pidfd_socket.as_deref().map(|path| crate::pass::reach("--pidfd-socket", path)).transpose()?;
    let start = args.start_fd.map(adopt).transpose()?;
    let held = start.is_some();
    let (way, console) = console(args)?;
    let request = Request {
        id: &args.id,
        root: &context.root,
        source: args.process.as_deref().map_or(Source::Flags(&changes), Source::File),
        console,
        cgroup: &args.cgroup,
        paused: if args.ignore_paused { Paused::Ignore } else { Paused::Refuse },
        start,
        passed: Passed::of(args.preserve_fds),
    };
    let entered = crate::exec::exec(request, &context.report)?;
    let begun = || {
        let terminal = way.as_ref().map(terminal::receive).transpose()?.flatten();
        let signals = if args.detach { None } else { Some(run::catch_signals()?) };
        create::send_pidfd(pidfd_to.as_ref(), entered.pid)?;
        begin(&entered, held, context)?;
        pid_file.as_ref().map_or(Ok(()), |file| file.write(entered.pid))?;
        Ok((terminal, signals))
    };
    let (terminal, signals) = begun().map_err(|failure| entered.undo(failure))?;
    let Some(signals) = signals else { return Ok(ExitCode::SUCCESS) };
    let ended = context
        .report
        .stage(StageKind::Wait, &args.id, || run::attend(entered.pid, &signals, terminal.as_ref()))?;
    Ok(ExitCode::from(run::status_of(ended)))
}

/// Lets the process go on: to its program, or to the wait point.
fn begin(entered: &Entered, held: bool, context: &Context) -> Outcome<()> {
    context.report.stage(StageKind::Start, "", || entered.channel.say(&ToInit::Start))?;
    drop(context.sealed.take());
    if held { Ok(()) } else { start::hear_execution(&entered.channel, &context.report) }
}

/// What the flags say, as one value.
fn changes(args: &cli::Exec) -> Outcome<Changes> {
    let what = || format!("execute a process in {}", args.id);
    match (&args.process, args.args.is_empty()) {
        (None, true) => {
            let mut failure = refuse(what(), "process args cannot be empty");
            failure.hint = "give a command behind the id, or --process FILE".into();
            return Err(failure);
        }
        (Some(_), false) => {
            return Err(refuse(what(), "the command is given twice: by --process and behind the id"));
        }
        _ => {}
    }
    let flags = &args.flags;
    Ok(Changes {
        args: args.args.clone(),
        cwd: flags.cwd.clone(),
        env: environment(flags)?,
        terminal: flags.tty,
        console_size: flags.console_size,
        user: flags.user.as_deref().map(user).transpose()?,
        groups: flags.additional_gids.clone(),
        label: flags.process_label.clone(),
        apparmor: flags.apparmor.clone(),
        no_new_privileges: flags.no_new_privs,
        capabilities: flags.cap.clone(),
    })
}

/// What the file says, then the flags: a later one for a name wins.
fn environment(flags: &cli::ProcessFlags) -> Outcome<Vec<String>> {
    let Some(file) = &flags.env_file else { return Ok(flags.env.clone()) };
    let what = || format!("read the environment in {}", file.display());
    let text = std::fs::read(file).attempt(what)?;
    let text = String::from_utf8(text).map_err(|_| refuse(what(), "it is not UTF-8"))?;
    let of_file = text.split('\0').filter(|variable| !variable.is_empty()).map(str::to_owned);
    Ok(of_file.chain(flags.env.iter().cloned()).collect())
}

/// `UID[:GID]`; a name is never looked up, and what is no number is refused (rule R6).
fn user(text: &str) -> Outcome<(u32, Option<u32>)> {
    let number = |part: &str| {
        // A sign, which parse allows, is not part of an id.
        part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())).ok_or_else(|| {
            let mut failure = refuse(format!("be the user {text:?}"), format!("{part:?} is not an id"));
            failure.hint = "UID or UID:GID, as numbers up to 4294967294".into();
            failure
        })
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

/// Where the terminal goes, and our own end of the way when that is here.
fn console(args: &cli::Exec) -> Outcome<(Option<OwnedFd>, Console)> {
    match (&args.console_socket, args.detach) {
        (Some(path), _) => Ok((None, Console::Socket(path.clone()))),
        (None, true) => Ok((None, Console::Nowhere)),
        (None, false) => {
            let (ours, theirs) = terminal::way()?;
            Ok((Some(ours), Console::Foreground(theirs)))
        }
    }
}

fn adopt(fd: i32) -> Outcome<OwnedFd> {
    sys::file::adopt_fd(fd).attempt(|| format!("use --start-fd {fd}"))
}

#[cfg(test)]
mod tests {
    use super::user;

    #[test]
    fn users_are_numbers() {
        assert_eq!(user("7").unwrap(), (7, None));
        assert_eq!(user("0:4294967294").unwrap(), (0, Some(u32::MAX - 1)));
        for bad in ["", "root", "+1", "-1", "1:", ":1", "1:x", "4294967296", "0x1", "1 "] {
            assert!(user(bad).is_err(), "{bad:?}");
        }
    }
}
