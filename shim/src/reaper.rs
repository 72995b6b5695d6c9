//! The one place that waits for children. The shim is a subreaper: besides the
//! runtime's invocations, the container's init and any orphan become its
//! children. A child is first looked at (`WNOWAIT`) and then reaped by its own
//! id, so no wait takes a status that another one needs.
//!
//! ```text
//! SIGCHLD → sweep → known?  yes: status to whoever registered it
//!                           no:  reaped; remembered while a creation is under way,
//!                                since init may exit before its pid is known
//! ```

use crate::faults::{self, Point};
use crate::sys::{self, How};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::sync::oneshot;

/// Exits of unknown processes that are remembered while a creation lasts.
const STRANGERS: usize = 256;

/// A process has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// How.
    pub(crate) how: How,
    /// When it was reaped.
    pub(crate) at: SystemTime,
}

/// A process whose end will be told: a child, or one that was adopted.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its number in the shim's pid namespace.
    pub(crate) pid: i32,
    /// Refers to this very process; `None` when it had already been reaped.
    pidfd: Option<Arc<OwnedFd>>,
    /// Its end.
    pub(crate) ended: oneshot::Receiver<Ended>,
}

impl Process {
    /// One that is no child of this process; somebody else finds out how it ends ([`crate::orphan`]).
    pub(crate) fn adopted(pid: i32, pidfd: Option<OwnedFd>, ended: oneshot::Receiver<Ended>) -> Self {
        Self { pid, pidfd: pidfd.map(Arc::new), ended }
    }

    /// Refers to it, also where its end is waited for elsewhere; `None` when it had been reaped.
    pub(crate) fn pidfd(&self) -> Option<Arc<OwnedFd>> {
        self.pidfd.clone()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Of pidfd_send_signal(2): ESRCH when it has been reaped.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        match &self.pidfd {
            Some(pidfd) => sys::pidfd_send_signal(pidfd.as_fd(), signal),
            None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }
}

/// Knows the children; a handle, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reaper(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    known: Vec<Known>,
    /// Creations that are under way.
    creations: usize,
    /// Ends of unknown children during these.
    strangers: VecDeque<(i32, Ended)>,
}

#[derive(Debug)]
struct Known {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    tell: oneshot::Sender<Ended>,
}

impl Reaper {
    /// Reaps whatever has exited. Called at each SIGCHLD.
    ///
    /// # Errors
    /// Of waitid(2).
    pub(crate) fn sweep(&self) -> io::Result<()> {
        faults::reach(Point::ExitReap)?;
        while let Some(pid) = sys::exited_child()? {
            let mut table = self.table();
            match table.known.iter().position(|k| k.pid == pid) {
                Some(at) => {
                    let known = table.known.swap_remove(at);
                    if let Some(how) = sys::reap_pidfd(known.pidfd.as_fd())? {
                        // Nobody waits for it any more: reaping it was all there was to do.
                        known.tell.send(Ended { how, at: SystemTime::now() }).unwrap_or_default();
                    }
                }
                None => {
                    let how = sys::reap_pid(pid)?;
                    table.remember(pid, how);
                }
            }
        }
        Ok(())
    }

    /// Registers `pid`, a child of this process that nothing else waits for;
    /// in the same turn as its fork, so that no sweep comes between.
    ///
    /// # Errors
    /// Of pidfd_open(2).
    pub(crate) fn register(&self, pid: i32) -> io::Result<Process> {
        let pidfd = Arc::new(sys::pidfd_open(pid)?);
        let (tell, ended) = oneshot::channel();
        self.table().known.push(Known { pid, pidfd: Arc::clone(&pidfd), tell });
        Ok(Process { pid, pidfd: Some(pidfd), ended })
    }

    /// Remembers the ends of unknown children until the guard goes.
    pub(crate) fn remember_strangers(&self) -> Creation {
        self.table().creations += 1;
        Creation(self.clone())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn remember(&mut self, pid: i32, how: Option<How>) {
        if let (1.., Some(how)) = (self.creations, how) {
            if self.strangers.len() == STRANGERS {
                self.strangers.pop_front();
            }
            self.strangers.push_back((pid, Ended { how, at: SystemTime::now() }));
        }
    }
}

/// A creation is under way: ends of unknown children are remembered.
#[derive(Debug)]
pub(crate) struct Creation(Reaper);

impl Creation {
    /// Takes over an orphan of this creation, which lives or has ended already.
    ///
    /// # Errors
    /// ECHILD when `pid` is not, and was not, a child of this process.
    pub(crate) fn claim(&self, pid: i32) -> io::Result<Process> {
        let known = sys::pidfd_open(pid).and_then(|pidfd| sys::is_child(pidfd.as_fd()));
        if known.unwrap_or(false) {
            return self.0.register(pid);
        }
        let table = self.0.table();
        // The last one of this number: the kernel gives a number again.
        let mut strangers = table.strangers.iter().rev();
        let (_, end) =
            strangers.find(|(p, _)| *p == pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))?;
        let (tell, ended) = oneshot::channel();
        // The receiver lives in this function.
        tell.send(*end).unwrap_or_default();
        Ok(Process { pid, pidfd: None, ended })
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        let mut table = self.0.table();
        table.creations = table.creations.saturating_sub(1);
        if table.creations == 0 {
            table.strangers = VecDeque::new();
        }
    }
}
