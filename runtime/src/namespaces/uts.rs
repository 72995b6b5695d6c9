//! The UTS namespace (uts_namespaces(7)): host name and NIS domain name. The
//! plan has names only where the namespace is the container's.

use crate::plan::Plan;
use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use nix::sched::CloneFlags;

/// Its flag.
pub const FLAG: CloneFlags = CloneFlags::CLONE_NEWUTS;

/// What init does inside.
///
/// # Errors
/// With the pointer of the name.
pub fn set_up(plan: &Plan) -> Outcome<()> {
    if let Some(name) = &plan.hostname {
        sys::process::sethostname(name).attempt(|| format!("set the host name {name:?}")).at("/hostname")?;
    }
    if let Some(name) = &plan.domainname {
        sys::process::setdomainname(name)
            .attempt(|| format!("set the domain name {name:?}"))
            .at("/domainname")?;
    }
    Ok(())
}
