//! Whether the kernel has a system call or a flag, found out without effect.

use nix::errno::Errno;
use nix::libc;

/// The system calls that the stack uses, by name; any of them can be asked for.
const CALLS: [(&str, libc::c_long); 13] = [
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("memfd_create", libc::SYS_memfd_create),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("openat2", libc::SYS_openat2),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("sched_setattr", libc::SYS_sched_setattr),
];

/// Each of them, and whether this kernel has it, or an own filter lets it pass.
pub(crate) fn system_calls() -> impl Iterator<Item = (&'static str, bool)> {
    CALLS.into_iter().map(|(name, number)| (name, has_call(number)))
}

fn has_call(number: libc::c_long) -> bool {
    // SAFETY: each of the calls refuses these arguments before it does or reads anything: -1 is no
    // descriptor, pid, readable address or size, and no range ends before it begins.
    let value = unsafe { libc::syscall(number, -1, 0, 0, 0, 0, 0) };
    Errno::result(value) != Err(Errno::ENOSYS)
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, without which WAIT_KILLABLE_RECV is refused.
pub(crate) const NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH`.
pub(crate) const TSYNC_ESRCH: u32 = 1 << 4;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`.
pub(crate) const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Whether seccomp(2) knows this flag: then it goes on to the program, which is at no readable address.
pub(crate) fn seccomp_flag(flag: u32) -> bool {
    let flags = if flag == WAIT_KILLABLE_RECV { flag | NEW_LISTENER } else { flag };
    // SAFETY: the program is at the null address, so that nothing can be installed.
    let value = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, std::ptr::null::<()>())
    };
    Errno::result(value) == Err(Errno::EFAULT)
}

/// Whether `path` has file capabilities (`security.capability`, capabilities(7)).
pub(crate) fn has_file_capabilities(path: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: both strings end with a NUL and live for the call, which writes nothing for a size of 0.
    let size =
        unsafe { libc::getxattr(path.as_ptr(), c"security.capability".as_ptr(), std::ptr::null_mut(), 0) };
    size > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_there_and_a_flag_of_no_kernel_is_not() {
        assert!(system_calls().any(|(name, there)| name == "openat2" && there));
        assert!(seccomp_flag(NEW_LISTENER) && !seccomp_flag(1 << 31));
        assert!(!has_call(libc::c_long::from(i32::MAX)));
        assert!(!has_file_capabilities(std::path::Path::new("/proc/self/exe")));
    }
}
