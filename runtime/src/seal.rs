//! The sealed self (security rule R4). A process that enters a container can be
//! reached there as `/proc/PID/exe`, or be executed again as `/proc/self/exe`;
//! whoever has that file open could write to the host's binary. So the runtime
//! is what a copy of its mount has that is read-only and attached nowhere: writing
//! answers `EROFS`, and since the mount is in no mount namespace, nobody can make
//! it writable again, whatever capabilities it has.
//!
//! It becomes that without being executed once more, which would be a fifth of the
//! time of a whole `run`: the program's pages are mapped anew from the sealed file.
//! Where that is not allowed, it executes the sealed file; and without the right
//! to make mounts, a sealed memfd.

use crate::plan::Depth;
use crate::report::{Attempt, Outcome};
use crate::sys;
use crate::sys::mount::{Attr, MOUNT_ATTR_RDONLY, Writable};
use nix::fcntl::{FcntlArg, OFlag, SealFlag};
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The commands whose process becomes one of the container's.
const ENTER: [&str; 3] = ["create", "run", "exec"];

/// The program that this process runs.
const OWN: &str = "/proc/self/exe";

/// [`ensure`] for a command line that may enter a container. An option's value
/// that reads like such a command costs one execution more, and nothing else.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_for(mut args: impl Iterator<Item = OsString>) -> Outcome<Option<Mount>> {
    if args.any(|arg| ENTER.iter().any(|command| arg == *command)) { ensure() } else { Ok(None) }
}

/// The mount that the sealed program is in; nobody needs it. Its last descriptor
/// is closed best while there is nothing else to do: the kernel waits then until
/// no processor can be looking at the mount any more, a fiftieth of a whole `run`.
#[derive(Debug)]
pub struct Mount(OwnedFd);

impl Mount {
    /// The number of the descriptor, to be kept open.
    pub fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Returns when the running binary is sealed; executes a sealed one otherwise.
///
/// # Errors
/// When no way to seal it works.
fn ensure() -> Outcome<Option<Mount>> {
    let what = || "seal the runtime's binary".to_owned();
    let path = Path::new(OWN);
    let own = sys::file::open_host(path, OFlag::O_RDONLY).attempt(what)?;
    if is_sealed(&own).attempt(what)? {
        return Ok(None);
    }
    let sealed = match detached(path) {
        Ok(tree) if is_taken_on(&tree) => return Ok(Some(Mount(tree))),
        Ok(tree) => tree,
        Err(_) => memfd(&own).attempt(what)?,
    };
    let args = std::env::args_os().map(c_string).collect::<Vec<_>>();
    let env = std::env::vars_os()
        .map(|(mut key, value)| {
            key.push("=");
            key.push(value);
            c_string(key)
        })
        .collect::<Vec<_>>();
    Err(sys::exec::execveat(sealed.as_fd(), &args, &env)).attempt(what)
}

/// Whether the process now runs from the sealed file. What does not work here is
/// no failure: it can still be executed.
fn is_taken_on(tree: &OwnedFd) -> bool {
    // A detached mount has no path but this one, and pages are mapped from open files only.
    let opened =
        sys::file::open_host(Path::new(&format!("/proc/self/fd/{}", tree.as_raw_fd())), OFlag::O_RDONLY);
    opened.and_then(|file| sys::image::take_on(file.as_fd())).is_ok()
        && sys::file::open_host(Path::new(OWN), OFlag::O_PATH)
            .and_then(|own| sys::mount::is_readonly(own.as_fd()))
            == Ok(Writable::No)
}

fn c_string(text: OsString) -> CString {
    CString::new(text.into_vec()).unwrap_or_default()
}

fn is_sealed(own: &OwnedFd) -> sys::Result<bool> {
    if sys::mount::is_readonly(own.as_fd())? == Writable::No {
        return Ok(true);
    }
    // EINVAL: not a memfd.
    let seals = nix::fcntl::fcntl(own, FcntlArg::F_GET_SEALS).unwrap_or(0);
    Ok(SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE))
}

fn detached(path: &Path) -> sys::Result<OwnedFd> {
    let own = sys::file::open_host(path, OFlag::O_PATH)?;
    let tree = sys::mount::clone_tree(own.as_fd(), Depth::One)?;
    let attr = Attr { set: MOUNT_ATTR_RDONLY, ..Attr::default() };
    sys::mount::set_attr(tree.as_fd(), Depth::One, &attr)?;
    // Proved before it is executed, so that this cannot go round in a circle.
    match sys::mount::is_readonly(tree.as_fd())? {
        Writable::No => Ok(tree),
        Writable::Yes => {
            Err(sys::Error { call: "mount_setattr(read-only)".into(), errno: nix::errno::Errno::ENOTSUP })
        }
    }
}

fn memfd(own: &OwnedFd) -> sys::Result<OwnedFd> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = sys::named(memfd_create("sextant-runtime", flags), || "memfd_create".into())?;
    let io = |e: std::io::Error| sys::Error {
        call: "copy the binary to a memfd".into(),
        errno: nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or(0)),
    };
    let mut from = std::fs::File::from(own.try_clone().map_err(io)?);
    let mut to = std::fs::File::from(copy);
    std::io::copy(&mut from, &mut to).map_err(io)?;
    let copy = OwnedFd::from(to);
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    sys::named(nix::fcntl::fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)), || "fcntl(F_ADD_SEALS)".into())?;
    Ok(copy)
}
