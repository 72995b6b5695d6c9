//! The container's terminal: a pseudo-terminal of its own devpts, whose master
//! goes to `--console-socket`, and whose slave becomes stdio, the controlling
//! terminal and `/dev/console` (security rule R3: by descriptor, never by path).

use super::root::{Root, Target};
use crate::plan::Depth;
use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use nix::fcntl::OFlag;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Opens a terminal in the container's devpts, sends its master away and binds
/// its slave on `/dev/console`. Gives the slave.
///
/// # Errors
/// When the config mounts no devpts on `/dev/pts`.
pub fn set_up(root: &Root, socket: &OwnedFd, size: Option<(u16, u16)>) -> Outcome<OwnedFd> {
    let what = || "open the container's terminal".to_owned();
    let (master, slave) = open(root.as_fd(), size)?;
    let console = root.destination(Path::new("/dev/console"), Target::File)?;
    let tree = sys::mount::clone_tree(slave.as_fd(), Depth::One).attempt(what)?;
    sys::mount::attach(tree.as_fd(), console.as_fd()).attempt(what)?;
    send(socket, &master)?;
    Ok(slave)
}

/// Likewise for one more process of the container, whose root is `/` by now.
///
/// # Errors
/// As [`set_up`].
pub fn set_up_joined(socket: &OwnedFd, size: Option<(u16, u16)>) -> Outcome<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let root = sys::file::open_host(Path::new("/"), flags).attempt(|| "open the container's root".into())?;
    let (master, slave) = open(root.as_fd(), size)?;
    send(socket, &master)?;
    Ok(slave)
}

/// Both sides of a new terminal in the container's devpts.
fn open(root: BorrowedFd<'_>, size: Option<(u16, u16)>) -> Outcome<(OwnedFd, OwnedFd)> {
    let what = || "open the container's terminal".to_owned();
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let path = Path::new("/dev/pts/ptmx");
    let master = sys::file::open_in(root, path, flags, sys::file::Last::NoFollow).attempt(what)?;
    let magic = sys::file::filesystem(master.as_fd()).attempt(what)?;
    if magic != nix::sys::statfs::FsType(0x1cd1) {
        return Err(refuse(what(), "/dev/pts is no devpts: mount one there"));
    }
    let slave = sys::file::terminal_peer(master.as_fd()).attempt(what)?;
    if let Some(size) = size {
        sys::file::set_terminal_size(master.as_fd(), size).attempt(what)?;
    }
    Ok((master, slave))
}

fn send(socket: &OwnedFd, master: &OwnedFd) -> Outcome<()> {
    let fds = [master.as_raw_fd()];
    let text = [IoSlice::new(b"/dev/ptmx")];
    let sent =
        sendmsg::<()>(socket.as_raw_fd(), &text, &[ControlMessage::ScmRights(&fds)], MsgFlags::empty(), None);
    sys::named(sent, || "sendmsg(SCM_RIGHTS)".into())
        .attempt(|| "send the terminal to --console-socket".into())
        .map(drop)
}
