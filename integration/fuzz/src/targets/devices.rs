//! Device rules → an eBPF program (version 2) and writes (version 1): both answer
//! every access as a plain reading of the rules does; version 1 at least never
//! allows more.

use crate::choices::Choices;
use crate::devices::{Plain, V1, host, rules};
use crate::{check, ebpf};
use oci_spec::runtime::Spec;
use serde_json::json;
use sextant_runtime::cgroup::device_program::assemble;
use sextant_runtime::cgroup::devices::Devices;
use sextant_runtime::cgroup::layout::{HostCgroups, Version};
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
