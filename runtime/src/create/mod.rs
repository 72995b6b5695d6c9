//! The parent's half of `create` and `run`: reserve, open, clone, map, join,
//! hooks, and wait until init says that it is ready. Init's half is
//! [`crate::init`]. Whatever fails, everything that was made is undone.

pub(crate) mod attend;
pub(crate) mod console;
pub(crate) mod launch;
pub mod net_devices;

use crate::bundle::Bundle;
use crate::cgroup::plan::MayLack;
use crate::cgroup::{Cgroup, CgroupPaths, Driver, Placed, systemd};
use crate::contract::report::{Failure, StageKind};
use crate::contract::state::{State, Status};
use crate::handshake::{self, ParentSide, ToInit};
use crate::init::{Keyring, Pivot, StartBy};
use crate::listener::{self, Connected};
use crate::namespaces::{self, Joined};
use crate::pass::Passed;
use crate::pidfile::PidFile;
use crate::plan::{Host, Namespace, NamespaceKind, Plan};
use crate::procfs::Proc;
use crate::report::{Outcome, Reporter, refuse, refuse_all, with_leftovers};
use crate::resctrl::{self, Place};
use crate::rootfs::{idmap, sources};
use crate::store::{Directory, ForExec, Stored, StoredHook, started_at};
use crate::sys;
use attend::last_words;
use launch::{Child, Launched};
use net_devices::Moved;
use nix::errno::Errno;
use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Who will tell init to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A later `start`, by the start socket.
    Create,
    /// This process.
    Run,
}

/// Where the master of the container's terminal goes, if it has one.
#[derive(Debug)]
pub enum Console {
    /// Nowhere: a config that wants a terminal is refused.
    Nowhere,
    /// To who listens on this unix socket (`--console-socket`).
    Socket(PathBuf),
    /// To the runtime itself, which stays in the foreground.
    Foreground(OwnedFd),
}

/// What the caller asks for, beside the bundle.
#[derive(Debug)]
pub struct Request {
    /// The container's id.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// Where states are kept.
    pub root: PathBuf,
    /// Where init's pid is written.
    pub pid_file: Option<PathBuf>,
    /// Where the terminal's master goes.
    pub console: Console,
    /// Descriptors that the process gets.
    pub passed: Passed,
    /// How the root becomes `/`.
    pub pivot: Pivot,
    /// Whether the process gets a session keyring of its own.
    pub keyring: Keyring,
    /// Who may do without a cgroup.
    pub may_lack: MayLack,
    /// Who makes the cgroup.
    pub driver: Driver,
    /// See [`Mode`].
    pub mode: Mode,
}

/// A created container, seen from the process that created it.
#[derive(Debug)]
pub struct Created {
    /// Its state directory.
    pub directory: Directory,
    /// What is in it.
    pub stored: Stored,
    /// Its cgroup.
    pub cgroup: Cgroup,
    /// To its init, which waits.
    pub channel: ParentSide,
    /// Interfaces that go back to the host, should it not come to a start.
    pub devices: Option<Moved>,
}

/// Loads and plans a bundle.
///
/// # Errors
/// All mistakes of the config at once, each with its pointer.
pub fn plan(bundle: &Path, id: &str, driver: Driver, report: &Reporter) -> Outcome<Plan> {
    let path = bundle.display().to_string();
    let bundle = report.stage(StageKind::Load, &path, || Bundle::load(bundle).map_err(Box::new))?;
    // The process ends long before freeing it, piece by piece, would pay.
    let bundle: &Bundle = Box::leak(Box::new(bundle));
    report.stage(StageKind::Plan, id, || {
        let mut host = Host::probe();
        if driver == Driver::Systemd {
            host.cgroups.systemd = Some(systemd::Manager::find()?);
        }
        crate::plan::plan(bundle, id, &host).map_err(|problems| refuse_all("plan the container", &problems))
    })
}

/// Creates the container up to the point where its init waits.
///
/// # Errors
/// The stage that failed; nothing is left of the container.
pub fn create(request: &Request, report: &Reporter) -> Outcome<Created> {
    crate::contract::check_id(&request.id).map_err(|because| refuse("name a container", because))?;
    let mut plan = plan(&request.bundle, &request.id, request.driver, report)?;
    plan.cgroup.may_lack = request.may_lack;
    for warning in &plan.warnings {
        crate::log::warn(&warning.to_string());
    }
    let joined = namespaces::open_joined(&plan.namespaces, report)?;
    namespaces::guard_sysctls(&plan, &joined).or_else(|f| report.stage(StageKind::Sysctl, "", || Err(f)))?;
    if let Some(rdt) = &plan.intel_rdt {
        report.stage(StageKind::IntelRdt, &rdt.group, || resctrl::check(rdt))?;
    }
    let console = console::console(&request.console, &plan.process)
        .or_else(|f| report.stage(StageKind::Console, "", || Err(f)))?;
    let directory =
        report.stage(StageKind::Store, &request.id, || Directory::reserve(&request.root, &request.id))?;
    // From here on a half-made container can be found and deleted.
    let mut stored = stored(&plan, plan.cgroup.paths());
    let made =
        report.stage(StageKind::Store, &request.id, || directory.write_first(&stored)).and_then(|()| {
            report.stage(StageKind::Cgroup, "", || Cgroup::create(&plan.cgroup).map_err(Box::new))
        });
    let cgroup = match made {
        Ok(cgroup) => cgroup,
        Err(failure) => return Err(undo_directory(directory, failure)),
    };
    cgroup.mark(&request.root.join(&request.id));
    stored.cgroup = cgroup.paths();
    for warning in cgroup.warnings() {
        crate::log::warn(warning);
    }
    let mut attempt =
        Creation { request, report, plan: &plan, stored, directory, cgroup, pid: None, devices: None };
    match attempt.go(joined, console) {
        Ok(channel) => {
            let Creation { directory, stored, cgroup, devices, .. } = attempt;
            Ok(Created { directory, stored, cgroup, channel, devices })
        }
        Err(failure) => Err(attempt.undo(failure)),
    }
}

fn undo_directory(directory: Directory, failure: Box<Failure>) -> Box<Failure> {
    let left = if directory.is_current() { directory.remove().err() } else { None };
    with_leftovers(failure, left.map(|e| e.to_string()).as_slice())
}

/// What is remembered of a container that is to be made.
pub(crate) fn stored(plan: &Plan, cgroup: CgroupPaths) -> Stored {
    let state = State {
        oci_version: plan.oci_version.clone(),
        id: plan.id.clone(),
        status: Status::Creating,
        pid: 0,
        executed: false,
        bundle: plan.bundle.clone(),
        annotations: plan.annotations.clone(),
        rootfs: plan.rootfs.path.clone(),
        created: crate::clock::now(),
        owner: nix::unistd::geteuid().to_string(),
    };
    Stored {
        state,
        init_started: 0,
        cgroup,
        joined: joined_paths(plan),
        resctrl: plan.intel_rdt.as_ref().map(|rdt| Place::of(rdt, &plan.id)),
        poststart: plan.hooks.poststart.iter().map(StoredHook::from).collect(),
        poststop: plan.hooks.poststop.iter().map(StoredHook::from).collect(),
    }
}

/// What a later `exec` will need.
pub(crate) fn for_exec(plan: &Plan, keyring: Keyring) -> ForExec<'_> {
    ForExec { config: Cow::Borrowed(&plan.exec), seccomp: Cow::Borrowed(&plan.process.seccomp), keyring }
}

fn joined_paths(plan: &Plan) -> Vec<(String, PathBuf)> {
    let path = |kind: NamespaceKind| match plan.namespaces.get(kind) {
        Namespace::Join { path, .. } => Some((kind.name().to_owned(), path.clone())),
        Namespace::Host | Namespace::Create => None,
    };
    NamespaceKind::ALL.into_iter().filter_map(path).collect()
}

/// What is the container's for good once it is made.
fn settle(stored: &mut Stored, plan: &Plan) {
    if let (Some(rdt), Some(place)) = (&plan.intel_rdt, &mut stored.resctrl) {
        place.settle(rdt);
    }
}

/// A creation under way: what has been made so far, so that it can be undone.
struct Creation<'a> {
    request: &'a Request,
    report: &'a Reporter,
    plan: &'a Plan,
    directory: Directory,
    stored: Stored,
    cgroup: Cgroup,
    pid: Option<i32>,
    devices: Option<Moved>,
}

impl Creation<'_> {
    fn go(&mut self, joined: Vec<Joined>, console: Option<OwnedFd>) -> Outcome<ParentSide> {
        let sources = match self.plan.namespaces.mount {
            Namespace::Join { .. } => None,
            // Without rights over mounts: init opens them, as root of its user namespace.
            _ if !nix::unistd::geteuid().is_root() => {
                sources::refuse_id_maps(self.plan)
                    .or_else(|f| self.report.stage(StageKind::IdMap, "mounts", || Err(f)))?;
                None
            }
            Namespace::Host | Namespace::Create => Some(sources::open(self.plan, self.report)?),
        };
        let user = joined.iter().find(|ns| ns.kind == NamespaceKind::User);
        if let (Some(sources), Some(user), true) = (&sources, user, idmap::needs_container(self.plan)) {
            self.report.stage(StageKind::IdMap, "mounts", || {
                idmap::to_container(self.plan, sources, user.fd.as_fd())
            })?;
        }
        let start = match self.request.mode {
            Mode::Create => StartBy::Socket(self.directory.listen()?),
            Mode::Run => StartBy::Parent,
        };
        let placed = if self.born_into(&joined).is_some() { Placed::Inside } else { Placed::Outside };
        let (channel, side) = handshake::pair()?;
        let listener = self.listener()?;
        let launched = Launched { channel, side, sources, start, console, listener };
        let Child { pid, channel, sources } = self.launch(launched, &joined)?;
        drop(joined);
        self.pid = Some(pid);
        self.stored.state.pid = pid;
        let proc = Proc::host()?;
        self.devices = net_devices::move_in(pid, &self.plan.net_devices, self.report)?;
        if let (Some(rdt), Some(place)) = (&self.plan.intel_rdt, &mut self.stored.resctrl) {
            self.report.stage(StageKind::IntelRdt, &rdt.group, || place.make(rdt, pid))?;
        }
        self.attend(pid, placed, &proc, sources.as_ref(), &channel)
            .and_then(|()| {
                drop(sources);
                // Now init has work to do, and the parent has not.
                self.guard_devices()?;
                self.directory.write_for_exec(&for_exec(self.plan, self.request.keyring))?;
                self.prepare(pid)?;
                self.converse(pid, &channel)
            })
            .map_err(|failure| last_words(failure, &channel))?;
        self.finish(pid)?;
        if self.request.mode == Mode::Create {
            // Until it hears this, the end of this process is the end of init as well.
            channel.say(&ToInit::Stored).map_err(|failure| last_words(failure, &channel))?;
        }
        Ok(channel)
    }

    fn guard_devices(&self) -> Outcome<()> {
        let guarded = self
            .report
            .stage(StageKind::CgroupDevices, "", || self.cgroup.guard(&self.plan.cgroup).map_err(Box::new))?;
        if let Some(warning) = guarded {
            crate::log::warn(&warning);
        }
        Ok(())
    }

    /// Who decides about system calls; its state of the container is the one being created.
    fn listener(&self) -> Outcome<Option<Connected>> {
        let filter = self.plan.process.seccomp.as_ref();
        listener::connected(filter, &self.stored.state)
            .or_else(|f| self.report.stage(StageKind::SeccompListener, "", || Err(f)))
    }

    /// Writes ahead of time what will be remembered. An init that has died says why itself.
    fn prepare(&mut self, pid: i32) -> Outcome<()> {
        self.stored.init_started = started_at(pid).unwrap_or_default();
        let mut created = self.stored.clone();
        created.state.status = Status::Created;
        settle(&mut created, self.plan);
        self.report.stage(StageKind::Store, &self.request.id, || self.directory.prepare(&created))
    }

    fn finish(&mut self, pid: i32) -> Outcome<()> {
        if self.stored.init_started == 0 {
            return Err(refuse("create the container", "when its init started cannot be read in /proc"));
        }
        self.stored.state.status = Status::Created;
        self.report.stage(StageKind::Store, &self.request.id, || self.directory.publish())?;
        if let Some(path) = &self.request.pid_file {
            PidFile::at(path)?.write(pid)?;
        }
        settle(&mut self.stored, self.plan);
        Ok(())
    }

    /// Takes everything back; poststop hooks run, since prestart ones may have.
    fn undo(self, failure: Box<Failure>) -> Box<Failure> {
        let mut left = Vec::new();
        if let Some(pid) = self.pid {
            let killed = sys::process::pidfd_open(pid)
                .and_then(|pidfd| sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL));
            match killed {
                Err(e) if e.errno != Errno::ESRCH => left.push(e.to_string()),
                _ => drop(sys::process::wait(pid)),
            }
            left.extend(self.devices.iter().flat_map(Moved::back));
            let mut state = self.stored.state.clone();
            state.status = Status::Stopped;
            let hooks = &self.plan.hooks.poststop;
            let failed = crate::hooks::run_each(StageKind::HookPoststop, hooks, &state, self.report);
            left.extend(failed.iter().map(ToString::to_string));
        }
        left.extend(
            self.stored.resctrl.iter().filter_map(|place| place.remove().err()).map(|e| e.to_string()),
        );
        left.extend(self.cgroup.remove().err().map(|e| e.to_string()));
        if self.directory.is_current() {
            left.extend(self.directory.remove().err().map(|e| e.to_string()));
        }
        with_leftovers(failure, &left)
    }
}
