//! The terminal while `top` has it: raw, with the alternate screen, without a cursor; and as it was before on
//! every way out, a panic and the signals that end included.

use super::screen::Screen;
use crate::cli::attached::keyboard::Keyboard;
use crate::cli::attached::raw::Raw;
use crate::cli::error::Error;
use nix::sys::signal::{Signal as Number, raise};
use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// To the alternate screen, without a cursor; and back (xterm's private modes 1049 and 25).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The alternate screen is shown.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// What has come.
#[derive(Debug)]
pub(super) enum Came {
    /// From the keyboard.
    Bytes(Vec<u8>),
    /// Another size.
    Resized,
    /// This process was stopped, and goes on.
    Continued,
    /// A signal that ends.
    Signal(i32),
    /// The keyboard has gone.
    End,
}

/// The terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    raw: Option<Raw>,
    screen: Screen,
    keyboard: Keyboard,
    resized: Signal,
    continued: Signal,
    ends: [(Signal, SignalKind); 4],
}

impl Terminal {
    /// Takes it.
    ///
    /// # Errors
    /// Of tcsetattr(3), sigaction(2) and write(2).
    pub(super) fn enter() -> Result<Self, Error> {
        let catch = |kind| signal(kind).map_err(Error::io("catch signals"));
        let end = |kind| catch(kind).map(|signal| (signal, kind));
        let ends = [
            end(SignalKind::terminate())?,
            end(SignalKind::hangup())?,
            end(SignalKind::interrupt())?,
            end(SignalKind::quit())?,
        ];
        let (resized, continued) =
            (catch(SignalKind::window_change())?, catch(SignalKind::from_raw(Number::SIGCONT as i32))?);
        let raw = Raw::enter()?;
        leave_after_panic();
        // From here on its drop gives it back.
        let terminal = Self {
            raw: Some(raw),
            screen: Screen::default(),
            keyboard: Keyboard::new(),
            resized,
            continued,
            ends,
        };
        ENTERED.store(true, Ordering::SeqCst);
        write(ENTER)?;
        Ok(terminal)
    }

    /// Shows these lines.
    ///
    /// # Errors
    /// Of write(2).
    pub(super) fn show(&mut self, lines: Vec<String>) -> Result<(), Error> {
        let bytes = self.screen.show(lines);
        if bytes.is_empty() { Ok(()) } else { write(&bytes) }
    }

    /// Whatever is on the screen is not ours.
    pub(super) fn forget(&mut self) {
        self.screen.forget();
    }

    /// Waits for what comes next.
    pub(super) async fn next(&mut self) -> Came {
        let [(terminate, t), (hangup, h), (interrupt, i), (quit, q)] = &mut self.ends;
        tokio::select! {
            bytes = self.keyboard.next() => bytes.map_or(Came::End, Came::Bytes),
            _ = self.resized.recv() => Came::Resized,
            _ = self.continued.recv() => Came::Continued,
            _ = terminate.recv() => Came::Signal(t.as_raw_value()),
            _ = hangup.recv() => Came::Signal(h.as_raw_value()),
            _ = interrupt.recv() => Came::Signal(i.as_raw_value()),
            _ = quit.recv() => Came::Signal(q.as_raw_value()),
        }
    }

    /// Gives it back, stops this process, and takes it again when the shell lets it go on.
    ///
    /// # Errors
    /// As [`Terminal::enter`].
    pub(super) fn suspend(&mut self) -> Result<(), Error> {
        leave();
        self.raw = None;
        raise(Number::SIGTSTP).map_err(|errno| Error::io("stop this process")(errno.into()))?;
        self.raw = Some(Raw::enter()?);
        self.again()
    }

    /// Takes it again after this process was stopped.
    ///
    /// # Errors
    /// As [`Terminal::enter`].
    pub(super) fn again(&mut self) -> Result<(), Error> {
        if let Some(raw) = &self.raw {
            raw.again()?;
        }
        self.screen.forget();
        ENTERED.store(true, Ordering::SeqCst);
        write(ENTER)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
        self.raw = None;
    }
}

fn write(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::io("draw on the terminal"))
}

fn leave() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        // Where it cannot be written, there is no terminal any more.
        drop(write(LEAVE));
    }
}

/// A panic need not unwind; and its message belongs on the screen of before.
fn leave_after_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave();
            next(info);
        }));
    });
}
