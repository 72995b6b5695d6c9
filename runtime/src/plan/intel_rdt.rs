//! `linux.intelRdt` (config-linux.md, "IntelRdt"): the group of resctrl that the
//! container's processes are in, and the lines of its schemata. What is done with
//! it is [`crate::resctrl`]'s.

use super::IntelRdt;
use super::problems::Problems;
use oci_spec::runtime::{Linux, LinuxIntelRdt};

const POINTER: &str = "/linux/intelRdt";

/// Names that the root of resctrl has for other things.
const TAKEN: [&str; 5] = [".", "..", "info", "mon_data", "mon_groups"];

/// What is asked for.
pub(super) fn plan(linux: Option<&Linux>, id: &str, problems: &mut Problems) -> Option<IntelRdt> {
    let spec = linux?.intel_rdt().as_ref()?;
    warn_of_old_flags(spec, problems);
    let clos = spec.clos_id().as_deref().filter(|clos| !clos.is_empty());
    if let Some(clos) = clos.filter(|clos| *clos != "/") {
        let odd = clos.contains(|c: char| c == '/' || c.is_control());
        if odd || TAKEN.contains(&clos) || clos.len() > 255 {
            problems.refuse_hint(
                format!("{POINTER}/closID"),
                format!("{clos:?} is no name of a group of resctrl"),
                "a name of one directory, or / for the group that everything is in",
            );
        }
    }
    Some(IntelRdt {
        group: clos.unwrap_or(id).to_owned(),
        named: clos.is_some(),
        l3_cache: lines(spec.l3_cache_schema().as_deref(), "MB"),
        memory_bandwidth: lines(spec.mem_bw_schema().as_deref(), "L3"),
        schemata: schemata(spec, problems),
        monitoring: spec.enable_monitoring().unwrap_or(false),
    })
}

#[allow(deprecated, reason = "configs of earlier versions of the spec have them")]
fn warn_of_old_flags(spec: &LinuxIntelRdt, problems: &mut Problems) {
    for (set, field) in [(spec.enable_cmt(), "enableCMT"), (spec.enable_mbm(), "enableMBM")] {
        if *set == Some(true) {
            let message = "no effect since version 1.3 of the spec: enableMonitoring is in its place";
            problems.warn(format!("{POINTER}/{field}"), message);
        }
    }
}

/// The lines of a schema, but those of the resource that has a field of its own.
fn lines(schema: Option<&str>, other: &str) -> Vec<String> {
    let schema = schema.unwrap_or_default().lines().map(str::trim);
    let is_other = |line: &str| line.split(':').next().is_some_and(|name| name.trim() == other);
    schema.filter(|line| !line.is_empty() && !is_other(line)).map(str::to_owned).collect()
}

fn schemata(spec: &LinuxIntelRdt, problems: &mut Problems) -> Vec<String> {
    let schemata = spec.schemata().as_deref().unwrap_or_default();
    for (index, line) in schemata.iter().enumerate() {
        let pointer = format!("{POINTER}/schemata/{index}");
        if line.contains(['\n', '\0']) {
            problems.refuse(pointer, "it is more than one line");
        } else if !line.contains(':') {
            problems.refuse_hint(pointer, format!("{line:?} is no line of a schema"), "such as L3:0=ff;1=f");
        }
    }
    let single = [(spec.l3_cache_schema(), "l3CacheSchema"), (spec.mem_bw_schema(), "memBwSchema")];
    for (schema, field) in single {
        if !schemata.is_empty() && schema.as_ref().is_some_and(|s| !s.is_empty()) {
            problems.warn(format!("{POINTER}/{field}"), "the lines of schemata come after it and count");
        }
    }
    schemata.to_vec()
}
