//! The end of a process that is no child of this one, by a pidfd that was open
//! before it ended: `PIDFD_GET_INFO` with `PIDFD_INFO_EXIT` once it is reaped
//! (ioctl_pidfd(2); Linux 6.15), `/proc/PID/stat` until then.

use super::How;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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

/// What the kernel says about a process that is held by a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphan {
    /// Nobody has reaped it; perhaps it lives.
    NotReaped,
    /// It has ended so.
    Ended(How),
    /// It was reaped, and the kernel does not tell how it ended.
    Untold,
}

/// Asks the kernel about the process that `pidfd` refers to.
///
/// # Errors
/// Of ioctl(2) and pidfd_send_signal(2).
pub(crate) fn orphan(pidfd: BorrowedFd<'_>) -> io::Result<Orphan> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: `info` is a writable pidfd_info of the size that the request says.
    match unsafe { pidfd_get_info(pidfd.as_raw_fd(), &mut info) } {
        Ok(_) if info.mask & EXIT != 0 => Ok(Orphan::Ended(decode(info.exit_code))),
        Ok(_) => Ok(Orphan::NotReaped),
        Err(nix::errno::Errno::ESRCH) => Ok(Orphan::Untold),
        // Before Linux 6.13 there is no such request.
        Err(_) => match super::pidfd_send_signal(pidfd, 0) {
            Ok(()) => Ok(Orphan::NotReaped),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(Orphan::Untold),
            Err(e) => Err(e),
        },
    }
}

/// A wait status, as wait(2) gives it.
pub(crate) fn decode(status: i32) -> How {
    match status & 0x7f {
        0 => How::Code((status >> 8) & 0xff),
        signal => How::Signal(signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_status_of_a_reaped_process_is_told_to_whoever_held_it() {
        let mut command = std::process::Command::new("sh");
        let command = command.args(["-c", "read _; exit 42"]).stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pidfd = super::super::pidfd_open(i32::try_from(child.id()).unwrap()).unwrap();
        assert_eq!(orphan(pidfd.as_fd()).unwrap(), Orphan::NotReaped);
        drop(child.stdin.take());
        child.wait().unwrap();
        // An older kernel says that it does not know; never something else.
        let told = orphan(pidfd.as_fd()).unwrap();
        assert!([Orphan::Ended(How::Code(42)), Orphan::Untold].contains(&told), "{told:?}");
    }

    #[test]
    fn wait_statuses() {
        assert_eq!(decode(42 << 8), How::Code(42));
        assert_eq!(decode(9), How::Signal(9));
        assert_eq!(decode(0x80 | 11), How::Signal(11), "with a core dump");
    }
}
