//! All targets by name; one file each.

mod config;
mod cpuset;
mod devices;
mod exec_process;
mod idmaps;
mod journal;
mod messages;
mod mount_options;
mod quantity;
mod resources;
mod seccomp;

use std::sync::OnceLock;

/// Looks at one input; panics when a property does not hold.
pub type Target = fn(&[u8]);

/// Every target. The name is that of its corpus, too.
pub const TARGETS: [(&str, Target); 11] = [
    ("config", config::target),
    ("cpuset", cpuset::target),
    ("devices", devices::target),
    ("exec_process", exec_process::target),
    ("idmaps", idmaps::target),
    ("journal", journal::target),
    ("messages", messages::target),
    ("mount_options", mount_options::target),
    ("quantity", quantity::target),
    ("resources", resources::target),
    ("seccomp", seccomp::target),
];

/// The target of this name.
pub fn by_name(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(other, _)| *other == name).map(|(_, target)| *target)
}

/// The target that the environment names.
pub fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("SEXTANT_FUZZ_TARGET").expect("SEXTANT_FUZZ_TARGET names a target");
        by_name(&name).unwrap_or_else(|| panic!("no target is named {name:?}"))
    })
}
