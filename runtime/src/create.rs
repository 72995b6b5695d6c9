//! The parent's half of `create` and `run`: reserve, open, clone, map, join,
//! hooks, and wait until init says that it is ready. Init's half is
//! [`crate::init`]. Whatever fails, everything that was made is undone.

use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::contract::report::{Stage, StageKind};
use crate::contract::state::{State, Status};
use crate::handshake::{self, InitSide, ParentSide, ToInit, ToParent};
use crate::init::{Init, Pivot, StartBy};
use crate::namespaces::{self, Joined};
use crate::plan::{Host, Namespace, Plan, Problem};
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::rootfs::sources::{self, Sources};
use crate::store::{Directory, Stored, StoredHook, started_at};
use crate::sys;
use crate::sys::process::{Cloned, Parentage, clone3};
use nix::errno::Errno;
use nix::sched::CloneFlags;
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
    /// Descriptors from 3 on that the process gets.
    pub preserve_fds: u32,
    /// How the root becomes `/`.
    pub pivot: Pivot,
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
}

/// Loads and plans a bundle.
///
/// # Errors
/// All mistakes of the config at once, each with its pointer.
pub fn plan(bundle: &Path, id: &str, report: &Reporter) -> Outcome<Plan> {
    let path = bundle.display().to_string();
    let bundle = report.stage(StageKind::Load, &path, || Bundle::load(bundle).map_err(Box::new))?;
    report.stage(StageKind::Plan, id, || {
        crate::plan::plan(&bundle, id, &Host::probe()).map_err(|problems| all(&problems))
    })
}

/// One failure that tells every problem; the first one's place is the failure's.
fn all(problems: &[Problem]) -> Box<crate::contract::report::Failure> {
    let mut failure = refuse("plan the container", "");
    if let Some((first, rest)) = problems.split_first() {
        failure.pointer.clone_from(&first.pointer);
        failure.because.clone_from(&first.message);
        failure.hint.clone_from(&first.hint);
        for problem in rest {
            failure.because.push_str(&format!("\n{problem}"));
        }
    }
    failure
}

/// Creates the container up to the point where its init waits.
///
/// # Errors
/// The stage that failed; nothing is left of the container.
pub fn create(request: &Request, report: &Reporter) -> Outcome<Created> {
    crate::contract::check_id(&request.id).map_err(|because| refuse("name a container", because))?;
    let plan = plan(&request.bundle, &request.id, report)?;
    for warning in &plan.warnings {
        crate::log::warn(&warning.to_string());
    }
    let joined = namespaces::open_joined(&plan.namespaces, report)?;
    namespaces::guard_sysctls(&plan, &joined).or_else(|f| report.stage(StageKind::Sysctl, "", || Err(f)))?;
    let console = console(request, &plan).or_else(|f| report.stage(StageKind::Console, "", || Err(f)))?;
    let directory =
        report.stage(StageKind::Store, &request.id, || Directory::reserve(&request.root, &request.id))?;
    let cgroup = match report.stage(StageKind::Cgroup, "", || Cgroup::create(&plan.cgroup).map_err(Box::new))
    {
        Ok(cgroup) => cgroup,
        Err(failure) => return Err(undo_directory(directory, failure)),
    };
    for warning in cgroup.warnings() {
        crate::log::warn(warning);
    }
    let mut attempt = Creation {
        request,
        report,
        plan: &plan,
        stored: stored(&plan, &cgroup),
        directory,
        cgroup,
        pid: None,
    };
    match attempt.go(joined, console) {
        Ok(channel) => {
            let Creation { directory, stored, cgroup, .. } = attempt;
            Ok(Created { directory, stored, cgroup, channel })
        }
        Err(failure) => Err(attempt.undo(failure)),
    }
}

/// The terminal's other end, reached before anything is made.
fn console(request: &Request, plan: &Plan) -> Outcome<Option<OwnedFd>> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let what = || "set up the terminal".to_owned();
    match (&request.console, plan.process.terminal) {
        (Console::Nowhere | Console::Foreground(_), false) => Ok(None),
        (Console::Nowhere, true) => {
            let mut failure =
                refuse(what(), "cannot allocate tty if runc will detach without setting console socket");
            failure.hint = "give --console-socket, or set process.terminal to false".into();
            Err(failure).at("/process/terminal")
        }
        (Console::Foreground(fd), true) => fd.try_clone().attempt(what).map(Some),
        (Console::Socket(_), false) => {
            Err(refuse(what(), "cannot use console socket if runc will not detach or allocate tty"))
                .at("/process/terminal")
        }
        (Console::Socket(path), true) => {
            let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
            let fd = sys::named(made, || "socket(AF_UNIX)".into()).attempt(what)?;
            let address = sys::named(UnixAddr::new(path), || "sun_path".into()).attempt(what)?;
            sys::named(connect(fd.as_raw_fd(), &address), || format!("connect({path:?})")).attempt(what)?;
            Ok(Some(fd))
        }
    }
}

fn undo_directory(
    directory: Directory,
    mut failure: Box<crate::contract::report::Failure>,
) -> Box<crate::contract::report::Failure> {
    if let Err(left) = directory.remove() {
        failure.because.push_str(&format!(" (and left behind: {left})"));
    }
    failure
}

fn stored(plan: &Plan, cgroup: &Cgroup) -> Stored {
    let state = State {
        oci_version: plan.oci_version.clone(),
        id: plan.id.clone(),
        status: Status::Creating,
        pid: 0,
        bundle: plan.bundle.clone(),
        annotations: plan.annotations.clone(),
        rootfs: plan.rootfs.path.clone(),
        created: crate::clock::now(),
        owner: nix::unistd::geteuid().to_string(),
    };
    Stored {
        state,
        init_started: 0,
        cgroup: cgroup.paths(),
        poststart: plan.hooks.poststart.iter().map(StoredHook::from).collect(),
        poststop: plan.hooks.poststop.iter().map(StoredHook::from).collect(),
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
}

impl Creation<'_> {
    fn go(&mut self, joined: Vec<Joined>, console: Option<OwnedFd>) -> Outcome<ParentSide> {
        // From here on a half-made container can be found and deleted.
        self.directory.write(&self.stored)?;
        let sources = match self.plan.namespaces.mount {
            Namespace::Join { .. } => None,
            Namespace::Host | Namespace::Create => Some(sources::open(self.plan, self.report)?),
        };
        let start = match self.request.mode {
            Mode::Create => StartBy::Socket(self.directory.listen()?),
            Mode::Run => StartBy::Parent,
        };
        let proc = Proc::host()?;
        let how = if joined.is_empty() { Born::Inside } else { Born::Beside };
        let (channel, side) = handshake::pair()?;
        let launched = Launched { side, sources, start, console };
        let (pid, sources) = self.launch(launched, joined, &channel)?;
        self.pid = Some(pid);
        self.stored.state.pid = pid;
        self.attend(pid, how, &proc, sources.as_ref(), &channel)
            .and_then(|()| {
                drop(sources);
                self.converse(pid, &channel)
            })
            .map_err(|failure| last_words(failure, &channel))?;
        self.finish(pid)?;
        Ok(channel)
    }

    /// Clones init. The parent keeps the sources, for their id maps.
    fn launch(
        &self,
        launched: Launched,
        joined: Vec<Joined>,
        channel: &ParentSide,
    ) -> Outcome<(i32, Option<Sources>)> {
        let flags = namespaces::clone_flags(&self.plan.namespaces);
        if !joined.is_empty() {
            return self.launch_joining(launched, &joined, flags, channel);
        }
        let cloned = self.report.stage_of_clone(|| {
            clone3(flags, Parentage::Child, self.cgroup.join_fd())
                .attempt(|| "clone the container's init".into())
                .hint(Errno::ENOSPC, "a limit in /proc/sys/user/max_*_namespaces is reached")
                .hint(Errno::EPERM, "creating namespaces takes root, or a user namespace in the config")
                .hint(Errno::EUSERS, "user namespaces are nested too deeply")
        });
        match cloned? {
            Cloned::Parent(pid) => Ok((pid, launched.sources)),
            Cloned::Child => self.become_init(launched),
        }
    }

    /// With namespaces to join, a helper joins them and clones init as its sibling.
    fn launch_joining(
        &self,
        launched: Launched,
        joined: &[Joined],
        flags: CloneFlags,
        channel: &ParentSide,
    ) -> Outcome<(i32, Option<Sources>)> {
        let what = || "clone the container's init".to_owned();
        let (told, tells) = sys::named(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC), || "pipe2()".into())
            .attempt(what)?;
        match clone3(CloneFlags::empty(), Parentage::Child, None).attempt(what)? {
            Cloned::Parent(helper) => {
                drop(tells);
                let Launched { side, sources, .. } = launched;
                drop(side);
                let mut bytes = [0; 4];
                let length = nix::unistd::read(&told, &mut bytes).unwrap_or(0);
                sys::process::wait(helper).attempt(what)?;
                if length == bytes.len() {
                    return Ok((i32::from_le_bytes(bytes), sources));
                }
                match channel.hear()? {
                    Some(ToParent::Failed(failure)) => Err(failure),
                    _ => Err(refuse(what(), "the helper that joins namespaces has died")),
                }
            }
            Cloned::Child => {
                drop(told);
                match self.join_and_clone(joined, flags) {
                    Ok(Cloned::Child) => {
                        drop(tells);
                        self.become_init(launched)
                    }
                    Ok(Cloned::Parent(pid)) => {
                        // A parent that has died needs no pid.
                        nix::unistd::write(&tells, &pid.to_le_bytes()).ok();
                        sys::process::exit_now(0)
                    }
                    Err(failure) => {
                        drop(launched.side.say(&ToParent::Failed(failure)));
                        sys::process::exit_now(1)
                    }
                }
            }
        }
    }

    fn join_and_clone(&self, joined: &[Joined], flags: CloneFlags) -> Outcome<Cloned> {
        let kinds: Vec<&str> = joined.iter().map(|ns| ns.kind.name()).collect();
        let stage = joined.first().map_or(StageKind::Clone, |ns| namespaces::stage(ns.kind));
        self.report.stage(stage, kinds.join(","), || namespaces::join_all(joined))?;
        self.report.stage_of_clone(|| {
            clone3(flags, Parentage::Sibling, None)
                .attempt(|| "clone the container's init".into())
                .hint(Errno::EINVAL, "a pid namespace cannot be created in a user namespace that is joined with another pid namespace")
        })
    }

    fn become_init(&self, launched: Launched) -> ! {
        let Launched { side, sources, start, console } = launched;
        let mut state = self.stored.state.clone();
        state.pid = std::process::id().cast_signed();
        Init {
            plan: self.plan,
            channel: side,
            sources,
            report: self.report,
            state,
            start,
            console,
            preserve_fds: self.request.preserve_fds,
            pivot: self.request.pivot,
        }
        .run()
    }

    /// What only the parent can do for init: id maps, oom score, cgroup.
    fn attend(
        &self,
        pid: i32,
        how: Born,
        proc: &Proc,
        sources: Option<&Sources>,
        channel: &ParentSide,
    ) -> Outcome<()> {
        let ns = &self.plan.namespaces;
        if ns.user == Namespace::Create {
            self.report.stage(StageKind::IdMap, "", || {
                namespaces::user::write_maps(proc, pid, &ns.uid_mappings, &ns.gid_mappings)
            })?;
            if let Some(sources) = sources {
                sources::map_ids(self.plan, sources, pid)?;
            }
        }
        if let Some(score) = self.plan.process.oom_score_adj {
            self.report.stage(StageKind::OomScore, score.to_string(), || {
                proc.write(&format!("{pid}/oom_score_adj"), &score.to_string())
                    .at("/process/oomScoreAdj")
                    .hint(
                        Errno::EACCES,
                        "lowering it below the caller's own value takes CAP_SYS_RESOURCE on the host",
                    )
            })?;
        }
        if ns.user == Namespace::Create {
            channel.say(&ToInit::Mapped)?;
        }
        self.report.stage(StageKind::CgroupJoin, "", || {
            if how == Born::Beside {
                self.cgroup.join_unified(pid).map_err(Box::new)?;
            }
            self.cgroup.join(pid).map_err(Box::new)
        })?;
        channel.say(&ToInit::Joined)
    }

    /// Hears init until it is ready.
    fn converse(&self, pid: i32, channel: &ParentSide) -> Outcome<()> {
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
                Some(ToParent::Ready) => return self.limit(pid),
                Some(ToParent::Failed(failure)) => return Err(failure),
                Some(ToParent::Executing) => {
                    return Err(refuse("follow the handshake", "init went on too early"));
                }
                None => return Err(died(pid)),
            }
        }
    }

    /// Resource limits come last: they would hinder init itself.
    fn limit(&self, pid: i32) -> Outcome<()> {
        for limit in &self.plan.process.rlimits {
            let pointer = format!("/process/rlimits/{}", limit.index);
            self.report.stage(Stage::nth(StageKind::Rlimit, limit.index), limit.name, || {
                sys::process::set_limit(pid, limit)
                    .attempt(|| format!("limit {} to {}", limit.name, limit.hard))
                    .at(&pointer)
                    .hint(Errno::EPERM, "raising a hard limit takes CAP_SYS_RESOURCE, or a higher hard limit of the caller (ulimit -H)")
            })?;
        }
        Ok(())
    }

    fn finish(&mut self, pid: i32) -> Outcome<()> {
        self.stored.init_started = started_at(pid)
            .ok_or_else(|| refuse("create the container", "its init died as soon as it was ready"))?;
        self.stored.state.status = Status::Created;
        self.report.stage(StageKind::Store, &self.request.id, || self.directory.write(&self.stored))?;
        match &self.request.pid_file {
            Some(path) => write_pid_file(path, pid),
            None => Ok(()),
        }
    }

    /// Takes everything back; poststop hooks run, since prestart ones may have.
    fn undo(
        self,
        mut failure: Box<crate::contract::report::Failure>,
    ) -> Box<crate::contract::report::Failure> {
        let mut left = Vec::new();
        if let Some(pid) = self.pid {
            let killed = sys::process::pidfd_open(pid)
                .and_then(|pidfd| sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL));
            match killed {
                Err(e) if e.errno != Errno::ESRCH => left.push(e.to_string()),
                _ => drop(sys::process::wait(pid)),
            }
            let mut state = self.stored.state.clone();
            state.status = Status::Stopped;
            let poststop =
                crate::hooks::run(StageKind::HookPoststop, &self.plan.hooks.poststop, &state, self.report);
            left.extend(poststop.err().map(|e| e.to_string()));
        }
        left.extend(self.cgroup.remove().err().map(|e| e.to_string()));
        left.extend(self.directory.remove().err().map(|e| e.to_string()));
        if !left.is_empty() {
            failure.because.push_str(&format!(" (and left behind: {})", left.join("; ")));
        }
        failure
    }
}

/// Whether the clone put init into the v2 cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Born {
    /// It did (`CLONE_INTO_CGROUP`).
    Inside,
    /// A helper cloned it, that has joined namespaces: it has to be put there.
    Beside,
}

/// What goes over to init.
struct Launched {
    side: InitSide,
    sources: Option<Sources>,
    start: StartBy,
    console: Option<OwnedFd>,
}

/// When init is gone (`EPIPE`), what it said last is the cause, not that it is gone.
fn last_words(
    failure: Box<crate::contract::report::Failure>,
    channel: &ParentSide,
) -> Box<crate::contract::report::Failure> {
    if Errno::from_raw(failure.errno) != Errno::EPIPE {
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

fn died(pid: i32) -> Box<crate::contract::report::Failure> {
    let because = match sys::process::wait(pid) {
        Ok(ended) => format!("its init {ended} before it was ready"),
        Err(_) => "its init died before it was ready".to_owned(),
    };
    let mut failure = refuse("create the container", because);
    failure.hint = "a kill from outside, or the memory limit of its cgroup".into();
    failure
}

/// Written beside and renamed, so that a reader never sees half a number.
fn write_pid_file(path: &Path, pid: i32) -> Outcome<()> {
    let what = || format!("write the pid file {}", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, pid.to_string()).attempt(what)?;
    std::fs::rename(&beside, path).attempt(what)
}
