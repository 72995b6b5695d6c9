//! What a process can only do to itself before it executes the user's program:
//! its session keyring, execution domain and memory policy. What another
//! process can set (scheduler, I/O priority) is the parent's, who has the right
//! to it: [`crate::create`].

use super::Keyring;
use crate::contract::report::StageKind;
use crate::plan::Attributes;
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::sys;
use crate::sys::keyring;
use nix::errno::Errno;
use std::ffi::CString;

/// The user of the keyring may search it, so that it can be found by its name.
const KEY_USR_SEARCH: u32 = 0x0008_0000;

/// Leaves the caller's session keyring for one of the container's own. While
/// the process still has the caller's user id: in the initial user namespace
/// root's quota of keys is a thousand times that of a mapped user.
///
/// # Errors
/// `EDQUOT` when the user has too many keys.
pub(super) fn join_keyring(id: &str, keyring: Keyring, report: &Reporter) -> Outcome<()> {
    if keyring == Keyring::Inherited {
        return Ok(());
    }
    let name = format!("_ses.{id}");
    let what = || "make a session keyring".to_owned();
    report.stage(StageKind::Keyring, &name, || {
        let name = CString::new(name.as_str()).map_err(|e| refuse(what(), e.to_string()))?;
        match keyring::join_session(&name) {
            // No keys in this kernel, or a filter around the runtime: nothing to separate from.
            Err(e) if matches!(e.errno, Errno::ENOSYS | Errno::EPERM) => Ok(()),
            result => {
                let made = result.attempt(what).hint(
                    Errno::EDQUOT,
                    "the user has as many keys as /proc/sys/kernel/keys/maxkeys allows: raise it, or use --no-new-keyring",
                )?;
                keyring::add_permissions(made, KEY_USR_SEARCH).attempt(what)
            }
        }
    })
}

/// The same once more, as root of a new user namespace: the first keyring is the
/// caller's user's, which the container's root could not use. Where that has no
/// room for one more key, the first remains: apart from the host's all the same.
///
/// # Errors
/// As [`join_keyring`].
pub(super) fn own_keyring(id: &str, keyring: Keyring, report: &Reporter) -> Outcome<()> {
    if keyring == Keyring::Inherited {
        return Ok(());
    }
    let name = format!("_ses.{id}");
    let what = || "make a session keyring of the container's root".to_owned();
    report.stage(StageKind::Keyring, &name, || {
        let name = CString::new(name.as_str()).map_err(|e| refuse(what(), e.to_string()))?;
        match keyring::join_session(&name) {
            Err(e) if matches!(e.errno, Errno::ENOSYS | Errno::EPERM | Errno::EDQUOT) => Ok(()),
            result => keyring::add_permissions(result.attempt(what)?, KEY_USR_SEARCH).attempt(what),
        }
    })
}

/// Execution domain and memory policy; both last over execve(2).
///
/// # Errors
/// With the pointer of what the kernel refused.
pub(super) fn apply(attributes: &Attributes, report: &Reporter) -> Outcome<()> {
    if let Some(persona) = attributes.personality {
        report.stage(StageKind::Scheduling, "personality", || {
            sys::schedule::set_personality(persona)
                .attempt(|| "set the execution domain".into())
                .at("/linux/personality")
        })?;
    }
    if let Some(policy) = &attributes.memory_policy {
        report.stage(StageKind::Scheduling, "memoryPolicy", || {
            sys::schedule::set_memory_policy(policy)
                .attempt(|| format!("set the memory policy {}", policy.name))
                .at("/linux/memoryPolicy")
                .hint(Errno::ENOSYS, "this kernel is built without NUMA")
                .hint(Errno::EINVAL, "none of the nodes is one that the host has and the cpuset allows")
        })?;
    }
    Ok(())
}
