//! Descriptors that nobody needs now, in a message that nobody reads: as many as one likes take one descriptor
//! of the process, however long they are kept (`SCM_RIGHTS`, unix(7)).
//!
//! A socket whose peer is closed still has what was sent to it, and `MSG_PEEK` gives copies of the descriptors in
//! it. The kernel lets root send any number; others, as many as they may have open (`ETOOMANYREFS`).

use crate::sys::rights;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// A socket with one message: a byte of a name for each of the descriptors in it.
#[derive(Debug)]
pub struct Parcel(OwnedFd);

impl Parcel {
    /// Packs copies of them.
    ///
    /// # Errors
    /// Of socketpair(2) and sendmsg(2); when there are more than 8.
    pub fn pack(all: &[(u8, OwnedFd)]) -> io::Result<Self> {
        if all.len() > rights::MOST {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let (names, fds): (Vec<u8>, Vec<RawFd>) =
            all.iter().map(|(name, fd)| (*name, fd.as_raw_fd())).unzip();
        // The message has its bounds in a stream as well: nothing follows it.
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(ours.as_raw_fd(), &[IoSlice::new(&names)], &rights, MsgFlags::empty(), None)?;
        Ok(Self(theirs))
    }

    /// A descriptor of each; they stay in it.
    ///
    /// # Errors
    /// As [`rights::peek`].
    pub fn contents(&self) -> io::Result<Vec<(u8, OwnedFd)>> {
        rights::peek(self.0.as_fd())
    }
}

impl AsRawFd for Parcel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<Parcel> for OwnedFd {
    fn from(parcel: Parcel) -> Self {
        parcel.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn what_is_packed_can_be_had_again_and_again_and_goes_with_the_parcel() {
        let (mut read, write) = io::pipe().unwrap();
        let parcel =
            Parcel::pack(&[(b'w', OwnedFd::from(write)), (b'f', tempfile::tempfile().unwrap().into())])
                .unwrap();
        for _ in 0..3 {
            let mut contents = parcel.contents().unwrap();
            assert_eq!(contents.iter().map(|(name, _)| *name).collect::<Vec<_>>(), b"wf");
            let (_, pipe) = contents.swap_remove(0);
            File::from(pipe).write_all(b"x").unwrap();
        }
        drop(parcel);
        let mut all = String::new();
        // Nobody has the other end any more.
        read.read_to_string(&mut all).unwrap();
        assert_eq!(all, "xxx");
        assert!(
            Parcel::pack(&(0..9).map(|n| (n, tempfile::tempfile().unwrap().into())).collect::<Vec<_>>())
                .is_err()
        );
    }
}
