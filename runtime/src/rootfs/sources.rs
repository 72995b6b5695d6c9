//! What of the host a container is given, opened once, by the parent with the
//! host's rights and before the clone, or, where the caller is not root, by init
//! before anything else is mounted: the root directory, sources of bind
//! mounts, file systems that are id-mapped, and device nodes where the container
//! cannot make its own. Each is a detached mount; init inherits the descriptors
//! and attaches them. Ids are mapped in [`super::idmap`].

use super::idmap;
use crate::contract::report::{Stage, StageKind};
use crate::plan::{Attrs, Depth, DeviceNode, Mount, MountKind, Namespace, Plan, Propagation};
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::sys;
use crate::sys::mount::Attr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// All that was opened.
#[derive(Debug)]
pub struct Sources {
    /// The root directory with what is mounted below it.
    pub root: OwnedFd,
    /// By the mount's place in the plan: the source of a bind mount, or a new file
    /// system that is id-mapped, which takes rights over it that init may lack.
    pub mounts: Vec<Option<OwnedFd>>,
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
    let mounts = plan.mounts.iter().map(|m| open_mount(m, report)).collect::<Outcome<_>>()?;
    let devices = if makes_nodes(plan) {
        plan.devices.iter().map(|_| None).collect()
    } else {
        plan.devices.iter().map(|d| open_device(d).map(Some)).collect::<Outcome<_>>()?
    };
    Ok(Sources { root, mounts, devices, null: open_null()? })
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

/// What the parent opens of one mount, id-mapped already where it has mappings of its own.
fn open_mount(mount: &Mount, report: &Reporter) -> Outcome<Option<OwnedFd>> {
    let pointer = format!("/mounts/{}", mount.index);
    let tree = match (&mount.kind, &mount.idmap) {
        (MountKind::Bind { source, depth }, _) => open_bind(mount, source, *depth, report)?,
        (MountKind::Fs { fstype, source, options }, Some(_)) => {
            let stage = Stage::nth(StageKind::Mount, mount.index);
            report.stage(stage, fstype, || {
                super::mounts::make_file_system(mount, fstype, source, options).at(&pointer)
            })?
        }
        _ => return Ok(None),
    };
    if let Some(own) = mount.idmap.as_ref().filter(|idmap| !idmap.is_the_containers()) {
        let stage = Stage::nth(StageKind::Mount, mount.index);
        let object = mount.destination.to_string_lossy();
        report.stage(stage, object, || idmap::to_own(mount.index, own, tree.as_fd()).at(&pointer))?;
    }
    Ok(Some(tree))
}

fn open_bind(mount: &Mount, source: &Path, depth: Depth, report: &Reporter) -> Outcome<OwnedFd> {
    let open = || {
        let what = || {
            format!("open the source {} of the mount on {}", source.display(), mount.destination.display())
        };
        let object = sys::file::open_host(source, OFlag::O_PATH)
            .attempt(what)
            .hint(Errno::ENOENT, "make the source first; a runtime does not")?;
        let tree = sys::mount::clone_tree(object.as_fd(), depth).attempt(what)?;
        if !mount.propagation.iter().any(|(p, _)| *p == Propagation::Shared) {
            let attr = Attr { propagation: sys::mount_flag(Propagation::Slave), ..Attr::default() };
            sys::mount::set_attr(tree.as_fd(), Depth::Recursive, &attr).attempt(what)?;
        }
        Ok(tree)
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
