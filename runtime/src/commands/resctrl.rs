//! The two flags of `update` that are about resctrl. The group itself is
//! [`crate::resctrl`]'s.

use crate::report::{Attempt, Outcome, refuse};
use crate::resctrl::{ROOT, is_mounted};
use crate::store::Stored;
use std::path::{Path, PathBuf};

/// What was asked for: the schema, its resource and flag, runc's words where it is missing.
type Asked<'a> = (&'a str, &'static str, &'static str, &'static str);

fn asked<'a>(
    l3_cache: Option<&'a str>,
    memory_bandwidth: Option<&'a str>,
) -> impl Iterator<Item = Asked<'a>> {
    let all = [
        (l3_cache, "L3", "--l3-cache-schema", "Intel RDT/CAT: l3 cache schema is not enabled"),
        (memory_bandwidth, "MB", "--mem-bw-schema", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ];
    let given = |schema: Option<&'a str>| schema.filter(|s| !s.is_empty());
    all.into_iter().filter_map(move |(s, resource, flag, because)| Some((given(s)?, resource, flag, because)))
}

/// Whether the machine has what is asked for; before anything else is changed.
///
/// # Errors
/// Refused where it has no such control.
pub(super) fn check(l3_cache: Option<&str>, memory_bandwidth: Option<&str>) -> Outcome<()> {
    match asked(l3_cache, memory_bandwidth).find(|(_, resource, ..)| !is_enabled(resource)) {
        None => Ok(()),
        Some((_, _, flag, because)) => {
            let mut failure = refuse("update the limits", because);
            failure.pointer = flag.into();
            failure.hint = format!("needs a processor that has it, and resctrl mounted at {ROOT}");
            Err(failure)
        }
    }
}

/// Writes the schemata; makes the group, with the container's init in it, where
/// the config had not asked for one.
///
/// # Errors
/// As mkdir(2) and write(2).
pub(super) fn update(stored: &Stored, l3_cache: Option<&str>, memory_bandwidth: Option<&str>) -> Outcome<()> {
    for (schema, resource, ..) in asked(l3_cache, memory_bandwidth) {
        let file = group(stored)?.join("schemata");
        let line =
            if schema.contains(':') { format!("{schema}\n") } else { format!("{resource}:{schema}\n") };
        std::fs::write(&file, line).attempt(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn is_enabled(resource: &str) -> bool {
    is_mounted() && Path::new(ROOT).join("info").join(resource).is_dir()
}

fn group(stored: &Stored) -> Outcome<PathBuf> {
    if let Some(place) = &stored.resctrl {
        return Ok(place.group.clone());
    }
    let group = Path::new(ROOT).join(&stored.state.id);
    if !group.is_dir() {
        std::fs::create_dir(&group).attempt(|| format!("make the group {}", group.display()))?;
        let tasks = group.join("tasks");
        std::fs::write(&tasks, stored.state.pid.to_string())
            .attempt(|| format!("write {}", tasks.display()))?;
    }
    Ok(group)
}
