//! Where the master of the container's terminal goes.

use super::Console;
use crate::plan::Process;
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::sys;
use std::os::fd::OwnedFd;

/// The terminal's other end, reached before anything is made.
pub(crate) fn console(console: &Console, process: &Process) -> Outcome<Option<OwnedFd>> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let what = || "set up the terminal".to_owned();
    match (console, process.terminal) {
        (Console::Nowhere | Console::Foreground(_), false) => Ok(None),
        (Console::Nowhere, true) => {
            let mut failure =
                refuse(what(), "cannot allocate tty if runc will detach without setting console socket");
            failure.hint = "give --console-socket, or set process.terminal to false".into();
            Err(failure).at("/process/terminal")
        }
        (Console::Foreground(fd), true) => fd.try_clone().attempt(what).map(Some),
        (Console::Socket(_), false) => {
            Err(refuse(what(), "cannot use console socket if runc will not detach or allocate tty"))
                .at("/process/terminal")
        }
        (Console::Socket(path), true) => {
            let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
            let fd = sys::named(made, || "socket(AF_UNIX)".into()).attempt(what)?;
            let address = sys::named(UnixAddr::new(path), || "sun_path".into()).attempt(what)?;
            sys::named(connect(fd.as_raw_fd(), &address), || format!("connect({path:?})")).attempt(what)?;
            Ok(Some(fd))
        }
    }
}
