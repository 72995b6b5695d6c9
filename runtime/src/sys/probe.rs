//! Whether the kernel has a system call or a flag, found out without effect.

use nix::errno::Errno;

/// System calls that are asked for by name, with their numbers.
const CALLS: [(&str, libc::c_long); 11] = [
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("fsopen", libc::SYS_fsopen),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("set_mempolicy_home_node", libc::SYS_set_mempolicy_home_node),
];

/// Each system call that this crate uses where it exists, and whether it does.
pub fn system_calls() -> impl Iterator<Item = (&'static str, bool)> {
    CALLS.into_iter().map(|(name, number)| (name, has_call(number)))
}

fn has_call(number: libc::c_long) -> bool {
    // SAFETY: each of the calls refuses these arguments before it does or reads anything: -1 is no
    // descriptor, pid, readable address or size, and no range ends before it begins.
    let value = unsafe { libc::syscall(number, -1, 0, 0, 0, 0, 0) };
    Errno::result(value) != Err(Errno::ENOSYS)
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, without which WAIT_KILLABLE_RECV is refused.
const NEW_LISTENER: u32 = 8;

/// Whether seccomp(2) knows these flags: then it goes on to the program, which
/// is at no readable address.
pub fn seccomp_flags(flags: u32) -> bool {
    let with_listener = if flags & 32 == 0 { flags } else { flags | NEW_LISTENER };
    // SAFETY: the program is at the null address, so that nothing can be installed.
    let value = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, with_listener, std::ptr::null::<()>())
    };
    Errno::result(value) == Err(Errno::EFAULT)
}
