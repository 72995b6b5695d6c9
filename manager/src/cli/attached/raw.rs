//! Our own terminal, while keys are the process's: raw, and as it was before on
//! every way out, a panic included. What SIGKILL leaves, `stty sane` mends.

use crate::cli::error::Error;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal};
use std::sync::{Mutex, Once, PoisonError};

/// How the terminal was before; `None` while it is so.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal of our stdin is raw; as it was before when this goes.
#[derive(Debug)]
pub(in crate::cli) struct Raw(());

impl Raw {
    /// Makes it raw.
    ///
    /// # Errors
    /// Of tcgetattr(3) and tcsetattr(3).
    pub(in crate::cli) fn enter() -> Result<Self, Error> {
        let attempted = || Error::io("make the terminal raw");
        let before = tcgetattr(io::stdin()).map_err(|e| attempted()(e.into()))?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        restore_after_panic();
        BEFORE.lock().unwrap_or_else(PoisonError::into_inner).replace(before);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).map_err(|e| attempted()(e.into()))?;
        Ok(Self(()))
    }

    /// Makes it raw once more, where a shell has set it otherwise while this process was stopped. What it was
    /// before stays known.
    ///
    /// # Errors
    /// Of tcgetattr(3) and tcsetattr(3).
    pub(in crate::cli) fn again(&self) -> Result<(), Error> {
        let attempted = || Error::io("make the terminal raw");
        let mut raw = tcgetattr(io::stdin()).map_err(|e| attempted()(e.into()))?;
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).map_err(|e| attempted()(e.into()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before
        && let Err(error) = tcsetattr(io::stdin(), SetArg::TCSANOW, &before)
    {
        eprintln!("sextant: the terminal stays raw (stty sane mends it): {error}");
    }
}

/// A panic need not unwind; its hook comes in any case, and the message is read better so.
fn restore_after_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            next(info);
        }));
    });
}

/// Whether our stdin is a terminal.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}
