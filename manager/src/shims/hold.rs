//! What the manager keeps of a running container for the case that its shim is
//! killed: its init, by a pidfd that was open before it ended; the reading
//! ends of its output or the master of its terminal, so that it can write on while
//! nobody reads; and the memory in which the shim has what it has read and not logged.
//! The manager reads none of them; they are handed to the shim that takes over.
//!
//! What is kept is copied from the shim (pidfd_getfd(2)), or opened anew below its
//! `/proc/PID/fd` where that is not allowed, which a terminal does not support. All of it but the
//! pidfd is in a [`Parcel`], which takes one descriptor.

use super::parcel::Parcel;
use super::{Init, Pipe, Terminal};
use crate::model::Ending;
use crate::sys;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which descriptors are kept, and of which container: for an audit. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<BTreeMap<i32, String>>>);

impl Kept {
    /// All of them.
    pub fn all(&self) -> BTreeMap<i32, String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A container's init, and its output as far as that could be kept.
#[derive(Debug)]
pub struct Held {
    /// Where it is listed, and as whose.
    listed: Option<(Kept, String)>,
    init: OwnedFd,
    output: Output,
}

/// What output passes through.
#[derive(Debug, Default)]
struct Output {
    /// What each is called by `--adopt`, and its number: that of the file, or of the terminal.
    known: Vec<(u8, u64)>,
    /// The same, packed.
    parcel: Option<Parcel>,
    /// Where they could not be.
    open: Vec<(u8, OwnedFd)>,
}

/// What `--adopt` calls the reading ends of stdout and stderr, the memories of the two, and the terminal.
const PIPES: [u8; 2] = [b'o', b'e'];
const HANDS: [u8; 2] = [b'O', b'E'];
const TERMINAL: u8 = b't';

impl Output {
    fn knows(&self, name: u8, number: u64) -> bool {
        self.known.contains(&(name, number))
    }

    /// Adds these, in place of what had their names. What cannot be packed stays open.
    fn add(&mut self, new: Vec<(u8, u64, OwnedFd)>) -> io::Result<()> {
        let mut all = self.copies()?;
        for (name, number, fd) in new {
            self.known.retain(|(known, _)| *known != name);
            all.retain(|(known, _)| *known != name);
            self.known.push((name, number));
            all.push((name, fd));
        }
        self.parcel = Parcel::pack(&all)
            .inspect_err(|error| tracing::debug!(%error, "descriptors stay open, for they cannot be packed"))
            .ok();
        self.open = if self.parcel.is_some() { Vec::new() } else { all };
        Ok(())
    }

    /// A descriptor of each.
    fn copies(&self) -> io::Result<Vec<(u8, OwnedFd)>> {
        match &self.parcel {
            Some(parcel) => parcel.contents(),
            None => self.open.iter().map(|(name, fd)| Ok((*name, fd.try_clone()?))).collect(),
        }
    }
}

impl Held {
    /// Takes hold of init; `None` when that process has gone.
    pub fn init(init: &Init) -> Option<Self> {
        if init.start_time == 0 || init.boot_id != boot_id() {
            return None;
        }
        let held = sys::pidfd_open(init.pid).ok()?;
        // Looked at afterwards: the descriptor refers to whichever process had the number before.
        (start_time(init.pid) == Some(init.start_time)).then_some(Self {
            listed: None,
            init: held,
            output: Output::default(),
        })
    }

    /// Keeps also what output passes through in the shim, which is the process `shim`; as far as
    /// that can be had.
    #[must_use]
    pub fn with_output(mut self, init: &Init, shim: Option<i32>) -> Self {
        let Some(shim) = shim.and_then(|pid| Shim::of(pid).ok()) else { return self };
        let named = PIPES.into_iter().zip(init.ends.pipes).chain(HANDS.into_iter().zip(init.ends.hands));
        let mut new = Vec::new();
        for (name, wanted) in named.filter_map(|(name, wanted)| Some((name, wanted?))) {
            if self.output.knows(name, wanted.inode) {
                continue;
            }
            let file = shim.file(wanted).unwrap_or_else(|error| {
                tracing::debug!(%error, shim = shim.pid, "output is not kept for another shim");
                None
            });
            new.extend(file.map(|file| (name, wanted.inode, file)));
        }
        // The memory has proven whose descriptors these are.
        let [hand, _] = init.ends.hands;
        let proven = hand.is_some_and(|hand| {
            self.output.knows(HANDS[0], hand.inode) || new.iter().any(|(name, ..)| *name == HANDS[0])
        });
        if let Some(wanted) = init.ends.terminal.filter(|_| proven)
            && !self.output.knows(TERMINAL, wanted.number.into())
        {
            let terminal = shim.terminal(wanted).ok().flatten();
            new.extend(terminal.map(|terminal| (TERMINAL, wanted.number.into(), terminal)));
        }
        if !new.is_empty()
            && let Err(error) = self.output.add(new)
        {
            tracing::debug!(%error, shim = shim.pid, "output is not kept for another shim");
        }
        self
    }

    /// Puts its descriptors on the list, as those of the container `id`; they are taken off it with this.
    pub fn list(&mut self, kept: &Kept, id: &str) {
        let output = &self.output;
        let parcel = output.parcel.iter().map(AsRawFd::as_raw_fd);
        let open = output.open.iter().map(|(_, fd)| fd.as_raw_fd());
        let fds: Vec<i32> = parcel.chain(open).chain([self.init.as_raw_fd()]).collect();
        let mut all = kept.lock();
        all.retain(|_, of| of != id);
        all.extend(fds.into_iter().map(|fd| (fd, id.to_owned())));
        drop(all);
        self.listed = Some((kept.clone(), id.to_owned()));
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
    /// Of socketpair(2), sendmsg(2) and recvmsg(2).
    pub fn send(&self) -> io::Result<OwnedFd> {
        let mut all = vec![(b'i', self.init.try_clone()?)];
        all.extend(self.output.copies()?);
        Ok(Parcel::pack(&all)?.into())
    }
}

impl Drop for Held {
    /// Before they are closed: from then on another may have the number.
    fn drop(&mut self) {
        if let Some((kept, id)) = &self.listed {
            kept.lock().retain(|_, of| of != id);
        }
    }
}

/// A shim, whose descriptors are copied. That it is still the process that is meant shows each of them.
struct Shim {
    pid: i32,
    pidfd: OwnedFd,
}

impl Shim {
    fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, pidfd: sys::pidfd_open(pid)? })
    }

    /// Its pipe or file in memory; `None` when that descriptor is something else.
    fn file(&self, wanted: Pipe) -> io::Result<Option<OwnedFd>> {
        let copy = sys::pidfd_getfd(self.pidfd.as_fd(), wanted.fd);
        let copy = copy.map(|copy| is(&copy, wanted).then_some(copy));
        copy.or_else(|_| reopen(self.pid, wanted))
    }

    /// The master of this terminal; `None` when that descriptor is something else.
    fn terminal(&self, wanted: Terminal) -> io::Result<Option<OwnedFd>> {
        let copy = sys::pidfd_getfd(self.pidfd.as_fd(), wanted.fd)?;
        let number = sys::terminal_number(copy.as_fd()).ok();
        Ok((number == Some(wanted.number)).then_some(copy))
    }
}

/// Whether it is that very pipe, or file in memory.
fn is(fd: &OwnedFd, wanted: Pipe) -> bool {
    nix::sys::stat::fstat(fd).is_ok_and(|stat| stat.st_ino == wanted.inode)
}

/// Another end of a pipe or file that the process `shim` has; `None` when it is not that one.
fn reopen(shim: i32, wanted: Pipe) -> io::Result<Option<OwnedFd>> {
    let path = format!("/proc/{shim}/fd/{}", wanted.fd);
    let found = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path)?;
    let metadata = found.metadata()?;
    let kind = metadata.file_type();
    if !(kind.is_fifo() || kind.is_file()) || metadata.ino() != wanted.inode {
        return Ok(None);
    }
    // Memory is written to as well.
    let again = format!("/proc/self/fd/{}", found.as_raw_fd());
    let options = OpenOptions::new()
        .read(true)
        .write(kind.is_file())
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(again)?;
    Ok(Some(options.into()))
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
    use super::super::Ends;
    use super::*;
    use std::fs::File;

    fn child() -> (std::process::Child, Init) {
        let child = Command::new("sh").args(["-c", "read _; exit 5"]).stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let start_time = start_time(pid).unwrap();
        (child, Init { life: 1, pid, start_time, boot_id: boot_id(), ends: Ends::default() })
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
    fn what_output_passes_through_is_kept_only_if_it_is_that() {
        let (read, _write) = io::pipe().unwrap();
        let file = tempfile::tempfile().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let shim = Shim::of(own).unwrap();
        let inode = |file: &File| file.metadata().unwrap().ino();
        let pipe_inode = inode(&File::from(OwnedFd::from(read.try_clone().unwrap())));
        for wanted in [
            Pipe { fd: read.as_raw_fd(), inode: pipe_inode },
            Pipe { fd: file.as_raw_fd(), inode: inode(&file) },
        ] {
            for get in [|s: &Shim, w| s.file(w), |s: &Shim, w| reopen(s.pid, w)] {
                assert!(is(&get(&shim, wanted).unwrap().unwrap(), wanted));
                assert!(get(&shim, Pipe { inode: wanted.inode + 1, ..wanted }).unwrap().is_none());
            }
        }
        let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).unwrap();
        let number = sys::terminal_number(master.as_fd()).unwrap();
        let fd = master.as_raw_fd();
        assert!(shim.terminal(Terminal { fd, number }).unwrap().is_some());
        assert!(shim.terminal(Terminal { fd, number: number + 1 }).unwrap().is_none());
        assert!(shim.terminal(Terminal { fd: read.as_raw_fd(), number }).unwrap().is_none());
    }
}
