//! Spec × hierarchies → [`CgroupPlan`].

use super::layout::{HostCgroups, Layout, Version};
use crate::plan::Problem;
use oci_spec::runtime::Spec;
use std::path::PathBuf;

/// Whether the container can do without its cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Necessity {
    /// The config neither names a cgroup nor asks for a limit: without the
    /// permission to make one, the container runs without, with a warning.
    #[default]
    Implied,
    /// It does: failing to make it is an error.
    Asked,
}

/// A directory to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The hierarchy's name as in `/proc/PID/cgroup`; empty for the unified one.
    pub hierarchy: String,
    /// Its interface.
    pub version: Version,
    /// Its controllers.
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// Relative to `mount`, of normal components only, not empty.
    pub path: PathBuf,
}

/// One value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Index into [`CgroupPlan::directories`].
    pub directory: usize,
    /// File in that directory.
    pub file: String,
    /// What is written, in one write.
    pub value: String,
    /// File and value to use instead where `file` does not exist.
    pub otherwise: Option<(String, String)>,
    /// A file with the present usage, in bytes: a limit below it is refused.
    pub usage: Option<&'static str>,
    /// What it is: `memory limit 1048576`.
    pub what: String,
    /// Place in the config.
    pub pointer: String,
}

/// The cgroup that the config wants, decided.
#[derive(Clone, Debug, Default)]
pub struct CgroupPlan {
    /// The host's layout.
    pub layout: Layout,
    /// Whether the container can do without.
    pub necessity: Necessity,
    /// One directory a hierarchy; empty where the host has none.
    pub directories: Vec<Directory>,
    /// What to write, in this order.
    pub settings: Vec<Setting>,
}

/// Decides the cgroup of container `id`.
///
/// # Errors
/// All mistakes of `/linux/cgroupsPath` and `/linux/resources`, at once.
pub fn plan_on(
    _spec: &Spec,
    _id: &str,
    host: &HostCgroups,
    _warnings: &mut Vec<Problem>,
) -> Result<CgroupPlan, Vec<Problem>> {
    Ok(CgroupPlan { layout: host.layout, ..CgroupPlan::default() })
}
