//! The five capability sets (capabilities(7)). What is unknown or cannot be
//! granted is left out with a warning (config.md, "Linux Process"); nothing is
//! in a set that was not asked for.

use super::Capabilities;
use super::host::Host;
use super::problems::Problems;
use oci_spec::runtime::{Capabilities as Names, LinuxCapabilities};

/// Names by number (linux/capability.h).
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const POINTER: &str = "/process/capabilities";

/// The bit of a capability's name.
pub(crate) fn bit_of(name: &str) -> Option<u64> {
    NAMES.iter().position(|n| *n == name).map(|number| 1 << number)
}

/// The names in a mask, joined by spaces; `none` when it is empty.
pub(super) fn describe(mask: u64) -> String {
    let names: Vec<&str> =
        NAMES.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, n)| *n).collect();
    if names.is_empty() { "none".into() } else { names.join(" ") }
}

/// Whether the container's sets are bounded by the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// In a user namespace of its own every capability can be had.
    All,
    /// Those of the caller's bounding set.
    OfCaller,
}

/// The sets that can be granted. Without `capabilities` in the config they are empty.
pub(super) fn plan(
    sets: Option<&LinuxCapabilities>,
    grant: Grant,
    host: &Host,
    problems: &mut Problems,
) -> Capabilities {
    let Some(sets) = sets else { return Capabilities::default() };
    let kernel = u64::MAX >> (63 - host.last_capability.min(63));
    let grantable = if grant == Grant::All { kernel } else { kernel & host.bounding };
    let mut limit = |set: &str, names: &Option<Names>, limit: u64, why: &str| {
        let asked = mask(names);
        if asked & !limit != 0 {
            let left_out = describe(asked & !limit);
            problems.warn(format!("{POINTER}/{set}"), format!("left out, since {why}: {left_out}"));
        }
        asked & limit
    };
    let cannot = "the runtime cannot grant it on this host";
    let bounding = limit("bounding", sets.bounding(), grantable, cannot);
    let permitted = limit("permitted", sets.permitted(), grantable, cannot);
    let effective = limit("effective", sets.effective(), permitted, "it is not permitted");
    let inheritable = limit("inheritable", sets.inheritable(), bounding, "it is not in the bounding set");
    let ambient =
        limit("ambient", sets.ambient(), permitted & inheritable, "it is not both permitted and inheritable");
    Capabilities { bounding, effective, inheritable, permitted, ambient }
}

fn mask(names: &Option<Names>) -> u64 {
    // The OCI types print a capability without its prefix.
    names.iter().flatten().filter_map(|name| bit_of(&format!("CAP_{name}"))).fold(0, |all, bit| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Capability;

    fn sets(json: serde_json::Value) -> LinuxCapabilities {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn every_capability_of_the_spec_has_its_number() {
        for (number, name) in NAMES.iter().enumerate() {
            let known: Capability = serde_json::from_value((*name).into()).unwrap();
            assert_eq!(mask(&Some([known].into())), 1 << number, "{name}");
        }
        assert_eq!(bit_of("CAP_SYS_ADMIN"), Some(1 << 21));
        assert_eq!(bit_of("SYS_ADMIN"), None);
    }

    #[test]
    fn only_what_was_asked_for() {
        let mut problems = Problems::default();
        let asked = sets(serde_json::json!({"permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}));
        let got = plan(Some(&asked), Grant::OfCaller, &Host::sample(), &mut problems);
        assert_eq!(got, Capabilities { permitted: 1 << 5, effective: 1 << 5, ..Capabilities::default() });
        assert_eq!(plan(None, Grant::All, &Host::sample(), &mut problems), Capabilities::default());
        assert!(problems.warnings().is_empty());
    }

    #[test]
    fn what_cannot_be_granted_is_left_out_with_a_warning() {
        let host = Host { bounding: 1 << 5, ..Host::sample() };
        let asked = sets(serde_json::json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_CHOWN"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_KILL"],
        }));
        let mut problems = Problems::default();
        let got = plan(Some(&asked), Grant::OfCaller, &host, &mut problems);
        assert_eq!(got, Capabilities { bounding: 1 << 5, permitted: 1 << 5, ..Capabilities::default() });
        let warnings = problems.warnings();
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            let start = format!("/process/capabilities/{set}: left out");
            assert!(warnings.iter().any(|w| w.starts_with(&start)), "{set}: {warnings:?}");
        }
        let free = plan(Some(&asked), Grant::All, &host, &mut Problems::default());
        assert_eq!((free.permitted, free.inheritable, free.ambient), (1 << 5 | 1, 1, 0));
    }
}
