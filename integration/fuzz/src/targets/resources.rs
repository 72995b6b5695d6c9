//! `/linux/resources`, at creation and by `update`, on version 1 and 2: what is
//! accepted are single writes into files of the container's own cgroup.

use crate::choices::Choices;
use crate::{check, edits};
use serde_json::{Value, json};
use sextant_runtime::bundle::Bundle;
use sextant_runtime::cgroup::layout::{Hierarchy, HostCgroups, Layout, Version};
use sextant_runtime::cgroup::{Cgroup, CgroupPaths, plan_on, update};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn target(input: &[u8]) {
    let text = edits::config(input, base);
    let Ok(resources) = serde_json::from_slice::<Value>(&text) else { return };
    let config = json!({"ociVersion": "1.3.0", "linux": {"resources": resources, "cgroupsPath": "/a/b"}});
    let bundle = match Bundle::parse(Path::new("/bundle"), config.to_string().as_bytes()) {
        Ok(bundle) => bundle,
        Err(failure) => return check::pointer(&failure.pointer, &config),
    };
    for host in hosts() {
        let mut warnings = Vec::new();
        match plan_on(&bundle.spec, "fuzz", &host, &mut warnings) {
            Ok(plan) => {
                check::cgroup(&plan);
                assert!(plan.directories.iter().all(|d| d.path.ends_with("a/b")));
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                check::problems(&problems, &config);
            }
        }
        check::problems(&warnings, &config);
    }
    let Some(resources) = bundle.spec.linux().as_ref().and_then(|l| l.resources().clone()) else { return };
    for cgroup in cgroups() {
        let mut warnings = Vec::new();
        match update::plan(&cgroup, &resources, "1.3.0", &mut warnings) {
            Ok(settings) => check::settings(&settings, 2),
            Err(problems) => check::problems(&problems, &config),
        }
    }
}

const V1: [&str; 10] =
    ["cpuset", "cpu", "blkio", "memory", "devices", "hugetlb", "pids", "rdma", "net_cls", "net_prio"];

fn hosts() -> [HostCgroups; 2] {
    let hierarchy = |name: &str, version, controllers: &[&str]| Hierarchy {
        name: name.into(),
        version,
        controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
        mount: Path::new("/sys/fs/cgroup").join(name),
        own: "user".into(),
    };
    let v2 = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"];
    [
        HostCgroups { layout: Layout::V2, hierarchies: vec![hierarchy("", Version::V2, &v2)], systemd: None },
        HostCgroups {
            layout: Layout::V1,
            hierarchies: V1.iter().map(|name| hierarchy(name, Version::V1, &[name])).collect(),
            systemd: None,
        },
    ]
}

/// Cgroups that have nothing: whatever is in force is unknown.
fn cgroups() -> [Cgroup; 2] {
    let of = |layout, names: &[&str]| {
        let paths: BTreeMap<_, _> =
            names.iter().map(|name| ((*name).to_owned(), Path::new("/nonexistent").join(name))).collect();
        Cgroup::open(&CgroupPaths { layout, paths, systemd: None })
    };
    [of(Layout::V2, &[""]), of(Layout::V1, &["memory", "cpu"])]
}

fn base(choices: &mut Choices<'_>) -> Value {
    let all = json!({
        "memory": {"limit": 1048576, "swap": 2097152, "reservation": 524288, "kernelTCP": 4096, "swappiness": 50,
                   "disableOOMKiller": false, "checkBeforeUpdate": true},
        "cpu": {"shares": 1024, "quota": 50000, "burst": 1000, "period": 100000, "realtimeRuntime": 950,
                "realtimePeriod": 1000, "cpus": "0-3,7", "mems": "0", "idle": 0},
        "pids": {"limit": 100},
        "blockIO": {"weight": 100, "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 300}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}],
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
        "unified": {"memory.high": "1048576", "io.max": "8:0 rbps=1\n8:16 wbps=2"},
        "devices": [{"allow": false, "access": "rwm"}]});
    let Value::Object(all) = all else { return Value::Null };
    Value::Object(all.into_iter().filter(|_| choices.once_in(2)).collect())
}
