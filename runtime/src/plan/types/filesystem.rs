//! The root, mounts, paths and devices of a plan.

use super::IdMapping;
use std::path::PathBuf;

/// Mount propagation (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// MS_SHARED
    Shared,
    /// MS_SLAVE
    Slave,
    /// MS_PRIVATE
    Private,
    /// MS_UNBINDABLE
    Unbindable,
}

/// Of one mount, or of it and all below it (MS_REC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// That mount only.
    One,
    /// The whole tree.
    Recursive,
}

/// The root file system.
#[derive(Clone, Debug)]
pub struct Rootfs {
    /// Absolute path on the host, as given (not resolved).
    pub path: PathBuf,
    /// `root.readonly`.
    pub readonly: bool,
    /// `linux.rootfsPropagation`; absent: the host's mounts propagate in
    /// (rslave), the container's not out, as runc does.
    pub propagation: Option<(Propagation, Depth)>,
    /// The root is id-mapped to the container's user namespace, so that files
    /// of host id N appear as id N inside (annotation
    /// `dev.sextant.rootfs.idmap`, for a root directory that many containers share).
    pub idmapped: bool,
}

/// Mount attributes to set and to clear (`MOUNT_ATTR_*`, mount_setattr(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Set these.
    pub set: u64,
    /// Clear these (after which `set` is applied).
    pub clear: u64,
}

/// One entry of `mounts`.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Its index in the config; the pointer is `/mounts/INDEX`.
    pub index: usize,
    /// Absolute, normalized path inside the root; resolved in the root only.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Attributes of this mount.
    pub attrs: Attrs,
    /// Attributes of this mount and all below it (`rro`, `rnosuid`, …).
    pub recursive_attrs: Attrs,
    /// Changes of propagation, in order.
    pub propagation: Vec<(Propagation, Depth)>,
    /// `idmap`, `ridmap`, or mappings of its own.
    pub idmap: Option<MountIdmap>,
    /// Copy what lies at the destination into the fresh file system (`tmpcopyup`).
    pub copy_up: bool,
}

/// Id mapping of a mount (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountIdmap {
    /// Its own mappings; empty: those of the container's user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// Likewise.
    pub gid_mappings: Vec<IdMapping>,
    /// `ridmap` maps the mounts below as well.
    pub depth: Depth,
}

impl MountIdmap {
    /// Whether the mount is mapped like the container's user namespace.
    pub fn is_the_containers(&self) -> bool {
        self.uid_mappings.is_empty()
    }
}

/// What a mount mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// `bind` or `rbind`.
        depth: Depth,
    },
    /// A new file system (fsopen(2)).
    Fs {
        /// Its type, such as `tmpfs`.
        fstype: String,
        /// The source, where the type has one.
        source: String,
        /// fsconfig(2) options in order: a flag, or a key with its value.
        options: Vec<(String, Option<String>)>,
    },
    /// What an earlier entry has mounted there, changed.
    Remount {
        /// fsconfig(2) options in order, as those of [`MountKind::Fs`].
        options: Vec<(String, Option<String>)>,
    },
    /// The container's cgroup as `/sys/fs/cgroup`, in the host's layout.
    Cgroup,
}

/// A path inside the root, with its place in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerPath {
    /// Absolute, normalized; resolved in the root only.
    pub path: PathBuf,
    /// Index in its list.
    pub index: usize,
}

/// A device node to make below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// Absolute path inside the root.
    pub path: PathBuf,
    /// Kind of node.
    pub kind: DeviceKind,
    /// Device number (0, 0 for a fifo).
    pub major: u32,
    /// See `major`.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
    /// Place in the config; `None` for one of the spec's default devices.
    pub index: Option<usize>,
}

/// mknod(2) types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `c`, `u`
    Char,
    /// `b`
    Block,
    /// `p`
    Fifo,
}
