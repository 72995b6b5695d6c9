//! The size of a terminal, and what is there to be read (ioctl_tty(2), pipe(7)).

use nix::libc::{FIONREAD, TIOCGPTN, TIOCSWINSZ, winsize};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

nix::ioctl_write_ptr_bad!(set_size, TIOCSWINSZ, winsize);
nix::ioctl_read_bad!(count, FIONREAD, i32);

nix::ioctl_read_bad!(pts_number, TIOCGPTN, u32);

/// Which terminal of its devpts a master belongs to.
///
/// # Errors
/// Of ioctl(2): ENOTTY when it is no master.
pub(crate) fn terminal_number(master: BorrowedFd<'_>) -> io::Result<u32> {
    let mut number = 0;
    // SAFETY: `number` is an unsigned int that lives for the length of the call, which writes it.
    unsafe { pts_number(master.as_raw_fd(), &mut number) }?;
    Ok(number)
}

/// How many bytes can be read from a pipe or a terminal now.
///
/// # Errors
/// Of ioctl(2).
pub(crate) fn readable_bytes(from: BorrowedFd<'_>) -> io::Result<usize> {
    let mut bytes = 0;
    // SAFETY: `bytes` is an int that lives for the length of the call, which writes it.
    unsafe { count(from.as_raw_fd(), &mut bytes) }?;
    usize::try_from(bytes).map_err(io::Error::other)
}

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
