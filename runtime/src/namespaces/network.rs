//! The network namespace (network_namespaces(7)). A created one has its own
//! stack with a loopback that is down; it is set up. A joined one is left as it is.

use crate::plan::Namespace;
use crate::report::{Attempt, Outcome};
use crate::sys;
use nix::sched::CloneFlags;

/// Its flag.
pub const FLAG: CloneFlags = CloneFlags::CLONE_NEWNET;

/// What init does inside.
///
/// # Errors
/// When `lo` cannot be set up.
pub fn set_up(namespace: &Namespace) -> Outcome<()> {
    match namespace {
        Namespace::Create => sys::net::loopback_up().attempt(|| "set lo up".into()),
        Namespace::Host | Namespace::Join { .. } => Ok(()),
    }
}
