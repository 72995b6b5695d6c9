//! The container's group in resctrl (Documentation/filesystems/resctrl.rst),
//! for the two flags of `update` that are about it.

use crate::report::{Attempt, Outcome, refuse};
use crate::store::Stored;
use nix::sys::statfs::statfs;
use std::path::{Path, PathBuf};

/// Where resctrl is mounted.
const ROOT: &str = "/sys/fs/resctrl";

/// `RDTGROUP_SUPER_MAGIC` (linux/magic.h).
const MAGIC: i64 = 0x765_5821;

/// Writes the schemata; makes the group, with the container's init in it, where
/// the config had not asked for one.
///
/// # Errors
/// Refused where the machine has no such control; as mkdir(2) and write(2).
pub(super) fn update(stored: &Stored, l3_cache: Option<&str>, memory_bandwidth: Option<&str>) -> Outcome<()> {
    let asked = [
        (l3_cache, "L3", "--l3-cache-schema", "Intel RDT/CAT: l3 cache schema is not enabled"),
        (memory_bandwidth, "MB", "--mem-bw-schema", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ];
    for (schema, resource, flag, because) in asked {
        let Some(schema) = schema.filter(|s| !s.is_empty()) else { continue };
        if !is_enabled(resource) {
            let mut failure = refuse("update the limits", because);
            failure.pointer = flag.into();
            failure.hint = format!("needs a processor that has it, and resctrl mounted at {ROOT}");
            return Err(failure);
        }
        let file = group(stored)?.join("schemata");
        let line =
            if schema.contains(':') { format!("{schema}\n") } else { format!("{resource}:{schema}\n") };
        std::fs::write(&file, line).attempt(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn is_enabled(resource: &str) -> bool {
    #[allow(clippy::useless_conversion, reason = "the type of a magic number differs between targets")]
    let is_mounted = statfs(ROOT).is_ok_and(|s| i64::from(s.filesystem_type().0) == MAGIC);
    is_mounted && Path::new(ROOT).join("info").join(resource).is_dir()
}

fn group(stored: &Stored) -> Outcome<PathBuf> {
    let group = Path::new(ROOT).join(&stored.state.id);
    if !group.is_dir() {
        std::fs::create_dir(&group).attempt(|| format!("make the group {}", group.display()))?;
        let tasks = group.join("tasks");
        std::fs::write(&tasks, stored.state.pid.to_string())
            .attempt(|| format!("write {}", tasks.display()))?;
    }
    Ok(group)
}
