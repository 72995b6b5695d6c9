//! The parent's half of `exec`: one more process of a container that exists.
//! Whatever the caller has named is opened first; then the parent joins the
//! container's mount, pid and other namespaces itself and clones the process
//! into them. So the process is never in the container's pid namespace with
//! the host's root directory, and it takes one clone. The parent keeps its ids
//! and rights and uses no path from then on, only what it has open.
//!
//! The process's own half is [`crate::init::Joining`]; what is executed is
//! decided in [`process`].

mod launch;
pub mod process;

use crate::cgroup::{Cgroup, Placed, SubCgroups};
use crate::contract::report::{Failure, StageKind};
use crate::contract::state::{State, Status};
use crate::create::{Console, attend, console};
use crate::handshake::{ParentSide, ToInit, ToParent};
use crate::init::Keyring;
use crate::pass::Passed;
use crate::plan::{Namespace, NamespaceKind, Process};
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Reporter, refuse, with_leftovers};
use crate::store::{Directory, ForExec, Stored};
use crate::sys;
use nix::sched::CloneFlags;
use process::Source;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What the caller asks for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Where states are kept.
    pub root: &'a Path,
    /// What is executed.
    pub source: Source<'a>,
    /// Where the terminal's master goes.
    pub console: Console,
    /// The sub-cgroup; empty for the container's own cgroup.
    pub cgroup: &'a [String],
    /// Whether a paused container is refused.
    pub paused: Paused,
    /// Over which socket the process is told to go on; without one, by the parent.
    pub start: Option<OwnedFd>,
    /// Descriptors that the process gets.
    pub passed: Passed,
}

/// What to do in a paused container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// Refuse.
    Refuse,
    /// Make the process; it stops as soon as it is in the cgroup.
    Ignore,
}

/// A process that is set up and waits.
#[derive(Debug)]
pub struct Entered {
    /// Its pid as the caller sees it.
    pub pid: i32,
    /// To it.
    pub channel: ParentSide,
}

/// Makes the process up to the point where it waits.
///
/// # Errors
/// The stage that failed; the process is gone then.
pub fn exec(request: Request<'_>, report: &Reporter) -> Outcome<Entered> {
    let id = request.id;
    let (stored, kept) = report.stage(StageKind::Load, id, || load(&request))?;
    let mut exec =
        report.stage(StageKind::Plan, id, || process::plan(kept.config.into_owned(), &request.source, id))?;
    for warning in &exec.warnings {
        crate::log::warn(&warning.to_string());
    }
    exec.process.seccomp = kept.seccomp.into_owned();
    let console = console::console(&request.console, &exec.process)
        .or_else(|f| report.stage(StageKind::Console, "", || Err(f)))?;
    let Some(init) = stored.init()? else { return Err(not_running(id, Status::Stopped)) };
    let cgroup = report.stage(StageKind::Cgroup, request.cgroup.join(" "), || {
        let subs = SubCgroups::parse(request.cgroup)?;
        Cgroup::open(&stored.cgroup).to_join(&subs).map_err(Box::new)
    })?;
    let entering = Entering {
        id,
        state: &stored.state,
        resctrl: stored.resctrl.as_ref(),
        process: &exec.process,
        init_pid: stored.state.pid,
        init,
        others: flags_of(&exec.namespaces),
        joins_user: exec.namespaces.user != Namespace::Host,
        cgroup,
        keyring: kept.keyring,
        report,
    };
    let proc = exec.process.oom_score_adj.map(|_| Proc::host()).transpose()?;
    entering.enter(request.start, request.passed, console, proc.as_ref())
}

/// What is known of a container in which a process can be executed.
fn load(request: &Request<'_>) -> Outcome<(Stored, ForExec<'static>)> {
    let directory = Directory::open(request.root, request.id)?;
    let stored = directory.read()?;
    match stored.state.status {
        Status::Created | Status::Running => {}
        Status::Paused if request.paused == Paused::Ignore => {}
        other => return Err(not_running(request.id, other)),
    }
    Ok((stored, directory.read_for_exec()?))
}

/// In runc's words, which callers look for.
fn not_running(id: &str, status: Status) -> Box<Failure> {
    let (because, hint) = match status {
        Status::Paused => (
            "cannot exec in a paused container (use --ignore-paused to override)",
            "with --ignore-paused the process begins when the container is resumed",
        ),
        Status::Creating => ("it is still being created", ""),
        _ => ("cannot exec in a stopped container", "start a new one"),
    };
    let mut failure = refuse(format!("execute a process in the container {id}"), because);
    failure.hint = hint.into();
    failure
}

/// The namespaces that the container does not share with the host, the user
/// namespace apart: setns(2) joins them all at once.
fn flags_of(namespaces: &crate::plan::Namespaces) -> CloneFlags {
    NamespaceKind::ALL
        .into_iter()
        .filter(|kind| *kind != NamespaceKind::User && *namespaces.get(*kind) != Namespace::Host)
        .fold(CloneFlags::empty(), |flags, kind| flags | crate::namespaces::flag(kind))
}

/// An `exec` under way; everything by descriptor.
struct Entering<'a> {
    id: &'a str,
    state: &'a State,
    resctrl: Option<&'a crate::resctrl::Place>,
    process: &'a Process,
    init_pid: i32,
    init: OwnedFd,
    others: CloneFlags,
    joins_user: bool,
    cgroup: Cgroup,
    keyring: Keyring,
    report: &'a Reporter,
}

impl Entering<'_> {
    fn enter(
        self,
        start: Option<OwnedFd>,
        passed: Passed,
        console: Option<OwnedFd>,
        proc: Option<&Proc>,
    ) -> Outcome<Entered> {
        if let Some(cpus) = &self.process.attributes.exec_affinity.initial {
            self.affine(0, cpus, "initial")?;
        }
        let (pid, how, placed, channel) = self.launch(start, passed, console, proc)?;
        match self.attend(pid, (how, placed), proc, &channel) {
            Ok(()) => Ok(Entered { pid, channel }),
            Err(failure) => {
                let failure = attend::last_words(failure, &channel);
                Err(end(pid, failure))
            }
        }
    }

    /// What only the parent can do for the process.
    fn attend(
        &self,
        pid: i32,
        (how, placed): (launch::Born, Placed),
        proc: Option<&Proc>,
        channel: &ParentSide,
    ) -> Outcome<()> {
        if let (launch::Born::Direct, Some(score), Some(proc)) = (how, self.process.oom_score_adj, proc) {
            attend::set_oom_score(&pid.to_string(), score, proc, self.report)?;
        }
        self.cgroup.take_in(pid, placed, self.report)?;
        if self.cgroup.is_entered() {
            hear(channel, &ToParent::Entered)?;
        }
        if let Some(place) = self.resctrl {
            self.report.stage(StageKind::IntelRdt, place.group.display().to_string(), || place.join(pid))?;
        }
        let affinity = &self.process.attributes.exec_affinity;
        match (&affinity.initial, &affinity.last) {
            (_, Some(cpus)) => self.affine(pid, cpus, "final")?,
            // config.md leaves to the kernel what becomes of those.
            (Some(_), None) => {}
            (None, None) => attend::free_affinity(pid),
        }
        channel.say(&ToInit::Joined)?;
        hear(channel, &ToParent::Ready)?;
        attend::schedule(pid, self.process, self.report)?;
        attend::limit(pid, self.process, self.report)
    }

    fn affine(&self, pid: i32, cpus: &crate::plan::NumberSet, which: &str) -> Outcome<()> {
        use crate::report::Place;
        self.report.stage(StageKind::Scheduling, format!("execCPUAffinity/{which}"), || {
            sys::schedule::set_affinity(pid, cpus)
                .attempt(|| format!("run on the CPUs {cpus}"))
                .at(&format!("/process/execCPUAffinity/{which}"))
                .hint(nix::errno::Errno::EINVAL, "none of them is online and in the cpuset of the cgroup")
        })
    }
}

impl Entered {
    /// Takes it back. The failure is what the user has to see.
    pub fn undo(&self, failure: Box<Failure>) -> Box<Failure> {
        end(self.pid, attend::last_words(failure, &self.channel))
    }
}

/// Waits for this message of the process.
fn hear(channel: &ParentSide, message: &ToParent) -> Outcome<()> {
    match channel.hear()? {
        Some(heard) if heard == *message => Ok(()),
        Some(ToParent::Failed(failure)) => Err(failure),
        Some(other) => Err(refuse("follow the handshake", format!("the process said {other:?}"))),
        None => Err(died()),
    }
}

/// Kills and reaps a process that could not be set up.
fn end(pid: i32, failure: Box<Failure>) -> Box<Failure> {
    let killed = sys::process::pidfd_open(pid)
        .and_then(|pidfd| sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL))
        .or_else(|e| if e.errno == nix::errno::Errno::ESRCH { Ok(()) } else { Err(e) })
        .and_then(|()| sys::process::wait(pid));
    let left = killed.err().filter(|e| e.errno != nix::errno::Errno::ECHILD).map(|e| e.to_string());
    with_leftovers(failure, left.as_slice())
}

fn died() -> Box<Failure> {
    let mut failure = refuse("execute a process", "it died before it was ready");
    failure.hint =
        "the container has stopped meanwhile, or its memory limit has no room for one more process".into();
    failure
}
