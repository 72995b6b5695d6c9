//! What the manager keeps of a running container for the case that its shim is
//! killed: its init, by a pidfd that was open before it ended, and the reading
//! ends of its output, so that it can write on while nobody reads. The manager
//! never reads them; they are handed to the shim that takes over.

use super::{Init, Pipe};
use crate::model::Ending;
use crate::sys;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::process::{Command, Stdio};

/// A container's init, and its output as far as that could be kept.
#[derive(Debug)]
pub struct Held {
    init: OwnedFd,
    pipes: [Option<OwnedFd>; 2],
}

impl Held {
    /// Takes hold of init; `None` when that process has gone.
    pub fn init(init: &Init) -> Option<Self> {
        if init.start_time == 0 || init.boot_id != boot_id() {
            return None;
        }
        let held = sys::pidfd_open(init.pid).ok()?;
        // Looked at afterwards: the descriptor refers to whichever process had the number before.
        (start_time(init.pid) == Some(init.start_time)).then_some(Self { init: held, pipes: [None, None] })
    }

    /// Keeps also the pipes that the shim, which is the process `shim`, reads; as far as
    /// they can be opened.
    #[must_use]
    pub fn with_pipes(mut self, init: &Init, shim: Option<i32>) -> Self {
        for (kept, pipe) in self.pipes.iter_mut().zip(init.pipes) {
            if let (None, Some(shim), Some(pipe)) = (&kept, shim, pipe) {
                *kept = open(shim, pipe).unwrap_or_else(|error| {
                    tracing::debug!(%error, shim, "output is not kept for another shim");
                    None
                });
            }
        }
        self
    }

    /// Whether init has ended.
    pub fn ended(&self) -> bool {
        // A pidfd is readable once the process has ended (pidfd_open(2)).
        let mut fds = [PollFd::new(self.init.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
    }

    /// How init ended, where the kernel tells.
    pub fn ending(&self) -> Option<Ending> {
        sys::ending(self.init.as_fd())
    }

    /// The other end of a socket with one message, as the shim's `--adopt` expects it.
    ///
    /// # Errors
    /// Of socketpair(2) and sendmsg(2).
    pub fn send(&self) -> io::Result<OwnedFd> {
        let named = [(b'i', Some(&self.init))];
        let pipes = [b'o', b'e'].into_iter().zip(self.pipes.iter().map(Option::as_ref));
        let (names, fds): (Vec<u8>, Vec<i32>) =
            named.into_iter().chain(pipes).filter_map(|(n, fd)| Some((n, fd?.as_raw_fd()))).unzip();
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(ours.as_raw_fd(), &[io::IoSlice::new(&names)], &rights, MsgFlags::empty(), None)?;
        Ok(theirs)
    }
}

/// Another reading end of a pipe that the process `shim` reads; `None` when it is not that pipe.
fn open(shim: i32, pipe: Pipe) -> io::Result<Option<OwnedFd>> {
    let by = |path: String, flags: OFlag| -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
    };
    let found = by(format!("/proc/{shim}/fd/{}", pipe.fd), OFlag::O_PATH)?;
    let metadata = found.metadata()?;
    if !metadata.file_type().is_fifo() || metadata.ino() != pipe.inode {
        return Ok(None);
    }
    by(format!("/proc/self/fd/{}", found.as_raw_fd()), OFlag::O_NONBLOCK).map(|file| Some(file.into()))
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}

/// When a process began, in clock ticks since boot (proc_pid_stat(5), field 22).
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name and may have any character.
    stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// Whether this kernel tells the exit status of a reaped process to whoever holds
/// it: tried with a process that runs `binary --version`.
///
/// # Errors
/// When it cannot be run.
pub fn probe(binary: &std::path::Path) -> io::Result<bool> {
    let quiet = || Stdio::null();
    let mut child =
        Command::new(binary).arg("--version").stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn()?;
    let held = sys::pidfd_open(i32::try_from(child.id()).map_err(io::Error::other)?);
    child.wait()?;
    Ok(sys::ending(held?.as_fd()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child() -> (std::process::Child, Init) {
        let child = Command::new("sh").args(["-c", "read _; exit 5"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let start_time = start_time(pid).unwrap();
        (child, Init { life: 1, pid, start_time, boot_id: boot_id(), pipes: [None, None] })
    }

    #[test]
    fn a_held_process_tells_how_it_ended_after_it_was_reaped() {
        let (mut child, init) = child();
        let held = Held::init(&init).unwrap();
        assert!(!held.ended() && held.ending().is_none());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(held.ended());
        let told = probe(std::path::Path::new("/bin/true")).unwrap();
        assert_eq!(held.ending(), told.then_some(Ending::Code(5)));
        assert!(Held::init(&init).is_none());
    }

    #[test]
    fn a_process_that_is_not_proven_to_be_it_is_not_held() {
        let (mut child, init) = child();
        for other in [
            Init { start_time: init.start_time + 1, ..init.clone() },
            Init { start_time: 0, ..init.clone() },
            Init { boot_id: "another".into(), ..init.clone() },
        ] {
            assert!(Held::init(&other).is_none(), "{other:?}");
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_pipe_is_kept_only_if_it_is_that_one() {
        let (read, _write) = io::pipe().unwrap();
        let inode = File::from(OwnedFd::from(read.try_clone().unwrap())).metadata().unwrap().ino();
        let own = i32::try_from(std::process::id()).unwrap();
        let pipe = Pipe { fd: read.as_raw_fd(), inode };
        assert!(open(own, pipe).unwrap().is_some());
        assert!(open(own, Pipe { inode: inode + 1, ..pipe }).unwrap().is_none());
        let file = tempfile::tempfile().unwrap();
        assert!(open(own, Pipe { fd: file.as_raw_fd(), inode }).unwrap().is_none());
    }
}
