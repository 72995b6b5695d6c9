//! The clone of `exec`'s process into the container's namespaces.

use super::Entering;
use crate::cgroup::Placed;
use crate::contract::report::StageKind;
use crate::create::attend::set_oom_score;
use crate::create::launch::through_helper;
use crate::handshake::{self, InitSide, ParentSide};
use crate::init::{Joining, StartBy, Task};
use crate::namespaces;
use crate::pass::Passed;
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use crate::sys::process::{Cloned, Parentage, clone3};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};

/// Who has cloned the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Born {
    /// The parent, into the cgroup of the unified hierarchy.
    Direct,
    /// A helper that had to join the user namespace first: the cgroup is to be joined.
    ByHelper,
}

impl Entering<'_> {
    /// Joins and clones. Only in the parent does this return.
    pub(super) fn launch(
        &self,
        start: Option<OwnedFd>,
        passed: Passed,
        console: Option<OwnedFd>,
        proc: Option<&Proc>,
    ) -> Outcome<(i32, Born, Placed, ParentSide)> {
        let (channel, side) = handshake::pair()?;
        let listener = crate::listener::connected(self.process.seccomp.as_ref(), self.state)
            .or_else(|f| self.report.stage(StageKind::SeccompListener, "", || Err(f)))?;
        let start = start.map_or(StartBy::Parent, StartBy::Held);
        let become_process = |side: InitSide, channel: ParentSide, user_of| -> ! {
            // While it had the parent's side, it would not hear that the parent has died.
            drop(channel);
            let process = self.process;
            let task = Task { process, channel: side, report: self.report, start, passed, listener };
            Joining { task, id: self.id, cgroup: &self.cgroup, user_of, console, keyring: self.keyring }.run()
        };
        let how = self.join()?;
        let (cloned, placed) = match how {
            Born::Direct => self.clone_direct()?,
            Born::ByHelper => (through_helper(|| self.join_and_clone(proc))?, Placed::Outside),
        };
        match cloned {
            Cloned::Parent(pid) => Ok((pid, how, placed, channel)),
            Cloned::Child => {
                let user_left = how == Born::Direct && self.joins_user;
                become_process(side, channel, user_left.then(|| self.init.as_fd()))
            }
        }
    }

    /// Joins all namespaces but the user namespace, where the caller has the
    /// right to. From here on nobody may trace it, and it uses no path.
    fn join(&self) -> Outcome<Born> {
        let result =
            sys::privilege::forbid_dump().and_then(|()| sys::process::setns(self.init.as_fd(), self.others));
        match result {
            // A caller who is not root has these rights inside the user namespace only.
            Err(e) if e.errno == Errno::EPERM && self.joins_user => Ok(Born::ByHelper),
            result => self.report.stage(StageKind::NamespaceOpen, "", || {
                result
                    .attempt(|| "join the container's namespaces".into())
                    .hint(Errno::ESRCH, "the container has just stopped")
                    .hint(Errno::EPERM, "a container of another user takes root")?;
                Ok(Born::Direct)
            }),
        }
    }

    fn clone_direct(&self) -> Outcome<(Cloned, Placed)> {
        let cgroup = self.cgroup.join_fd();
        let placed = Cell::new(if cgroup.is_some() { Placed::Inside } else { Placed::Outside });
        let cloned = self.report.stage_of_clone(|| {
            let into = |cgroup| clone3(CloneFlags::empty(), Parentage::Child, cgroup);
            let cloned = match into(cgroup) {
                // Where cgroup namespaces are borders (`nsdelegate`), none may be crossed from
                // the one that was joined; `cgroup.procs` was opened before that.
                Err(e) if e.errno == Errno::ENOENT => {
                    placed.set(Placed::Outside);
                    into(None)
                }
                // The container has made cgroups of its own below, and moved its init there.
                Err(e) if e.errno == Errno::EBUSY => match self.cgroup.holder_of(self.init_pid) {
                    Some(dir) => into(Some(dir.as_fd())),
                    None => Err(e),
                },
                result => result,
            };
            cloned
                .attempt(|| "clone the process".into())
                .hint(Errno::ENOMEM, "the container's init has just died")
                .hint(Errno::EAGAIN, "the limit of /linux/resources/pids, or RLIMIT_NPROC, is reached")
                .hint(
                    Errno::EBUSY,
                    "processes can be only in the lowest cgroups of the container: name one with --cgroup",
                )
        });
        Ok((cloned?, placed.get()))
    }

    fn join_and_clone(&self, proc: Option<&Proc>) -> Outcome<Cloned> {
        if let (Some(score), Some(proc)) = (self.process.oom_score_adj, proc) {
            // Inherited; the parent may not write it once the process is another user's.
            set_oom_score("self", score, proc, self.report)?;
        }
        self.report.stage(StageKind::NamespaceUser, "", || {
            sys::process::setns(self.init.as_fd(), self.others | namespaces::user::FLAG)
                .attempt(|| "join the container's namespaces".into())
                .hint(Errno::ESRCH, "the container has just stopped")
                .hint(Errno::EPERM, "a container of another user takes root")?;
            namespaces::user::become_root()
        })?;
        self.report.stage_of_clone(|| {
            clone3(CloneFlags::empty(), Parentage::Sibling, None)
                .attempt(|| "clone the process".into())
                .hint(Errno::ENOMEM, "the container's init has just died")
        })
    }
}
