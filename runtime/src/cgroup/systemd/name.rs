//! `/linux/cgroupsPath` for the systemd driver: `SLICE:PREFIX:NAME`, as runc
//! reads it, becomes the unit `PREFIX-NAME.scope` in SLICE, or, where NAME ends
//! in `.slice`, that slice itself. Without one it is `sextant-ID.scope`.

use super::annotations;
use super::manager::{Instance, Manager};
use super::start::UnitPlan;
use super::syntax::{Mistake, check, escape, expand, parent_of};
use super::unit::Unit;
use crate::cgroup::layout::Version;
use crate::cgroup::plan::{Directory, PATH};
use crate::cgroup::resources::Builder;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Decides the unit of container `id`, and its directory in each hierarchy.
/// `None` after a mistake, which the builder has.
pub(in crate::cgroup) fn plan(
    path: Option<&Path>,
    id: &str,
    annotated: &HashMap<String, String>,
    manager: &Manager,
    builder: &mut Builder<'_>,
) -> Option<(UnitPlan, Vec<Directory>)> {
    let asked = annotations::properties(annotated, builder);
    if manager.instance == Instance::User && builder.host.hierarchies.iter().any(|h| h.version == Version::V1)
    {
        builder.refuse_hint(
            PATH,
            "systemd delegates no version 1 cgroup to a user",
            "leave --systemd-cgroup out, or boot with systemd.unified_cgroup_hierarchy=1",
        );
    }
    let named = match path {
        None => Ok(Named::default_of(id, manager)),
        Some(path) => Named::parse(path, manager),
    };
    let (named, below) = match named.and_then(|named| Ok((named.directory()?, named))) {
        Ok((below, named)) => (named, below),
        Err((message, hint)) => {
            builder.refuse_hint(PATH, message, hint);
            return None;
        }
    };
    let base = manager.cgroup.trim_matches('/');
    let directories = builder.host.hierarchies.iter().map(|h| Directory {
        hierarchy: h.name.clone(),
        version: h.version,
        controllers: h.controllers.clone(),
        mount: h.mount.clone(),
        path: Path::new(base).join(&below),
    });
    let unit = UnitPlan {
        unit: Unit { name: named.unit, instance: manager.instance },
        description: format!("sextant container {id}"),
        slice: named.slice,
        version: manager.version,
        asked,
    };
    Some((unit, directories.collect()))
}

/// The parts of a path.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    slice: String,
    unit: String,
}

impl Named {
    fn default_of(id: &str, manager: &Manager) -> Self {
        Self { slice: default_slice(manager).into(), unit: format!("sextant-{}.scope", escape(id)) }
    }

    fn parse(path: &Path, manager: &Manager) -> Result<Self, Mistake> {
        const FORM: &str =
            "such as system.slice:sextant:NAME; an empty slice is system.slice, or user.slice for a user";
        let text = path.to_str().ok_or(("it is not UTF-8".to_owned(), FORM))?;
        let parts: Vec<&str> = text.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err((
                format!("{text:?} is not of the form SLICE:PREFIX:NAME, which --systemd-cgroup takes"),
                FORM,
            ));
        };
        if name.is_empty() {
            return Err((format!("{text:?} has no name in its third part"), FORM));
        }
        let unit = match (name.ends_with(".slice"), prefix.is_empty()) {
            (true, _) => (*name).to_owned(),
            (false, true) => format!("{name}.scope"),
            (false, false) => format!("{prefix}-{name}.scope"),
        };
        check(&unit)?;
        let slice = match (slice.is_empty(), name.ends_with(".slice")) {
            (false, _) => (*slice).to_owned(),
            (true, false) => default_slice(manager).to_owned(),
            // Its own name says where a slice is.
            (true, true) => parent_of(&unit),
        };
        if unit.ends_with(".slice") && parent_of(&unit) != slice {
            return Err((
                format!("the slice {unit} is in {}, not in {slice}", parent_of(&unit)),
                "the name of a slice says where it is: a-b.slice is in a.slice",
            ));
        }
        Ok(Self { slice, unit })
    }

    /// Where systemd puts it, below the manager's own cgroup.
    fn directory(&self) -> Result<PathBuf, Mistake> {
        if self.unit.ends_with(".slice") {
            return expand(&self.unit);
        }
        Ok(expand(&self.slice)?.join(&self.unit))
    }
}

fn default_slice(manager: &Manager) -> &'static str {
    match manager.instance {
        Instance::System => "system.slice",
        Instance::User => "user.slice",
    }
}

/// The hierarchies that a host with this manager has, for tests of the plan.
#[cfg(test)]
pub(in crate::cgroup) fn sample(instance: Instance, version: u32) -> crate::cgroup::HostCgroups {
    let cgroup = match instance {
        Instance::System => "/".to_owned(),
        Instance::User => "/user.slice/user-7.slice/user@7.service".to_owned(),
    };
    crate::cgroup::HostCgroups {
        systemd: Some(Manager { instance, cgroup, version }),
        ..crate::plan::Host::sample().cgroups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{CgroupPlan, plan_on};
    use crate::plan::Problem;
    use serde_json::json;

    fn planned(path: Option<&str>, instance: Instance) -> Result<CgroupPlan, Vec<Problem>> {
        let mut spec = json!({"ociVersion": "1.2.0", "linux": {}});
        if let Some(path) = path {
            spec["linux"]["cgroupsPath"] = json!(path);
        }
        plan_on(&serde_json::from_value(spec).unwrap(), "c+1", &sample(instance, 252), &mut Vec::new())
    }

    fn place(path: Option<&str>, instance: Instance) -> String {
        let plan = planned(path, instance).unwrap();
        assert_eq!(plan.directories.len(), 1);
        plan.directories[0].path.display().to_string()
    }

    #[test]
    fn scopes_and_slices() {
        for (path, expected) in [
            (Some("system.slice:docker:1234"), "system.slice/docker-1234.scope"),
            (Some(":docker:1234"), "system.slice/docker-1234.scope"),
            (Some("::1234"), "system.slice/1234.scope"),
            (Some("-.slice:a:b"), "a-b.scope"),
            (Some("a-b-c.slice:cri:x"), "a.slice/a-b.slice/a-b-c.slice/cri-x.scope"),
            (Some("a.slice:cri:a-pod.slice"), "a.slice/a-pod.slice"),
            (Some("::a-pod.slice"), "a.slice/a-pod.slice"),
            (Some("::top.slice"), "top.slice"),
            (None, "system.slice/sextant-c\\x2b1.scope"),
        ] {
            assert_eq!(place(path, Instance::System), expected, "{path:?}");
        }
        let own = "user.slice/user-7.slice/user@7.service";
        assert_eq!(place(Some(":p:n"), Instance::User), format!("{own}/user.slice/p-n.scope"));
        assert_eq!(place(None, Instance::User), format!("{own}/user.slice/sextant-c\\x2b1.scope"));
    }

    #[test]
    fn other_forms_are_refused_with_the_pointer() {
        for (path, part) in [
            ("/a/b", "SLICE:PREFIX:NAME"),
            ("a:b", "SLICE:PREFIX:NAME"),
            ("a.slice:b:c:d", "SLICE:PREFIX:NAME"),
            ("a.slice:b:", "no name"),
            ("a:b:c", "does not end in .slice"),
            ("a--b.slice:b:c", "dashes is empty"),
            ("-a.slice:b:c", "dashes is empty"),
            ("a/b.slice:p:n", "'/'"),
            ("a.slice:p:../n", "'/'"),
            ("a.slice:p:n\n", "character"),
            ("b.slice:p:a-pod.slice", "is in a.slice"),
        ] {
            let problems = planned(Some(path), Instance::System).unwrap_err();
            assert_eq!(problems[0].pointer, PATH, "{path}");
            assert!(problems[0].message.contains(part), "{path}: {}", problems[0]);
        }
        let long = format!("::{}", "x".repeat(300));
        assert!(planned(Some(&long), Instance::System).is_err());
    }

    #[test]
    fn a_named_unit_is_no_cgroup_to_do_without() {
        let plan = planned(None, Instance::User).unwrap();
        assert_eq!(plan.necessity, crate::cgroup::plan::Necessity::Named);
    }
}
