//! The cgroup namespace (cgroup_namespaces(7)). Its root is the cgroup that its
//! maker is in, so init makes it after the parent has put it into its cgroup.

use crate::plan::Namespace;
use crate::report::{Attempt, Outcome};
use crate::sys;
use nix::sched::CloneFlags;

/// Its flag.
pub const FLAG: CloneFlags = CloneFlags::CLONE_NEWCGROUP;

/// What init does once it is in its cgroup.
///
/// # Errors
/// As unshare(2).
pub fn set_up(namespace: &Namespace) -> Outcome<()> {
    match namespace {
        Namespace::Create => sys::process::unshare(FLAG).attempt(|| "create the cgroup namespace".into()),
        Namespace::Host | Namespace::Join { .. } => Ok(()),
    }
}
