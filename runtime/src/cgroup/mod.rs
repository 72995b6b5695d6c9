//! The container's cgroup, on version 1, hybrid and version 2 hosts, through
//! the cgroup file system; with `--systemd-cgroup` as that of a unit of systemd
//! ([`systemd`]).
//!
//! [`plan::plan_on`] turns the config into a [`CgroupPlan`]: directories, and
//! what is written into which file; it is pure. [`Cgroup::create`] carries it
//! out, and [`Cgroup`] is the handle for everything later: joining,
//! signalling, freezing, removing. Nothing else of this crate knows the names of
//! cgroup files, or talks to systemd.

mod create;
pub mod device_program;
pub mod devices;
mod files;
pub mod handle;
mod join;
pub mod layout;
pub mod oom;
mod owner;
pub mod plan;
mod procs;
mod resources;
mod signal;
pub mod stats;
mod sub;
pub mod systemd;
pub mod update;

pub use handle::{Cgroup, CgroupPaths};
pub use join::Placed;
pub use layout::{HostCgroups, Layout};
pub use plan::{CgroupPlan, plan_on};
pub use sub::SubCgroups;

/// Who makes the container's cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// This runtime, through the file system.
    #[default]
    Cgroupfs,
    /// A systemd manager.
    Systemd,
}

#[cfg(test)]
mod tests;
