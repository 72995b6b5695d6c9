//! What a plan is made of. Every choice in it is made: what is `Option` here is
//! absent on purpose. Made by [`super::plan`], carried out elsewhere.

mod attributes;
mod filesystem;
mod namespaces;

pub use attributes::{Attributes, ExecAffinity, IoPriority, MemoryPolicy, NumberSet, Scheduler};
pub use filesystem::{
    Attrs, Depth, DeviceKind, DeviceNode, InnerPath, Mount, MountIdmap, MountKind, Propagation, Rootfs,
};
pub use namespaces::{IdMapping, Namespace, NamespaceKind, Namespaces, NetDevice};

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
    /// Interfaces of the host that become the container's.
    pub net_devices: Vec<NetDevice>,
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
    /// Its group in resctrl.
    pub intel_rdt: Option<IntelRdt>,
    /// Hooks by kind.
    pub hooks: Hooks,
    /// The process.
    pub process: Process,
    /// What a later `exec` needs of the config ([`super::exec`]).
    pub exec: serde_json::Value,
    /// What will have no effect, or is deprecated.
    pub warnings: Vec<Problem>,
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

/// A group of resctrl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntelRdt {
    /// Its name: `closID`, or the container's id; `/` is the group that everything is in.
    pub group: String,
    /// Whether it was given a name, so that others may use it as well.
    pub named: bool,
    /// Lines of `l3CacheSchema`.
    pub l3_cache: Vec<String>,
    /// Lines of `memBwSchema`.
    pub memory_bandwidth: Vec<String>,
    /// Lines of `schemata`.
    pub schemata: Vec<String>,
    /// Whether the container is counted by itself.
    pub monitoring: bool,
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
    /// The argument vector, `argv[0]` included.
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
    /// Scheduling, personality, memory policy.
    pub attributes: Attributes,
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
