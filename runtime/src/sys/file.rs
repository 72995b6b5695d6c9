//! Files by descriptor. Below a root every path goes through [`open_in`].

use super::{Error, Result, checked, checked_fd, named, new_fd};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How the last component is taken, when it is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Followed, inside the root.
    Follow,
    /// Not followed: the link itself (`O_PATH`), or `ELOOP`.
    NoFollow,
}

impl Last {
    fn with(self, flags: OFlag) -> OFlag {
        match self {
            Self::Follow => flags,
            Self::NoFollow => flags | OFlag::O_NOFOLLOW,
        }
    }
}

const RESOLVE_NO_XDEV: u64 = 0x01;
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
const RESOLVE_IN_ROOT: u64 = 0x10;

/// Somebody who renames without end cannot hold the runtime up for ever (rule R9).
const MOST_TRIES: u32 = 1000;

fn openat2(dir: BorrowedFd<'_>, path: &Path, flags: OFlag, mode: u64, resolve: u64) -> Result<OwnedFd> {
    let call = || format!("openat2([{}], {path:?}, {flags:?}, resolve={resolve:#x})", dir.as_raw_fd());
    named(openat2_raw(dir, path, flags, mode, resolve), call)
}

fn openat2_raw(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlag,
    mode: u64,
    resolve: u64,
) -> std::result::Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_CLOEXEC;
    let how: [u64; 3] = [u64::from(flags.bits().cast_unsigned()), mode, resolve];
    let name = c_path(path)?;
    let mut tries = 0;
    loop {
        tries += 1;
        // SAFETY: the name is a valid C string and `how` a struct open_how of the size given.
        let value = unsafe {
            libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), name.as_ptr(), how.as_ptr(), size_of_val(&how))
        };
        match new_fd(value) {
            // EAGAIN: something was renamed meanwhile (openat2(2)); it asks for another try.
            Err(Errno::EAGAIN | Errno::EINTR) if tries < MOST_TRIES => {}
            result => return result,
        }
    }
}

/// Opens a path inside a root: `..` and links stay below it, and no magic link
/// is followed (openat2(2), `RESOLVE_IN_ROOT`, Linux 5.6).
///
/// # Errors
/// As openat2(2).
pub fn open_in(root: BorrowedFd<'_>, path: &Path, flags: OFlag, last: Last) -> Result<OwnedFd> {
    openat2(root, relative(path), last.with(flags), 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// Likewise, following links; `None` where nothing is, of which nobody wants to be told.
///
/// # Errors
/// As openat2(2), but for `ENOENT`.
pub fn find_in(root: BorrowedFd<'_>, path: &Path, flags: OFlag) -> Result<Option<OwnedFd>> {
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    match openat2_raw(root, relative(path), flags, 0, resolve) {
        Err(Errno::ENOENT) => Ok(None),
        result => named(result, || format!("openat2([{}], {path:?}, {flags:?})", root.as_raw_fd())).map(Some),
    }
}

/// Opens a path below a directory that leaves neither the file system nor goes
/// through any link: for files of a procfs or cgroupfs.
///
/// # Errors
/// As openat2(2); `ELOOP` for a link, `EXDEV` for a mount in the way.
pub fn open_strict(dir: BorrowedFd<'_>, path: &Path, flags: OFlag) -> Result<OwnedFd> {
    openat2(dir, relative(path), flags, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
}

/// Opens a host path: one that the caller of the runtime has named.
///
/// # Errors
/// As open(2).
pub fn open_host(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    named(nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::empty()), || {
        format!("open({path:?}, {flags:?})")
    })
}

/// Makes a file, which must not exist, and opens it for writing.
///
/// # Errors
/// As openat(2).
pub fn create_file(dir: BorrowedFd<'_>, name: &Path, mode: u32) -> Result<OwnedFd> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    named(nix::fcntl::openat(dir, name, flags, Mode::from_bits_truncate(mode)), || {
        format!("openat([{}], {name:?}, O_CREAT|O_EXCL|O_WRONLY, {mode:#o})", dir.as_raw_fd())
    })
}

/// Makes a file or empties it, and opens it for writing.
///
/// # Errors
/// As openat(2).
pub fn replace_file(dir: BorrowedFd<'_>, name: &Path, mode: u32) -> Result<OwnedFd> {
    let flags = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    named(nix::fcntl::openat(dir, name, flags, Mode::from_bits_truncate(mode)), || {
        format!("openat([{}], {name:?}, O_CREAT|O_TRUNC|O_WRONLY, {mode:#o})", dir.as_raw_fd())
    })
}

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// The caller's now.
    Here,
    /// Another open file's.
    Elsewhere,
}

/// Takes the exclusive lock of a file, if nobody has it (flock(2)).
///
/// # Errors
/// As the system call.
pub fn try_lock(fd: BorrowedFd<'_>) -> Result<Locked> {
    match flock(fd, libc::LOCK_EX | libc::LOCK_NB) {
        Err(e) if e.errno == Errno::EWOULDBLOCK => Ok(Locked::Elsewhere),
        Err(e) if e.errno == Errno::EINTR => Ok(Locked::Elsewhere),
        result => result.map(|()| Locked::Here),
    }
}

/// Gives it back.
///
/// # Errors
/// As the system call.
pub fn unlock(fd: BorrowedFd<'_>) -> Result<()> {
    flock(fd, libc::LOCK_UN)
}

fn flock(fd: BorrowedFd<'_>, operation: i32) -> Result<()> {
    // SAFETY: flock(2) takes two integers.
    let value = unsafe { libc::flock(fd.as_raw_fd(), operation) };
    named(Errno::result(value).map(drop), || format!("flock([{}], {operation:#x})", fd.as_raw_fd()))
}

/// mkdirat(2).
///
/// # Errors
/// As the system call.
pub fn mkdir(dir: BorrowedFd<'_>, name: &Path, mode: u32) -> Result<()> {
    named(nix::sys::stat::mkdirat(dir, name, Mode::from_bits_truncate(mode)), || {
        format!("mkdirat([{}], {name:?}, {mode:#o})", dir.as_raw_fd())
    })
}

/// symlinkat(2).
///
/// # Errors
/// As the system call.
pub fn symlink(target: &str, dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
    named(nix::unistd::symlinkat(target, dir, name), || {
        format!("symlinkat({target:?}, [{}], {name:?})", dir.as_raw_fd())
    })
}

/// mknodat(2), with all bits of `mode` whatever umask(2) is: changed afterwards
/// by its name, they could be another file's.
///
/// # Errors
/// `EPERM` in a user namespace.
pub fn mknod(dir: BorrowedFd<'_>, name: &Path, kind: SFlag, mode: u32, device: (u32, u32)) -> Result<()> {
    let number = libc::makedev(device.0, device.1);
    let mask = nix::sys::stat::umask(Mode::empty());
    let made = nix::sys::stat::mknodat(dir, name, kind, Mode::from_bits_truncate(mode), number);
    nix::sys::stat::umask(mask);
    named(made, || {
        format!("mknodat([{}], {name:?}, {kind:?}|{mode:#o}, {}:{})", dir.as_raw_fd(), device.0, device.1)
    })
}

/// fchownat(2) of a file just made; a link that somebody has put there instead
/// is not followed.
///
/// # Errors
/// As the system call.
pub fn set_owner(dir: BorrowedFd<'_>, name: &Path, uid: u32, gid: u32) -> Result<()> {
    use nix::unistd::{Gid, Uid, fchownat};
    let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    named(fchownat(dir, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW), || {
        format!("fchownat([{}], {name:?}, {uid}, {gid}, AT_SYMLINK_NOFOLLOW)", dir.as_raw_fd())
    })
}

/// Likewise its permission bits.
///
/// # Errors
/// As fchmodat(2); `EOPNOTSUPP` for a link.
pub fn set_mode(dir: BorrowedFd<'_>, name: &Path, mode: u32) -> Result<()> {
    use nix::sys::stat::{FchmodatFlags, fchmodat};
    named(fchmodat(dir, name, Mode::from_bits_truncate(mode), FchmodatFlags::NoFollowSymlink), || {
        format!("fchmodat([{}], {name:?}, {mode:#o}, AT_SYMLINK_NOFOLLOW)", dir.as_raw_fd())
    })
}

/// fstat(2).
///
/// # Errors
/// As the system call.
pub fn stat(fd: BorrowedFd<'_>) -> Result<FileStat> {
    named(nix::sys::stat::fstat(fd), || format!("fstat([{}])", fd.as_raw_fd()))
}

/// Whether a descriptor is a directory.
///
/// # Errors
/// As fstat(2).
pub fn kind(fd: BorrowedFd<'_>) -> Result<SFlag> {
    Ok(SFlag::from_bits_truncate(stat(fd)?.st_mode & libc::S_IFMT))
}

/// The magic number of a descriptor's file system (fstatfs(2)).
///
/// # Errors
/// As the system call.
pub fn filesystem(fd: BorrowedFd<'_>) -> Result<nix::sys::statfs::FsType> {
    named(nix::sys::statfs::fstatfs(fd), || format!("fstatfs([{}])", fd.as_raw_fd()))
        .map(|s| s.filesystem_type())
}

/// unlinkat(2); an absent file is no error.
///
/// # Errors
/// As the system call.
pub fn unlink(dir: BorrowedFd<'_>, name: &Path, flag: nix::unistd::UnlinkatFlags) -> Result<()> {
    match nix::unistd::unlinkat(dir, name, flag) {
        Err(Errno::ENOENT) => Ok(()),
        result => named(result, || format!("unlinkat([{}], {name:?}, {flag:?})", dir.as_raw_fd())),
    }
}

/// Reads a file of the kernel's (below `/proc`, `/sys`) as text. Such a file has
/// no size to go by: a buffer that nearly always holds all of it saves the five
/// or six reads that one which grows from nothing takes.
///
/// # Errors
/// As open(2) and read(2); `InvalidData` when it is no UTF-8.
pub fn read_kernel_text(path: impl AsRef<Path>) -> std::io::Result<String> {
    let mut text = String::with_capacity(4096);
    // Through `take`, or std would ask for the size first (two calls), which is 0.
    std::fs::File::open(path)?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// So many bytes of what is written are in the text of an error.
const SHOWN: usize = 256;

/// Writes all of it in one write(2), as files of the kernel want it.
///
/// # Errors
/// As the system call; a short write is `EIO`.
pub fn write_once(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    // Not all of a whole file: the call is a part of an error's text.
    let shown = || String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes));
    let call = || format!("write([{}], {:?}, {})", fd.as_raw_fd(), shown(), bytes.len());
    match named(nix::unistd::write(fd, bytes), call)? {
        n if n == bytes.len() => Ok(()),
        _ => Err(Error { call: call(), errno: Errno::EIO }),
    }
}

/// Writes all of it, in as many calls as it takes: to a file on a disk, which may be full.
///
/// # Errors
/// As write(2).
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    let call = |left: usize| format!("write([{}], ..., {left})", fd.as_raw_fd());
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Err(Errno::EINTR) => {}
            Ok(0) => return Err(Error { call: call(bytes.len()), errno: Errno::EIO }),
            result => {
                let written = named(result, || call(bytes.len()))?;
                bytes = bytes.get(written..).unwrap_or_default();
            }
        }
    }
    Ok(())
}

/// Sets an extended attribute, in the place of what it was.
///
/// # Errors
/// As fsetxattr(2): `EPERM` without CAP_SYS_ADMIN for those that begin with `trusted.`.
pub fn set_attribute(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> Result<()> {
    // SAFETY: the name is a C string, and `value` has so many bytes.
    let set =
        unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    checked(set.into(), || format!("fsetxattr([{}], {name:?})", fd.as_raw_fd())).map(drop)
}

/// An extended attribute of what is at `path`, which is not followed; at most a path's length.
///
/// # Errors
/// As lgetxattr(2): `ENODATA` where it has none.
pub fn attribute(path: &Path, name: &CStr) -> Result<Vec<u8>> {
    let call = || format!("lgetxattr({path:?}, {name:?})");
    let place = named(c_path(path), call)?;
    let mut value = vec![0_u8; 4096];
    // SAFETY: two C strings, and a buffer of so many bytes.
    let length =
        unsafe { libc::lgetxattr(place.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    let length = named(Errno::result(length), call)?;
    value.truncate(usize::try_from(length).unwrap_or(0));
    Ok(value)
}

/// Closes every descriptor from 3 on that is not in `keep` (close_range(2), Linux 5.9).
///
/// # Errors
/// As the system call.
pub fn close_others(keep: &[i32]) -> Result<()> {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: callers pass ranges in which they own no descriptor any more, by their contract.
    let value = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    checked(value, || format!("close_range({first}, {last})")).map(drop)
}

/// Clears close-on-exec, for descriptors that the container is given.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn keep_over_exec(fd: i32) -> Result<()> {
    // SAFETY: the descriptor is only borrowed for the call; EBADF is answered when it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
    named(nix::fcntl::fcntl(borrowed, flags), || format!("fcntl({fd}, F_SETFD, 0)")).map(drop)
}

/// Takes over a descriptor that the caller of the program has passed by number.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn adopt_fd(fd: i32) -> Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_GETFD only asks; EBADF is answered when it is not open.
    let value = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    named(Errno::result(value), || format!("fcntl({fd}, F_SETFD, FD_CLOEXEC)"))?;
    // SAFETY: it is open, was passed for this program to own, and is taken over once, in main.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a terminal the controlling one and puts it on 0, 1 and 2.
///
/// # Errors
/// As ioctl(2) `TIOCSCTTY` and dup2(2).
pub fn take_terminal(slave: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    let value = unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) };
    named(Errno::result(value), || "ioctl(TIOCSCTTY)".into())?;
    named(nix::unistd::dup2_stdin(slave), || "dup2(0)".into())?;
    named(nix::unistd::dup2_stdout(slave), || "dup2(1)".into())?;
    named(nix::unistd::dup2_stderr(slave), || "dup2(2)".into())
}

/// Sets the size of a terminal: rows, columns.
///
/// # Errors
/// As ioctl(2) `TIOCSWINSZ`.
pub fn set_terminal_size(terminal: BorrowedFd<'_>, size: (u16, u16)) -> Result<()> {
    let winsize = libc::winsize { ws_row: size.0, ws_col: size.1, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads the winsize it is given.
    let value = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const winsize) };
    named(Errno::result(value), || format!("ioctl(TIOCSWINSZ, {size:?})")).map(drop)
}

/// Rows and columns of a terminal; `None` when it is none.
pub fn terminal_size(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills the winsize it is given.
    let value = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (value == 0).then_some((size.ws_row, size.ws_col))
}

/// Opens the other side of a pseudo-terminal without its path (`TIOCGPTPEER`,
/// Linux 4.13), after unlocking it.
///
/// # Errors
/// As ioctl(2).
pub fn terminal_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let unlock = 0_i32;
    // SAFETY: TIOCSPTLCK reads the int it is given.
    let value = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) };
    named(Errno::result(value), || "ioctl(TIOCSPTLCK, 0)".into())?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes an integer and returns a new descriptor.
    let value = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) };
    checked_fd(libc::c_long::from(value), || "ioctl(TIOCGPTPEER)".into())
}

fn c_path(path: &Path) -> std::result::Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// A path without the slash in front; `.` for the root itself.
fn relative(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Whoever can write to the directory puts a link there between two steps.
    #[test]
    fn neither_owner_nor_mode_of_what_a_link_leads_to_changes() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "").unwrap();
        std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&victim, dir.path().join("node")).unwrap();
        let at = open_host(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap();
        assert!(set_mode(at.as_fd(), Path::new("node"), 0o666).is_err());
        drop(set_owner(at.as_fd(), Path::new("node"), 1, 1));
        assert_eq!(mode(&victim), 0o600);
        let owner = nix::sys::stat::stat(&victim).unwrap().st_uid;
        assert_eq!(owner, nix::unistd::geteuid().as_raw());
    }

    #[test]
    fn a_node_has_its_mode_from_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let at = open_host(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap();
        mknod(at.as_fd(), Path::new("fifo"), SFlag::S_IFIFO, 0o666, (0, 0)).unwrap();
        assert_eq!(mode(&dir.path().join("fifo")), 0o666);
    }
}
