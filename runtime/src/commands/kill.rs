//! `kill`: a signal to the container's init, or to all of its processes.

use super::Context;
use crate::cgroup::Cgroup;
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::contract::state::Status;
use crate::report::{Attempt, Outcome, refuse};
use crate::store::{Directory, Stored};
use crate::sys;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, OwnedFd};

/// Carries it out.
///
/// # Errors
/// Refused for a container that has stopped, and a signal that does not exist.
pub fn run(context: &Context, args: &cli::Kill) -> Outcome<ExitCode> {
    let signal = parse(&args.signal)?;
    let stored = Directory::open(&context.root, &args.id)?.read()?;
    context.report.stage(StageKind::Kill, &args.signal, || {
        let cgroup = Cgroup::open(&stored.cgroup);
        if args.all || (signal == libc::SIGKILL && outlive_init(&stored, &cgroup)?) {
            send_all(&stored, &cgroup, signal)?;
        } else {
            let Some(init) = stored.init()? else {
                return Err(refuse(format!("signal the container {}", args.id), "container not running"));
            };
            send(&init, signal)?;
        }
        if stored.state.status == Status::Paused && signal == libc::SIGKILL {
            // A frozen process dies only when it is thawed.
            cgroup.thaw().map_err(Box::new)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Whether processes of the container stay when its init is gone: those of a
/// container without a pid namespace of its own, in which init is not 1.
fn outlive_init(stored: &Stored, cgroup: &Cgroup) -> Outcome<bool> {
    match stored.state.pid {
        0 => Ok(!cgroup.procs().map_err(Box::new)?.is_empty()),
        pid => Ok(innermost_pid(pid).is_some_and(|number| number != 1)),
    }
}

/// A process's number in its own pid namespace (proc_pid_status(5), `NSpid`).
fn innermost_pid(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

/// Signals every process of the container. Without a cgroup they are those that `ps` shows.
fn send_all(stored: &Stored, cgroup: &Cgroup, signal: i32) -> Outcome<()> {
    if !stored.cgroup.paths.is_empty() {
        return cgroup.kill(signal).map_err(Box::new);
    }
    let init = stored.state.pid;
    for pid in super::ps::in_pid_namespace_of(init)? {
        let process = match sys::process::pidfd_open(pid) {
            Err(e) if e.errno == Errno::ESRCH => continue,
            result => result.attempt(|| format!("send signal {signal} to process {pid}"))?,
        };
        // Since it was found its number may have become another's.
        if super::ps::share_pid_namespace(pid, init) {
            send(&process, signal)?;
        }
    }
    Ok(())
}

/// Sends a signal to a process that may have died in between.
pub(super) fn send(init: &OwnedFd, signal: i32) -> Outcome<()> {
    match sys::process::pidfd_send_signal(init.as_fd(), signal) {
        Err(e) if e.errno == Errno::ESRCH => Ok(()),
        result => result.attempt(|| format!("send signal {signal}")),
    }
}

/// A signal by number, or by name with or without `SIG`, in any case. 0 is none: it asks
/// whether there is somebody to be signalled (kill(2)).
pub(super) fn parse(text: &str) -> Outcome<i32> {
    let unknown = || {
        let mut failure = refuse("send a signal", format!("{text:?} is no signal"));
        failure.hint = "a number from 0 to 64, or a name such as TERM, SIGKILL or RTMIN+1".into();
        failure
    };
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(signal) = format!("SIG{name}").parse::<Signal>() {
        #[allow(clippy::as_conversions, reason = "Signal is a C int by its repr")]
        return Ok(signal as i32);
    }
    let (base, offset) = if let Some(rest) = name.strip_prefix("RTMIN") {
        (34, rest)
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        (64, rest)
    } else {
        return Err(unknown());
    };
    let offset: i32 = if offset.is_empty() { 0 } else { offset.parse().map_err(|_| unknown())? };
    Some(base + offset).filter(|n| (34..=64).contains(n)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn signals() {
        for (text, number) in [
            ("0", 0),
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in ["65", "-9", "NOPE", "", "RTMIN+99", "SIG"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
