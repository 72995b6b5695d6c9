//! Namespaces and id maps of a plan, and the interfaces that move.

use std::path::PathBuf;

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

/// A network interface of the host that becomes the container's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container, or a template of it.
    pub name: String,
    /// Place in the config.
    pub pointer: String,
}

impl NetDevice {
    /// Whether the name has a `%d` for the lowest number that is free.
    pub fn is_template(&self) -> bool {
        self.name.contains("%d")
    }
}
