//! The mount namespace (mount_namespaces(7)). A created one begins as a copy of
//! the host's, from which nothing may propagate back; what is mounted inside is
//! [`crate::rootfs`]'s affair. A joined one keeps its own root and mounts.

use crate::plan::{Depth, Propagation, Rootfs};
use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;

/// Its flag.
pub const FLAG: CloneFlags = CloneFlags::CLONE_NEWNS;

/// The mount(2) flags of a propagation.
pub fn flags(propagation: Propagation, depth: Depth) -> MsFlags {
    let kind = match propagation {
        Propagation::Shared => MsFlags::MS_SHARED,
        Propagation::Slave => MsFlags::MS_SLAVE,
        Propagation::Private => MsFlags::MS_PRIVATE,
        Propagation::Unbindable => MsFlags::MS_UNBINDABLE,
    };
    match depth {
        Depth::One => kind,
        Depth::Recursive => kind | MsFlags::MS_REC,
    }
}

/// Cuts the copy of the host's mounts off: what the host mounts later comes in
/// (slave) unless the config wants it private; nothing goes out.
///
/// # Errors
/// As mount(2).
pub fn isolate(rootfs: &Rootfs) -> Outcome<()> {
    let first = match rootfs.propagation {
        Some((Propagation::Private | Propagation::Unbindable, _)) => Propagation::Private,
        Some((Propagation::Shared | Propagation::Slave, _)) | None => Propagation::Slave,
    };
    sys::mount::propagate_root(flags(first, Depth::Recursive))
        .attempt(|| "cut the mount namespace off the host's".into())
        .at("/linux/rootfsPropagation")
}

/// The propagation that the config wants for the container's root, once it is `/`.
///
/// # Errors
/// As mount(2).
pub fn propagate_root(rootfs: &Rootfs) -> Outcome<()> {
    match rootfs.propagation {
        None | Some((Propagation::Slave, _)) => Ok(()),
        Some((propagation, depth)) => sys::mount::propagate_root(flags(propagation, depth))
            .attempt(|| "set the propagation of the root".into())
            .at("/linux/rootfsPropagation"),
    }
}
