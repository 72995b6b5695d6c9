//! Id-mapped mounts (mount_setattr(2), `MOUNT_ATTR_IDMAP`), all by the parent,
//! on mounts that are still detached: it takes rights over the file system that
//! init lacks in a user namespace of its own. A mount's own mappings are applied
//! as soon as it is opened ([`to_own`]), those of the container as soon as its
//! user namespace exists or is joined ([`to_container`]).

use super::sources::Sources;
use crate::plan::{Depth, IdMapping, MountIdmap, Plan};
use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use crate::sys::mount::Attr;
use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Whether anything is mapped like the container's user namespace.
pub fn needs_container(plan: &Plan) -> bool {
    plan.rootfs.idmapped
        || plan.mounts.iter().any(|m| m.idmap.as_ref().is_some_and(MountIdmap::is_the_containers))
}

/// Maps the ids of what has no mappings of its own like the container's user namespace.
///
/// # Errors
/// With the pointer of the mount that its file system does not let map.
pub fn to_container(plan: &Plan, sources: &Sources, user: BorrowedFd<'_>) -> Outcome<()> {
    if plan.rootfs.idmapped {
        map_tree(sources.root.as_fd(), Depth::Recursive, user).at("/annotations/dev.sextant.rootfs.idmap")?;
    }
    for (mount, tree) in plan.mounts.iter().zip(&sources.mounts) {
        let (Some(idmap), Some(tree)) = (&mount.idmap, tree) else { continue };
        if idmap.is_the_containers() {
            map_tree(tree.as_fd(), idmap.depth, user).at(&format!("/mounts/{}", mount.index))?;
        }
    }
    Ok(())
}

/// Applies the mappings of the `index`th mount itself.
///
/// # Errors
/// As [`to_container`]; or the kernel refuses the mappings.
pub(super) fn to_own(index: usize, idmap: &MountIdmap, tree: BorrowedFd<'_>) -> Outcome<()> {
    let own = holder(index, &idmap.uid_mappings, &idmap.gid_mappings)?;
    map_tree(tree, idmap.depth, own.as_fd())
}

fn map_tree(tree: BorrowedFd<'_>, depth: Depth, user: BorrowedFd<'_>) -> Outcome<()> {
    let userns_fd = u64::try_from(user.as_raw_fd()).unwrap_or(0);
    let attr = Attr { set: sys::mount::MOUNT_ATTR_IDMAP, userns_fd, ..Attr::default() };
    sys::mount::set_attr(tree, depth, &attr)
        .attempt(|| "map the ids of the mount".into())
        .hint(
            Errno::EINVAL,
            "its file system, or that of a mount below it, has no id-mapped mounts on this kernel",
        )
        .hint(Errno::EPERM, "mapping ids takes root on the host, and a mount that is not id-mapped already")
}

/// A user namespace with these mappings, held open by its descriptor alone.
fn holder(index: usize, uids: &[IdMapping], gids: &[IdMapping]) -> Outcome<OwnedFd> {
    use crate::sys::process::{Cloned, Parentage, clone3, exit_now, pidfd_open, pidfd_send_signal, wait};
    let what = || "make a user namespace for the mount's id mapping".to_owned();
    match clone3(crate::namespaces::user::FLAG, Parentage::Child, None).attempt(what)? {
        Cloned::Child => {
            // Nobody else would end it if the runtime were killed now.
            if nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).is_ok() {
                nix::unistd::pause();
            }
            exit_now(0)
        }
        Cloned::Parent(pid) => {
            let result = crate::procfs::Proc::host()
                .and_then(|proc| crate::namespaces::user::write_maps(&proc, pid, uids, gids))
                .and_then(|()| crate::namespaces::user::open_of(pid));
            let pidfd = pidfd_open(pid).attempt(what)?;
            pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).attempt(what)?;
            wait(pid).attempt(what)?;
            result.map_err(|mut failure| {
                let field = failure.pointer.rsplit('/').next().unwrap_or_default();
                failure.pointer = format!("/mounts/{index}/{field}").trim_end_matches('/').to_owned();
                failure
            })
        }
    }
}
