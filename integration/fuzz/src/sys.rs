//! The system calls that a test makes with arguments of its own: the only
//! unsafe code of this crate. All of them look something up by numbers, read and
//! write no memory, and change nothing.

use std::arch::asm;

/// A system call of this machine's kernel; gives its result or the negative errno.
///
/// Only for calls whose arguments are numbers.
pub fn call(number: u32, args: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the callers pass calls that take numbers only and touch no memory.
    let result = unsafe { libc::syscall(i64::from(number), a, b, c, d, e, f) };
    if result == -1 {
        -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    } else {
        result
    }
}

/// The same through the entry of 32-bit programs, with their numbers.
#[cfg(target_arch = "x86_64")]
pub fn call_x86(number: u32, args: [u32; 5]) -> i64 {
    let [a, b, c, d, e] = args.map(u64::from);
    let mut result = u64::from(number);
    // SAFETY: as in `call`; rbx is kept, and the entry clobbers r8 to r11.
    unsafe {
        asm!(
            "xchg rbx, {a}",
            "int 0x80",
            "xchg rbx, {a}",
            a = inout(reg) a => _,
            inlateout("rax") result,
            in("rcx") b,
            in("rdx") c,
            in("rsi") d,
            in("rdi") e,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    i64::from(result as u32 as i32)
}

/// Forbids the calling thread to gain privileges: what a filter needs without them.
pub fn set_no_new_privs() {
    // SAFETY: prctl(2) with numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(result, 0, "prctl(PR_SET_NO_NEW_PRIVS)");
}
