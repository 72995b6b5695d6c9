//! The last part of init: the process's identity and place, the wait for
//! `start`, the filter, and execve(2).

use super::StartBy;
use super::identity::{self, Until};
use crate::contract::report::{Failure, StageKind};
use crate::faults;
use crate::handshake::{Channel, InitSide, ToInit, ToParent};
use crate::listener::Connected;
use crate::pass::Passed;
use crate::plan::Process;
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::seccomp::Filter;
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The user's process before it is one: a container's own, or one of `exec`.
#[derive(Debug)]
pub struct Task<'a> {
    /// What it will be.
    pub process: &'a Process,
    /// To the parent.
    pub channel: InitSide,
    /// For the stages.
    pub report: &'a Reporter,
    /// How it is told to go on.
    pub start: StartBy,
    /// Descriptors that it gets.
    pub passed: Passed,
    /// To who decides about its system calls, where its filter asks somebody.
    pub listener: Option<Connected>,
}

impl Task<'_> {
    /// Everything up to the point where only [`Task::ready`] is to be said. Gives the program.
    pub(super) fn set_up(&self, slave: Option<OwnedFd>, proc: Option<Proc>) -> Outcome<CString> {
        let process = self.process;
        if let Some(slave) = slave {
            self.report.stage(StageKind::Console, "/dev/console", || {
                sys::file::take_terminal(slave.as_fd()).attempt(|| "take the terminal".into())
            })?;
        }
        if let Some(umask) = process.umask {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
        }
        if !process.apparmor_profile.is_empty() || !process.selinux_label.is_empty() {
            self.report.stage(StageKind::Lsm, "", || label(process, proc.as_ref()))?;
        }
        drop(proc);
        super::attributes::apply(&process.attributes, self.report)?;
        self.close_leaks(&[])?;
        identity::own_stdio(process);
        let cwd = self.report.stage(StageKind::Cwd, process.cwd.to_string_lossy(), || enter(&process.cwd));
        self.report.stage(StageKind::User, process.uid.to_string(), || identity::become_user(process))?;
        match cwd {
            // The directory may be open to the user alone.
            Err(f) if Errno::from_raw(f.errno) == Errno::EACCES => {
                self.report.stage(StageKind::Cwd, process.cwd.to_string_lossy(), || enter(&process.cwd))?;
            }
            result => result?,
        }
        if process.no_new_privileges {
            self.report.stage(StageKind::NoNewPrivs, "", || {
                sys::privilege::no_new_privileges().attempt(|| "forbid new privileges".into())
            })?;
        }
        self.report.stage(StageKind::Capabilities, "", || {
            identity::limit(
                &process.capabilities,
                if loads_early(process) { Until::Seccomp } else { Until::Exec },
            )
        })?;
        // Only a failure is a record here: the stage itself comes with `start`.
        find(process).or_else(|f| self.report.stage(StageKind::Exec, "", || Err(f)))
    }

    /// Tells the parent that all is set up.
    pub(super) fn ready(&self) -> Outcome<()> {
        // The record comes first: whoever hears that all is set up may end the report.
        self.report.stage(StageKind::Ready, "", || Ok(()))?;
        self.channel.say(&ToParent::Ready)
    }

    /// Waits for this message of the parent.
    pub(super) fn expect(&self, message: ToInit) -> Outcome<()> {
        match self.channel.hear()? {
            Some(heard) if heard == message => Ok(()),
            Some(heard) => {
                Err(refuse("follow the handshake", format!("{heard:?} came where {message:?} was due")))
            }
            None => Err(refuse("follow the handshake", "the runtime that made this process has died")),
        }
    }

    /// Tells the parent why, and ends.
    pub(super) fn fail(&self, failure: Box<Failure>) -> ! {
        // Without a parent there is nobody left to tell.
        drop(self.channel.say(&ToParent::Failed(failure)));
        sys::process::exit_now(1)
    }

    /// Only stdio, what is preserved, the runtime's own channels and `more`
    /// stay open, before anything of the container is entered (rule R4).
    pub(super) fn close_leaks(&self, more: &[i32]) -> Outcome<()> {
        let mut keep: Vec<i32> = self.passed.fds().collect();
        keep.extend_from_slice(more);
        keep.push(self.channel.raw());
        keep.extend(self.report.fd());
        keep.extend(self.listener.as_ref().map(Connected::raw));
        keep.extend(crate::faults::log());
        if let StartBy::Socket(fd) | StartBy::Held(fd) = &self.start {
            keep.push(fd.as_raw_fd());
        }
        sys::file::close_others(&keep).attempt(|| "close the runtime's descriptors".into())
    }

    /// Waits for `start`; gives the connection of who started it, if it is not the parent.
    pub(super) fn wait_for_start(&self) -> Outcome<Option<InitSide>> {
        let listener = match &self.start {
            StartBy::Parent => return self.expect(ToInit::Start).map(|()| None),
            StartBy::Held(fd) => return self.wait_at(fd).map(Some),
            StartBy::Socket(listener) => {
                self.expect(ToInit::Stored)?;
                listener
            }
        };
        let what = || "wait for start".to_owned();
        loop {
            let accepted = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC);
            match sys::named(accepted, || "accept4(start)".into()) {
                Err(e) if e.errno == Errno::EINTR => {}
                result => {
                    let fd = sys::file::adopt_fd(result.attempt(what)?).attempt(what)?;
                    return Ok(Some(Channel::from(fd)));
                }
            }
        }
    }

    /// The wait point of `exec` ([`crate::contract::wait_point`]).
    fn wait_at(&self, fd: &OwnedFd) -> Outcome<InitSide> {
        let what = || "wait at --start-fd".to_owned();
        self.expect(ToInit::Start)?;
        let channel = InitSide::from(fd.try_clone().attempt(what)?);
        channel.say(&ToParent::Ready)?;
        match channel.hear()? {
            Some(ToInit::Start) => Ok(channel),
            Some(_) => Err(refuse(what(), "something else than start came")),
            None => Err(refuse(what(), "its other end was closed")),
        }
    }

    /// Executes the user's process; gives why it could not.
    pub(super) fn execute(&self, program: &CStr, channel: &InitSide) -> Box<Failure> {
        match self.try_execute(program, channel) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn try_execute(&self, program: &CStr, channel: &InitSide) -> Outcome<Infallible> {
        let process = self.process;
        let env = environment(process, self.passed);
        for fd in self.passed.fds() {
            // One that the caller did not open is simply not there.
            drop(sys::file::keep_over_exec(fd));
        }
        self.lower_limits()?;
        channel.say(&ToParent::Executing)?;
        if let Some(filter) = &process.seccomp {
            self.load(filter)?;
            if loads_early(process) {
                identity::limit(&process.capabilities, Until::Exec)?;
            }
        }
        faults::before(StageKind::Exec.into(), self.report)?;
        let error = sys::exec::execve(program, &process.args, &env);
        self.report.stage(StageKind::Exec, program.to_string_lossy(), || {
            Err(error)
                .attempt(|| format!("execute {}", program.to_string_lossy()))
                .at("/process/args/0")
                .hint(Errno::ENOEXEC, "it is no program of this architecture, or a script without #!")
        })
    }
}

impl Task<'_> {
    /// Loads the filter, and sends its notification descriptor away.
    fn load(&self, filter: &Filter) -> Outcome<()> {
        let what = || "load the seccomp filter".to_owned();
        let Some(listener) = &self.listener else {
            return self.report.stage(StageKind::Seccomp, "", || {
                sys::seccomp::load(filter).attempt(what).at("/linux/seccomp").map(drop)
            });
        };
        let message = listener.message()?;
        // Loaded and sent in one: in between no system call is sure to come back.
        let sent = self.report.stage(StageKind::Seccomp, "", || {
            sys::deliver::load_and_send(filter, listener.as_fd(), &message)
                .attempt(what)
                .at("/linux/seccomp")
                .hint(Errno::EAGAIN, "for a moment it takes one more task than /linux/resources/pids allows")
        })?;
        self.report.stage(StageKind::SeccompListener, "", || listener.check(sent, message.len()))
    }

    /// The limits that the parent may have left to the process itself; in force
    /// already, they cost nothing.
    fn lower_limits(&self) -> Outcome<()> {
        for limit in &self.process.rlimits {
            sys::process::set_limit(0, limit)
                .attempt(|| format!("limit {} to {}", limit.name, limit.hard))
                .at(&format!("/process/rlimits/{}", limit.index))?;
        }
        Ok(())
    }
}

/// Without no_new_privs loading a filter takes `CAP_SYS_ADMIN` (seccomp(2)).
fn loads_early(process: &Process) -> bool {
    process.seccomp.is_some() && !process.no_new_privileges
}

/// Enters the working directory and proves that it lies inside the root: a
/// descriptor of the host's that leaked would lead out (CVE-2024-21626).
fn enter(cwd: &Path) -> Outcome<()> {
    let what = || format!("enter the working directory {}", cwd.display());
    sys::named(nix::unistd::chdir(cwd), || format!("chdir({cwd:?})")).attempt(what).at("/process/cwd")?;
    let found = sys::named(nix::unistd::getcwd(), || "getcwd()".into()).attempt(what).at("/process/cwd")?;
    if found.is_absolute() {
        return Ok(());
    }
    Err(refuse(what(), "it lies outside of the container's root")).at("/process/cwd")
}

fn label(process: &Process, proc: Option<&Proc>) -> Outcome<()> {
    let Some(proc) = proc else { return Err(refuse("set the LSM label", "there is no procfs")) };
    if !process.apparmor_profile.is_empty() {
        let value = format!("exec {}", process.apparmor_profile);
        proc.write("self/attr/apparmor/exec", &value)
            .at("/process/apparmorProfile")
            .hint(Errno::ENOENT, "load the profile first: apparmor_parser FILE")?;
    }
    if !process.selinux_label.is_empty() {
        proc.write("self/attr/exec", &process.selinux_label).at("/process/selinuxLabel")?;
    }
    Ok(())
}

/// The program of `args[0]`: as it is with a slash, else looked up in the
/// process's own `PATH`. The words of the errors are those that callers of runc
/// look for.
fn find(process: &Process) -> Outcome<CString> {
    let name: &CStr = process.args.first().map_or(c"", |a| a);
    let text = name.to_string_lossy().into_owned();
    let what = || format!("exec: {text:?}");
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    if name.to_bytes().contains(&b'/') {
        return match sys::exec::check_executable(path) {
            Ok(()) => Ok(name.to_owned()),
            Err(errno) => Err(unusable(what(), errno)).at("/process/args/0"),
        };
    }
    let search = process.env.iter().find_map(|e| e.to_bytes().strip_prefix(b"PATH=")).unwrap_or_default();
    let mut denied = false;
    for directory in search.split(|b| *b == b':') {
        let directory = if directory.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(directory) };
        let candidate: PathBuf = Path::new(directory).join(path);
        match sys::exec::check_executable(&candidate) {
            Ok(()) => {
                return CString::new(candidate.as_os_str().as_bytes())
                    .map_err(|e| refuse(what(), e.to_string()));
            }
            Err(errno) => denied |= errno == Errno::EACCES,
        }
    }
    if denied {
        return Err(unusable(what(), Errno::EACCES)).at("/process/args/0");
    }
    let mut failure = refuse(what(), "executable file not found in $PATH");
    failure.hint = "it is searched in the PATH of /process/env, inside the root".into();
    Err(failure).at("/process/args/0")
}

fn unusable(what: String, errno: Errno) -> Box<Failure> {
    let because = match errno {
        Errno::ENOENT => "no such file or directory".to_owned(),
        Errno::EACCES => "permission denied".to_owned(),
        // Callers of runc tell by these words whether the command is to blame (status 126).
        Errno::EISDIR => "permission denied: it is a directory".to_owned(),
        other => other.desc().to_owned(),
    };
    let mut failure = refuse(what, because);
    #[allow(clippy::as_conversions, reason = "Errno is a C int by its repr")]
    let number = errno as i32;
    failure.errno = number;
    failure
}

/// The environment: the config's, with `HOME` where it has none.
fn environment(process: &Process, passed: Passed) -> Vec<CString> {
    let mut env = process.env.clone();
    env.extend(passed.environment());
    if !env.iter().any(|e| e.to_bytes().starts_with(b"HOME=")) {
        env.extend(CString::new(format!("HOME={}", identity::home_of(process.uid))));
    }
    env
}
