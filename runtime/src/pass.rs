//! Descriptors that change hands: to whoever listens on a unix socket (unix(7),
//! `SCM_RIGHTS`), and from the caller to the process ([`Passed`]).

use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use std::ffi::CString;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What the process is given beside stdio: descriptors from 3 on, first those of
/// a socket activation (sd_listen_fds(3)), then those of `--preserve-fds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Of `$LISTEN_FDS`.
    pub listen: u32,
    /// Of `--preserve-fds`.
    pub preserve: u32,
}

/// More sockets are not passed: a process has no more descriptors by default.
const MAX_LISTEN: u32 = 1024;

impl Passed {
    /// With the sockets that `$LISTEN_FDS` says are for this process.
    pub fn of(preserve: u32) -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
        let ours = number("LISTEN_PID") == Some(std::process::id());
        let listen = number("LISTEN_FDS").filter(|count| ours && *count <= MAX_LISTEN);
        Self { listen: listen.unwrap_or(0), preserve }
    }

    /// Their numbers.
    pub fn fds(self) -> impl Iterator<Item = i32> {
        let end = self.listen.saturating_add(self.preserve).saturating_add(3);
        (3..end).map_while(|fd| i32::try_from(fd).ok())
    }

    /// What the process has to find in its environment.
    pub fn environment(self) -> Vec<CString> {
        if self.listen == 0 {
            return Vec::new();
        }
        let lines = [format!("LISTEN_FDS={}", self.listen), format!("LISTEN_PID={}", std::process::id())];
        lines.into_iter().filter_map(|line| CString::new(line).ok()).collect()
    }
}

/// Connects to the socket at `path`, which `flag` has named. Done before
/// anything is made, so that a mistake in it costs nothing.
///
/// # Errors
/// As connect(2).
pub fn reach(flag: &str, path: &Path) -> Outcome<OwnedFd> {
    let what = || format!("connect to {flag} {}", path.display());
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    let fd = sys::named(made, || "socket(AF_UNIX, SOCK_STREAM)".into()).attempt(what)?;
    let address = sys::named(UnixAddr::new(path), || "sun_path".into()).attempt(what)?;
    sys::named(connect(fd.as_raw_fd(), &address), || format!("connect({path:?})"))
        .attempt(what)
        .hint(Errno::ENOENT, "whoever takes the descriptor must listen on it first")
        .hint(Errno::ECONNREFUSED, "nobody listens on it")?;
    Ok(fd)
}

/// Sends a descriptor; `text` goes along, for those who want to know what it is.
///
/// # Errors
/// As sendmsg(2).
pub fn send(socket: &OwnedFd, fd: BorrowedFd<'_>, text: &str) -> Outcome<()> {
    let fds = [fd.as_raw_fd()];
    let text = [IoSlice::new(text.as_bytes())];
    let rights = [ControlMessage::ScmRights(&fds)];
    let sent = sendmsg::<()>(socket.as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None);
    sys::named(sent, || "sendmsg(SCM_RIGHTS)".into()).attempt(|| "pass a descriptor on".into()).map(drop)
}
