//! `restore`: makes a container of an image. Everything that a bundle decides is
//! taken from the bundle; what the processes were is taken from the image.

use super::terminal::Terminal;
use super::{Context, checkpoint, delete, run};
use crate::cgroup::Cgroup;
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::{Failure, StageKind};
use crate::contract::state::Status;
use crate::create;
use crate::criu::restore::{Attendant, Wanted};
use crate::criu::{self, Criu};
use crate::init::Keyring;
use crate::pidfile::PidFile;
use crate::plan::{Namespace, Plan};
use crate::report::{Attempt, Outcome, refuse, with_leftovers};
use crate::store::{Directory, Stored, started_at};
use crate::sys;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Carries it out.
///
/// # Errors
/// The stage that failed; nothing is left.
pub fn run(context: &Context, args: &cli::Restore) -> Outcome<ExitCode> {
    let criu = Criu::find(&context.criu)?;
    let plan = create::plan(&args.bundle, &args.id, context.driver, &context.report)?;
    for warning in &plan.warnings {
        crate::log::warn(&warning.to_string());
    }
    check(&plan, args)?;
    let wanted = wanted(args)?;
    let console = console(&plan, args)?;
    if !args.detach && !args.no_subreaper {
        sys::privilege::become_subreaper().attempt(|| "become the container's reaper".into())?;
    }
    let directory =
        context.report.stage(StageKind::Store, &args.id, || Directory::reserve(&context.root, &args.id))?;
    let mut restored =
        Restored { context, plan: &plan, args, directory, stored: None, console, terminal: None };
    let made = context.report.stage(StageKind::Cgroup, "", || Cgroup::create(&plan.cgroup).map_err(Box::new));
    let cgroup = match made {
        Ok(cgroup) => cgroup,
        Err(failure) => return Err(restored.undo(None, failure)),
    };
    cgroup.mark(&context.root.join(&args.id));
    let result = context.report.stage(StageKind::Restore, &args.id, || {
        restored.prepare(&cgroup)?;
        cgroup.guard(&plan.cgroup).map_err(Box::new)?.iter().for_each(|warning| crate::log::warn(warning));
        let place = std::path::absolute(context.root.join(&args.id)).attempt(|| "find the state".into())?;
        criu::restore::restore(&criu, &plan, &cgroup, &place, &wanted, &mut restored)
    });
    if let Err(failure) = result {
        return Err(restored.undo(Some(&cgroup), failure));
    }
    restored.attend()
}

/// What CRIU cannot do is refused before anything is made.
fn check(plan: &Plan, args: &cli::Restore) -> Outcome<()> {
    let refused = |pointer: &str, because: &str| {
        let mut failure = refuse(format!("restore the container {}", args.id), because);
        failure.pointer = pointer.into();
        Err(failure)
    };
    if plan.rootfs.idmapped || plan.mounts.iter().any(|m| m.idmap.is_some()) {
        return refused("/mounts", "CRIU does not restore id-mapped mounts");
    }
    if !plan.net_devices.is_empty() {
        return refused("/linux/netDevices", "CRIU does not restore interfaces that were the host's");
    }
    if plan.intel_rdt.is_some() {
        return refused("/linux/intelRdt", "CRIU does not restore what is in a group of resctrl");
    }
    if plan.process.terminal && args.detach && args.console_socket.is_none() {
        return refused("/process/terminal", "a terminal needs --console-socket when detached");
    }
    Ok(())
}

fn wanted(args: &cli::Restore) -> Outcome<Wanted> {
    Ok(Wanted {
        images: checkpoint::image_path(args.criu.image_path.as_deref())?,
        work: args.criu.work_path.clone(),
        cgroup_mode: criu::cgroup_mode(args.criu.manage_cgroups_mode.as_deref())?,
        empty_namespaces: criu::empty_namespaces(&args.criu.empty_ns)?,
        lsm_profile: args.lsm_profile.clone().filter(|text| !text.is_empty()),
        lsm_mount_context: args.lsm_mount_context.clone().filter(|text| !text.is_empty()),
        flags: checkpoint::flags(&args.criu),
    })
}

/// Whoever takes the terminal's master, reached before anything is made.
fn console(plan: &Plan, args: &cli::Restore) -> Outcome<Option<OwnedFd>> {
    match &args.console_socket {
        Some(path) if plan.process.terminal => crate::pass::reach("--console-socket", path).map(Some),
        _ => Ok(None),
    }
}

/// A restore under way.
struct Restored<'a> {
    context: &'a Context,
    plan: &'a Plan,
    args: &'a cli::Restore,
    directory: Directory,
    stored: Option<Stored>,
    console: Option<OwnedFd>,
    terminal: Option<Terminal>,
}

impl Restored<'_> {
    /// From here on a half-made container can be found and deleted.
    fn prepare(&mut self, cgroup: &Cgroup) -> Outcome<()> {
        let stored = create::stored(self.plan, cgroup.paths());
        self.directory.write(&stored)?;
        self.directory.write_for_exec(&create::for_exec(self.plan, Keyring::Own))?;
        self.stored = Some(stored);
        Ok(())
    }

    /// In the foreground, waits until the container has ended.
    fn attend(self) -> Outcome<ExitCode> {
        self.directory.unlock()?;
        let (Some(stored), false) = (&self.stored, self.args.detach) else { return Ok(ExitCode::SUCCESS) };
        let signals = run::catch_signals()?;
        let ended = self.context.report.stage(StageKind::Wait, &self.args.id, || {
            run::attend(stored.state.pid, &signals, self.terminal.as_ref())
        })?;
        delete::remove_own(&self.directory, stored, &self.context.report)?;
        Ok(ExitCode::from(run::status_of(ended)))
    }

    /// Takes everything back.
    fn undo(self, cgroup: Option<&Cgroup>, failure: Box<Failure>) -> Box<Failure> {
        let mut left = Vec::new();
        if let Some(cgroup) = cgroup {
            left.extend(cgroup.kill(libc::SIGKILL).err().map(|e| e.to_string()));
            while sys::process::reap_any().is_some() {}
            left.extend(cgroup.remove().err().map(|e| e.to_string()));
        }
        left.extend(self.directory.remove().err().map(|e| e.to_string()));
        with_leftovers(failure, &left)
    }
}

impl Attendant for Restored<'_> {
    fn namespaces_ready(&mut self, pid: i32) -> Outcome<()> {
        if self.plan.namespaces.network == Namespace::Create {
            loopback_up(pid)?;
        }
        let Some(stored) = &self.stored else { return Ok(()) };
        let mut state = stored.state.clone();
        state.pid = pid;
        let hooks = &self.plan.hooks;
        crate::hooks::run(StageKind::HookPrestart, &hooks.prestart, &state, &self.context.report)?;
        crate::hooks::run(StageKind::HookCreateRuntime, &hooks.create_runtime, &state, &self.context.report)
    }

    fn terminal(&mut self, master: OwnedFd) -> Outcome<()> {
        match &self.console {
            Some(socket) => crate::pass::send(socket, master.as_fd(), "/dev/ptmx"),
            None => {
                self.terminal = Some(Terminal::take(master)?);
                Ok(())
            }
        }
    }

    fn restored(&mut self, pid: i32) -> Outcome<()> {
        let Some(stored) = &mut self.stored else { return Ok(()) };
        stored.init_started = started_at(pid)
            .ok_or_else(|| refuse("restore the container", "its init died as soon as it was restored"))?;
        stored.state.pid = pid;
        stored.state.status = Status::Running;
        self.directory.write(stored)?;
        self.args.pid_file.as_deref().map_or(Ok(()), |path: &Path| PidFile::at(path)?.write(pid))
    }
}

/// The network namespace comes back empty, its `lo` down: it is set up, as in a
/// new container. A process is in one network namespace as a whole, so this one
/// goes there and comes back.
fn loopback_up(pid: i32) -> Outcome<()> {
    let what = || "set lo up".to_owned();
    let open = |path: &str| sys::file::open_host(Path::new(path), OFlag::O_RDONLY).attempt(what);
    let (own, theirs) = (open("/proc/self/ns/net")?, open(&format!("/proc/{pid}/ns/net"))?);
    sys::process::setns(theirs.as_fd(), CloneFlags::CLONE_NEWNET).attempt(what)?;
    let set = sys::net::loopback_up();
    sys::process::setns(own.as_fd(), CloneFlags::CLONE_NEWNET).attempt(what)?;
    set.attempt(what)
}
