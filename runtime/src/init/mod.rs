//! The container's init: the child of the clone, from its first instruction to
//! execve(2). It reads from top to bottom; each step is a stage of the report.
//! Its memory is a copy of the parent's, so the plan and the opened sources are
//! simply there. It never returns to the parent's code.

mod attributes;
mod exec;
mod identity;
mod join;

pub use exec::Task;
pub use join::Joining;

use crate::cgroup::Cgroup;
use crate::contract::report::{Stage, StageKind};
use crate::contract::state::{State, Status};
use crate::handshake::{ToInit, ToParent};
use crate::namespaces;
use crate::plan::{Namespace, Plan};
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Place, Reporter};
use crate::rootfs::mounts::Cgroupns;
use crate::rootfs::root::{Root, Target};
use crate::rootfs::sources::Sources;
use crate::rootfs::{cgroupfs, console, dev, mask, mounts, sources};
use crate::sys;
use nix::errno::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How init is told to execute the user's process.
#[derive(Debug)]
pub enum StartBy {
    /// By [`ToInit::Start`], from a parent that stays (`run`).
    Parent,
    /// By a connection to this socket (`create`, then `start`).
    Socket(OwnedFd),
    /// By the parent, and then over this connected socket (`exec --start-fd`).
    Held(OwnedFd),
}

/// How the new root becomes `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pivot {
    /// pivot_root(2).
    Root,
    /// `--no-pivot`: chroot(2) into the mount over `/`, for a root in an initramfs.
    Chroot,
}

/// Whose session keyring the process has (session-keyring(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keyring {
    /// One of the container's own.
    Own,
    /// The caller's (`--no-new-keyring`).
    Inherited,
}

/// Everything that init works with.
#[derive(Debug)]
pub struct Init<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The process, and whom it talks to.
    pub task: Task<'a>,
    /// What the parent has opened; none when a mount namespace is joined, or it had no right to.
    pub sources: Option<Sources>,
    /// For the stages.
    pub report: &'a Reporter,
    /// The state that hooks get; its pid and status are set by the stage.
    pub state: State,
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    /// Which of the two.
    pub pivot: Pivot,
    /// Whether it gets a session keyring of its own.
    pub keyring: Keyring,
    /// The cgroup that it joins.
    pub cgroup: &'a Cgroup,
    /// Where that is, if the host has version 2 alone and it got one.
    pub unified: Option<&'a Path>,
}

impl Init<'_> {
    /// Sets the container up and executes its process. A failure goes to
    /// whoever waits: the parent, or the `start` that has connected.
    pub fn run(mut self) -> ! {
        let program = self.set_up().unwrap_or_else(|failure| self.task.fail(failure));
        self.state.status = Status::Created;
        let starter = self.task.wait_for_start().unwrap_or_else(|failure| self.task.fail(failure));
        let channel = starter.as_ref().unwrap_or(&self.task.channel);
        let hooks = self.hooks(StageKind::HookStartContainer, &self.plan.hooks.start_container);
        let failure = hooks.map_or_else(|failure| failure, |()| self.task.execute(&program, channel));
        drop(channel.say(&ToParent::Failed(failure)));
        sys::process::exit_now(1)
    }

    fn set_up(&mut self) -> Outcome<CString> {
        identity::reset_signals().attempt(|| "reset the signals".into())?;
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        let plan = self.plan;
        if let Some(listener) = &mut self.task.listener {
            listener.learn_pid()?;
        }
        attributes::join_keyring(&plan.id, self.keyring, self.report)?;
        if plan.namespaces.user == Namespace::Create {
            self.task.expect(ToInit::Mapped)?;
            self.report.stage(StageKind::NamespaceUser, "", namespaces::user::become_root)?;
            attributes::own_keyring(&plan.id, self.keyring, self.report)?;
        }
        // EPERM: it is the leader of a session already.
        nix::unistd::setsid().ok();
        sys::privilege::forbid_dump().attempt(|| "forbid dumps".into())?;
        let proc = self.own_proc()?;
        self.set_up_namespaces(proc.as_ref())?;
        let sources = match self.sources.take() {
            // The parent had no right to: the caller is not root.
            None if !matches!(plan.namespaces.mount, Namespace::Join { .. }) => {
                Some(sources::open(plan, self.report)?)
            }
            opened => opened,
        };
        let slave = match sources {
            Some(sources) => self.set_up_root(sources, proc.as_ref())?,
            None => {
                self.join_cgroup()?;
                self.sysctls(proc.as_ref())?;
                self.hooks_of_parent()?;
                None
            }
        };
        let program = self.task.set_up(slave, proc)?;
        self.task.ready()?;
        Ok(program)
    }

    /// A procfs of our own, where something will be written to it (rule R2).
    fn own_proc(&self) -> Outcome<Option<Proc>> {
        let plan = self.plan;
        let needed = !plan.sysctls.is_empty()
            || plan.namespaces.time == Namespace::Create
            || !plan.process.apparmor_profile.is_empty()
            || !plan.process.selinux_label.is_empty();
        if needed { Proc::own().map(Some) } else { Ok(None) }
    }

    fn set_up_namespaces(&self, proc: Option<&Proc>) -> Outcome<()> {
        let ns = &self.plan.namespaces;
        self.report.stage(StageKind::NamespaceNetwork, "lo", || namespaces::network::set_up(&ns.network))?;
        if ns.uts != Namespace::Host {
            self.report.stage(StageKind::NamespaceUts, "", || namespaces::uts::set_up(self.plan))?;
        }
        match proc {
            Some(proc) if ns.time == Namespace::Create => {
                self.report.stage(StageKind::NamespaceTime, "", || {
                    // The offsets' file belongs to who may trace the process: inside a user namespace that
                    // is nobody while it is not dumpable. Nobody else is in a new user namespace.
                    let mapped = ns.user == Namespace::Create;
                    if mapped {
                        sys::privilege::allow_dump().attempt(|| "allow dumps".into())?;
                    }
                    let result = namespaces::time::set_up(ns, proc);
                    if mapped {
                        sys::privilege::forbid_dump().attempt(|| "forbid dumps".into())?;
                    }
                    result
                })
            }
            _ => Ok(()),
        }
    }

    /// From the host's view to the container's. Gives the terminal's slave.
    fn set_up_root(&self, sources: Sources, proc: Option<&Proc>) -> Outcome<Option<OwnedFd>> {
        let plan = self.plan;
        let Sources { root, mounts: opened, devices, null } = sources;
        self.report.stage(StageKind::NamespaceMount, "", || namespaces::mount::isolate(&plan.rootfs))?;
        let root = self
            .report
            .stage(StageKind::Rootfs, plan.rootfs.path.to_string_lossy(), || Self::attach(root))?;
        let mut in_cgroup = false;
        let mut places = Vec::new();
        let mut unsealed = Vec::new();
        for (mount, source) in plan.mounts.iter().zip(&opened) {
            if mount.kind == crate::plan::MountKind::Cgroup && !in_cgroup {
                self.enter_cgroup()?;
                if plan.namespaces.cgroup == Namespace::Create {
                    places = cgroupfs::places()?;
                }
                self.own_cgroup()?;
                in_cgroup = true;
            }
            let cgroupns = match plan.namespaces.cgroup {
                Namespace::Host => Cgroupns::Host { unified: self.unified },
                Namespace::Create | Namespace::Join { .. } => Cgroupns::Own { places: &places },
            };
            let stage = Stage::nth(StageKind::Mount, mount.index);
            let object = mount.destination.to_string_lossy();
            let made = self
                .report
                .stage(stage, object, || mounts::mount(&root, mount, source.as_ref(), cgroupns))?;
            unsealed.extend(made);
        }
        let mut places = dev::Places::below(&root);
        for (index, (device, host)) in plan.devices.iter().zip(&devices).enumerate() {
            let stage = Stage::nth(StageKind::Device, index);
            self.report.stage(stage, device.path.to_string_lossy(), || {
                dev::node(&mut places, device, host.as_ref())
            })?;
        }
        self.report.stage(StageKind::DevLinks, "/dev", || dev::links(&mut places))?;
        let slave = match &self.console {
            Some(socket) => Some(self.report.stage(StageKind::Console, "/dev/console", || {
                console::set_up(&root, socket, plan.process.console_size)
            })?),
            None => None,
        };
        mounts::seal_dev(&root, &plan.mounts)?;
        unsealed.iter().try_for_each(mounts::Unsealed::seal)?;
        drop(unsealed);
        if !in_cgroup {
            self.join_cgroup()?;
        }
        self.sysctls(proc)?;
        self.hooks_of_parent()?;
        self.hooks(StageKind::HookCreateContainer, &plan.hooks.create_container)?;
        mask::apply(&root, plan, null, self.report)?;
        self.report.stage(StageKind::Pivot, "/", || self.enter(root))?;
        Ok(slave)
    }

    /// Attaches the root over `/`, where only its descriptor reaches it until
    /// pivot_root(2): its path on the host is not resolved a second time.
    fn attach(tree: OwnedFd) -> Outcome<Root> {
        let what = || "attach the root file system".to_owned();
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY;
        let slash = sys::file::open_host("/".as_ref(), flags).attempt(what)?;
        sys::mount::attach(tree.as_fd(), slash.as_fd()).attempt(what)?;
        Ok(Root::new(tree))
    }

    /// Makes the root `/`, its attributes last, so that the working directory can be made.
    fn enter(&self, root: Root) -> Outcome<()> {
        let plan = self.plan;
        let what = || "enter the new root".to_owned();
        sys::named(nix::unistd::fchdir(root.as_fd()), || "fchdir(root)".into()).attempt(what)?;
        match self.pivot {
            Pivot::Root => sys::mount::pivot_to_cwd()
                .attempt(what)
                .hint(Errno::EINVAL, "a root in an initramfs cannot be pivoted: use --no-pivot")?,
            Pivot::Chroot => sys::mount::chroot_to_cwd().attempt(what)?,
        }
        namespaces::mount::propagate_root(&plan.rootfs)?;
        // By the root's descriptor: descriptors of the host are still open here, and a path
        // through /proc/self/fd would lead to them. What cannot be made is told by the stage
        // that enters it.
        drop(root.destination(&plan.process.cwd, Target::Directory));
        if plan.rootfs.readonly {
            let attrs = crate::plan::Attrs { set: sys::mount::MOUNT_ATTR_RDONLY, clear: 0 };
            self.report.stage(StageKind::ReadonlyRootfs, "/", || {
                crate::rootfs::sources::apply_attrs(root.as_fd(), crate::plan::Depth::One, attrs)
                    .attempt(|| "make the root read-only".into())
                    .at("/root/readonly")
            })?;
        }
        Ok(())
    }

    fn join_cgroup(&self) -> Outcome<()> {
        self.enter_cgroup()?;
        self.own_cgroup()
    }

    fn enter_cgroup(&self) -> Outcome<()> {
        self.task.expect(ToInit::Joined)?;
        if self.cgroup.is_entered() {
            self.report.stage(StageKind::CgroupJoin, "", || self.cgroup.enter().map_err(Box::new))?;
        }
        Ok(())
    }

    /// Its namespace, whose root is where the process is now.
    fn own_cgroup(&self) -> Outcome<()> {
        let cgroup = &self.plan.namespaces.cgroup;
        self.report.stage(StageKind::NamespaceCgroup, "", || namespaces::cgroup::set_up(cgroup))
    }

    fn sysctls(&self, proc: Option<&Proc>) -> Outcome<()> {
        proc.map_or(Ok(()), |proc| set_sysctls(self.plan, proc, self.report))
    }

    fn hooks_of_parent(&self) -> Outcome<()> {
        if self.plan.hooks.prestart.is_empty() && self.plan.hooks.create_runtime.is_empty() {
            return Ok(());
        }
        self.task.channel.say(&ToParent::MountsReady)?;
        self.task.expect(ToInit::HooksDone)
    }

    fn hooks(&self, kind: StageKind, hooks: &[crate::plan::Hook]) -> Outcome<()> {
        crate::hooks::run(kind, hooks, &self.state, self.report)
    }
}

/// Sets the sysctls of the namespaces that the caller is in.
///
/// # Errors
/// With the pointer of the sysctl.
pub(crate) fn set_sysctls(plan: &Plan, proc: &Proc, report: &Reporter) -> Outcome<()> {
    for (index, sysctl) in plan.sysctls.iter().enumerate() {
        let path = format!("sys/{}", sysctl.path.display());
        let pointer = format!("/linux/sysctl/{}", sysctl.key.replace('~', "~0").replace('/', "~1"));
        report.stage(Stage::nth(StageKind::Sysctl, index), &sysctl.key, || {
            proc.write(&path, &sysctl.value)
                .at(&pointer)
                .hint(Errno::ENOENT, "this kernel has no such sysctl")
        })?;
    }
    Ok(())
}
