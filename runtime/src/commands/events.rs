//! `events`: statistics at an interval, and each time that the container runs
//! out of memory, until its init is gone; with `--stats` once. One line of JSON
//! an event ([`crate::contract::stats`]).

use super::Context;
use crate::cgroup::oom::OomWatch;
use crate::cgroup::{Cgroup, stats};
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::contract::state::Status;
use crate::contract::stats::{Event, EventKind};
use crate::report::{Attempt, Outcome, refuse};
use crate::store::{Directory, Stored};
use crate::sys;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// Carries it out.
///
/// # Errors
/// Refused for a container that has stopped; the read that failed.
pub fn run(context: &Context, args: &cli::Events) -> Outcome<ExitCode> {
    let stored = Directory::open(&context.root, &args.id)?.read()?;
    if matches!(stored.state.status, Status::Stopped | Status::Creating) {
        let because = format!("container with id {} is not running", args.id);
        return Err(refuse(format!("show events of the container {}", args.id), because));
    }
    let cgroup = Cgroup::open(&stored.cgroup);
    if args.stats {
        context.report.stage(StageKind::Stats, &args.id, || emit(&now(&stored, &cgroup)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(init) = stored.init()? {
        follow(&stored, &cgroup, &init, args)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether anybody reads the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Listens,
    Gone,
}

fn follow(stored: &Stored, cgroup: &Cgroup, init: &OwnedFd, args: &cli::Events) -> Outcome<()> {
    let mut oom = OomWatch::new(cgroup).map_err(Box::new)?;
    let mut next = Instant::now() + args.interval;
    loop {
        let ended = wait(init, oom.as_ref(), next)?;
        // Also after its end: the kernel may have ended it for want of memory.
        for _ in 0..oom.as_mut().map_or(0, OomWatch::happened) {
            if emit(&Event { kind: EventKind::Oom, id: stored.state.id.clone(), data: None })? == Reader::Gone
            {
                return Ok(());
            }
        }
        if ended == Init::Ended {
            return Ok(());
        }
        if Instant::now() >= next {
            if emit(&now(stored, cgroup)?)? == Reader::Gone {
                return Ok(());
            }
            next += args.interval;
        }
    }
}

/// Whether the container's init lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Init {
    Lives,
    Ended,
}

/// Waits for the end of init, an OOM event, or the time of the next statistics.
fn wait(init: &OwnedFd, oom: Option<&OomWatch>, next: Instant) -> Outcome<Init> {
    let mut fds = vec![PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    fds.extend(oom.map(|watch| PollFd::new(watch.fd(), watch.flags())));
    let left = next.saturating_duration_since(Instant::now());
    // Rounded up: a time that is not over yet is not waited for in a busy loop.
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    let timeout = i32::try_from(milliseconds).unwrap_or(i32::MAX);
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => {
            return Err(sys::Error { call: "poll()".into(), errno })
                .attempt(|| "wait for events of the container".into());
        }
    }
    let is_over = fds.first().and_then(PollFd::any) == Some(true);
    Ok(if is_over { Init::Ended } else { Init::Lives })
}

fn now(stored: &Stored, cgroup: &Cgroup) -> Outcome<Event> {
    let (id, pid) = (stored.state.id.clone(), stored.state.pid);
    let group = stored.resctrl.as_ref().map_or(Path::new(&id), |place| &place.group);
    let stats = stats::read(cgroup, group, pid).map_err(Box::new)?;
    Ok(Event { kind: EventKind::Stats, id, data: Some(Box::new(stats)) })
}

/// Prints one line.
fn emit(event: &Event) -> Outcome<Reader> {
    let what = || "print an event".to_owned();
    let mut line = serde_json::to_string(event).map_err(|e| refuse(what(), e.to_string()))?;
    line.push('\n');
    let mut out = std::io::stdout();
    match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        result => result.attempt(what).map(|()| Reader::Listens),
    }
}
