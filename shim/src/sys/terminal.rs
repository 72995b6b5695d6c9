//! The size of a terminal (ioctl_tty(2)).

use nix::libc::{TIOCSWINSZ, winsize};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

nix::ioctl_write_ptr_bad!(set_size, TIOCSWINSZ, winsize);

/// Sets the size, in characters, of the terminal that `master` belongs to. Its foreground
/// processes get SIGWINCH when that changes it.
///
/// # Errors
/// Of ioctl(2): ENOTTY when it is no terminal.
pub(crate) fn resize(master: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a winsize that lives for the length of the call, which reads it.
    unsafe { set_size(master.as_raw_fd(), &size) }?;
    Ok(())
}
