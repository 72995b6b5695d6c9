//! What of the host a container is given, opened once by the parent, with the
//! host's rights and before the clone: the root directory, sources of bind
//! mounts, and device nodes where the container cannot make its own. Each is a
//! detached copy of a mount; init inherits the descriptors and attaches them.

use crate::contract::report::{Stage, StageKind};
use crate::plan::{Attrs, Depth, DeviceNode, IdMapping, Mount, MountKind, Namespace, Plan, Propagation};
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::sys;
use crate::sys::mount::Attr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// All that was opened.
#[derive(Debug)]
pub struct Sources {
    /// The root directory with what is mounted below it.
    pub root: OwnedFd,
    /// The source of each bind mount, by the mount's place in the plan.
    pub binds: Vec<Option<OwnedFd>>,
    /// The host's node of each device, where it is bound instead of made.
    pub devices: Vec<Option<OwnedFd>>,
    /// The host's `/dev/null`, verified.
    pub null: OwnedFd,
}

/// Opens everything that the plan names.
///
/// # Errors
/// With the pointer of the first that is missing.
pub fn open(plan: &Plan, report: &Reporter) -> Outcome<Sources> {
    let path = plan.rootfs.path.display().to_string();
    let root = report.stage(StageKind::Rootfs, &path, || open_root(&plan.rootfs.path).at("/root/path"))?;
    let binds = plan.mounts.iter().map(|m| open_bind(m, report)).collect::<Outcome<_>>()?;
    let devices = if makes_nodes(plan) {
        plan.devices.iter().map(|_| None).collect()
    } else {
        plan.devices.iter().map(|d| open_device(d).map(Some)).collect::<Outcome<_>>()?
    };
    Ok(Sources { root, binds, devices, null: open_null()? })
}

/// Refuses mounts with mapped ids where the parent cannot open their sources.
///
/// # Errors
/// With the pointer of the first.
pub fn refuse_id_maps(plan: &Plan) -> Outcome<()> {
    let refused = |pointer: String| {
        let mut failure = refuse("map the ids of a mount", "it needs root on the host");
        failure.hint = "own the files with the ids of the container instead (`unshare --map-auto`)".into();
        Err(failure).at(&pointer)
    };
    if plan.rootfs.idmapped {
        return refused("/annotations/dev.sextant.rootfs.idmap".into());
    }
    match plan.mounts.iter().find(|m| m.idmap.is_some()) {
        Some(mount) => refused(format!("/mounts/{}", mount.index)),
        None => Ok(()),
    }
}

/// mknod(2) is for the initial user namespace alone.
fn makes_nodes(plan: &Plan) -> bool {
    plan.namespaces.user == Namespace::Host && nix::unistd::geteuid().is_root()
}

fn open_root(path: &Path) -> Outcome<OwnedFd> {
    let what = || format!("open the root file system {}", path.display());
    let directory = sys::file::open_host(path, OFlag::O_PATH | OFlag::O_DIRECTORY).attempt(what)?;
    cut_off(directory.as_fd(), Depth::Recursive).attempt(what).map_err(|mut failure| {
        if failure.errno == libc::EPERM {
            failure.hint = crate::namespaces::advice::user_namespaces(
                "creating mounts needs CAP_SYS_ADMIN: add a user namespace with id mappings",
            );
        }
        failure
    })
}

/// A detached copy of a mount that hears of the host's mounts below it, but is
/// no peer of theirs: on a host with shared mounts (systemd makes them so) what
/// a container mounts on a peer would be mounted on the host as well, and
/// pivot_root(2) takes no shared root.
fn cut_off(object: BorrowedFd<'_>, depth: Depth) -> sys::Result<OwnedFd> {
    let tree = sys::mount::clone_tree(object, depth)?;
    let attr = Attr { propagation: sys::mount_flag(Propagation::Slave), ..Attr::default() };
    sys::mount::set_attr(tree.as_fd(), depth, &attr)?;
    Ok(tree)
}

fn open_bind(mount: &Mount, report: &Reporter) -> Outcome<Option<OwnedFd>> {
    let MountKind::Bind { source, depth } = &mount.kind else { return Ok(None) };
    let open = || {
        let what = || {
            format!("open the source {} of the mount on {}", source.display(), mount.destination.display())
        };
        let object = sys::file::open_host(source, OFlag::O_PATH)
            .attempt(what)
            .hint(Errno::ENOENT, "make the source first; a runtime does not")?;
        let tree = sys::mount::clone_tree(object.as_fd(), *depth).attempt(what)?;
        if !mount.propagation.iter().any(|(p, _)| *p == Propagation::Shared) {
            let attr = Attr { propagation: sys::mount_flag(Propagation::Slave), ..Attr::default() };
            sys::mount::set_attr(tree.as_fd(), Depth::Recursive, &attr).attempt(what)?;
        }
        Ok(Some(tree))
    };
    let pointer = format!("/mounts/{}/source", mount.index);
    report.stage(Stage::nth(StageKind::Mount, mount.index), source.display().to_string(), || {
        open().at(&pointer)
    })
}

pub(super) fn open_device(device: &DeviceNode) -> Outcome<OwnedFd> {
    let what = || format!("bind the host's device {}", device.path.display());
    let pointer = device.index.map_or(String::new(), |i| format!("/linux/devices/{i}"));
    let node = sys::file::open_host(&device.path, OFlag::O_PATH | OFlag::O_NOFOLLOW)
        .attempt(what)
        .at(&pointer)
        .hint(Errno::ENOENT, "in a user namespace nodes cannot be made, only the host's can be bound")?;
    verify_device(node.as_fd(), device).map_err(|because| refuse(what(), because))?;
    cut_off(node.as_fd(), Depth::One).attempt(what)
}

/// Security rule R3: the node is the device that it should be.
fn verify_device(node: BorrowedFd<'_>, device: &DeviceNode) -> Result<(), String> {
    let stat = sys::file::stat(node).map_err(|e| e.to_string())?;
    let kind = super::dev::node_type(device.kind);
    let is_kind = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == kind;
    let number = libc::makedev(device.major, device.minor);
    if is_kind && (kind == SFlag::S_IFIFO || stat.st_rdev == number) {
        return Ok(());
    }
    Err(format!("it is not the {kind:?} device {}:{}", device.major, device.minor))
}

fn open_null() -> Outcome<OwnedFd> {
    let what = || "open /dev/null to mask files with".to_owned();
    let node =
        sys::file::open_host(Path::new("/dev/null"), OFlag::O_PATH | OFlag::O_NOFOLLOW).attempt(what)?;
    let stat = sys::file::stat(node.as_fd()).attempt(what)?;
    if stat.st_rdev != libc::makedev(1, 3) || stat.st_mode & libc::S_IFMT != libc::S_IFCHR {
        return Err(refuse(what(), "the host's /dev/null is not the null device 1:3"));
    }
    cut_off(node.as_fd(), Depth::One).attempt(what)
}

/// Maps ids of the opened mounts, as soon as the container's user namespace
/// exists: by the parent, since it takes rights over the file systems.
///
/// # Errors
/// `EINVAL` when a file system has no id-mapped mounts, with what to do.
pub fn map_ids(plan: &Plan, sources: &Sources, pid: i32) -> Outcome<()> {
    let wanted = plan.rootfs.idmapped || plan.mounts.iter().any(|m| m.idmap.is_some());
    if !wanted {
        return Ok(());
    }
    let container = super::super::namespaces::user::open_of(pid)?;
    if plan.rootfs.idmapped {
        map_tree(sources.root.as_fd(), Depth::Recursive, container.as_fd())
            .at("/annotations/dev.sextant.rootfs.idmap")?;
    }
    for (mount, source) in plan.mounts.iter().zip(&sources.binds) {
        let (Some(idmap), Some(source)) = (&mount.idmap, source) else { continue };
        let pointer = format!("/mounts/{}", mount.index);
        if idmap.uid_mappings.is_empty() {
            map_tree(source.as_fd(), idmap.depth, container.as_fd()).at(&pointer)?;
        } else {
            let own = holder(&idmap.uid_mappings, &idmap.gid_mappings)?;
            map_tree(source.as_fd(), idmap.depth, own.as_fd()).at(&pointer)?;
        }
    }
    Ok(())
}

fn map_tree(tree: BorrowedFd<'_>, depth: Depth, user: BorrowedFd<'_>) -> Outcome<()> {
    let userns_fd = u64::try_from(user.as_raw_fd()).unwrap_or(0);
    let attr = Attr { set: sys::mount::MOUNT_ATTR_IDMAP, userns_fd, ..Attr::default() };
    sys::mount::set_attr(tree, depth, &attr)
        .attempt(|| "map the ids of the mount".into())
        .hint(Errno::EINVAL, "its file system has no id-mapped mounts on this kernel, or is mapped already")
        .hint(Errno::EPERM, "mapping the ids of a host's mount needs root on the host")
}

/// A user namespace with these mappings, held open by its descriptor alone.
fn holder(uids: &[IdMapping], gids: &[IdMapping]) -> Outcome<OwnedFd> {
    use crate::sys::process::{Cloned, Parentage, clone3, exit_now, pidfd_open, pidfd_send_signal, wait};
    let what = || "make a user namespace for the mount's id mapping".to_owned();
    match clone3(super::super::namespaces::user::FLAG, Parentage::Child, None).attempt(what)? {
        Cloned::Child => {
            nix::unistd::pause();
            exit_now(0)
        }
        Cloned::Parent(pid) => {
            let result = crate::procfs::Proc::host()
                .and_then(|proc| crate::namespaces::user::write_maps(&proc, pid, uids, gids))
                .and_then(|()| crate::namespaces::user::open_of(pid));
            let pidfd = pidfd_open(pid).attempt(what)?;
            pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).attempt(what)?;
            wait(pid).attempt(what)?;
            result
        }
    }
}

/// Applies what a mount asks for to a detached or attached mount.
///
/// # Errors
/// `EPERM` for an attribute that is locked.
pub fn apply_attrs(mount: BorrowedFd<'_>, depth: Depth, attrs: Attrs) -> sys::Result<()> {
    if attrs == Attrs::default() {
        return Ok(());
    }
    sys::mount::set_attr(mount, depth, &Attr { set: attrs.set, clear: attrs.clear, ..Attr::default() })
}
