//! A handle on the root. The only way to reach an object inside it: there is no
//! `&Path` of the host in this API, and each object is resolved once
//! (security rule R1).

use crate::report::{Attempt, Outcome, Place, refuse};
use crate::sys;
use crate::sys::file::Last;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// The root of a container, by descriptor.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// What is made where a mount's destination does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

impl Root {
    /// Takes the root directory's descriptor.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The directory itself.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens an object (`O_PATH`); links are followed inside the root.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open(&self, path: &Path) -> sys::Result<OwnedFd> {
        sys::file::open_in(self.fd.as_fd(), path, OFlag::O_PATH, Last::Follow)
    }

    /// Opens an object (`O_PATH`) that may be missing.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn find(&self, path: &Path) -> sys::Result<Option<OwnedFd>> {
        sys::file::find_in(self.fd.as_fd(), path, OFlag::O_PATH)
    }

    /// Opens an object whose last component must not be a link.
    ///
    /// # Errors
    /// Refused by name when it is one.
    pub fn open_no_link(&self, path: &Path) -> Outcome<OwnedFd> {
        let what = || format!("open {} in the root", path.display());
        let fd = sys::file::open_in(self.fd.as_fd(), path, OFlag::O_PATH, Last::NoFollow).attempt(what)?;
        if sys::file::kind(fd.as_fd()).attempt(what)? == SFlag::S_IFLNK {
            return Err(refuse(what(), "it is a symbolic link in the image, which could lead anywhere"));
        }
        Ok(fd)
    }

    /// Opens a mount's destination; makes it, with its parents, where it is missing.
    ///
    /// # Errors
    /// As the system calls; `EROFS` in a read-only image.
    pub fn destination(&self, path: &Path, target: Target) -> Outcome<OwnedFd> {
        match self.find(path).attempt(|| format!("open {} in the root", path.display()))? {
            Some(object) => Ok(object),
            None => self.make(path, target),
        }
    }

    fn make(&self, path: &Path, target: Target) -> Outcome<OwnedFd> {
        let what = || format!("make {} in the root", path.display());
        let hint = "the image is read-only and lacks this mount point; make it in the image";
        let (parent, name) = self.parent(path)?;
        let made = match target {
            Target::Directory => sys::file::mkdir(parent.as_fd(), Path::new(&name), 0o755),
            Target::File => sys::file::create_file(parent.as_fd(), Path::new(&name), 0o644).map(drop),
        };
        match made {
            Err(e) if e.errno == Errno::EEXIST => {}
            result => result.attempt(what).hint(Errno::EROFS, hint)?,
        }
        // A dangling link in the image would be followed here; it is not.
        sys::file::open_in(parent.as_fd(), Path::new(&name), OFlag::O_PATH, Last::NoFollow)
            .attempt(what)
            .and_then(|fd| match sys::file::kind(fd.as_fd()).attempt(what)? {
                SFlag::S_IFLNK => Err(refuse(what(), "it is a dangling symbolic link in the image")),
                _ => Ok(fd),
            })
    }

    /// The directory that an object is in, made with its parents where missing,
    /// and the object's name there.
    ///
    /// # Errors
    /// As the system calls.
    pub fn parent(&self, path: &Path) -> Outcome<(OwnedFd, OsString)> {
        let what = || format!("make the parents of {} in the root", path.display());
        let names = names(path);
        let Some((name, parents)) = names.split_last() else {
            return Err(refuse(what(), "it is the root itself"));
        };
        let directory = parents.iter().collect::<PathBuf>();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match sys::file::open_in(self.fd.as_fd(), &directory, flags, Last::Follow) {
            Ok(fd) => return Ok((fd, name.clone())),
            Err(e) if e.errno == Errno::ENOENT => {}
            Err(e) => return Err(e).attempt(what),
        }
        let mut walked = PathBuf::from(".");
        let mut at = sys::file::open_in(self.fd.as_fd(), &walked, flags, Last::Follow).attempt(what)?;
        for parent in parents {
            walked.push(parent);
            at = match sys::file::open_in(self.fd.as_fd(), &walked, flags, Last::Follow) {
                Err(e) if e.errno == Errno::ENOENT => {
                    match sys::file::mkdir(at.as_fd(), Path::new(parent), 0o755) {
                        Err(e) if e.errno == Errno::EEXIST => {}
                        result => result.attempt(what)?,
                    }
                    sys::file::open_in(at.as_fd(), Path::new(parent), flags, Last::NoFollow).attempt(what)?
                }
                result => result.attempt(what)?,
            };
        }
        Ok((at, name.clone()))
    }
}

fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect()
}
