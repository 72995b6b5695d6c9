//! Files that hold namespaces: `STATE/pins/sandbox/ID` for a sandbox's,
//! `STATE/pins/container/ID` for those of others that a container has joined. A
//! namespace is bound to its file (namespaces(7), "Namespace lifetime"), so that it
//! lives without a process, and a path of it cannot come to mean another.
//!
//! All of them are below one mount of our own, `STATE/pins` over itself, which is
//! unbindable (mount_namespaces(7)): no other mount namespace of the host is told
//! of what is mounted there, and no recursive bind of a directory above takes it
//! into a container. It is made with the first pin and goes with the last. Where a
//! mount namespace was copied meanwhile, unlink(2) of a file detaches what the copy
//! has mounted there (Linux 3.18).

use super::create::make_dir;
use super::error::Error;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{FsType, fstatfs};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `NSFS_MAGIC` of linux/magic.h: the file system of namespaces.
const NSFS: FsType = FsType(0x6e73_6673);
/// The name of the file system that is `/dev/shm` for a sandbox.
pub(super) const SHM: &str = "shm";
/// Attempts to remove a directory, should somebody bind to files in it meanwhile: a `pin` of the runtime that
/// outlived the manager.
const ATTEMPTS: usize = 100;

/// Whose pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A sandbox.
    Sandbox,
    /// A container.
    Container,
}

impl Holder {
    const ALL: [Self; 2] = [Self::Sandbox, Self::Container];

    fn dir(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Container => "container",
        }
    }
}

/// All pins of a state directory.
#[derive(Debug)]
pub(crate) struct Pins {
    base: PathBuf,
    /// Held while the mount over the base is made or removed, or a directory below it.
    changing: Mutex<()>,
}

impl Pins {
    /// Those of the state directory `state`; makes nothing.
    pub(super) fn new(state: &Path) -> Self {
        Self { base: state.join("pins"), changing: Mutex::default() }
    }

    /// The directory with the pins of `holder` `id`.
    pub(super) fn place(&self, holder: Holder, id: &str) -> PathBuf {
        self.base.join(holder.dir()).join(id)
    }

    /// Makes that directory, on the mount that nobody else sees.
    ///
    /// # Errors
    /// [`Error::Io`]: mounting takes CAP_SYS_ADMIN.
    pub(super) fn prepare(&self, holder: Holder, id: &str) -> Result<PathBuf, Error> {
        let _changing = self.lock();
        make_dir(&self.base)?;
        let made = separate(&self.base).or_else(|error| match error {
            // It is no mount yet (mount(2)).
            Errno::EINVAL => {
                mount(Some(&self.base), &self.base, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                separate(&self.base)
            }
            error => Err(error),
        });
        made.map_err(|e| Error::io(format!("make a mount of {}", self.base.display()))(e.into()))?;
        let place = self.place(holder, id);
        make_dir(&place)?;
        Ok(place)
    }

    /// Lets go of all pins of `holder` `id`; none is as wanted.
    ///
    /// # Errors
    /// [`Error::Io`], naming what is left.
    pub(super) fn release(&self, holder: Holder, id: &str) -> Result<(), Error> {
        let _changing = self.lock();
        let place = self.place(holder, id);
        remove_all(&place).map_err(Error::io(format!("let go of the namespaces in {}", place.display())))?;
        let base = self.base.display();
        self.remove_if_empty().map_err(Error::io(format!("remove {base}")))
    }

    /// Lets go of those that belong to nobody: what a manager that was killed has left.
    ///
    /// # Errors
    /// As [`Pins::release`].
    pub(super) fn sweep(
        &self,
        sandboxes: &BTreeSet<String>,
        containers: &BTreeSet<String>,
    ) -> Result<(), Error> {
        for (holder, known) in [(Holder::Sandbox, sandboxes), (Holder::Container, containers)] {
            let entries = std::fs::read_dir(self.base.join(holder.dir())).into_iter().flatten();
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            for name in names.filter(|name| !known.contains(name)).collect::<Vec<_>>() {
                tracing::info!(kind = holder.dir(), name, "letting go of namespaces that belong to nobody");
                self.release(holder, &name)?;
            }
        }
        Ok(())
    }

    /// The mount goes when nothing is below it any more.
    fn remove_if_empty(&self) -> io::Result<()> {
        for holder in Holder::ALL {
            match std::fs::remove_dir(self.base.join(holder.dir())) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        unmount(&self.base)?;
        match std::fs::remove_dir(&self.base) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a mount one that neither tells others nor is bound elsewhere.
fn separate(path: &Path) -> nix::Result<()> {
    mount(None::<&str>, path, None::<&str>, MsFlags::MS_UNBINDABLE, None::<&str>)
}

/// Binds the namespace to a new file `name` of the directory `place`.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn bind(ns: &OwnedFd, place: &Path, name: &str) -> Result<(), Error> {
    let file = place.join(name);
    let bound = File::create_new(&file).and_then(|_| {
        let from = format!("/proc/self/fd/{}", ns.as_raw_fd());
        Ok(mount(Some(from.as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
    });
    bound.map_err(Error::io(format!("bind a namespace to {}", file.display())))
}

/// A file system for `/dev/shm` in `place`, as large as that of a container, owned by the user `owner`.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn mount_shm(place: &Path, owner: u32) -> Result<(), Error> {
    let dir = place.join(SHM);
    make_dir(&dir)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("mode=1777,size=65536k,uid={owner},gid={owner}");
    mount(Some(SHM), &dir, Some("tmpfs"), flags, Some(options.as_str()))
        .map_err(|e| Error::io(format!("mount {}", dir.display()))(e.into()))
}

/// Opens the namespace that a file holds; `None` when it holds none (any more).
///
/// # Errors
/// Of open(2), but for a file that is not there.
pub(super) fn open(file: &Path) -> io::Result<Option<OwnedFd>> {
    let file = match File::open(file) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let found = fstatfs(&file)?.filesystem_type() == NSFS;
    Ok(found.then(|| file.into()))
}

/// The number of a namespace, which no other that lives has.
///
/// # Errors
/// Of fstat(2).
pub(super) fn inode(ns: &OwnedFd) -> io::Result<u64> {
    Ok(File::from(ns.as_fd().try_clone_to_owned()?).metadata()?.ino())
}

/// Unmounts and removes all that is in a directory, and the directory; again, where something came into it
/// meanwhile.
fn remove_all(place: &Path) -> io::Result<()> {
    let mut attempt = 0;
    loop {
        let removed = remove_entries(place).and_then(|()| std::fs::remove_dir(place));
        match removed {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if is_in_use(&e) && attempt < ATTEMPTS => attempt += 1,
            Err(e) => return Err(e),
        }
    }
}

fn is_in_use(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty)
}

fn remove_entries(place: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(place)? {
        let path = entry?.path();
        unmount(&path)?;
        let directory = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        let removed = if directory { std::fs::remove_dir(&path) } else { std::fs::remove_file(&path) };
        removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
    }
    Ok(())
}

/// Detaches what is mounted there; nothing is as wanted.
fn unmount(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // EINVAL: it is no mount (umount(2)); the others: only root can have made one.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether something is mounted there, as the kernel lists it.
    fn is_mounted(path: &Path) -> bool {
        let path = path.to_str().unwrap();
        let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.lines().any(|line| line.split(' ').nth(4) == Some(path))
    }

    #[test]
    fn a_pin_holds_a_namespace_and_the_last_one_leaves_nothing() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::new(dir.path());
        let own: OwnedFd = File::open("/proc/self/ns/uts").unwrap().into();
        let place = pins.prepare(Holder::Container, "a").unwrap();
        bind(&own, &place, "uts").unwrap();
        let other = pins.prepare(Holder::Sandbox, "a").unwrap();
        mount_shm(&other, 7).unwrap();
        let held = open(&place.join("uts")).unwrap().unwrap();
        assert_eq!(inode(&held).unwrap(), inode(&own).unwrap());
        assert!(open(&place.join("net")).unwrap().is_none());
        assert_eq!(std::fs::metadata(other.join(SHM)).unwrap().uid(), 7);
        let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let base = all.lines().find(|l| l.split(' ').nth(4) == dir.path().join("pins").to_str()).unwrap();
        assert!(base.contains(" unbindable "), "{base}");
        pins.release(Holder::Container, "a").unwrap();
        assert!(is_mounted(&dir.path().join("pins")), "there is another pin");
        // Nobody has it: it goes, and with it the mount.
        pins.sweep(&BTreeSet::new(), &BTreeSet::new()).unwrap();
        assert!(!dir.path().join("pins").exists() && !is_mounted(&dir.path().join("pins")));
        pins.release(Holder::Sandbox, "a").unwrap();
    }

    #[test]
    fn a_file_that_holds_nothing_is_told_from_a_namespace() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("net"), "").unwrap();
        assert!(open(&dir.path().join("net")).unwrap().is_none());
        assert!(open(Path::new("/proc/self/ns/net")).unwrap().is_some());
    }
}
