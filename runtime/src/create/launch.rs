//! The clone of init: directly, or, with namespaces to join, through a helper
//! that joins them first.

use super::Creation;
use crate::contract::report::StageKind;
use crate::handshake::{InitSide, ParentSide};
use crate::init::{Init, StartBy, Task};
use crate::listener::Connected;
use crate::namespaces::{self, Joined};
use crate::plan::NamespaceKind;
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::rootfs::sources::Sources;
use crate::sys;
use crate::sys::process::{Cloned, Parentage, clone3};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What goes over to init, and what has to stay behind.
pub(super) struct Launched {
    /// The parent's side. Init closes its copy first of all: while it had one, it
    /// would not hear that the parent has died.
    pub(super) channel: ParentSide,
    pub(super) side: InitSide,
    pub(super) sources: Option<Sources>,
    pub(super) start: StartBy,
    pub(super) console: Option<OwnedFd>,
    pub(super) listener: Option<Connected>,
}

/// What the parent has after the clone.
pub(super) struct Child {
    pub(super) pid: i32,
    /// To init.
    pub(super) channel: ParentSide,
    /// Kept for their id maps.
    pub(super) sources: Option<Sources>,
}

impl Creation<'_> {
    /// The cgroup into which init is cloned. None after a user namespace was joined, in which there is no right to,
    /// or a cgroup namespace, whose border cannot be crossed (`nsdelegate`).
    pub(super) fn born_into(&self, joined: &[Joined]) -> Option<BorrowedFd<'_>> {
        let borders = [NamespaceKind::User, NamespaceKind::Cgroup];
        self.cgroup.join_fd().filter(|_| !joined.iter().any(|ns| borders.contains(&ns.kind)))
    }

    /// Clones init.
    pub(super) fn launch(&self, launched: Launched, joined: &[Joined]) -> Outcome<Child> {
        let flags = namespaces::clone_flags(&self.plan.namespaces);
        if !joined.is_empty() {
            return self.launch_joining(launched, joined, flags);
        }
        let cloned = self.report.stage_of_clone(|| {
            clone3(flags, Parentage::Child, self.born_into(joined))
                .attempt(|| "clone the container's init".into())
                .map_err(|mut failure| {
                    failure.hint = hint_of_clone(Errno::from_raw(failure.errno));
                    failure
                })
        });
        match cloned? {
            Cloned::Parent(pid) => Ok(Child { pid, channel: launched.channel, sources: launched.sources }),
            Cloned::Child => self.become_init(launched),
        }
    }

    /// With namespaces to join, a helper joins them and clones init as its sibling.
    fn launch_joining(&self, launched: Launched, joined: &[Joined], flags: CloneFlags) -> Outcome<Child> {
        match through_helper(|| self.join_and_clone(joined, flags))? {
            Cloned::Parent(pid) => Ok(Child { pid, channel: launched.channel, sources: launched.sources }),
            Cloned::Child => self.become_init(launched),
        }
    }

    fn join_and_clone(&self, joined: &[Joined], flags: CloneFlags) -> Outcome<Cloned> {
        let kinds: Vec<&str> = joined.iter().map(|ns| ns.kind.name()).collect();
        let stage = joined.first().map_or(StageKind::Clone, |ns| namespaces::stage(ns.kind));
        self.report.stage(stage, kinds.join(","), || namespaces::join_all(joined))?;
        self.report.stage_of_clone(|| {
            clone3(flags, Parentage::Sibling, self.born_into(joined))
                .attempt(|| "clone the container's init".into())
                .hint(Errno::EINVAL, "a pid namespace cannot be created in a user namespace that is joined with another pid namespace")
        })
    }

    fn become_init(&self, launched: Launched) -> ! {
        let Launched { channel, side, sources, start, console, listener } = launched;
        drop(channel);
        let mut state = self.stored.state.clone();
        state.pid = std::process::id().cast_signed();
        Init {
            plan: self.plan,
            task: Task {
                process: &self.plan.process,
                channel: side,
                report: self.report,
                start,
                passed: self.request.passed,
                listener,
            },
            sources,
            report: self.report,
            state,
            console,
            pivot: self.request.pivot,
            keyring: self.request.keyring,
            cgroup: &self.cgroup,
            unified: self.stored.cgroup.unified(),
        }
        .run()
    }
}

/// Why the kernel did not clone init.
fn hint_of_clone(errno: Errno) -> String {
    let advise = namespaces::advice::user_namespaces;
    match errno {
        Errno::ENOSPC => advise("a limit in /proc/sys/user/max_*_namespaces is reached"),
        Errno::EPERM => advise("creating namespaces takes root, or a user namespace in the config"),
        Errno::EUSERS => "user namespaces are nested too deeply".into(),
        Errno::EACCES => "the cgroup takes no process from the caller's own cgroup: both must be in one \
                          that is delegated to this user, as in `systemd-run --user --scope -p Delegate=yes COMMAND`"
            .into(),
        _ => String::new(),
    }
}

/// Lets a helper do `work`, which joins namespaces and clones a sibling of the
/// helper: a child of the caller, which itself stays where it is.
///
/// # Errors
/// That of `work`, or the helper's death.
pub(crate) fn through_helper(work: impl FnOnce() -> Outcome<Cloned>) -> Outcome<Cloned> {
    let what = || "clone through a helper".to_owned();
    let (told, tells) =
        sys::named(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC), || "pipe2()".into()).attempt(what)?;
    match clone3(CloneFlags::empty(), Parentage::Child, None).attempt(what)? {
        Cloned::Parent(helper) => {
            drop(tells);
            // One write: the pid, or a failure, which is longer than one and fits.
            let mut bytes = vec![0; 64 << 10];
            let length = nix::unistd::read(&told, &mut bytes).unwrap_or(0);
            sys::process::wait(helper).attempt(what)?;
            bytes.truncate(length);
            match <[u8; 4]>::try_from(bytes.as_slice()) {
                Ok(pid) => Ok(Cloned::Parent(i32::from_le_bytes(pid))),
                Err(_) => Err(serde_json::from_slice(&bytes)
                    .unwrap_or_else(|_| refuse(what(), "the helper that joins namespaces has died"))),
            }
        }
        Cloned::Child => {
            drop(told);
            let said = match work() {
                Ok(Cloned::Child) => return Ok(Cloned::Child),
                Ok(Cloned::Parent(pid)) => pid.to_le_bytes().to_vec(),
                Err(mut failure) => {
                    failure.truncate(1024);
                    serde_json::to_vec(&failure).unwrap_or_default()
                }
            };
            // A parent that has died needs neither.
            nix::unistd::write(&tells, &said).ok();
            sys::process::exit_now(0)
        }
    }
}
