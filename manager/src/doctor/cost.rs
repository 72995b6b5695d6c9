//! What one container costs the host, as it was measured. The only place that has these figures; the
//! estimate ([`super::capacity`]) and docs/doctor.md use them.
//!
//! Memory is that of released binaries (docs/performance.md, "Memory" and "Through gRPC", 1,000
//! containers); the rest was counted on Linux 6.18 beside 50 and 200 containers of one process each, with
//! seccomp off and a network namespace each.

/// PSS of a shim, in bytes: 257 KiB with 1,000 of them.
pub const SHIM_BYTES: u64 = 257 << 10;
/// What the daemon keeps of a container, in bytes: (36 - 8.1) MiB for 1,000.
pub const DAEMON_BYTES: u64 = 28 << 10;
/// What the kernel keeps, in bytes: namespaces, cgroups, mounts (495 KiB of `SUnreclaim`), page tables (96),
/// two kernel stacks (29), data of each CPU (11): what those lines of proc_meminfo(5) grew by with 200
/// containers on hybrid cgroups and 2 CPUs.
pub const KERNEL_BYTES: u64 = 631 << 10;
/// The least that the processes of a container take, in bytes: PSS of busybox's `sleep`, of which there are
/// 200.
pub const PROCESS_BYTES: u64 = 57 << 10;
/// Processes and threads: the shim has one, and so has the smallest container.
pub const TASKS: u64 = 2;
/// Those of the smallest container.
pub const TASKS_OF_CONTAINER: u64 = 1;
/// Those in the cgroup of the daemon: the shim's.
pub const TASKS_BESIDE_DAEMON: u64 = 1;
/// Descriptors in the daemon: three pidfds, and a socket with the rest packed in it: the two pipes of the output and
/// the two memories with what the shim has read and not logged.
pub const DAEMON_DESCRIPTORS: u64 = 4;
/// Descriptors of the daemon for itself and its clients.
pub const DAEMON_DESCRIPTORS_BASE: u64 = 64;
/// Open files of all processes: (1615 - 320) / 50.
pub const FILES: u64 = 26;
/// inotify watches of the daemon: the journal, and its directory.
pub const INOTIFY_WATCHES: u64 = 2;
/// inotify instances of the daemon, for all containers together.
pub const DAEMON_INOTIFY_INSTANCES: u64 = 2;
/// Namespaces of each kind but time.
pub const NAMESPACES: u64 = 1;
/// Keys: a session keyring, of the user that the container's root is on the host.
pub const KEYS: u64 = 1;
/// Bytes of such a key, of its description.
pub const KEY_BYTES: u64 = 11;
/// Mounts in the mount namespace of a container without volumes, which has a limit of its own.
pub const MOUNTS: u64 = 32;
/// Cgroups, in each hierarchy.
pub const CGROUPS: u64 = 1;
/// On the disk of `root`, in bytes, with an empty log: (4224 / 50) KiB.
pub const ROOT_BYTES: u64 = 84 << 10;
/// Files and directories there.
pub const ROOT_FILES: u64 = 9;
/// On the file system of `state`, in bytes: 816 / 50 KiB.
pub const STATE_BYTES: u64 = 16 << 10;
/// Files and directories there.
pub const STATE_FILES: u64 = 5;
/// What the log of a container may take by default, in bytes: 5 files of 16 MiB.
pub const LOG_BYTES: u64 = 80 << 20;
