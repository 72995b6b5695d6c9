//! What a plan is made of. Every choice in it is made: what is `Option` here is
//! absent on purpose. Made by [`super::plan`], carried out elsewhere.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

/// One mistake of a config, or something in it that will have no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer into config.json (RFC 6901), such as `/linux/namespaces/3/path`.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty where it is plain.
    pub hint: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.pointer, self.message)?;
        if !self.hint.is_empty() {
            write!(f, " (hint: {})", self.hint)?;
        }
        Ok(())
    }
}

/// Everything that creating a container will do, in the order of the work.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `ociVersion` of the config.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// Absolute path of the bundle directory.
    pub bundle: PathBuf,
    /// Annotations, unaltered.
    pub annotations: BTreeMap<String, String>,
    /// What is created, joined or left as the host's.
    pub namespaces: Namespaces,
    /// The root file system.
    pub rootfs: Rootfs,
    /// The mounts, in the config's order.
    pub mounts: Vec<Mount>,
    /// Device nodes: the spec's defaults, then the config's.
    pub devices: Vec<DeviceNode>,
    /// Paths that are hidden, with their pointers.
    pub masked: Vec<InnerPath>,
    /// Paths that become read-only.
    pub readonly: Vec<InnerPath>,
    /// Kernel parameters of owned namespaces.
    pub sysctls: Vec<Sysctl>,
    /// Host name of a UTS namespace that is created or joined.
    pub hostname: Option<String>,
    /// NIS domain name, likewise.
    pub domainname: Option<String>,
    /// The cgroup and its limits.
    pub cgroup: crate::cgroup::CgroupPlan,
    /// Hooks by kind.
    pub hooks: Hooks,
    /// The process.
    pub process: Process,
    /// What will have no effect, or is deprecated.
    pub warnings: Vec<Problem>,
}

/// The eight kinds, in the order in which they are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamespaceKind {
    /// user_namespaces(7)
    User,
    /// pid_namespaces(7)
    Pid,
    /// network_namespaces(7)
    Network,
    /// mount_namespaces(7)
    Mount,
    /// uts_namespaces(7)
    Uts,
    /// ipc_namespaces(7)
    Ipc,
    /// cgroup_namespaces(7)
    Cgroup,
    /// time_namespaces(7)
    Time,
}

impl NamespaceKind {
    /// All kinds, in the order in which they are entered.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Pid, Self::Network, Self::Mount, Self::Uts, Self::Ipc, Self::Cgroup, Self::Time];

    /// The name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Mount => "mount",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// The name in `/proc/PID/ns`.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mount => "mnt",
            other => other.name(),
        }
    }
}

/// What happens with a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The caller's is kept.
    Host,
    /// A new one.
    Create,
    /// The one that this file is.
    Join {
        /// Absolute path, such as `/proc/17/ns/net`.
        path: PathBuf,
        /// Place in the config.
        pointer: String,
    },
}

/// All namespaces; the maps apply when the user namespace is created.
#[derive(Clone, Debug)]
pub struct Namespaces {
    /// User namespace.
    pub user: Namespace,
    /// Pid namespace.
    pub pid: Namespace,
    /// Network namespace.
    pub network: Namespace,
    /// Mount namespace: never [`Namespace::Host`].
    pub mount: Namespace,
    /// UTS namespace.
    pub uts: Namespace,
    /// IPC namespace.
    pub ipc: Namespace,
    /// Cgroup namespace.
    pub cgroup: Namespace,
    /// Time namespace.
    pub time: Namespace,
    /// User ids of a created user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// Group ids of a created user namespace.
    pub gid_mappings: Vec<IdMapping>,
    /// Lines for `/proc/PID/timens_offsets`: clock name, seconds, nanoseconds.
    pub time_offsets: Vec<(String, i64, u32)>,
}

impl Namespaces {
    /// The one of this kind.
    pub fn get(&self, kind: NamespaceKind) -> &Namespace {
        match kind {
            NamespaceKind::User => &self.user,
            NamespaceKind::Pid => &self.pid,
            NamespaceKind::Network => &self.network,
            NamespaceKind::Mount => &self.mount,
            NamespaceKind::Uts => &self.uts,
            NamespaceKind::Ipc => &self.ipc,
            NamespaceKind::Cgroup => &self.cgroup,
            NamespaceKind::Time => &self.time,
        }
    }
}

/// One line of a uid_map or gid_map (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

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

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The path below `/proc/sys`, such as `net/ipv4/ip_forward`: no `..`, checked.
    pub path: PathBuf,
    /// The key as in the config.
    pub key: String,
    /// The value: no newline, checked.
    pub value: String,
}

/// All hooks (runtime-spec, "POSIX-platform Hooks").
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// In the runtime namespace, after the environment is made (deprecated).
    pub prestart: Vec<Hook>,
    /// In the runtime namespace, likewise.
    pub create_runtime: Vec<Hook>,
    /// In the container namespace, before pivot_root.
    pub create_container: Vec<Hook>,
    /// In the container, before the user's process.
    pub start_container: Vec<Hook>,
    /// In the runtime namespace, after the user's process was executed.
    pub poststart: Vec<Hook>,
    /// In the runtime namespace, after deletion.
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Absolute path.
    pub path: PathBuf,
    /// argv, argv[0] included.
    pub args: Vec<CString>,
    /// The environment, whole.
    pub env: Vec<CString>,
    /// Seconds after which it is killed.
    pub timeout: Option<u32>,
    /// Place in the config, such as `/hooks/prestart/0`.
    pub pointer: String,
}

/// The user's process.
#[derive(Clone, Debug)]
pub struct Process {
    /// argv; not empty.
    pub args: Vec<CString>,
    /// KEY=VALUE.
    pub env: Vec<CString>,
    /// Absolute path inside the root.
    pub cwd: PathBuf,
    /// A pseudo-terminal is made and its master sent to `--console-socket`.
    pub terminal: bool,
    /// Rows and columns of it.
    pub console_size: Option<(u16, u16)>,
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// umask(2), where given.
    pub umask: Option<u32>,
    /// The five sets.
    pub capabilities: Capabilities,
    /// setrlimit(2), in order.
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// Written to oom_score_adj, where given.
    pub oom_score_adj: Option<i32>,
    /// AppArmor profile, empty where none.
    pub apparmor_profile: String,
    /// SELinux label, empty where none.
    pub selinux_label: String,
    /// The compiled seccomp filter.
    pub seccomp: Option<crate::seccomp::Filter>,
}

/// Capability sets as bit masks (capabilities(7)); bit N is capability N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Limits what execve(2) can gain.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// Kept over execve(2) of a file with inheritable capabilities.
    pub inheritable: u64,
    /// What the effective set may take from.
    pub permitted: u64,
    /// Kept over execve(2) of any file.
    pub ambient: u64,
}

/// One resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*` as setrlimit(2) numbers it.
    pub resource: u32,
    /// Its name in the config.
    pub name: &'static str,
    /// Soft limit; `u64::MAX` is infinity.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
    /// Index in the config.
    pub index: usize,
}
