//! What `exec` executes: the container's own process with what was typed in
//! place of it, or a process from a file. [`reduce`] keeps of a config what this
//! takes, so that the bundle may change or go once the container is created;
//! [`plan`] decides by the same rules as the container's creation.

use super::problems::Problems;
use super::{Host, Namespaces, Problem, Process, namespaces, process};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// Properties of `/linux` that say what a process is, or what ids it may have.
const LINUX: [&str; 5] = ["namespaces", "uidMappings", "gidMappings", "personality", "memoryPolicy"];

/// A config with nothing but what [`plan`] looks at.
pub(super) fn reduce(spec: &Spec) -> Value {
    let process = serde_json::to_value(spec.process()).unwrap_or_default();
    let mut linux = serde_json::Map::new();
    if let Some(all) = spec.linux() {
        let parts = [
            serde_json::to_value(all.namespaces()),
            serde_json::to_value(all.uid_mappings()),
            serde_json::to_value(all.gid_mappings()),
            serde_json::to_value(all.personality()),
            serde_json::to_value(all.memory_policy()),
        ];
        // What is absent is null, and stays away.
        let parts = LINUX.into_iter().zip(parts).filter_map(|(name, part)| Some((name, part.ok()?)));
        linux.extend(parts.filter(|(_, part)| !part.is_null()).map(|(name, part)| (name.into(), part)));
    }
    json!({"ociVersion": spec.version(), "process": process, "linux": linux})
}

/// What `exec` does.
#[derive(Clone, Debug)]
pub struct Exec {
    /// The process; its seccomp filter is the container's and added by the caller.
    pub process: Process,
    /// Those of the container.
    pub namespaces: Namespaces,
    /// What will have no effect.
    pub warnings: Vec<Problem>,
}

/// Decides what a [`reduce`]d config, with the process to be executed in it, means.
///
/// # Errors
/// All mistakes of the process; never an empty list.
pub fn plan(spec: &Spec, host: &Host, warnings: Vec<Problem>) -> Result<Exec, Vec<Problem>> {
    let mut problems = Problems::new(warnings);
    let linux = spec.linux().as_ref();
    let namespaces = namespaces::plan(linux, host, &mut problems);
    let process = process::plan(spec.process().as_ref(), linux, &namespaces, host, &mut problems);
    Ok(Exec { process, namespaces, warnings: problems.finish()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_config_plans_the_same_process() {
        let mut spec = super::super::default_spec();
        let text = serde_json::to_string(&reduce(&spec)).unwrap();
        let again: Spec = serde_json::from_str(&text).unwrap();
        let host = Host::sample();
        let (one, two) = (plan(&spec, &host, vec![]).unwrap(), plan(&again, &host, vec![]).unwrap());
        assert_eq!(format!("{:?}", one.process), format!("{:?}", two.process));
        assert_eq!(format!("{:?}", one.namespaces), format!("{:?}", two.namespaces));
        assert!(!text.contains("mounts") && !text.contains("seccomp"), "{text}");
        spec.set_process(None);
        assert!(plan(&spec, &host, vec![]).is_err());
    }
}
