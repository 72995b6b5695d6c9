//! Device rules → an eBPF program (version 2) and writes (version 1): both answer
//! every access as a plain reading of the rules does; version 1 at least never
//! allows more.

use crate::choices::Choices;
use crate::devices::{Plain, V1};
use crate::{check, ebpf};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use sextant_runtime::cgroup::device_program::assemble;
use sextant_runtime::cgroup::devices::Devices;
use sextant_runtime::cgroup::layout::{Hierarchy, HostCgroups, Layout, Version};
use sextant_runtime::cgroup::plan_on;

pub(super) fn target(input: &[u8]) {
    let rules = rules(&mut Choices::of(input));
    let config = json!({"ociVersion": "1.3.0", "linux": {"resources": {"devices": rules}}});
    let spec: Spec = serde_json::from_value(config.clone()).expect("of the right form");
    let plan = |host: &HostCgroups| plan_on(&spec, "fuzz", host, &mut Vec::new());
    let plain = Plain::new(&rules);
    let on_v2 = plan(&host(Version::V2)).unwrap_or_else(|p| panic!("{p:?}"));
    check::cgroup(&on_v2);
    let Devices::Program { rules: planned, .. } = &on_v2.devices else { panic!("{:?}", on_v2.devices) };
    let program = assemble(planned);
    for asked in plain.questions() {
        assert_eq!(ebpf::allows(&program, asked), plain.allows(asked), "{asked:?} {rules:?}");
    }
    match plan(&host(Version::V1)) {
        Err(problems) => check::problems(&problems, &config),
        Ok(on_v1) => {
            check::cgroup(&on_v1);
            let Devices::Controller(settings) = &on_v1.devices else { panic!("{:?}", on_v1.devices) };
            let kernel = V1::after(settings.iter().map(|s| (s.file.as_str(), s.value.as_str())));
            for asked in plain.questions() {
                let (given, wanted) = (kernel.allows(asked), plain.allows(asked));
                // Version 1 looks for one exception that covers the whole access.
                let single = asked.access.is_power_of_two();
                assert!(given == wanted || !single && !given, "{asked:?} {rules:?} {settings:?}");
            }
        }
    }
}

fn rules(choices: &mut Choices<'_>) -> Vec<Value> {
    let mut rules = Vec::new();
    while !choices.at_end() && rules.len() < 40 {
        let mut rule = json!({"allow": choices.once_in(2)});
        if !choices.once_in(5) {
            rule["type"] = json!(choices.pick(&["a", "b", "c", "u"]));
        }
        for key in ["major", "minor"] {
            match choices.below(8) {
                0 => {}
                1 => rule[key] = json!(-1),
                2 => rule[key] = json!(4095),
                // Those of the default devices, and some beside them.
                _ => rule[key] = json!(choices.below(12)),
            }
        }
        if !choices.once_in(6) {
            rule["access"] = json!(choices.pick(&["r", "w", "m", "rw", "rm", "wm", "rwm", "mrw", "", "rr"]));
        }
        rules.push(rule);
    }
    rules
}

fn host(version: Version) -> HostCgroups {
    let (name, layout) = match version {
        Version::V1 => ("devices", Layout::V1),
        Version::V2 => ("", Layout::V2),
    };
    let hierarchy = Hierarchy {
        name: name.into(),
        version,
        controllers: vec![if name.is_empty() { "pids" } else { name }.into()],
        mount: "/sys/fs/cgroup".into(),
        own: "user".into(),
    };
    HostCgroups { layout, hierarchies: vec![hierarchy] }
}
