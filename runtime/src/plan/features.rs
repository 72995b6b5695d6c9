//! `features` (runtime-spec, "Features Structure"): what this runtime can do,
//! made from the tables that the planner itself uses, or by asking it.
//! What the kernel has of it is added in [`crate::commands::features`].

use super::problems::Problems;
use super::{NamespaceKind, attributes, capabilities, mount_options, unsupported};
use crate::seccomp::known;
use serde_json::{Value, json};

/// Annotations that change what is done on the host: whoever takes a config
/// from somebody else should remove them.
const UNSAFE_ANNOTATIONS: [&str; 4] = ["bundle", "dev.sextant.", "org.criu.config", "org.systemd.property."];

/// The structure as JSON.
pub fn features() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": crate::contract::OCI_VERSION,
        "hooks": [
            "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
        ],
        "mountOptions": mount_options::names(),
        "linux": {
            "namespaces": NamespaceKind::ALL.map(NamespaceKind::name),
            "capabilities": capabilities::NAMES.as_slice(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": known::actions(),
                "operators": known::operators(),
                "archs": known::architectures(),
                "knownFlags": known::flags(),
                "supportedFlags": known::flags(),
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": intel_rdt(),
            "memoryPolicy": { "modes": attributes::MEMORY_MODES, "flags": attributes::MEMORY_FLAGS },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": accepts("/linux/netDevices", json!({"eth0": {}})) },
        },
        "annotations": {
            "dev.sextant.version": env!("CARGO_PKG_VERSION"),
            // What callers of runc ask before they offer checkpoints.
            "org.opencontainers.runc.checkpoint.enabled": "true",
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}

fn intel_rdt() -> Value {
    let enabled = accepts("/linux/intelRdt", json!({"closID": "x"}));
    let has = |member: &str, value: Value| enabled && accepts("/linux/intelRdt", json!({ member: value }));
    json!({
        "enabled": enabled,
        "schemata": has("schemata", json!(["L3:0=f"])),
        "monitoring": has("enableMonitoring", json!(true)),
    })
}

/// Whether the loader knows this field, and the planner does not refuse it as
/// one that is not carried out.
fn accepts(pointer: &str, value: Value) -> bool {
    let mut config = json!({"ociVersion": crate::contract::OCI_VERSION, "linux": {}});
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    if let Some(Value::Object(members)) = config.pointer_mut(parent) {
        members.insert(name.into(), value);
    }
    let Ok(bundle) = crate::bundle::Bundle::parse("".as_ref(), config.to_string().as_bytes()) else {
        return false;
    };
    let mut problems = Problems::default();
    unsupported::check(&bundle.spec, &mut problems);
    bundle.warnings.is_empty() && problems.finish().is_ok_and(|warnings| warnings.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_form_of_the_spec() {
        let features: oci_spec::runtime::Features = serde_json::from_value(features()).unwrap();
        assert_eq!(features.oci_version_max(), "1.3.0");
        assert!(features.mount_options().as_ref().unwrap().contains(&"rro".to_owned()));
        let linux = features.linux().as_ref().unwrap();
        assert_eq!(linux.namespaces().as_ref().unwrap().len(), 8);
        assert_eq!(linux.seccomp().as_ref().unwrap().operators().as_ref().unwrap().len(), 7);
    }

    #[test]
    fn what_is_refused_is_no_feature() {
        assert!(!accepts("/vm", json!({"kernel": {"path": "/k"}, "hypervisor": {"path": "/h"}})));
        assert!(!accepts("/linux/noSuchField", json!(1)));
        assert!(accepts("/linux/sysctl", json!({"kernel.shm_rmid_forced": "1"})));
    }
}
