//! Ids, capabilities and the prctl(2) switches around them.

use super::{Result, named};
use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

/// prctl(2) with one argument.
fn prctl(option: i32, name: &str, argument: u64) -> Result<i32> {
    // SAFETY: every option used in this file takes integers only.
    let value = unsafe { libc::prctl(option, argument, 0, 0, 0) };
    named(Errno::result(value), || format!("prctl({name}, {argument})"))
}

/// Whether the process may be traced and its `/proc` files opened by its equals (`PR_SET_DUMPABLE`).
///
/// # Errors
/// As the system call.
pub fn forbid_dump() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, "PR_SET_DUMPABLE", 0).map(drop)
}

/// Takes [`forbid_dump`] back.
///
/// # Errors
/// As the system call.
pub fn allow_dump() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, "PR_SET_DUMPABLE", 1).map(drop)
}

/// `PR_SET_NO_NEW_PRIVS`.
///
/// # Errors
/// As the system call.
pub fn no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", 1).map(drop)
}

/// `PR_SET_CHILD_SUBREAPER`.
///
/// # Errors
/// As the system call.
pub fn become_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, "PR_SET_CHILD_SUBREAPER", 1).map(drop)
}

/// SIGKILL when the parent dies (`PR_SET_PDEATHSIG`).
///
/// # Errors
/// As the system call.
pub fn end_with_parent() -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG", u64::try_from(libc::SIGKILL).unwrap_or(9)).map(drop)
}

/// Whether the permitted set outlives the change to a user that is not root (`PR_SET_KEEPCAPS`).
///
/// # Errors
/// As the system call.
pub fn keep_capabilities(keep: Keep) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS", u64::from(keep == Keep::Yes)).map(drop)
}

/// See [`keep_capabilities`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Kept.
    Yes,
    /// Dropped, as is usual.
    No,
}

/// Drops from the bounding set all that `keep` has not.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn limit_bounding(keep: u64) -> Result<()> {
    for capability in (0..64_u64).filter(|c| keep & (1 << c) == 0) {
        match prctl(libc::PR_CAPBSET_DROP, "PR_CAPBSET_DROP", capability) {
            // Behind the last one that this kernel has. One that the set lacks is dropped as well.
            Err(e) if e.errno == Errno::EINVAL => break,
            // Without the right to, it is well as long as there is nothing to drop.
            Err(e) if e.errno == Errno::EPERM && bounding().0 & !keep == 0 => break,
            result => result.map(drop)?,
        }
    }
    Ok(())
}

/// The bounding set of the caller, and the last capability that the kernel has
/// (`PR_CAPBSET_READ`): a tenth of the time that `/proc/self/status` takes.
pub fn bounding() -> (u64, u32) {
    let (mut set, mut last) = (0, 0);
    for capability in 0..64_u32 {
        // SAFETY: PR_CAPBSET_READ takes integers only.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, u64::from(capability), 0, 0, 0) } {
            ..0 => break, // EINVAL: behind the last one
            held => {
                set |= u64::from(held == 1) << capability;
                last = capability;
            }
        }
    }
    (set, last)
}

/// Empties the ambient set, then raises what `set` has.
///
/// # Errors
/// `EPERM` for one that is not permitted and inheritable as well.
pub fn set_ambient(set: u64) -> Result<()> {
    let ambient = |operation: i32, capability: u64| {
        // SAFETY: PR_CAP_AMBIENT takes integers only.
        let value = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, capability, 0, 0) };
        named(Errno::result(value), || format!("prctl(PR_CAP_AMBIENT, {operation}, {capability})"))
    };
    ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
    for capability in (0..64_u64).filter(|c| set & (1 << c) != 0) {
        ambient(libc::PR_CAP_AMBIENT_RAISE, capability)?;
    }
    Ok(())
}

/// The effective, permitted and inheritable sets as bit masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets {
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// See capabilities(7).
    pub inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const VERSION: u32 = 0x2008_0522;

/// capget(2) of the caller.
///
/// # Errors
/// As the system call.
pub fn capabilities() -> Result<Sets> {
    let mut header = [VERSION, 0];
    let mut data = [0_u32; 6];
    // SAFETY: header and data have the layout and size that version 3 wants.
    let value = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) };
    named(Errno::result(value), || "capget(0)".into())?;
    let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    let [e0, p0, i0, e1, p1, i1] = data;
    Ok(Sets { effective: join(e0, e1), permitted: join(p0, p1), inheritable: join(i0, i1) })
}

/// capset(2) of the caller.
///
/// # Errors
/// `EPERM` when a set would grow beyond what is permitted.
pub fn set_capabilities(sets: Sets) -> Result<()> {
    let mut header = [VERSION, 0];
    let low = |set: u64| u32::try_from(set & 0xffff_ffff).unwrap_or(0);
    let high = |set: u64| u32::try_from(set >> 32).unwrap_or(0);
    let data = [
        low(sets.effective),
        low(sets.permitted),
        low(sets.inheritable),
        high(sets.effective),
        high(sets.permitted),
        high(sets.inheritable),
    ];
    // SAFETY: header and data have the layout and size that version 3 wants.
    let value = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr()) };
    named(Errno::result(value), || {
        format!(
            "capset(effective={:#x}, permitted={:#x}, inheritable={:#x})",
            sets.effective, sets.permitted, sets.inheritable
        )
    })
    .map(drop)
}

/// setgroups(2).
///
/// # Errors
/// `EPERM` where the user namespace denies it.
pub fn setgroups(groups: &[u32]) -> Result<()> {
    let list: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    named(nix::unistd::setgroups(&list), || format!("setgroups({groups:?})"))
}

/// setresgid(2) of all three ids.
///
/// # Errors
/// `EINVAL` when the id has no mapping.
pub fn setgid(gid: u32) -> Result<()> {
    let id = Gid::from_raw(gid);
    named(nix::unistd::setresgid(id, id, id), || format!("setresgid({gid}, {gid}, {gid})"))
}

/// setresuid(2) of all three ids.
///
/// # Errors
/// `EINVAL` when the id has no mapping.
pub fn setuid(uid: u32) -> Result<()> {
    let id = Uid::from_raw(uid);
    named(nix::unistd::setresuid(id, id, id), || format!("setresuid({uid}, {uid}, {uid})"))
}
