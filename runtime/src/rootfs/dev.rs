//! `/dev`: device nodes, links and `ptmx` (runtime-spec, "Default Devices").

use super::root::{Root, Target};
use crate::plan::{DeviceKind, DeviceNode};
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::sys::stat::SFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The links that the spec wants; `core` only where the host has it.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// The `S_IF*` type of a node.
pub fn node_type(kind: DeviceKind) -> SFlag {
    match kind {
        DeviceKind::Char => SFlag::S_IFCHR,
        DeviceKind::Block => SFlag::S_IFBLK,
        DeviceKind::Fifo => SFlag::S_IFIFO,
    }
}

/// Where nodes and links are made. Nearly all have the same parent, which is opened once.
pub struct Places<'a> {
    root: &'a Root,
    last: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Places<'a> {
    /// Below this root.
    pub fn below(root: &'a Root) -> Self {
        Self { root, last: None }
    }

    /// The directory that `path` is in, made where it is missing, and the name there.
    fn parent<'p>(&mut self, path: &'p Path) -> Outcome<(BorrowedFd<'_>, &'p Path)> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(refuse(format!("make {}", path.display()), "it is the root itself"));
        };
        let known = self.last.take().filter(|(of, _)| of == directory);
        let fd = match known {
            Some((_, fd)) => fd,
            None => self.root.parent(path)?.0,
        };
        let (_, fd) = &*self.last.insert((directory.to_owned(), fd));
        Ok((fd.as_fd(), Path::new(name)))
    }
}

/// Makes one node, or binds the host's where `host` is given.
///
/// # Errors
/// With the pointer of the device.
pub fn node(places: &mut Places<'_>, device: &DeviceNode, host: Option<&OwnedFd>) -> Outcome<()> {
    let pointer = device.index.map_or(String::new(), |i| format!("/linux/devices/{i}"));
    let what = || format!("make the device {}", device.path.display());
    match host {
        Some(tree) => {
            let target = places.root.destination(&device.path, Target::File)?;
            sys::mount::attach(tree.as_fd(), target.as_fd()).attempt(what).at(&pointer)
        }
        None => match make(places, device) {
            // Root in a user namespace that somebody else has made (podman's) binds as well. The
            // path is the host's: the container's root is not `/` before pivot_root(2).
            Err(failure) if failure.errno == libc::EPERM => match super::sources::open_device(device) {
                Ok(host) => node(places, device, Some(&host)),
                Err(_) => {
                    Err(failure).at(&pointer).hint(Errno::EPERM, "making nodes needs CAP_MKNOD on the host")
                }
            },
            result => result.at(&pointer),
        },
    }
}

fn make(places: &mut Places<'_>, device: &DeviceNode) -> Outcome<()> {
    let what = || format!("make the device {}", device.path.display());
    let (parent, name) = places.parent(&device.path)?;
    let number = (device.major, device.minor);
    match sys::file::mknod(parent, name, node_type(device.kind), device.mode, number) {
        // An image without a tmpfs on /dev may bring its own; it must be the same device.
        Err(e) if e.errno == Errno::EEXIST => return verify(parent, name, device),
        result => result.attempt(what)?,
    }
    sys::file::set_owner(parent, name, device.uid, device.gid).attempt(what)
}

fn verify(parent: BorrowedFd<'_>, name: &Path, device: &DeviceNode) -> Outcome<()> {
    let what = || format!("use the image's device {}", device.path.display());
    let flags = nix::fcntl::OFlag::O_PATH;
    let fd = sys::file::open_in(parent, name, flags, sys::file::Last::NoFollow).attempt(what)?;
    let stat = sys::file::stat(fd.as_fd()).attempt(what)?;
    let is_kind = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == node_type(device.kind);
    let number = libc::makedev(device.major, device.minor);
    if is_kind && (device.kind == DeviceKind::Fifo || stat.st_rdev == number) {
        return Ok(());
    }
    Err(refuse(what(), "the image has something else of this name; mount a tmpfs on /dev"))
}

/// Makes the links, and `ptmx` of the container's own devpts.
///
/// # Errors
/// As the system calls.
pub fn links(places: &mut Places<'_>) -> Outcome<()> {
    let core = Path::new("/proc/kcore").exists().then_some(("/proc/kcore", "/dev/core"));
    for (target, path) in LINKS.into_iter().chain(core) {
        let (parent, name) = places.parent(Path::new(path))?;
        match sys::file::symlink(target, parent, name) {
            Err(e) if e.errno == Errno::EEXIST => {}
            result => result
                .attempt(|| format!("make the link {path}"))
                .hint(Errno::EROFS, "mount a tmpfs on /dev")?,
        }
    }
    Ok(())
}

/// Most bytes that `tmpcopyup` copies (security rule R9).
const COPY_LIMIT: u64 = 256 << 20;

/// Copies regular files, links and directories of the directory `from` into the
/// fresh file system `to` (`tmpcopyup`).
///
/// # Errors
/// As the system calls, or above [`COPY_LIMIT`].
pub fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Outcome<()> {
    let mut left = COPY_LIMIT;
    copy_directory(from, to, &mut left)
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, left: &mut u64) -> Outcome<()> {
    use nix::fcntl::{AtFlags, OFlag};
    let what = || "copy up what lies below the mount".to_owned();
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let readable = sys::file::open_strict(from, Path::new("."), flags).attempt(what)?;
    let mut entries = sys::named(nix::dir::Dir::from_fd(readable), || "fdopendir".into()).attempt(what)?;
    for entry in entries.iter() {
        let entry = sys::named(entry, || "readdir".into()).attempt(what)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = sys::named(nix::sys::stat::fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW), || {
            "fstatat".into()
        })
        .attempt(what)?;
        let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let mode = stat.st_mode & 0o7777;
        match SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) {
            SFlag::S_IFDIR => {
                sys::file::mkdir(to, path, mode).attempt(what)?;
                let inner = sys::file::open_strict(from, path, flags).attempt(what)?;
                let made = sys::file::open_strict(to, path, flags).attempt(what)?;
                copy_directory(inner.as_fd(), made.as_fd(), left)?;
            }
            SFlag::S_IFLNK => {
                let target =
                    sys::named(nix::fcntl::readlinkat(from, name), || "readlinkat".into()).attempt(what)?;
                sys::file::symlink(&target.to_string_lossy(), to, path).attempt(what)?;
                continue;
            }
            SFlag::S_IFREG => copy_file(from, to, path, mode, left)?,
            _ => continue,
        }
        sys::file::set_owner(to, path, stat.st_uid, stat.st_gid).attempt(what)?;
        sys::file::set_mode(to, path, mode).attempt(what)?;
    }
    Ok(())
}

fn copy_file(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    path: &Path,
    mode: u32,
    left: &mut u64,
) -> Outcome<()> {
    use std::io::Read;
    let what = || format!("copy up {}", path.display());
    // It was a regular file a moment ago; a fifo that took its place must not be waited for.
    let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NONBLOCK;
    let source = sys::file::open_strict(from, path, flags).attempt(what)?;
    if sys::file::kind(source.as_fd()).attempt(what)? != SFlag::S_IFREG {
        return Err(refuse(what(), "it was replaced by something else meanwhile"));
    }
    let mut source = std::fs::File::from(source).take(*left + 1);
    let mut copy = std::fs::File::from(sys::file::create_file(to, path, mode).attempt(what)?);
    let copied = std::io::copy(&mut source, &mut copy).attempt(what)?;
    *left = left.checked_sub(copied).ok_or_else(|| refuse(what(), "tmpcopyup copies at most 256 MiB"))?;
    Ok(())
}
