//! Signals come as bytes of a signalfd(2), so that no disposition is changed
//! and a child inherits none. That they are blocked is undone in each child
//! ([`crate::sys::spawn`]).

use crate::error::{Attempted, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use tokio::io::unix::AsyncFd;

/// What the shim does something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A child has exited, or several have.
    Child,
    /// Somebody asks the shim to end.
    Terminate,
}

/// The signals of this process.
#[derive(Debug)]
pub(crate) struct Signals(AsyncFd<SignalFd>);

/// Blocks the signals that [`Signals`] reads. SIGHUP and SIGINT are among
/// them to have no effect; SIGPIPE is ignored by std.
///
/// # Errors
/// When the mask cannot be set.
pub(crate) fn block() -> Result<SigSet> {
    crate::sys::default_sigchld().attempted(|| "reset SIGCHLD".into())?;
    let set: SigSet =
        [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT].into_iter().collect();
    set.thread_block().attempted(|| "block signals".into())?;
    Ok(set)
}

impl Signals {
    /// Reads the signals of `set`, which [`block`] gave. Within a tokio runtime.
    ///
    /// # Errors
    /// When the signalfd cannot be made.
    pub(crate) fn new(set: &SigSet) -> Result<Self> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let fd = SignalFd::with_flags(set, flags).attempted(|| "make a signalfd".into())?;
        Ok(Self(crate::sys::readable_signals(fd).attempted(|| "poll the signalfd".into())?))
    }

    /// The next signal that matters.
    ///
    /// # Errors
    /// Of read(2) on the signalfd.
    pub(crate) async fn next(&self) -> io::Result<Notice> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.0.get_ref().read_signal()?.and_then(|s| i32::try_from(s.ssi_signo).ok()) {
                Some(libc::SIGCHLD) => return Ok(Notice::Child),
                Some(libc::SIGTERM) => return Ok(Notice::Terminate),
                Some(_) => {}
                None => ready.clear_ready(),
            }
        }
    }
}
