//! The seccomp listener (config-linux.md, "Seccomp"): who decides about system
//! calls with `SCMP_ACT_NOTIFY`. The parent connects to `listenerPath` on the
//! host before the clone; the process itself sends its notification descriptor
//! there with the container process state, between the load of the filter and
//! execve(2): when the container is started, not when it is created, so that the
//! filter need not allow what the runtime does in between. The state says `created`
//! then. The connection is the only thing of the host that the process keeps. No
//! system call has to be allowed for it ([`crate::sys::deliver`]).
//!
//! The state has the pid that the *caller* sees. The process reads it from a
//! procfs that the parent has opened, and closes that at once.

use crate::contract::state::{State, Status};
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::seccomp::{Filter, Listener};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::TimeVal;
use serde::Serialize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How long the listener may take to accept and to read, in seconds: connect(2)
/// and sendmsg(2) heed `SO_SNDTIMEO` (unix(7)).
const PATIENCE: i64 = 10;

const POINTER: &str = "/linux/seccomp/listenerPath";

/// A connection to the listener that waits for the descriptor.
#[derive(Debug)]
pub struct Connected {
    socket: OwnedFd,
    proc: Option<OwnedFd>,
    metadata: String,
    state: State,
    pid: i32,
}

/// `ContainerProcessState` of runtime-spec.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: &'a State,
}

/// Connects to the listener of `filter`, if it has one. `state` is sent along:
/// with pid 0, that of the process is filled in.
///
/// # Errors
/// With the pointer of the path, when nobody listens there.
pub fn connected(filter: Option<&Filter>, state: &State) -> Outcome<Option<Connected>> {
    let Some(listener) = filter.and_then(|f| f.listener.as_ref()) else { return Ok(None) };
    reach(listener, state).at(POINTER).map(Some)
}

fn reach(listener: &Listener, state: &State) -> Outcome<Connected> {
    let path = &listener.path;
    let what = || format!("connect to the seccomp listener {}", path.display());
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let socket = sys::named(made, || "socket(AF_UNIX)".into()).attempt(what)?;
    let patience = TimeVal::new(PATIENCE, 0);
    sys::named(setsockopt(&socket, SendTimeout, &patience), || "setsockopt(SO_SNDTIMEO)".into())
        .attempt(what)?;
    let address = sys::named(UnixAddr::new(path), || "sun_path".into()).attempt(what)?;
    sys::named(connect(socket.as_raw_fd(), &address), || format!("connect({path:?})"))
        .attempt(what)
        .hint(Errno::ENOENT, "start the listener first: it makes the socket")
        .hint(Errno::EAGAIN, "it has accepted no connection for 10 s")
        .hint(Errno::ECONNREFUSED, "the socket is there, but nobody listens at it")?;
    let proc = sys::file::open_host(Path::new("/proc"), OFlag::O_PATH | OFlag::O_DIRECTORY).attempt(what)?;
    Ok(Connected {
        socket,
        proc: Some(proc),
        metadata: listener.metadata.clone(),
        state: state.clone(),
        pid: 0,
    })
}

impl Connected {
    /// First of all in the process: learns its pid as the caller sees it.
    ///
    /// # Errors
    /// When the caller's procfs does not show this process.
    pub fn learn_pid(&mut self) -> Outcome<()> {
        let Some(proc) = self.proc.take() else { return Ok(()) };
        let what = || "learn the pid of the process for the seccomp listener".to_owned();
        let link = sys::named(nix::fcntl::readlinkat(&proc, "self"), || "readlinkat(\"self\")".into());
        let pid = link.attempt(what)?.to_string_lossy().parse::<i32>();
        self.pid = pid.map_err(|e| refuse(what(), e.to_string()))?;
        if self.state.pid == 0 {
            self.state.pid = self.pid;
            // By the time that it is sent: everything is made, nothing of the user's executed.
            self.state.status = Status::Created;
        }
        Ok(())
    }

    /// The number of the connection, to be kept open.
    pub fn raw(&self) -> i32 {
        self.socket.as_raw_fd()
    }

    /// What is sent, made before the filter is loaded.
    ///
    /// # Errors
    /// When the state is no JSON, which it always is.
    pub fn message(&self) -> Outcome<Vec<u8>> {
        let message = ProcessState {
            oci_version: &self.state.oci_version,
            fds: ["seccompFd"],
            pid: self.pid,
            metadata: &self.metadata,
            state: &self.state,
        };
        serde_json::to_vec(&message)
            .map_err(|e| refuse("describe the process to the listener", e.to_string()))
    }

    /// Judges what came of sending `length` bytes with the notification descriptor.
    ///
    /// # Errors
    /// When the listener has gone, or has taken a part only.
    pub fn check(&self, sent: sys::Result<usize>, length: usize) -> Outcome<()> {
        let what = || "send the notification descriptor to the seccomp listener".to_owned();
        let sent = sent
            .attempt(what)
            .hint(Errno::EAGAIN, "it has read nothing for 10 s")
            .hint(Errno::EPIPE, "the listener has closed its connection")
            .at(POINTER)?;
        if sent == length {
            return Ok(());
        }
        Err(refuse(what(), "it takes only a part of the state")).at(POINTER)
    }
}

impl AsFd for Connected {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
