//! Removes directories of ours, and never what somebody has mounted in them.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Times that a directory is emptied into which somebody still writes.
const ATTEMPTS: u32 = 10;

/// Removes `dir` with all that is in it; it is no error when it is not there. Links are not followed, and no
/// mount is entered (`RESOLVE_NO_XDEV`, openat2(2)): what is mounted below is left as it is, with the directories
/// that lead there.
///
/// # Errors
/// The first of what cannot be removed; of kind `ResourceBusy` where something is mounted, and it says where.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let removed =
        File::open(parent).and_then(|parent| remove(parent.as_fd(), &CString::new(name.as_bytes())?, dir));
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes `name` of the directory `of`, which is at `path`.
fn remove(of: BorrowedFd<'_>, name: &CStr, path: &Path) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        match unlinkat(of, name, UnlinkatFlags::NoRemoveDir) {
            // Not a directory, and gone.
            Ok(()) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(Errno::EBUSY) => return Err(is_mounted(path)),
            Err(e) => return Err(e.into()),
        }
        empty(of, name, path)?;
        match unlinkat(of, name, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOTEMPTY) => {}
            Err(Errno::EBUSY) => return Err(is_mounted(path)),
            result => return Ok(result?),
        }
    }
    Err(Errno::ENOTEMPTY.into())
}

/// Removes all that is in a directory.
fn empty(of: BorrowedFd<'_>, name: &CStr, path: &Path) -> io::Result<()> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd = match openat2(of, name, how) {
        Err(Errno::EXDEV) => return Err(is_mounted(path)),
        opened => opened?,
    };
    let mut entries = Vec::new();
    for entry in Dir::from_fd(fd.try_clone()?)?.iter() {
        entries.push(entry?.file_name().to_owned());
    }
    for entry in entries.iter().filter(|entry| !matches!(entry.to_bytes(), b"." | b"..")) {
        match remove(fd.as_fd(), entry, &path.join(OsStr::from_bytes(entry.to_bytes()))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(())
}

fn is_mounted(path: &Path) -> io::Error {
    let at = path.display();
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("something is mounted at {at}: `umount {at}`, and try again"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let base = tempfile::tempdir().unwrap();
        let (tree, other) = (base.path().join("tree"), base.path().join("other"));
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "kept").unwrap();
        fs::write(tree.join("a/file"), "gone").unwrap();
        std::os::unix::fs::symlink(&other, tree.join("a/b/link")).unwrap();
        std::os::unix::fs::symlink(&other, base.path().join("itself")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&base.path().join("itself")).unwrap();
        remove_tree(&base.path().join("no/such")).unwrap();
        assert_eq!(fs::read_to_string(other.join("kept")).unwrap(), "kept");
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }
}
