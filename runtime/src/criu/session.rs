//! A conversation with `criu swrk`: packets of protobuf on a socket that it
//! inherits. The restored init is the caller's child (`rst_sibling`).

use super::rpc::{Request, Response};
use crate::cgroup::Cgroup;
use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use crate::sys::process::{Cloned, Parentage, clone3};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::CloneFlags;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use prost::Message;
use std::ffi::{CString, OsString};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Longest answer: a notification or a short text.
const LONGEST: usize = 64 << 10;

const ENDED: &str = "it ended without an answer";

/// In what surroundings CRIU runs.
#[derive(Debug, Default)]
pub(crate) struct Setting<'a> {
    /// Descriptors that it inherits by their numbers.
    pub(crate) inherited: Vec<BorrowedFd<'a>>,
    /// The cgroup that it, and so what it restores, is put into.
    pub(crate) cgroup: Option<&'a Cgroup>,
}

/// CRIU, running.
#[derive(Debug)]
pub(crate) struct Session {
    socket: OwnedFd,
    pid: i32,
}

impl Session {
    /// Starts it.
    ///
    /// # Errors
    /// As the system calls.
    pub(crate) fn begin(binary: &Path, setting: &Setting<'_>) -> Outcome<Self> {
        let what = || format!("start {}", binary.display());
        let made = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (ours, theirs) =
            sys::named(made, || "socketpair(AF_UNIX, SOCK_SEQPACKET)".into()).attempt(what)?;
        let number = theirs.as_raw_fd().to_string();
        let args = [binary.as_os_str().to_owned(), "swrk".into(), number.into()].map(c_string);
        let env: Vec<CString> = std::env::vars_os().map(pair).collect();
        match clone3(CloneFlags::empty(), Parentage::Child, None).attempt(what)? {
            Cloned::Child => {
                let failed = prepare(setting, &theirs).err();
                let error = match failed {
                    None => {
                        sys::exec::execve(&c_string(binary.as_os_str().to_owned()), &args, &env).to_string()
                    }
                    Some(failure) => failure.to_string(),
                };
                eprintln!("sextant-runtime: start criu: {error}");
                sys::process::exit_now(127)
            }
            Cloned::Parent(pid) => {
                let session = Self { socket: ours, pid };
                if let Some(cgroup) = setting.cgroup {
                    // It waits for a request on the socket, so it has no children yet.
                    cgroup.join_unified(pid).and_then(|()| cgroup.join(pid)).map_err(Box::new)?;
                }
                Ok(session)
            }
        }
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As sendmsg(2).
    pub(crate) fn say(&self, request: &Request) -> Outcome<()> {
        let what = || "talk to CRIU".to_owned();
        let bytes = request.encode_to_vec();
        let flags = MsgFlags::MSG_NOSIGNAL;
        match nix::sys::socket::send(self.socket.as_raw_fd(), &bytes, flags) {
            // It has ended; what is heard next says so.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            sent => sys::named(sent, || format!("send({} bytes)", bytes.len())).attempt(what).map(drop),
        }
    }

    /// Waits for an answer or a notification, and a descriptor that may come along.
    ///
    /// # Errors
    /// As recvmsg(2); refused when CRIU has ended, or does not speak its protocol.
    pub(crate) fn hear(&self) -> Outcome<(Response, Option<OwnedFd>)> {
        let what = || "hear from CRIU".to_owned();
        let mut bytes = vec![0; LONGEST];
        let mut space = nix::cmsg_space!([i32; 4]);
        let (length, fds) = {
            let mut text = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let got = match recvmsg::<()>(self.socket.as_raw_fd(), &mut text, Some(&mut space), flags) {
                Err(Errno::ECONNRESET) => return Err(refuse(what(), ENDED)),
                got => sys::named(got, || "recvmsg()".into()).attempt(what)?,
            };
            let mut fds = Vec::new();
            for message in sys::named(got.cmsgs(), || "cmsgs".into()).attempt(what)? {
                if let ControlMessageOwned::ScmRights(numbers) = message {
                    for number in numbers {
                        fds.push(sys::file::adopt_fd(number).attempt(what)?);
                    }
                }
            }
            (got.bytes, fds)
        };
        if length == 0 {
            return Err(refuse(what(), ENDED));
        }
        let response = Response::decode(bytes.get(..length).unwrap_or_default())
            .map_err(|e| refuse(what(), format!("it does not speak its protocol: {e}")))?;
        Ok((response, fds.into_iter().next()))
    }

    /// Ends the conversation, and waits until CRIU has ended.
    pub(crate) fn end(self) {
        let Self { socket, pid } = self;
        drop(socket);
        // It may have been reaped with the restored container's processes.
        sys::process::wait(pid).ok();
    }
}

/// What the child does between clone and execve.
fn prepare(setting: &Setting<'_>, socket: &OwnedFd) -> Outcome<()> {
    let what = || "hand descriptors to CRIU".to_owned();
    for fd in setting.inherited.iter().copied().chain([socket.as_fd()]) {
        sys::named(fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())), || "fcntl(F_SETFD, 0)".into())
            .attempt(what)?;
    }
    Ok(())
}

fn c_string(text: OsString) -> CString {
    CString::new(text.into_vec()).unwrap_or_default()
}

fn pair((mut key, value): (OsString, OsString)) -> CString {
    key.push("=");
    key.push(value);
    c_string(key)
}
