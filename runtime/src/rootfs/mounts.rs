//! Attaching one mount of the config below the root.

use super::apart;
use super::cgroupfs::Hierarchy;
use super::root::{Root, Target};
use super::sources::apply_attrs;
use crate::plan::{Attrs, Depth, Mount, MountKind, Propagation};
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::sys;
use crate::sys::mount::{Attr, MOUNT_ATTR_RDONLY};
use nix::errno::Errno;
use nix::sys::stat::SFlag;
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where `/dev` is: it takes its nodes before it becomes read-only.
const DEV: &str = "/dev";

/// A tmpfs that becomes read-only with [`Unsealed::seal`], once the mount points
/// of later mounts have been made in it, as runc has it.
#[derive(Debug)]
pub struct Unsealed {
    tree: OwnedFd,
    index: usize,
}

impl Unsealed {
    /// Makes it read-only.
    ///
    /// # Errors
    /// As mount_setattr(2), with the pointer of its entry.
    pub fn seal(&self) -> Outcome<()> {
        apply_attrs(self.tree.as_fd(), Depth::One, Attrs { set: MOUNT_ATTR_RDONLY, clear: 0 })
            .attempt(|| "make a tmpfs read-only".into())
            .at(&format!("/mounts/{}", self.index))
    }
}

/// Mounts one entry of the config. `source` is what the parent has opened of it.
///
/// # Errors
/// With the pointer of the entry.
pub fn mount(
    root: &Root,
    mount: &Mount,
    source: Option<&OwnedFd>,
    cgroupns: Cgroupns<'_>,
) -> Outcome<Option<Unsealed>> {
    let pointer = format!("/mounts/{}", mount.index);
    let result = match (&mount.kind, source) {
        (MountKind::Cgroup, _) => super::cgroupfs::mount(root, mount, cgroupns).map(|()| None),
        (MountKind::Remount { options }, _) => remount(root, mount, options).map(|()| None),
        (MountKind::Bind { .. }, Some(tree)) => bind(root, mount, tree).map(|()| None),
        (MountKind::Bind { .. }, None) => Err(refuse("attach a bind mount", "its source was not opened")),
        (MountKind::Fs { fstype, .. }, Some(tree)) => target(root, mount, fstype).and_then(|target| {
            attach_file_system(mount, fstype, tree, target.as_fd())?;
            if !is_sealed_later(mount) {
                return Ok(None);
            }
            let tree = tree.try_clone().attempt(|| "keep a mount to make it read-only".into())?;
            Ok(Some(Unsealed { tree, index: mount.index }))
        }),
        (MountKind::Fs { fstype, source, options }, None) => target(root, mount, fstype).and_then(|target| {
            let tree = make_file_system(mount, fstype, source, options)?;
            attach_file_system(mount, fstype, &tree, target.as_fd())?;
            Ok(is_sealed_later(mount).then_some(Unsealed { tree, index: mount.index }))
        }),
    };
    result.at(&pointer)
}

/// Whether the container has a cgroup namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cgroupns<'a> {
    /// Created or joined.
    Own {
        /// Where it was before it was created, if it was, and where the host does not have version 2 alone.
        places: &'a [Hierarchy],
    },
    /// The host's.
    Host {
        /// The container's cgroup below `/sys/fs/cgroup`, on a host with version 2 alone; `None` also
        /// where it has none of its own.
        unified: Option<&'a Path>,
    },
}

fn bind(root: &Root, mount: &Mount, tree: &OwnedFd) -> Outcome<()> {
    let what = || format!("bind mount on {}", mount.destination.display());
    let kind = match sys::file::kind(tree.as_fd()).attempt(what)? {
        SFlag::S_IFDIR => Target::Directory,
        _ => Target::File,
    };
    let target = root.destination(&mount.destination, kind)?;
    refuse_by_link(target.as_fd(), mount)?;
    sys::mount::attach(tree.as_fd(), target.as_fd())
        .attempt(what)
        .hint(Errno::ENOTDIR, "one of source and destination is a file, the other a directory")?;
    finish(tree.as_fd(), mount, attrs_now(mount))
}

/// Changes what is mounted already: its attributes, and options of the file system
/// where the config names some. Unlike mount(2) it leaves alone what is not named.
fn remount(root: &Root, mount: &Mount, options: &[(String, Option<String>)]) -> Outcome<()> {
    let what = || format!("change the mount on {}", mount.destination.display());
    let object = root.open(&mount.destination).attempt(what)?;
    if !options.is_empty() {
        let context = sys::mount::fspick(object.as_fd()).attempt(what)?;
        for (key, value) in options {
            context.set(key, value.as_deref()).attempt(what)?;
        }
        context.reconfigure().attempt(what)?;
    }
    finish(object.as_fd(), mount, attrs_now(mount))
        .hint(Errno::EINVAL, "`remount` takes a mount that an earlier entry has made")
}

/// A new file system as a detached mount.
///
/// # Errors
/// As the calls of the mount API, with the kernel's own words where it logged some.
pub(super) fn make_file_system(
    mount: &Mount,
    fstype: &str,
    source: &str,
    options: &[(String, Option<String>)],
) -> Outcome<OwnedFd> {
    let what = || format!("mount {fstype} on {}", mount.destination.display());
    if let Some(layers) = apart::layer_by_layer(fstype, options) {
        return make_file_system(mount, fstype, source, &layers).hint(
            Errno::EINVAL,
            "so many layers take Linux 6.8, which takes them one by one, each of at most 255 bytes",
        );
    }
    if apart::is_needed(options) {
        let tree = apart::mount(fstype, source, options, &what()).map_err(|f| explain(f, fstype))?;
        let attrs = Attrs { set: attrs_at_birth(mount), clear: attrs_now(mount).clear };
        apply_attrs(tree.as_fd(), Depth::One, attrs).attempt(what)?;
        return Ok(tree);
    }
    let context = sys::mount::fsopen(fstype)
        .attempt(what)
        .hint(Errno::ENODEV, "the kernel has no such file system; is its module loaded?")?;
    if !source.is_empty() {
        context.set("source", Some(source)).attempt(what)?;
    }
    for (key, value) in options {
        context.set(key, value.as_deref()).attempt(what)?;
    }
    context.mount(attrs_at_birth(mount)).attempt(what).map_err(|f| explain(f, fstype))
}

fn attach_file_system(mount: &Mount, fstype: &str, tree: &OwnedFd, target: BorrowedFd<'_>) -> Outcome<()> {
    if mount.copy_up {
        super::dev::copy_up(target, tree.as_fd())?;
    }
    sys::mount::attach(tree.as_fd(), target)
        .attempt(|| format!("mount {fstype} on {}", mount.destination.display()))?;
    let late =
        if attrs_at_birth(mount) == attrs_now(mount).set { Attrs::default() } else { attrs_now(mount) };
    finish(tree.as_fd(), mount, late)
}

fn explain(
    mut failure: Box<crate::contract::report::Failure>,
    fstype: &str,
) -> Box<crate::contract::report::Failure> {
    if Errno::from_raw(failure.errno) == Errno::EPERM {
        failure.hint = match fstype {
            "sysfs" => "sysfs in a user namespace needs a network namespace of the container's own",
            "proc" => "proc in a user namespace needs a pid namespace of its own, and a fully visible /proc on the host",
            "mqueue" => "mqueue in a user namespace needs an ipc namespace of its own",
            _ => "this file system cannot be mounted from a user namespace",
        }
        .into();
    }
    failure
}

/// Security rule R14: the kernel's file systems are not mounted through a link.
fn target(root: &Root, mount: &Mount, fstype: &str) -> Outcome<OwnedFd> {
    let guarded = matches!(fstype, "proc" | "sysfs") || mount.destination == Path::new(DEV);
    if !guarded {
        let target = root.destination(&mount.destination, Target::Directory)?;
        return refuse_by_link(target.as_fd(), mount).map(|()| target);
    }
    match root.open_no_link(&mount.destination) {
        Err(f) if Errno::from_raw(f.errno) == Errno::ENOENT => {
            root.destination(&mount.destination, Target::Directory)
        }
        result => result,
    }
}

/// The other half of [`crate::plan`]'s list of places: a link of the image must not
/// lead a mount over what /proc and /sys say, where its destination may not be.
fn refuse_by_link(target: BorrowedFd<'_>, mount: &Mount) -> Outcome<()> {
    if ["/proc", "/sys"].iter().any(|tree| mount.destination.starts_with(tree)) {
        return Ok(());
    }
    let what = || format!("mount on {}", mount.destination.display());
    let magic = sys::file::filesystem(target).attempt(what)?;
    if [PROC_SUPER_MAGIC, SYSFS_MAGIC].contains(&magic) {
        let mut failure = refuse(what(), "it leads into the container's /proc or /sys");
        failure.hint =
            "the image has a symbolic link in this path: mount on what it points to, where that is allowed"
                .into();
        return Err(failure);
    }
    Ok(())
}

/// What is set when the mount is made. One that is copied into becomes read-only after it.
fn attrs_at_birth(mount: &Mount) -> u64 {
    let late = if mount.copy_up { MOUNT_ATTR_RDONLY } else { 0 };
    attrs_now(mount).set & !late
}

/// Whether it is an [`Unsealed`] one.
fn is_sealed_later(mount: &Mount) -> bool {
    let tmpfs = matches!(&mount.kind, MountKind::Fs { fstype, .. } if fstype == "tmpfs");
    tmpfs && mount.attrs.set & MOUNT_ATTR_RDONLY != 0 && mount.destination != Path::new(DEV)
}

/// What is set at once: `/dev` stays writable until its nodes are made, a tmpfs until
/// what is mounted in it is there.
fn attrs_now(mount: &Mount) -> Attrs {
    let dev = mount.destination == Path::new(DEV) && !matches!(mount.kind, MountKind::Bind { .. });
    if dev || is_sealed_later(mount) {
        return Attrs { set: mount.attrs.set & !MOUNT_ATTR_RDONLY, clear: mount.attrs.clear };
    }
    mount.attrs
}

/// Makes `/dev` read-only, where the config wants it, after its nodes are made.
///
/// # Errors
/// As mount_setattr(2).
pub fn seal_dev(root: &Root, mounts: &[Mount]) -> Outcome<()> {
    let wanted = mounts.iter().find(|m| {
        m.destination == Path::new(DEV) && attrs_now(m) != m.attrs && m.attrs.set & MOUNT_ATTR_RDONLY != 0
    });
    let Some(mount) = wanted else { return Ok(()) };
    let what = || "make /dev read-only".to_owned();
    let dev = root.open(&mount.destination).attempt(what)?;
    apply_attrs(dev.as_fd(), Depth::One, Attrs { set: MOUNT_ATTR_RDONLY, clear: 0 }).attempt(what)
}

/// Attributes (`attrs` are those that it has not yet) and propagation of an attached mount, in the config's order.
fn finish(tree: BorrowedFd<'_>, mount: &Mount, attrs: Attrs) -> Outcome<()> {
    let what = || format!("set the attributes of the mount on {}", mount.destination.display());
    let hint = "an attribute of a host's mount is locked in a user namespace: ask for it as well (nosuid, nodev, ro, …)";
    apply_attrs(tree, Depth::One, attrs).attempt(what).hint(Errno::EPERM, hint)?;
    apply_attrs(tree, Depth::Recursive, mount.recursive_attrs).attempt(what).hint(Errno::EPERM, hint)?;
    for (propagation, depth) in &mount.propagation {
        propagate(tree, *propagation, *depth).attempt(what)?;
    }
    Ok(())
}

fn propagate(tree: BorrowedFd<'_>, propagation: Propagation, depth: Depth) -> sys::Result<()> {
    sys::mount::set_attr(tree, depth, &Attr { propagation: sys::mount_flag(propagation), ..Attr::default() })
}
