//! Starting a process without copying this one (posix_spawn(3)): fork(2), which std takes as soon as
//! anything is to be done in the child, copies the page tables, and both sides pay for each page that
//! they write to afterwards.

use nix::sys::signal::{SigSet, Signal};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

/// Starts `program`, a path, with these arguments, this process's environment and these descriptors
/// as stdin, stdout and stderr, in a process group of its own, with no signal blocked and SIGPIPE, which
/// std ignores, as usual; its pid. It inherits other descriptors that are not closed on exec.
///
/// # Errors
/// Of posix_spawn(3), execve(2) included; `InvalidInput` for a byte 0 in an argument.
pub(crate) fn spawn(program: &Path, args: &[OsString], stdio: [BorrowedFd<'_>; 3]) -> io::Result<i32> {
    let path = text(program.as_os_str())?;
    let args: Vec<CString> = args.iter().map(|arg| text(arg)).collect::<io::Result<_>>()?;
    let mut argv: Vec<*mut libc::c_char> =
        std::iter::once(&path).chain(&args).map(|arg| arg.as_ptr().cast_mut()).collect();
    argv.push(ptr::null_mut());
    let attributes = Attributes::new()?;
    let actions = Actions::new(stdio)?;
    let mut pid = 0;
    // SAFETY: strings, arrays, attributes and actions live for the length of the call, and the array ends
    // with null. The environment is read by one thread: nothing here changes it.
    let result = unsafe {
        libc::posix_spawn(
            &mut pid,
            path.as_ptr(),
            &actions.0,
            &attributes.0,
            argv.as_ptr(),
            environ.cast_const(),
        )
    };
    errno(result).map(|()| pid)
}

unsafe extern "C" {
    /// The environment (environ(7)).
    static environ: *mut *mut libc::c_char;
}

fn text(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

/// The result of a function that returns its error.
fn errno(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: posix_spawnattr_init(3) makes the value whole.
        errno(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: it did.
        let mut this = Self(unsafe { attributes.assume_init() });
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
        let default: SigSet = [Signal::SIGPIPE].into_iter().collect();
        // SAFETY: each takes a whole attributes value, and a set that lives for the length of the call.
        unsafe {
            errno(libc::posix_spawnattr_setflags(&mut this.0, flags))?;
            errno(libc::posix_spawnattr_setpgroup(&mut this.0, 0))?;
            errno(libc::posix_spawnattr_setsigmask(&mut this.0, SigSet::empty().as_ref()))?;
            errno(libc::posix_spawnattr_setsigdefault(&mut this.0, default.as_ref()))?;
        }
        Ok(this)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: it is whole, and used no more. The call cannot fail.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new(stdio: [BorrowedFd<'_>; 3]) -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: posix_spawn_file_actions_init(3) makes the value whole.
        errno(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: it did.
        let mut this = Self(unsafe { actions.assume_init() });
        for (fd, number) in stdio.iter().zip(0..) {
            // SAFETY: takes a whole value and integers.
            errno(unsafe { libc::posix_spawn_file_actions_adddup2(&mut this.0, fd.as_raw_fd(), number) })?;
        }
        Ok(this)
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: it is whole, and used no more. The call cannot fail.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn a_child_has_its_stdio_and_group_and_no_signal_blocked() {
        let null = File::open("/dev/null").unwrap();
        let (mut out, end) = io::pipe().unwrap();
        let script =
            "grep -E '^(SigBlk|SigIgn):' /proc/self/status; ps -o pgid= -p $$; echo $$; echo end >&2";
        let args = ["-c", script].map(OsString::from);
        let pid = spawn(Path::new("/bin/sh"), &args, [null.as_fd(), end.as_fd(), end.as_fd()]).unwrap();
        drop(end);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let pid_text = pid.to_string();
        assert_eq!(words[4..], [pid_text.as_str(), pid_text.as_str(), "end"], "{text}");
        assert_eq!(words[1], "0000000000000000");
        // Bit 12 is SIGPIPE (signal(7)).
        assert_eq!(u64::from_str_radix(words[3], 16).unwrap() & (1 << 12), 0, "{text}");
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
        let error = spawn(Path::new("/no/such"), &[], [null.as_fd(); 3]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
