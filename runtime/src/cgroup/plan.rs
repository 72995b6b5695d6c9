//! Spec × hierarchies → [`CgroupPlan`]: the path here, what is written into
//! the files in [`super::resources`], device rules in [`super::devices`].
//!
//! `cgroupsPath` means what it means to runc with its cgroupfs driver: an
//! absolute path is taken from the root of each hierarchy; a relative one, or
//! the container's id in its place, from the caller's own cgroup, on version 2
//! from the parent of that (which has no processes of its own, so that it can
//! enable controllers). Unlike runc, `..` is refused instead of being cut off.

use super::devices::{self, Devices};
use super::layout::{Hierarchy, HostCgroups, Layout, Version};
use super::resources::{self, Builder};
use super::systemd::{self, UnitPlan};
use crate::plan::Problem;
use oci_spec::runtime::Spec;
use std::path::{Component, Path, PathBuf};

pub(super) const PATH: &str = "/linux/cgroupsPath";

/// Whether the container can do without its cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Necessity {
    /// The config neither names a cgroup nor asks for a limit: without the
    /// permission to make one, the container runs without, with a warning.
    #[default]
    Implied,
    /// It asks for limits, but names no cgroup: whoever is not root of the host
    /// runs it without limits where cgroups are not delegated, with a warning.
    Limits,
    /// It names its cgroup: failing to make it is an error.
    Named,
}

/// Who may do without a cgroup that he cannot make (`--rootless`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MayLack {
    /// `auto`: a user who is not root of the host, unless the config names the cgroup.
    #[default]
    Unprivileged,
    /// `true`: everybody, whatever the config says.
    Anybody,
    /// `false`: nobody.
    Nobody,
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
    /// Who can do without.
    pub may_lack: MayLack,
    /// One directory a hierarchy; empty where the host has none.
    pub directories: Vec<Directory>,
    /// What to write, in this order.
    pub settings: Vec<Setting>,
    /// Who enforces the device rules, and which.
    pub devices: Devices,
    /// The unit of systemd that it belongs to, with that driver.
    pub unit: Option<UnitPlan>,
    /// The host's id of the container's user, to whom it is delegated.
    pub owner: Option<u32>,
}

impl CgroupPlan {
    /// Where it will be.
    pub fn paths(&self) -> super::CgroupPaths {
        let place = |d: &Directory| (d.hierarchy.clone(), d.mount.join(&d.path));
        super::CgroupPaths {
            layout: self.layout,
            paths: self.directories.iter().map(place).collect(),
            systemd: self.unit.as_ref().map(|plan| plan.unit.clone()),
        }
    }
}

/// Decides the cgroup of container `id`.
///
/// # Errors
/// All mistakes of `/linux/cgroupsPath` and `/linux/resources`, at once.
pub fn plan_on(
    spec: &Spec,
    id: &str,
    host: &HostCgroups,
    warnings: &mut Vec<Problem>,
) -> Result<CgroupPlan, Vec<Problem>> {
    let linux = spec.linux().as_ref();
    let configured = linux.and_then(|l| l.cgroups_path().as_deref()).filter(|p| *p != Path::new(""));
    let mut builder = Builder::new(host, warnings);
    let unit = match &host.systemd {
        None => {
            check_path(configured, &mut builder);
            None
        }
        Some(manager) => {
            let none = std::collections::HashMap::new();
            let annotations = spec.annotations().as_ref().unwrap_or(&none);
            systemd::plan(configured, id, annotations, manager, &mut builder)
        }
    };
    if let Some(resources) = linux.and_then(|l| l.resources().as_ref()) {
        resources::plan(resources, spec.version(), &mut builder);
    }
    let devices = devices::plan(linux, &mut builder);
    if host.layout == Layout::None && configured.is_some() {
        builder.refuse_hint(PATH, "no cgroup file system is mounted", "mount one at /sys/fs/cgroup");
    }
    let (settings, problems) = builder.finish();
    if !problems.is_empty() {
        return Err(problems);
    }
    let necessity = match (configured, settings.is_empty()) {
        // Whoever asks for systemd's driver asks for a cgroup.
        _ if unit.is_some() => Necessity::Named,
        (None, true) => Necessity::Implied,
        (None, false) => Necessity::Limits,
        (Some(_), _) => Necessity::Named,
    };
    let path = configured.unwrap_or(Path::new(id));
    let (unit, directories) = match unit {
        Some((unit, directories)) => (Some(unit), directories),
        None => (None, host.hierarchies.iter().map(|h| directory(h, path)).collect()),
    };
    let (layout, may_lack) = (host.layout, MayLack::default());
    Ok(CgroupPlan { layout, necessity, may_lack, directories, settings, devices, unit, owner: None })
}

fn check_path(path: Option<&Path>, builder: &mut Builder<'_>) {
    let Some(path) = path else { return };
    let components = || path.components();
    if components().any(|c| c == Component::ParentDir) {
        builder.refuse(PATH, format!("{path:?} contains \"..\""));
    } else if !components().any(|c| matches!(c, Component::Normal(_))) {
        builder.refuse(PATH, format!("{path:?} is the root cgroup, which cannot be a container's"));
    }
    if path.to_string_lossy().chars().any(char::is_control) {
        builder.refuse(PATH, format!("{path:?} contains a control character"));
    }
}

fn directory(hierarchy: &Hierarchy, path: &Path) -> Directory {
    let base = match (path.is_absolute(), hierarchy.version) {
        (true, _) => Path::new(""),
        (false, Version::V1) => &hierarchy.own,
        (false, Version::V2) => hierarchy.own.parent().unwrap_or(Path::new("")),
    };
    let normal = path.components().filter(|c| matches!(c, Component::Normal(_)));
    Directory {
        hierarchy: hierarchy.name.clone(),
        version: hierarchy.version,
        controllers: hierarchy.controllers.clone(),
        mount: hierarchy.mount.clone(),
        path: base.components().chain(normal).collect(),
    }
}
