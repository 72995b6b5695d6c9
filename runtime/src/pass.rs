//! Handing a descriptor to whoever listens on a unix socket (unix(7), `SCM_RIGHTS`).

use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

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
