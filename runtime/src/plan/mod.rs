//! Spec × Host → Plan. Pure: every rule that the runtime relies on is checked
//! here, all mistakes are reported at once with their JSON pointers, and
//! nothing is made. What follows (creating the container) carries no undecided
//! choice and never looks at the OCI types again.
//!
//! `types` holds the result, one file per subject its making, [`host`] the
//! facts of the machine, [`explain`] its description for people.

use crate::bundle::Bundle;
use problems::Problems;
use std::path::PathBuf;

mod attributes;
pub(crate) mod capabilities;
pub mod default;
mod devices;
pub mod exec;
pub mod explain;
pub mod features;
mod hooks;
pub mod host;
mod ids;
mod intel_rdt;
mod mount_options;
mod mount_places;
mod mounts;
mod namespaces;
mod net_devices;
mod owner;
mod paths;
mod problems;
mod process;
mod rootfs;
mod sysctl;
mod types;
mod unsupported;

pub use default::{default_spec, isolated_spec, rootless_spec};
pub use explain::explain;
pub use host::Host;
pub use types::{
    Attributes, Attrs, Capabilities, Depth, DeviceKind, DeviceNode, ExecAffinity, Hook, Hooks, IdMapping,
    InnerPath, IntelRdt, IoPriority, MemoryPolicy, Mount, MountIdmap, MountKind, Namespace, NamespaceKind,
    Namespaces, NetDevice, NumberSet, Plan, Problem, Process, Propagation, Rlimit, Rootfs, Scheduler, Sysctl,
};

/// Decides everything that creating the container `id` from `bundle` on `host` will do.
///
/// # Errors
/// All mistakes of the config; never an empty list.
pub fn plan(bundle: &Bundle, id: &str, host: &Host) -> Result<Plan, Vec<Problem>> {
    let spec = &bundle.spec;
    let mut problems = Problems::new(bundle.warnings.clone());
    if let Err(why) = crate::contract::check_id(id) {
        problems.refuse("", why);
    }
    check_version(spec.version(), &mut problems);
    unsupported::check(spec, &mut problems);
    if bundle.annotations.contains_key("") {
        problems.refuse("/annotations/", "the key of an annotation is empty");
    }

    let linux = spec.linux().as_ref();
    let namespaces = namespaces::plan(linux, host, &mut problems);
    let net_devices = net_devices::plan(linux, &namespaces, host, &mut problems);
    let rootfs = rootfs::plan(bundle, &namespaces, &mut problems);
    let mounts = mounts::plan(bundle, &namespaces, host, &mut problems);
    let devices = devices::plan(linux, &namespaces, &mut problems);
    let masked = paths::list(linux.and_then(|l| l.masked_paths().as_deref()), MASKED, &mut problems);
    let readonly = paths::list(linux.and_then(|l| l.readonly_paths().as_deref()), READONLY, &mut problems);
    let sysctls = sysctl::plan(spec, &namespaces, &mut problems);
    let hostname = namespaces::uts_name(spec.hostname().as_deref(), "/hostname", &namespaces, &mut problems);
    let domainname =
        namespaces::uts_name(spec.domainname().as_deref(), "/domainname", &namespaces, &mut problems);
    let hooks = hooks::plan(spec.hooks().as_ref(), &mut problems);
    let mut process = process::plan(spec.process().as_ref(), linux, &namespaces, host, &mut problems);
    process.seccomp = seccomp(linux, &mut problems);
    let intel_rdt = intel_rdt::plan(linux, id, &mut problems);
    let mut cgroup = cgroup(spec, id, host, &mut problems);
    cgroup.owner = owner::of_cgroup(process.uid, &namespaces, &mounts, host.cgroups.layout);

    let warnings = problems.finish()?;
    Ok(Plan {
        oci_version: spec.version().clone(),
        id: id.to_owned(),
        bundle: PathBuf::from(&bundle.dir),
        annotations: bundle.annotations.clone(),
        namespaces,
        net_devices,
        rootfs,
        mounts,
        devices,
        masked,
        readonly,
        sysctls,
        hostname,
        domainname,
        cgroup,
        intel_rdt,
        hooks,
        process,
        exec: exec::reduce(spec),
        warnings,
    })
}

const MASKED: &str = "/linux/maskedPaths";
const READONLY: &str = "/linux/readonlyPaths";

/// Version 1 of the runtime-spec in any minor version (config.md, "Specification version").
fn check_version(version: &str, problems: &mut Problems) {
    const POINTER: &str = "/ociVersion";
    if version.is_empty() {
        return problems.refuse(POINTER, "ociVersion is required");
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Option<Vec<u32>> = core.split('.').map(|n| n.parse().ok()).collect();
    match numbers.as_deref() {
        Some([1, _, _]) => {}
        Some([_, _, _]) => problems.refuse_hint(
            POINTER,
            format!("version {version} of the runtime-spec is not implemented"),
            "versions 1.0.0 up to 1.3.0 are",
        ),
        _ => problems.refuse(POINTER, format!("{version:?} is not a version such as 1.3.0")),
    }
}

fn seccomp(
    linux: Option<&oci_spec::runtime::Linux>,
    problems: &mut Problems,
) -> Option<crate::seccomp::Filter> {
    let spec = linux?.seccomp().as_ref()?;
    problems.absorb(|warnings| crate::seccomp::compile(spec, warnings).map(Some))
}

fn cgroup(
    spec: &oci_spec::runtime::Spec,
    id: &str,
    host: &Host,
    problems: &mut Problems,
) -> crate::cgroup::CgroupPlan {
    problems.absorb(|warnings| crate::cgroup::plan_on(spec, id, &host.cgroups, warnings))
}

#[cfg(test)]
mod tests;
