//! A seccomp listener (runtime-spec, "Container Process State"): a thread that is sent
//! the notification descriptor with the state, and decides about system calls.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::bundle::temp_dir;
use crate::process::{DEADLINE, until};
use crate::sys;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// Which calls it refuses, with `EXDEV`; the others happen.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// Each that it is asked about.
    All,
    /// Those of these numbers.
    These(&'static [i32]),
}

/// A listener; it ends when it is dropped.
#[derive(Debug)]
pub struct Listener {
    dir: TempDir,
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread tells, and is told.
#[derive(Debug, Default)]
struct Told {
    end: AtomicBool,
    state: Mutex<Option<Value>>,
    calls: Mutex<BTreeSet<i32>>,
}

impl Listener {
    /// One that waits for a container.
    pub fn start(refused: Refused) -> Self {
        let dir = temp_dir();
        let server = UnixListener::bind(dir.path().join("socket")).expect("listen");
        let told = Arc::new(Told::default());
        let thread = std::thread::spawn({
            let told = Arc::clone(&told);
            move || listen(&server, refused, &told)
        });
        Self { dir, told, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// The state that it was sent.
    #[track_caller]
    pub fn state(&self) -> Value {
        let state = || self.told.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert!(until(DEADLINE, || state().is_some()), "no container has called");
        state().expect("it was there")
    }

    /// The numbers of the system calls that it was asked about so far.
    pub fn calls(&self) -> BTreeSet<i32> {
        self.told.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it: the socket stays, and nobody listens.
    pub fn stop(&mut self) {
        self.told.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the listener has failed");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listen(server: &UnixListener, refused: Refused, told: &Told) {
    if !ready(server.as_fd(), told) {
        return;
    }
    let (stream, _) = server.accept().expect("accept");
    let (state, fd) = receive(&stream);
    *told.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    while ready(fd.as_fd(), told) {
        // One that has died meanwhile needs no answer.
        let Ok(call) = sys::seccomp::receive(fd.as_fd()) else { continue };
        told.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(call.number);
        let refuse = match refused {
            Refused::All => true,
            Refused::These(numbers) => numbers.contains(&call.number),
        };
        sys::seccomp::answer(fd.as_fd(), call, refuse.then_some(libc::EXDEV)).ok();
    }
    // Others are refused at the socket only once this has ended.
    until(DEADLINE, || told.end.load(Ordering::Relaxed));
}

/// Waits until there is something to be read; `false` when there will be nothing, or at the end.
fn ready(fd: BorrowedFd<'_>, told: &Told) -> bool {
    while !told.end.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(20_u8)).expect("poll");
        let events = fds.iter().filter_map(PollFd::revents).fold(PollFlags::empty(), |all, one| all | one);
        if events.contains(PollFlags::POLLIN) {
            return true;
        }
        if !events.is_empty() {
            return false;
        }
    }
    false
}

/// The state, and the one descriptor that comes with it.
fn receive(stream: &UnixStream) -> (Value, OwnedFd) {
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut bytes = vec![0; 65_536];
    let mut text = [std::io::IoSliceMut::new(&mut bytes)];
    let got = recvmsg::<()>(stream.as_raw_fd(), &mut text, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
        .expect("recvmsg");
    let length = got.bytes;
    let fds: Vec<i32> = match got.cmsgs().expect("control messages").next() {
        Some(ControlMessageOwned::ScmRights(fds)) => fds,
        other => panic!("no descriptor came: {other:?}"),
    };
    let [fd] = fds[..] else { panic!("{} descriptors came", fds.len()) };
    let state = serde_json::from_slice(bytes.get(..length).unwrap_or_default()).expect("the state is JSON");
    (state, sys::adopt(fd))
}
