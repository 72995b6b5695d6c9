//! Id mappings of a user namespace and of a mount: accepted exactly when the
//! kernel would take them.

use crate::check;
use crate::choices::Choices;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use sextant_runtime::bundle::Bundle;
use sextant_runtime::plan::{self, Host, isolated_spec};

pub(super) fn target(input: &[u8]) {
    let mut choices = Choices::of(input);
    let mut config = serde_json::to_value(isolated_spec(100_000, 65_536)).expect("a spec is JSON");
    let maps = [maps(&mut choices), maps(&mut choices)];
    let of_mount = choices.once_in(2);
    let json = |lines: &[Line]| -> Value {
        lines.iter().map(|(c, h, size)| json!({"containerID": c, "hostID": h, "size": size})).collect()
    };
    let place = if of_mount { "/mounts/0" } else { "/linux" };
    if of_mount {
        config["mounts"] = json!([{"destination": "/x", "type": "tmpfs", "options": ["idmap"]}]);
    }
    let target = config.pointer_mut(place).expect("it is there");
    target["uidMappings"] = json(&maps[0]);
    target["gidMappings"] = json(&maps[1]);
    let spec: Spec = serde_json::from_value(config.clone()).expect("of the right form");
    let bundle =
        Bundle { dir: "/bundle".into(), spec, annotations: Default::default(), warnings: Vec::new() };
    let problems = match plan::plan(&bundle, "fuzz", &Host::sample()) {
        Ok(plan) => {
            check::plan(&plan);
            if let Some(idmap) = plan.mounts.iter().find_map(|m| m.idmap.as_ref()) {
                check::id_map(&idmap.uid_mappings);
                check::id_map(&idmap.gid_mappings);
            }
            Vec::new()
        }
        Err(problems) => problems,
    };
    check::problems(&problems, &config);
    for (field, lines) in [("uidMappings", &maps[0]), ("gidMappings", &maps[1])] {
        let pointer = format!("{place}/{field}");
        let refused = problems.iter().any(|p| p.pointer.starts_with(&pointer));
        let other = if of_mount { maps[0].is_empty() != maps[1].is_empty() } else { true };
        assert!(
            lines.is_empty() && (other || !refused) || refused != takes(lines),
            "{pointer} {lines:?} {problems:?}"
        );
    }
}

type Line = (u32, u32, u32);

/// What the kernel takes (kernel/user_namespace.c, `map_write`).
fn takes(lines: &[Line]) -> bool {
    let ends = |first: u32, size: u32| u64::from(first) + u64::from(size);
    let sound = |(c, h, size): &Line| *size > 0 && ends(*c, *size) < 1 << 32 && ends(*h, *size) < 1 << 32;
    let apart = |a: u32, b: u32, (size_a, size_b): (u32, u32)| {
        ends(a, size_a) <= u64::from(b) || ends(b, size_b) <= u64::from(a)
    };
    lines.len() <= 340
        && lines.iter().all(sound)
        && lines.iter().enumerate().all(|(index, (c, h, size))| {
            lines[..index]
                .iter()
                .all(|(oc, oh, other)| apart(*c, *oc, (*size, *other)) && apart(*h, *oh, (*size, *other)))
        })
}

fn maps(choices: &mut Choices<'_>) -> Vec<Line> {
    let count = match choices.below(40) {
        // More lines than the kernel takes, and just as many.
        39 => return (0..341).map(|i| (i, i, 1)).collect(),
        38 => return (0..340).map(|i| (i, i, 1)).collect(),
        n => n % 5,
    };
    let edges = [0, 1, 10, 1000, 65_536, 100_000, 1 << 31, 0xffff_fffe, 0xffff_ffff];
    (0..count).map(|_| (edge(choices, &edges), edge(choices, &edges), edge(choices, &edges))).collect()
}

fn edge(choices: &mut Choices<'_>, edges: &[u64]) -> u32 {
    choices.near(edges) as u32
}
