//! The container's cgroup, on version 1, hybrid and version 2 hosts, through
//! the cgroup file system.
//!
//! [`plan::plan_on`] turns the config into a [`CgroupPlan`]: directories, and
//! what is written into which file; it is pure. [`Cgroup::create`] carries it
//! out, and [`Cgroup`] is the handle for everything later: joining,
//! signalling, freezing, removing. Nothing here talks to systemd, and nothing
//! else of this crate knows the names of cgroup files.

mod create;
pub mod device_program;
pub mod devices;
mod files;
pub mod handle;
pub mod layout;
pub mod oom;
pub mod plan;
mod procs;
mod resources;
mod signal;
pub mod stats;
mod sub;
pub mod update;

pub use handle::{Cgroup, CgroupPaths};
pub use layout::{HostCgroups, Layout};
pub use plan::{CgroupPlan, plan_on};
pub use sub::SubCgroups;

#[cfg(test)]
mod tests;
