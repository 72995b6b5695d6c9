//! The user namespace (user_namespaces(7)). Created: init has all capabilities
//! over what it owns as soon as the *parent* has written the id maps. Joined:
//! the ids are there already. Either way init then takes on root's ids.

use super::advice;
use crate::plan::IdMapping;
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

/// Its flag.
pub const FLAG: CloneFlags = CloneFlags::CLONE_NEWUSER;

/// Which of the two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Uid,
    Gid,
}

impl Map {
    fn file(self) -> &'static str {
        match self {
            Self::Uid => "uid_map",
            Self::Gid => "gid_map",
        }
    }

    fn helper(self) -> &'static str {
        match self {
            Self::Uid => "newuidmap",
            Self::Gid => "newgidmap",
        }
    }

    fn ranges(self) -> &'static str {
        match self {
            Self::Uid => "/etc/subuid",
            Self::Gid => "/etc/subgid",
        }
    }

    /// Of usermod(8).
    fn option(self) -> &'static str {
        match self {
            Self::Uid => "--add-subuids",
            Self::Gid => "--add-subgids",
        }
    }

    fn pointer(self) -> &'static str {
        match self {
            Self::Uid => "/linux/uidMappings",
            Self::Gid => "/linux/gidMappings",
        }
    }
}

/// Writes both maps of a child's new user namespace, directly where the caller
/// may, else through newuidmap(1) and newgidmap(1).
///
/// # Errors
/// With the pointer of the map.
pub fn write_maps(
    proc: &crate::procfs::Proc,
    pid: i32,
    uids: &[IdMapping],
    gids: &[IdMapping],
) -> Outcome<()> {
    write_map(proc, pid, Map::Uid, uids).at(Map::Uid.pointer())?;
    write_map(proc, pid, Map::Gid, gids).at(Map::Gid.pointer())
}

fn write_map(proc: &crate::procfs::Proc, pid: i32, map: Map, mappings: &[IdMapping]) -> Outcome<()> {
    let lines: String =
        mappings.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect();
    let path = format!("{pid}/{}", map.file());
    if !nix::unistd::geteuid().is_root() {
        if is_own_id(map, mappings) {
            if map == Map::Gid {
                // user_namespaces(7): an unprivileged gid map wants setgroups denied first.
                proc.write(&format!("{pid}/setgroups"), "deny")?;
            }
            return proc.write(&path, &lines);
        }
        return run_helper(pid, map, mappings);
    }
    proc.write(&path, &lines)
        .hint(Errno::EPERM, "the ids must be mapped in the caller's own user namespace as well")
        .hint(Errno::EINVAL, "the kernel takes at most 340 lines, and no id twice")
}

/// The one mapping that needs no privilege: a single id, the caller's own.
fn is_own_id(map: Map, mappings: &[IdMapping]) -> bool {
    let own = match map {
        Map::Uid => nix::unistd::geteuid().as_raw(),
        Map::Gid => nix::unistd::getegid().as_raw(),
    };
    matches!(mappings, [m] if m.size == 1 && m.host_id == own)
}

fn run_helper(pid: i32, map: Map, mappings: &[IdMapping]) -> Outcome<()> {
    let mut command = Command::new(map.helper());
    command.arg(pid.to_string());
    for m in mappings {
        command.args([m.container_id, m.host_id, m.size].map(|n| n.to_string()));
    }
    let what = || format!("map ids with {}", map.helper());
    let output = command.output().attempt(what).hint(
        Errno::ENOENT,
        "install it (Debian: apt-get install uidmap), or map your own id alone with size 1",
    )?;
    if output.status.success() {
        return Ok(());
    }
    let mut failure = refuse(what(), String::from_utf8_lossy(&output.stderr).trim().to_owned());
    failure.hint = advice::ranges(map.ranges(), map.option());
    Err(failure)
}

/// Whether the caller is root, and its user namespace is the first one: only
/// that maps every id (user_namespaces(7)).
pub fn is_root_of_host() -> bool {
    let first = || {
        let map = sys::file::read_kernel_text("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().eq(["0", "0", "4294967295"])
    };
    nix::unistd::geteuid().is_root() && first()
}

/// Takes on uid and gid 0 of the user namespace that the caller is in, so that
/// what it makes belongs to the container's root.
///
/// # Errors
/// When 0 is not mapped there.
pub fn become_root() -> Outcome<()> {
    let what = || "become root of the user namespace".to_owned();
    // EPERM: setgroups is denied (a rootless map); the groups then stay unmapped.
    match sys::privilege::setgroups(&[]) {
        Err(e) if e.errno == Errno::EPERM => {}
        result => result.attempt(what)?,
    }
    sys::privilege::setgid(0).attempt(what).hint(Errno::EINVAL, "map container id 0 in gidMappings")?;
    sys::privilege::setuid(0).attempt(what).hint(Errno::EINVAL, "map container id 0 in uidMappings")
}

/// Opens the user namespace of a process, for id-mapped mounts.
///
/// # Errors
/// When it has gone.
pub fn open_of(pid: i32) -> Outcome<std::os::fd::OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    let fd = sys::file::open_host(Path::new(&path), OFlag::O_RDONLY)
        .attempt(|| format!("open the container's user namespace {path}"))?;
    sys::process::namespace_type(fd.as_fd()).attempt(|| format!("check {path}"))?;
    Ok(fd)
}
