//! The manager's door to the kernel: pidfds, which nix does not wrap. The only
//! `unsafe` of this crate is here and below.

pub(crate) mod ns;
pub(crate) mod pause;
pub(crate) mod probe;
pub(crate) mod rights;

use crate::model::Ending;
use nix::errno::Errno;
use nix::libc;
use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `struct pidfd_info` of linux/pidfd.h, its first version.
#[repr(C)]
#[derive(Debug, Default)]
struct Info {
    mask: u64,
    cgroupid: u64,
    /// pid, tgid, ppid and eight user and group ids.
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`.
const EXIT: u64 = 1 << 3;

nix::ioctl_readwrite!(pidfd_get_info, 0xff, 11, Info);

/// A descriptor that refers to the process `pid` (pidfd_open(2), Linux 5.3).
///
/// # Errors
/// Of pidfd_open(2): ESRCH when there is no such process.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(Errno::last().into());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: pidfd_open returned this descriptor, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process that `pidfd` refers to (pidfd_send_signal(2), Linux 5.1).
///
/// # Errors
/// Of pidfd_send_signal(2): ESRCH when it has ended.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: takes integers, and no siginfo_t.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, nothing, 0) };
    if sent < 0 { Err(Errno::last().into()) } else { Ok(()) }
}

/// The descriptor, so that it can be waited until it is readable, on the reactor of this thread.
///
/// # Errors
/// Of epoll_ctl(2): EPERM when it can never be waited for.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and stays the same until it is dropped, and the AsyncFd owns it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}

/// A copy of the descriptor `fd` of the process that `pidfd` refers to (pidfd_getfd(2), Linux 5.6).
///
/// # Errors
/// Of pidfd_getfd(2): EPERM when that process may not be traced, EBADF when it has no such descriptor.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    if copy < 0 {
        return Err(Errno::last().into());
    }
    let copy = i32::try_from(copy).map_err(io::Error::other)?;
    // SAFETY: pidfd_getfd returned this descriptor, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// A descriptor of which tokio tells when it is readable.
///
/// # Errors
/// Of epoll_ctl(2).
pub(crate) fn when_readable<T: Borrow<OwnedFd> + AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: an OwnedFd is the same open descriptor for as long as it lives, and the value that is
    // registered owns it, or shares it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Lets threads allocate from so many heaps at most (mallopt(3), `M_ARENA_MAX`), of which each keeps what was freed
/// in it; glibc alone has several. To be called before there are threads.
pub(crate) fn heaps(at_most: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes integers, and there is no other thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, at_most);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = at_most;
}

/// Gives pages of the heap that are free back to the kernel (malloc_trim(3)); with another C library than
/// glibc they stay.
pub(crate) fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes an integer, and the locks of the heap.
    unsafe {
        libc::malloc_trim(0);
    }
}

nix::ioctl_read_bad!(pts_number, libc::TIOCGPTN, u32);

/// Which terminal of its devpts a master belongs to (ioctl_tty(2), `TIOCGPTN`).
///
/// # Errors
/// Of ioctl(2): ENOTTY when it is no master.
pub(crate) fn terminal_number(master: BorrowedFd<'_>) -> io::Result<u32> {
    let mut number = 0;
    // SAFETY: `number` is an unsigned int that lives for the length of the call, which writes it.
    unsafe { pts_number(master.as_raw_fd(), &mut number) }?;
    Ok(number)
}

/// Rows and columns of the terminal of our stdin, or else of our stdout (ioctl_tty(2));
/// `None` where neither is one.
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    let of = |fd: i32| {
        let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: `size` is a writable winsize for the length of the call.
        let result = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) };
        (result == 0).then_some((size.ws_row, size.ws_col))
    };
    of(libc::STDIN_FILENO).or_else(|| of(libc::STDOUT_FILENO))
}

/// How a process that was reaped has ended (ioctl_pidfd(2), `PIDFD_GET_INFO`):
/// known to whoever had it open before, from Linux 6.15 on; else `None`.
pub(crate) fn ending(pidfd: BorrowedFd<'_>) -> Option<Ending> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: `info` is a writable pidfd_info of the size that the request says.
    unsafe { pidfd_get_info(pidfd.as_raw_fd(), &mut info) }.ok()?;
    let ending = match info.exit_code & 0x7f {
        0 => Ending::Code((info.exit_code >> 8) & 0xff),
        signal => Ending::Signal(signal),
    };
    (info.mask & EXIT != 0).then_some(ending)
}

/// The listening unix socket that was passed as descriptor `fd` (sd_listen_fds(3)).
///
/// # Errors
/// When it is no such socket.
pub(crate) fn passed_listener(fd: i32) -> io::Result<std::os::unix::net::UnixListener> {
    use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
    let wrong =
        || io::Error::other(format!("descriptor {fd} is no listening unix socket (ListenStream=/PATH)"));
    let address: SockaddrStorage = getsockname(fd).map_err(|_| wrong())?;
    // SAFETY: getsockname has just found a socket there, and it is not closed meanwhile.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let listens = getsockopt(&borrowed, sockopt::AcceptConn).map_err(|_| wrong())?;
    if address.family() != Some(AddressFamily::Unix) || !listens {
        return Err(wrong());
    }
    // SAFETY: systemd has passed this descriptor to this process; it is taken once, at start.
    Ok(unsafe { std::os::unix::net::UnixListener::from_raw_fd(fd) })
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    const PAGE: usize = 4096;
    const PIECE: usize = 64 << 10;

    /// How many whole pages of a piece that begins there are in memory.
    fn resident(begin: *const u8) -> usize {
        let skipped = begin.align_offset(PAGE);
        let mut there = [0; PIECE / PAGE - 1];
        let from = begin.wrapping_add(skipped).cast_mut().cast();
        // SAFETY: takes a range, of which it reads and writes nothing, and writes a byte for each of its pages.
        let told = unsafe { libc::mincore(from, there.len() * PAGE, there.as_mut_ptr()) };
        assert_eq!(told, 0, "{}", Errno::last());
        there.iter().filter(|page| **page & 1 == 1).count()
    }

    #[test]
    fn what_is_free_between_what_is_not_is_given_back() {
        let pieces: Vec<Vec<u8>> = (0..512).map(|_| vec![1; PIECE]).collect();
        let (mut kept, mut free) = (Vec::new(), Vec::new());
        for (number, piece) in pieces.into_iter().enumerate() {
            match number % 16 {
                15 => kept.push(piece),
                _ => free.push(piece.as_ptr()),
            }
        }
        let pages = || free.iter().map(|begin| resident(*begin)).sum::<usize>();
        let before = pages();
        give_memory_back();
        let after = pages();
        assert!(before > 4096 && after < before / 4, "{before} pages, then {after}");
        assert!(kept.iter().flatten().all(|byte| *byte == 1));
    }
}
