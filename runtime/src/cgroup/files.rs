//! Reading and writing cgroup files below a directory descriptor. No path is
//! resolved through a symbolic link, and a directory counts only when it is on
//! a cgroup file system: a plain directory is never taken for a cgroup.

use super::layout::Version;
use crate::sys::{Error, Result};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Larger than any file that is read here, but for lists of processes.
const BUFFER: usize = 4096;

/// What [`make`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It is new.
    New,
    /// It was there.
    Present,
}

fn named<T>(result: nix::Result<T>, call: impl FnOnce() -> String) -> Result<T> {
    result.map_err(|errno| Error { call: call(), errno })
}

/// Opens a directory by its absolute path.
pub(super) fn open_directory(path: &Path, version: Version) -> Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let call = || format!("openat2(AT_FDCWD, {path:?}, O_RDONLY|O_DIRECTORY, RESOLVE_NO_SYMLINKS)");
    let fd = named(openat2(AT_FDCWD, path, how), call)?;
    let wanted = match version {
        Version::V1 => CGROUP_SUPER_MAGIC,
        Version::V2 => CGROUP2_SUPER_MAGIC,
    };
    let statfs = named(fstatfs(&fd), || format!("fstatfs([{}]<{}>)", fd.as_raw_fd(), path.display()))?;
    match statfs.filesystem_type() == wanted {
        true => Ok(fd),
        // The mount is gone, and with it the cgroup as far as can be seen.
        false => Err(Error { call: call(), errno: Errno::ENOENT }),
    }
}

/// Opens a sub-directory.
pub(super) fn open_below(dir: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    named(openat(dir, name, flags, Mode::empty()), || {
        format!("openat([{}], {name:?}, O_RDONLY|O_DIRECTORY|O_NOFOLLOW)", dir.as_raw_fd())
    })
}

/// Makes a sub-directory, unless it is there.
pub(super) fn make(dir: BorrowedFd<'_>, name: &Path) -> Result<Made> {
    match mkdirat(dir, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(Made::New),
        Err(Errno::EEXIST) => Ok(Made::Present),
        Err(errno) => Err(Error { call: format!("mkdirat([{}], {name:?}, 0755)", dir.as_raw_fd()), errno }),
    }
}

/// Removes an empty sub-directory; one that is gone is success.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
    match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => {
            Err(Error { call: format!("unlinkat([{}], {name:?}, AT_REMOVEDIR)", dir.as_raw_fd()), errno })
        }
    }
}

/// Names of the sub-directories.
pub(super) fn children(dir: BorrowedFd<'_>) -> Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStringExt;
    let call = || format!("getdents64([{}])", dir.as_raw_fd());
    // A descriptor of its own: reading moves the position that duplicates share.
    let own = open_below(dir, Path::new("."))?;
    let mut list = named(Dir::from_fd(own), call)?;
    let mut names = Vec::new();
    for entry in list.iter() {
        let entry = named(entry, call)?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == Some(nix::dir::Type::Directory) && name != b"." && name != b".." {
            names.push(std::ffi::OsString::from_vec(name.to_vec()));
        }
    }
    Ok(names)
}

/// Opens a file for writing, to be written later.
pub(super) fn open_writable(dir: BorrowedFd<'_>, file: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    named(openat(dir, file, flags, Mode::empty()), || {
        format!("openat([{}], {file:?}, O_WRONLY|O_NOFOLLOW)", dir.as_raw_fd())
    })
}

/// Writes a whole value in one write(2).
pub(super) fn write(dir: BorrowedFd<'_>, file: &str, value: &str) -> Result<()> {
    write_to(open_writable(dir, file)?.as_fd(), file, value)
}

/// Likewise into a file that is open.
pub(super) fn write_to(fd: BorrowedFd<'_>, file: &str, value: &str) -> Result<()> {
    let call = || format!("write([{}]<{file}>, {value:?}, {})", fd.as_raw_fd(), value.len());
    loop {
        match nix::unistd::write(fd, value.as_bytes()) {
            Ok(written) if written == value.len() => return Ok(()),
            Ok(_) => return Err(Error { call: call(), errno: Errno::EIO }),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error { call: call(), errno }),
        }
    }
}

/// Reads a whole file.
pub(super) fn read(dir: BorrowedFd<'_>, file: &str) -> Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = named(openat(dir, file, flags, Mode::empty()), || {
        format!("openat([{}], {file:?}, O_RDONLY|O_NOFOLLOW)", dir.as_raw_fd())
    })?;
    let mut bytes = Vec::new();
    let mut buffer = [0; BUFFER];
    loop {
        match nix::unistd::read(&fd, &mut buffer) {
            Ok(0) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(count) => bytes.extend(buffer.iter().take(count)),
            Err(Errno::EINTR) => {}
            Err(errno) => {
                return Err(Error { call: format!("read([{}]<{file}>)", fd.as_raw_fd()), errno });
            }
        }
    }
}
