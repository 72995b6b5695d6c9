//! The pid namespace (pid_namespaces(7)). Created: the child of the clone is
//! its pid 1. Joined: setns(2) changes only where later children go, so a
//! helper process joins, and clones the container's init as its sibling.
//! Nothing has to be set up inside; `/proc` is a mount of the config.

use nix::sched::CloneFlags;

/// Its flag.
pub const FLAG: CloneFlags = CloneFlags::CLONE_NEWPID;
