//! `--pid-file`: its directory is opened first, so that a mistake in the path
//! costs nothing, and the file can be written from whatever mount namespace
//! the caller is in by then.

use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use nix::fcntl::OFlag;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A file that will have a pid in it.
#[derive(Debug)]
pub struct PidFile {
    directory: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl PidFile {
    /// Opens its directory.
    ///
    /// # Errors
    /// As open(2); refused when the path names no file.
    pub fn at(path: &Path) -> Outcome<Self> {
        let what = || format!("open the directory of the pid file {}", path.display());
        let Some(name) = path.file_name() else { return Err(refuse(what(), "it names no file")) };
        let parent = path.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
        let directory = sys::file::open_host(parent, OFlag::O_PATH | OFlag::O_DIRECTORY).attempt(what)?;
        Ok(Self { directory, name: name.to_owned(), path: path.to_owned() })
    }

    /// Writes it beside and renames it, so that a reader never sees half a number.
    ///
    /// # Errors
    /// As openat(2), write(2) and renameat(2).
    pub fn write(&self, pid: i32) -> Outcome<()> {
        let what = || format!("write the pid file {}", self.path.display());
        let mut beside = self.name.clone();
        beside.push(".new");
        let directory = self.directory.as_fd();
        let file = sys::file::replace_file(directory, Path::new(&beside), 0o644).attempt(what)?;
        sys::file::write_once(file.as_fd(), pid.to_string().as_bytes()).attempt(what)?;
        let renamed = nix::fcntl::renameat(directory, beside.as_os_str(), directory, self.name.as_os_str());
        sys::named(renamed, || format!("renameat({beside:?}, {:?})", self.name)).attempt(what)
    }
}
