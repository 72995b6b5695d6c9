//! A procfs of our own (security rule R2): what is written to `/proc` goes
//! through a handle whose file system was verified, so that a mount or a link
//! over `/proc` in an image cannot send a write elsewhere.

use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A verified root of a procfs.
#[derive(Debug)]
pub struct Proc {
    root: OwnedFd,
}

/// Inode of a procfs's root (`PROC_ROOT_INO`).
const ROOT_INODE: u64 = 1;

impl Proc {
    /// The host's, for the parent: it shows the pids that the caller sees.
    ///
    /// # Errors
    /// When `/proc` is not the root of a procfs.
    pub fn host() -> Outcome<Self> {
        let what = || "open /proc".to_owned();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        Self::verified(sys::file::open_host(Path::new("/proc"), flags).attempt(what)?)
    }

    /// A detached instance for the container's own pid namespace, with nothing
    /// mounted over any of its files; falls back to `/proc` as it is before
    /// pivot_root(2) where the kernel does not allow one.
    ///
    /// # Errors
    /// When neither is to be had.
    pub fn own() -> Outcome<Self> {
        let mounted = sys::mount::fsopen("proc").and_then(|context| context.mount(0));
        match mounted {
            Ok(root) => Self::verified(root),
            Err(_) => Self::host(),
        }
    }

    fn verified(root: OwnedFd) -> Outcome<Self> {
        let what = || "verify procfs".to_owned();
        let magic = sys::file::filesystem(root.as_fd()).attempt(what)?;
        let inode = sys::file::stat(root.as_fd()).attempt(what)?.st_ino;
        if magic == nix::sys::statfs::PROC_SUPER_MAGIC && inode == ROOT_INODE {
            Ok(Self { root })
        } else {
            Err(refuse("use /proc", "it is not the root of a procfs"))
        }
    }

    /// Writes a value in one write(2), following no link but `self`.
    ///
    /// # Errors
    /// As openat2(2) and write(2).
    pub fn write(&self, path: &str, value: &str) -> Outcome<()> {
        let what = || format!("write {:?} to /proc/{path}", value.trim_end());
        let own;
        let target = match path.strip_prefix("self/") {
            // `self` is a link to the pid in this instance; take the step by hand.
            Some(rest) => {
                let link = nix::fcntl::readlinkat(self.root.as_fd(), "self");
                let pid = sys::named(link, || "readlinkat(\"self\")".into()).attempt(what)?;
                own = Path::new(&pid).join(rest);
                own.as_path()
            }
            None => Path::new(path),
        };
        let file = sys::file::open_strict(self.root.as_fd(), target, OFlag::O_WRONLY).attempt(what)?;
        sys::file::write_once(file.as_fd(), value.as_bytes()).attempt(what)
    }
}
