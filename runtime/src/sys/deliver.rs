//! Loads a seccomp filter that has a listener, and sends the listener its
//! descriptor, although the filter may forbid sendmsg(2), or ask the listener
//! about it. From the load on the caller makes no system call: a second thread,
//! which has no filter, sends. It is the only thread of this program, lives for
//! this one message, and shares with the caller two numbers; it allocates nothing
//! and is gone with execve(2) at the latest.

use super::{Error, Result, seccomp};
use crate::seccomp::Filter;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

/// The descriptor, as the caller tells it to the thread; there is one filter in a process's life.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(PENDING);
/// What sendmsg(2) gave, as the thread tells it to the caller: bytes, or an errno below 0.
static SENT: AtomicI64 = AtomicI64::new(UNSENT);

const PENDING: i32 = -1;
/// The filter was not loaded.
const NONE: i32 = -2;
const UNSENT: i64 = i64::MIN;

/// `SECCOMP_FILTER_FLAG_TSYNC` and `TSYNC_ESRCH`: they would put the thread under the filter,
/// and have nothing else to be about in a process that is about to execute another program.
const OTHER_THREADS: u32 = 0x1 | 0x10;

const STACK: usize = 32 << 10;

/// What the thread works with. It outlives the thread, since it is never freed.
#[repr(C, align(16))]
struct Job {
    control: [u8; 32],
    part: libc::iovec,
    socket: i32,
    stack: [u8; STACK],
}

/// Loads `filter` and sends `message` with the notification descriptor over `socket`; gives how
/// many bytes went. The descriptor stays open until execve(2): to close it is a system call.
///
/// # Errors
/// `EAGAIN` where the limit of processes has no room for a thread; as seccomp(2) and sendmsg(2).
pub fn load_and_send(filter: &Filter, socket: BorrowedFd<'_>, message: &[u8]) -> Result<Result<usize>> {
    let filter = Filter { flags: filter.flags & !OTHER_THREADS, ..filter.clone() };
    let job = Box::leak(Box::new(Job {
        control: [0; 32],
        part: libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() },
        socket: socket.as_raw_fd(),
        stack: [0; STACK],
    }));
    start(job)?;
    let loaded = seccomp::load(&filter)
        .and_then(|fd| fd.ok_or_else(|| Error { call: "seccomp(NEW_LISTENER)".into(), errno: Errno::EBADF }));
    let number = loaded.as_ref().map_or(NONE, AsRawFd::as_raw_fd);
    DESCRIPTOR.store(number, Ordering::Release);
    let _open = loaded?.into_raw_fd();
    // No system call: it could be one that the filter forbids, or that waits for the listener.
    // The sending itself has a deadline.
    let sent = loop {
        match SENT.load(Ordering::Acquire) {
            UNSENT => std::hint::spin_loop(),
            sent => break sent,
        }
    };
    let sent = usize::try_from(sent).map_err(|_| Error {
        call: "sendmsg(SCM_RIGHTS)".into(),
        errno: Errno::from_raw(i32::try_from(-sent).unwrap_or(0)),
    });
    Ok(sent)
}

fn start(job: &'static mut Job) -> Result<()> {
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    let job = std::ptr::from_mut(job);
    // SAFETY: `stack` is within the job, its end is aligned to 16 bytes (the size of the job and of its
    // other fields are multiples of that), and nobody else uses it: the thread reads the other fields only.
    let value = unsafe {
        let top = (&raw mut (*job).stack).cast::<libc::c_void>().byte_add(STACK);
        libc::clone(send, top.map_addr(|address| address & !15), flags, job.cast())
    };
    super::named(Errno::result(value), || "clone(CLONE_THREAD)".into()).map(drop)
}

/// The thread. It shares errno and everything else with the caller, who uses none of it meanwhile
/// but while it loads the filter; the thread makes its first call after that.
extern "C" fn send(job: *mut libc::c_void) -> i32 {
    let job = job.cast::<Job>();
    let descriptor = loop {
        match DESCRIPTOR.load(Ordering::Acquire) {
            PENDING => std::hint::spin_loop(),
            NONE => return 0,
            number => break number,
        }
    };
    // SAFETY: the job is never freed and the caller does not touch it any more; the control buffer
    // is aligned and has room for the header and one descriptor (CMSG_SPACE of an int is 24).
    let sent = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut (*job).part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut (*job).control).cast();
        header.msg_controllen = CONTROL;
        let control = header.msg_control.cast::<libc::cmsghdr>();
        (*control).cmsg_level = libc::SOL_SOCKET;
        (*control).cmsg_type = libc::SCM_RIGHTS;
        (*control).cmsg_len = CONTROL_LENGTH;
        libc::CMSG_DATA(control).cast::<i32>().write_unaligned(descriptor);
        libc::syscall(libc::SYS_sendmsg, (*job).socket, &raw const header, libc::MSG_NOSIGNAL)
    };
    let result = if sent < 0 { -i64::from(Errno::last_raw()) } else { sent };
    SENT.store(result, Ordering::Release);
    0
}

// SAFETY: CMSG_SPACE and CMSG_LEN only calculate.
const CONTROL: usize = unsafe { libc::CMSG_SPACE(4) } as usize;
// SAFETY: as above.
const CONTROL_LENGTH: usize = unsafe { libc::CMSG_LEN(4) } as usize;
