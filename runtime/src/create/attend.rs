//! What the parent does for init while that sets the container up: id maps, oom
//! score, cgroup, hooks, resource limits.

use super::Creation;
use crate::cgroup::Placed;
use crate::contract::report::{Failure, Stage, StageKind};
use crate::handshake::{ParentSide, ToInit, ToParent};
use crate::namespaces;
use crate::plan::{Namespace, Process};
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::rootfs::idmap;
use crate::rootfs::sources::Sources;
use crate::sys;
use nix::errno::Errno;
use std::os::fd::AsFd;

impl Creation<'_> {
    /// What only the parent can do for init: id maps, oom score, cgroup.
    pub(super) fn attend(
        &self,
        pid: i32,
        placed: Placed,
        proc: &Proc,
        sources: Option<&Sources>,
        channel: &ParentSide,
    ) -> Outcome<()> {
        let ns = &self.plan.namespaces;
        if ns.user == Namespace::Create {
            self.report.stage(StageKind::IdMap, "", || {
                namespaces::user::write_maps(proc, pid, &ns.uid_mappings, &ns.gid_mappings)
            })?;
            if let Some(sources) = sources.filter(|_| idmap::needs_container(self.plan)) {
                self.report.stage(StageKind::IdMap, "mounts", || {
                    let user = namespaces::user::open_of(pid)?;
                    idmap::to_container(self.plan, sources, user.as_fd())
                })?;
            }
        }
        if let Some(score) = self.plan.process.oom_score_adj {
            set_oom_score(&pid.to_string(), score, proc, self.report)?;
        }
        if ns.user == Namespace::Create {
            channel.say(&ToInit::Mapped)?;
        }
        self.cgroup.take_in(pid, placed, self.report)?;
        channel.say(&ToInit::Joined)?;
        free_affinity(pid);
        Ok(())
    }

    /// Hears init until it is ready.
    pub(super) fn converse(&self, pid: i32, channel: &ParentSide) -> Outcome<()> {
        loop {
            match channel.hear()? {
                Some(ToParent::MountsReady) => {
                    let hooks = &self.plan.hooks;
                    let state = &self.stored.state;
                    crate::hooks::run(StageKind::HookPrestart, &hooks.prestart, state, self.report)?;
                    crate::hooks::run(
                        StageKind::HookCreateRuntime,
                        &hooks.create_runtime,
                        state,
                        self.report,
                    )?;
                    channel.say(&ToInit::HooksDone)?;
                }
                Some(ToParent::Ready) => {
                    schedule(pid, &self.plan.process, self.report)?;
                    return limit(pid, &self.plan.process, self.report);
                }
                Some(ToParent::Failed(failure)) => return Err(failure),
                Some(ToParent::Executing | ToParent::Entered) => {
                    return Err(refuse("follow the handshake", "init went on too early"));
                }
                None => return Err(died(pid)),
            }
        }
    }
}

/// Writes the oom score of a process: its pid, or `self`.
pub(crate) fn set_oom_score(process: &str, score: i32, proc: &Proc, report: &Reporter) -> Outcome<()> {
    report.stage(StageKind::OomScore, score.to_string(), || {
        proc.write(&format!("{process}/oom_score_adj"), &score.to_string()).at("/process/oomScoreAdj").hint(
            Errno::EACCES,
            "lowering it below the caller's own value takes CAP_SYS_RESOURCE on the host",
        )
    })
}

/// The CPUs of a process are those of its cgroup. Where the caller is bound to fewer
/// (`CPUAffinity=` of a unit), Linux 6.2 and later would bind the process to those as well.
pub(crate) fn free_affinity(pid: i32) {
    if let Err(error) = sys::schedule::free_affinity(pid) {
        crate::log::debug(&format!("the process stays on the CPUs of the caller: {error}"));
    }
}

/// Scheduler and I/O priority: late, since init's own work has no deadline, and by the
/// parent, since some take rights that nobody has inside a user namespace.
pub(crate) fn schedule(pid: i32, process: &Process, report: &Reporter) -> Outcome<()> {
    const TAKES: &str = "this takes CAP_SYS_NICE on the host";
    const REAL_TIME: &str = "this takes CAP_SYS_NICE on the host, and, on cgroup v1 with real-time groups, /linux/resources/cpu/realtimeRuntime in this cgroup and those above";
    let attributes = &process.attributes;
    if let Some(scheduler) = &attributes.scheduler {
        report.stage(StageKind::Scheduling, "scheduler", || {
            sys::schedule::set_scheduler(pid, scheduler)
                .attempt(|| format!("set the scheduler {}", scheduler.name))
                .at("/process/scheduler")
                .hint(Errno::EPERM, if scheduler.priority > 0 { REAL_TIME } else { TAKES })
                .hint(Errno::EBUSY, "the CPUs have no room for this runtime within this period")
        })?;
    }
    if let Some(priority) = &attributes.io_priority {
        report.stage(StageKind::Scheduling, "ioPriority", || {
            sys::schedule::set_io_priority(pid, priority)
                .attempt(|| format!("set the I/O priority {}", priority.name))
                .at("/process/ioPriority")
                .hint(Errno::EPERM, TAKES)
        })?;
    }
    Ok(())
}

/// Resource limits come last: they would hinder init itself. Those that the
/// process can lower by itself are left to it (`lower_limits` of the init) where the
/// caller has no right over a process of another user.
pub(crate) fn limit(pid: i32, process: &Process, report: &Reporter) -> Outcome<()> {
    for limit in &process.rlimits {
        let pointer = format!("/process/rlimits/{}", limit.index);
        report.stage(Stage::nth(StageKind::Rlimit, limit.index), limit.name, || {
            match sys::process::set_limit(pid, limit) {
                Err(e) if e.errno == Errno::EPERM && sys::process::may_lower(limit) => Ok(()),
                result => result
                    .attempt(|| format!("limit {} to {}", limit.name, limit.hard))
                    .at(&pointer)
                    .hint(Errno::EPERM, "raising a hard limit takes CAP_SYS_RESOURCE, or a higher hard limit of the caller (ulimit -H)"),
            }
        })?;
    }
    Ok(())
}

/// When init is gone (`EPIPE`, `ECONNRESET`), what it said last is the cause, not that it is gone.
pub(crate) fn last_words(failure: Box<Failure>, channel: &ParentSide) -> Box<Failure> {
    if !matches!(Errno::from_raw(failure.errno), Errno::EPIPE | Errno::ECONNRESET) {
        return failure;
    }
    loop {
        match channel.hear() {
            Ok(Some(ToParent::Failed(cause))) => return cause,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return failure,
        }
    }
}

fn died(pid: i32) -> Box<Failure> {
    let because = match sys::process::wait(pid) {
        Ok(ended) => format!("its init {ended} before it was ready"),
        Err(_) => "its init died before it was ready".to_owned(),
    };
    let mut failure = refuse("create the container", because);
    failure.hint = "a kill from outside, or the memory limit of its cgroup".into();
    failure
}
