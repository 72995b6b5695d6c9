//! Descriptors in the messages of a socket (`SCM_RIGHTS`, unix(7)).

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Most bytes, and most descriptors, of a message that is read here.
pub(crate) const MOST: usize = 8;

/// Copies of the descriptors of the first message of `socket`, with a byte of it each; the message stays there.
///
/// # Errors
/// Of recvmsg(2); when not all descriptors could be had (as with `EMFILE`), or bytes and descriptors are not as many.
pub(crate) fn peek(socket: BorrowedFd<'_>) -> io::Result<Vec<(u8, OwnedFd)>> {
    let mut names = [0; MOST];
    let mut room = nix::cmsg_space!([RawFd; MOST]);
    let mut bytes = [IoSliceMut::new(&mut names)];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut room), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made these descriptors for this process.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let (count, flags) = (message.bytes, message.flags);
    if fds.len() != count || flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::other("descriptors are missing in the message"));
    }
    Ok(names.into_iter().zip(fds).collect())
}
