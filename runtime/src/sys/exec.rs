//! execve(2) and execveat(2).

use super::Error;
use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

/// Executes a program; returns only when that failed.
pub fn execve(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let errno = match nix::unistd::execve(path, args, env) {
        Err(errno) => errno,
        Ok(never) => match never {},
    };
    Error { call: format!("execve({path:?}, {args:?})"), errno }
}

/// Executes the file of a descriptor (`AT_EMPTY_PATH`); returns only when that failed.
pub fn execveat(file: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Error {
    let pointers =
        |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: both arrays end with a null pointer and point into `args` and `env`, which outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Error {
        call: format!("execveat([{}], \"\", {args:?}, AT_EMPTY_PATH)", file.as_raw_fd()),
        errno: Errno::last(),
    }
}

/// Whether the caller may execute the file (faccessat2(2) with effective ids; not a directory).
///
/// # Errors
/// The errno that executing it would give.
pub fn check_executable(path: &Path) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    nix::unistd::eaccess(path, nix::unistd::AccessFlags::X_OK)
}
