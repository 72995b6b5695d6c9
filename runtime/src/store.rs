//! The state directory: `ROOT/ID/state.json`, and the start socket while the
//! container waits for `start`. It is all that lasts between two invocations.
//! Written by write and rename; 0700 (security rule R8).

mod lock;

pub use lock::{IMPATIENCE, PATIENCE};

use crate::cgroup::CgroupPaths;
use crate::contract::check_id;
use crate::contract::report::Failure;
use crate::contract::state::{State, Status};
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::UnlinkatFlags;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What a container's directory remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stored {
    /// As it was when last written; its status is computed anew at each reading.
    pub state: State,
    /// When init started (field 22 of `/proc/PID/stat`): with the pid it names
    /// the process even after the pid was used again.
    pub init_started: u64,
    /// Its cgroup.
    pub cgroup: CgroupPaths,
    /// The namespaces that it has joined: kind and path, as in the config.
    #[serde(default)]
    pub joined: Vec<(String, PathBuf)>,
    /// Its group in resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<crate::resctrl::Place>,
    /// Hooks that later invocations run.
    pub poststart: Vec<StoredHook>,
    /// Likewise.
    pub poststop: Vec<StoredHook>,
}

impl Stored {
    /// The container's init, if it lives. The start time is compared once the
    /// pidfd is held, so that a pid that was used again is never meant.
    ///
    /// # Errors
    /// As pidfd_open(2).
    pub fn init(&self) -> Outcome<Option<OwnedFd>> {
        let pid = self.state.pid;
        if pid == 0 {
            return Ok(None);
        }
        match sys::process::pidfd_open(pid) {
            Err(e) if e.errno == Errno::ESRCH => Ok(None),
            result => {
                let pidfd = result.attempt(|| format!("open process {pid}"))?;
                let same = self.init_started == 0 || started_at(pid) == Some(self.init_started);
                Ok(same.then_some(pidfd))
            }
        }
    }
}

/// A hook, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredHook {
    path: PathBuf,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<u32>,
    pointer: String,
}

impl From<&crate::plan::Hook> for StoredHook {
    fn from(hook: &crate::plan::Hook) -> Self {
        let text =
            |list: &[std::ffi::CString]| list.iter().map(|s| s.to_string_lossy().into_owned()).collect();
        Self {
            path: hook.path.clone(),
            args: text(&hook.args),
            env: text(&hook.env),
            timeout: hook.timeout,
            pointer: hook.pointer.clone(),
        }
    }
}

impl From<&StoredHook> for crate::plan::Hook {
    fn from(hook: &StoredHook) -> Self {
        let c =
            |list: &[String]| list.iter().filter_map(|s| std::ffi::CString::new(s.as_str()).ok()).collect();
        Self {
            path: hook.path.clone(),
            args: c(&hook.args),
            env: c(&hook.env),
            timeout: hook.timeout,
            pointer: hook.pointer.clone(),
        }
    }
}

/// What a later `exec` needs of a container: a file of its own, since no other
/// command reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForExec<'a> {
    /// The reduced config ([`crate::plan::exec`]).
    pub config: Cow<'a, serde_json::Value>,
    /// The compiled filter, which every process of the container gets.
    pub seccomp: Cow<'a, Option<crate::seccomp::Filter>>,
    /// Whether its processes have a session keyring of their own.
    pub keyring: crate::init::Keyring,
}

const STATE: &str = "state.json";
const EXEC: &str = "exec.json";
const STATE_NEW: &str = "state.json.new";
const START: &str = "start.sock";

/// How often the directory of a new container may be removed before it is locked.
const RESERVE_ATTEMPTS: usize = 16;
/// Largest state that is read.
const LIMIT: u64 = 16 << 20;
/// Bytes that nearly all of them have at most: with so much room one read(2) takes them.
const USUAL: usize = 4096;

/// One container's directory, by descriptor.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    parent: OwnedFd,
    id: String,
}

impl Directory {
    /// Makes the directory of a new container, locked; its existence reserves the id.
    ///
    /// Between mkdir(2) and the lock it is nobody's: `delete --force` takes it for a creation that
    /// was cut short, and another creation makes the next one of that name. Who has the lock of the
    /// present one, and finds nothing in it, has the id.
    ///
    /// # Errors
    /// Refused when the id is taken or is none.
    pub fn reserve(root: &Path, id: &str) -> Outcome<Self> {
        let what = || format!("reserve the id {id} in {}", root.display());
        check_id(id).map_err(|because| refuse("name a container", because))?;
        make_root(root).attempt(what).of_disk()?;
        for _ in 0..RESERVE_ATTEMPTS {
            let parent = open_directory(root).attempt(what)?;
            match sys::file::mkdir(parent.as_fd(), Path::new(id), 0o700) {
                Err(e) if e.errno == Errno::EEXIST => return Err(taken(what(), id)),
                result => result.attempt(what).of_disk()?,
            }
            if let Some(directory) = Self::take_new(parent, id)? {
                return Ok(directory);
            }
        }
        Err(refuse(what(), "other commands removed its directory each time that it was made"))
    }

    /// Locks a directory that was just made; `None` when it was removed again.
    fn take_new(parent: OwnedFd, id: &str) -> Outcome<Option<Self>> {
        let what = || format!("reserve the id {id}");
        let fd = match open_below(&parent, id) {
            Err(e) if e.errno == Errno::ENOENT => return Ok(None),
            result => result.attempt(what)?,
        };
        let directory = Self { fd, parent, id: id.into() };
        match directory.lock(PATIENCE) {
            Err(_) if !directory.is_current() => Ok(None),
            Ok(()) if !directory.is_new() => Err(taken(what(), id)),
            result => result.map(|()| Some(directory)),
        }
    }

    /// Whether no creation has come to the first writing in it.
    fn is_new(&self) -> bool {
        let found = nix::sys::stat::fstatat(self.fd.as_fd(), STATE, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
        matches!(found, Err(Errno::ENOENT))
    }

    /// Opens the directory of an existing container.
    ///
    /// # Errors
    /// Refused, as runc words it, when there is none.
    pub fn open(root: &Path, id: &str) -> Outcome<Self> {
        let what = || format!("open the container {id} in {}", root.display());
        check_id(id).map_err(|because| refuse("name a container", because))?;
        let missing = |e: &sys::Error| e.errno == Errno::ENOENT;
        let parent = match open_directory(root) {
            Err(e) if missing(&e) => return Err(gone(what())),
            result => result.attempt(what)?,
        };
        let fd = match open_below(&parent, id) {
            Err(e) if missing(&e) => return Err(gone(what())),
            result => result.attempt(what)?,
        };
        Ok(Self { fd, parent, id: id.into() })
    }

    /// The ids below a root, sorted.
    ///
    /// # Errors
    /// As readdir(3); an absent root has none.
    pub fn list(root: &Path) -> Outcome<Vec<String>> {
        let entries = match std::fs::read_dir(root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.attempt(|| format!("list {}", root.display()))?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .filter(|id| check_id(id).is_ok() && root.join(id).is_dir())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Writes what is to be remembered first of all. Nobody can have read it before, so there is
    /// nothing to be replaced; cut short, it is a creation that was cut short.
    ///
    /// # Errors
    /// As the system calls.
    pub fn write_first(&self, stored: &Stored) -> Outcome<()> {
        self.write_to(STATE, stored)
    }

    /// Writes what is to be remembered from [`Directory::publish`] on.
    ///
    /// # Errors
    /// As the system calls.
    pub fn prepare(&self, stored: &Stored) -> Outcome<()> {
        self.write_to(STATE_NEW, stored)
    }

    fn write_to(&self, name: &str, stored: &Stored) -> Outcome<()> {
        let what = || format!("write the state of {}", self.id);
        let json = serde_json::to_vec(stored).map_err(|e| refuse(what(), e.to_string()))?;
        let file =
            sys::file::replace_file(self.fd.as_fd(), Path::new(name), 0o600).attempt(what).of_disk()?;
        sys::file::write_all(file.as_fd(), &json).attempt(what).of_disk()
    }

    /// Writes what is to be remembered.
    ///
    /// # Errors
    /// As the system calls.
    pub fn write(&self, stored: &Stored) -> Outcome<()> {
        self.prepare(stored)?;
        self.publish()
    }

    /// Puts what was prepared in place of what was remembered.
    ///
    /// # Errors
    /// As renameat(2).
    pub fn publish(&self) -> Outcome<()> {
        let what = || format!("write the state of {}", self.id);
        let renamed = nix::fcntl::renameat(self.fd.as_fd(), STATE_NEW, self.fd.as_fd(), STATE);
        sys::named(renamed, || format!("renameat({STATE_NEW:?}, {STATE:?})")).attempt(what).of_disk()
    }

    /// Reads what is remembered; the status is the one of now.
    ///
    /// # Errors
    /// As the system calls; refused when creation has not come to the first writing.
    pub fn read(&self) -> Outcome<Stored> {
        let what = || format!("read the state of {}", self.id);
        let file = sys::file::open_strict(self.fd.as_fd(), Path::new(STATE), OFlag::O_RDONLY)
            .attempt(what)
            .hint(Errno::ENOENT, "its creation was cut short; remove it with delete --force")?;
        let mut json = Vec::with_capacity(USUAL);
        std::fs::File::from(file).take(LIMIT).read_to_end(&mut json).attempt(what)?;
        if json.is_empty() {
            let mut failure = refuse(what(), "its creation was cut short");
            failure.hint = "remove it with delete --force".into();
            return Err(failure);
        }
        let mut stored: Stored = serde_json::from_slice(&json).map_err(|e| refuse(what(), e.to_string()))?;
        stored.state.status = self.status(&stored);
        if stored.state.status == Status::Stopped {
            stored.state.pid = 0;
            stored.state.executed = !self.has_start_socket();
        }
        Ok(stored)
    }

    /// Writes what `exec` will need; once, while the container is created.
    ///
    /// # Errors
    /// As the system calls.
    pub fn write_for_exec(&self, exec: &ForExec<'_>) -> Outcome<()> {
        let what = || format!("write what exec needs of {}", self.id);
        let json = serde_json::to_vec(exec).map_err(|e| refuse(what(), e.to_string()))?;
        let file = sys::file::create_file(self.fd.as_fd(), Path::new(EXEC), 0o600).attempt(what).of_disk()?;
        sys::file::write_all(file.as_fd(), &json).attempt(what).of_disk()
    }

    /// Reads it.
    ///
    /// # Errors
    /// As the system calls.
    pub fn read_for_exec(&self) -> Outcome<ForExec<'static>> {
        let what = || format!("read what exec needs of {}", self.id);
        let file = sys::file::open_strict(self.fd.as_fd(), Path::new(EXEC), OFlag::O_RDONLY).attempt(what)?;
        let mut json = Vec::with_capacity(USUAL);
        std::fs::File::from(file).take(LIMIT).read_to_end(&mut json).attempt(what)?;
        serde_json::from_slice(&json).map_err(|e| refuse(what(), e.to_string()))
    }

    fn status(&self, stored: &Stored) -> Status {
        if stored.state.pid == 0 {
            return Status::Creating;
        }
        if started_at(stored.state.pid) != Some(stored.init_started) {
            return Status::Stopped;
        }
        // A cgroup that cannot be asked was not frozen by this runtime.
        if crate::cgroup::Cgroup::open(&stored.cgroup).frozen().unwrap_or(false) {
            return Status::Paused;
        }
        if self.has_waiting_init() { Status::Created } else { Status::Running }
    }

    /// Whether init listens on the start socket. The file alone says nothing: a
    /// `start` that was killed has left it. A connection of another type is refused
    /// by a living socket as such (unix(7), `EPROTOTYPE`), and not noticed by init.
    fn has_waiting_init(&self) -> bool {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
        if !self.has_start_socket() {
            return false;
        }
        let probe = || {
            let fd = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
            connect(fd.as_raw_fd(), &UnixAddr::new(&self.start_address())?)
        };
        probe() == Err(Errno::EPROTOTYPE)
    }

    /// Whether the file is there: from `create` on, until a `start` hears that the process was executed.
    fn has_start_socket(&self) -> bool {
        nix::sys::stat::fstatat(self.fd.as_fd(), START, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// The start socket's path, short enough for any depth of directories.
    fn start_address(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{START}", self.fd.as_raw_fd()))
    }

    /// Makes the socket on which init waits for `start`.
    ///
    /// # Errors
    /// As bind(2).
    pub fn listen(&self) -> Outcome<OwnedFd> {
        use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
        let what = || "make the start socket".to_owned();
        let made = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
        let fd = sys::named(made, || "socket(AF_UNIX, SOCK_SEQPACKET)".into()).attempt(what)?;
        let address = sys::named(UnixAddr::new(&self.start_address()), || "sun_path".into()).attempt(what)?;
        sys::named(bind(fd.as_raw_fd(), &address), || format!("bind({START:?})")).attempt(what).of_disk()?;
        let backlog = sys::named(Backlog::new(1), || "backlog".into()).attempt(what)?;
        sys::named(listen(&fd, backlog), || format!("listen({START:?})")).attempt(what)?;
        Ok(fd)
    }

    /// Connects to the waiting init.
    ///
    /// # Errors
    /// `ECONNREFUSED` when it has died.
    pub fn connect(&self) -> Outcome<OwnedFd> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
        let what = || format!("reach the init of {}", self.id);
        let made = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None);
        let fd = sys::named(made, || "socket(AF_UNIX, SOCK_SEQPACKET)".into()).attempt(what)?;
        let address = sys::named(UnixAddr::new(&self.start_address()), || "sun_path".into()).attempt(what)?;
        sys::named(connect(fd.as_raw_fd(), &address), || format!("connect({START:?})")).attempt(what)?;
        Ok(fd)
    }

    /// Removes the start socket: the process was executed.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn started(&self) -> Outcome<()> {
        sys::file::unlink(self.fd.as_fd(), Path::new(START), UnlinkatFlags::NoRemoveDir)
            .attempt(|| "remove the start socket".into())
    }

    /// Removes the directory with what is in it; the id is free then.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove(&self) -> Outcome<()> {
        let what = || format!("remove the state of {}", self.id);
        let unlink = |name: &str| {
            sys::file::unlink(self.fd.as_fd(), Path::new(name), UnlinkatFlags::NoRemoveDir)
                .attempt(what)
                .of_disk()
        };
        let remove = || sys::file::unlink(self.parent.as_fd(), Path::new(&self.id), UnlinkatFlags::RemoveDir);
        unlink(EXEC)?;
        unlink(STATE)?;
        match remove() {
            // Only of a container that was never started, or whose creation was cut short, there is more.
            Err(e) if e.errno == Errno::ENOTEMPTY => {
                unlink(START)?;
                unlink(STATE_NEW)?;
                remove().attempt(what).of_disk()
            }
            result => result.attempt(what).of_disk(),
        }
    }
}

/// What to do about a disk that takes no more.
trait OfDisk {
    #[must_use]
    fn of_disk(self) -> Self;
}

impl<T> OfDisk for Outcome<T> {
    fn of_disk(self) -> Self {
        self.hint(Errno::ENOSPC, "the file system of --root is full: of bytes (df), or of files (df -i)")
            .hint(Errno::EDQUOT, "the quota of this user on the file system of --root is used up")
            .hint(Errno::EROFS, "the file system of --root is read-only: give another --root")
            .hint(Errno::EACCES, "this user cannot write to --root: give another one")
    }
}

/// In runc's words, which callers look for.
fn taken(what: String, id: &str) -> Box<Failure> {
    let mut failure = refuse(what, "container with given ID already exists");
    failure.hint = format!("take another id, or remove that one: sextant-runtime delete {id}");
    failure
}

/// Likewise.
fn gone(what: String) -> Box<Failure> {
    let mut failure = refuse(what, "container does not exist");
    failure.hint = "`sextant-runtime list` shows those of this --root".into();
    failure
}

fn make_root(root: &Path) -> sys::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
    made.map_err(|e| sys::Error {
        call: format!("mkdir({root:?}, 0700)"),
        errno: Errno::from_raw(e.raw_os_error().unwrap_or(0)),
    })
}

fn open_directory(path: &Path) -> sys::Result<OwnedFd> {
    sys::file::open_host(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

fn open_below(parent: &OwnedFd, id: &str) -> sys::Result<OwnedFd> {
    sys::file::open_strict(parent.as_fd(), Path::new(id), OFlag::O_RDONLY | OFlag::O_DIRECTORY)
}

/// When a living process started, in clock ticks since boot (proc_pid_stat(5),
/// field 22); `None` when it is gone or only waits to be reaped.
pub fn started_at(pid: i32) -> Option<u64> {
    let stat = crate::sys::file::read_kernel_text(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields begin behind the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests;
