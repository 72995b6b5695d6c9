//! The process of `exec`, from its first instruction to execve(2): the child of
//! a clone by [`crate::exec`], which has joined all of the container's
//! namespaces but, where it has one, the user namespace. What follows is the
//! last part of a container's init, [`Task`].

use super::{Keyring, Task, attributes, identity};
use crate::cgroup::Cgroup;
use crate::contract::report::StageKind;
use crate::handshake::{ToInit, ToParent};
use crate::namespaces;
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome};
use crate::rootfs::console;
use crate::sys;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Everything that it works with.
#[derive(Debug)]
pub struct Joining<'a> {
    /// The process, and whom it talks to.
    pub task: Task<'a>,
    /// The container's id.
    pub id: &'a str,
    /// The cgroup that it joins.
    pub cgroup: &'a Cgroup,
    /// A pidfd of the container's init, where its user namespace is still to be joined.
    pub user_of: Option<BorrowedFd<'a>>,
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    /// Whether it leaves the caller's session keyring for the container's.
    pub keyring: Keyring,
}

impl Joining<'_> {
    /// Sets the process up and executes it. A failure goes to whoever waits.
    pub fn run(mut self) -> ! {
        let program = self.set_up().unwrap_or_else(|failure| self.task.fail(failure));
        let starter = self.task.wait_for_start().unwrap_or_else(|failure| self.task.fail(failure));
        let channel = starter.as_ref().unwrap_or(&self.task.channel);
        let failure = self.task.execute(&program, channel);
        drop(channel.say(&ToParent::Failed(failure)));
        sys::process::exit_now(1)
    }

    fn set_up(&mut self) -> Outcome<CString> {
        if let Some(listener) = &mut self.task.listener {
            listener.learn_pid()?;
        }
        // First of all: from now on the container can see this process (CVE-2016-9962).
        let user_of = self.user_of.as_ref().map(AsRawFd::as_raw_fd);
        let console = self.console.as_ref().map(AsRawFd::as_raw_fd);
        let kept = [user_of, console].into_iter().flatten();
        self.task.close_leaks(&kept.clone().chain(self.cgroup.doors()).collect::<Vec<_>>())?;
        if self.cgroup.is_entered() {
            self.task.report.stage(StageKind::CgroupJoin, "", || self.cgroup.enter().map_err(Box::new))?;
            self.task.channel.say(&ToParent::Entered)?;
            self.task.close_leaks(&kept.collect::<Vec<_>>())?;
        }
        identity::reset_signals().attempt(|| "reset the signals".into())?;
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
        // EPERM: it is the leader of a session already.
        nix::unistd::setsid().ok();
        attributes::join_keyring(self.id, self.keyring, self.task.report)?;
        if let Some(init) = self.user_of.take() {
            self.task.report.stage(StageKind::NamespaceUser, "", || {
                sys::process::setns(init, namespaces::user::FLAG)
                    .attempt(|| "join the container's user namespace".into())?;
                namespaces::user::become_root()
            })?;
            attributes::own_keyring(self.id, self.keyring, self.task.report)?;
        }
        let proc = self.own_proc()?;
        let slave = match self.console.take() {
            Some(socket) => Some(self.task.report.stage(StageKind::Console, "/dev/pts/ptmx", || {
                console::set_up_joined(&socket, self.task.process.console_size)
            })?),
            None => None,
        };
        let program = self.task.set_up(slave, proc)?;
        self.task.expect(ToInit::Joined)?;
        self.task.ready()?;
        Ok(program)
    }

    /// A procfs of our own, where a label will be written to it (rule R2).
    fn own_proc(&self) -> Outcome<Option<Proc>> {
        let process = self.task.process;
        let needed = !process.apparmor_profile.is_empty() || !process.selinux_label.is_empty();
        if needed { Proc::own().map(Some) } else { Ok(None) }
    }
}
