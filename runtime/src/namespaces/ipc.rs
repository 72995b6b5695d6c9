//! The IPC namespace (ipc_namespaces(7)): System V objects and POSIX message
//! queues. Nothing has to be set up inside; its sysctls and the mqueue file
//! system come with the config.

use nix::sched::CloneFlags;

/// Its flag.
pub const FLAG: CloneFlags = CloneFlags::CLONE_NEWIPC;
