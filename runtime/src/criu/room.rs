//! A mount namespace for CRIU, with the container's root on a directory of its
//! own: CRIU wants a root that is a mount point, mounts a good deal beside it,
//! and none of that is to be in the host's table of mounts.
//!
//! The caller goes there and comes back, so that CRIU, started there, and the
//! directories that are opened for it there belong together: it cannot mount in
//! a directory of another mount namespace.

use crate::namespaces::mount::flags;
use crate::plan::{Depth, Propagation};
use crate::report::{Attempt, Outcome};
use crate::sys;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Carries out `work` in such a namespace, with `root` mounted on `place`. The
/// namespace ends with the last process that was started in it.
///
/// # Errors
/// As the system calls; the work's own.
pub(super) fn with_root<T>(root: &Path, place: &Path, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let home = Home::remember()?;
    sys::process::unshare(CloneFlags::CLONE_NEWNS).attempt(|| "make a mount namespace for CRIU".into())?;
    let result = mount_root(root, place).and_then(|()| work());
    home.go_back()?;
    result
}

fn mount_root(root: &Path, place: &Path) -> Outcome<()> {
    let what = || format!("mount the root {} on {}", root.display(), place.display());
    sys::mount::propagate_root(flags(Propagation::Slave, Depth::Recursive)).attempt(what)?;
    let open = |path| sys::file::open_host(path, OFlag::O_PATH | OFlag::O_DIRECTORY).attempt(what);
    let (root, place) = (open(root)?, open(place)?);
    let tree = sys::mount::clone_tree(root.as_fd(), Depth::Recursive).attempt(what)?;
    sys::mount::attach(tree.as_fd(), place.as_fd()).attempt(what)
}

/// Where the caller was: setns(2) takes root and working directory away.
struct Home {
    namespace: OwnedFd,
    root: OwnedFd,
    directory: OwnedFd,
}

impl Home {
    fn remember() -> Outcome<Self> {
        let open = |path: &str, flags| {
            sys::file::open_host(Path::new(path), flags).attempt(|| format!("open {path}"))
        };
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
        Ok(Self {
            namespace: open("/proc/self/ns/mnt", OFlag::O_RDONLY)?,
            root: open("/", directory)?,
            directory: open(".", directory)?,
        })
    }

    fn go_back(self) -> Outcome<()> {
        let what = || "come back from CRIU's mount namespace".to_owned();
        sys::process::setns(self.namespace.as_fd(), CloneFlags::CLONE_NEWNS).attempt(what)?;
        sys::named(nix::unistd::fchdir(&self.root), || "fchdir(\"/\")".into()).attempt(what)?;
        sys::named(nix::unistd::chroot("."), || "chroot(\".\")".into()).attempt(what)?;
        sys::named(nix::unistd::fchdir(&self.directory), || "fchdir(\".\")".into()).attempt(what)
    }
}
