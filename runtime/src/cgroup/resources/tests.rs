//! Configs and what becomes of them, on a version 1 and a version 2 host.

use crate::cgroup::layout::{Hierarchy, HostCgroups, Layout, Version};
use crate::cgroup::plan::{CgroupPlan, Necessity, plan_on};
use crate::plan::Problem;
use serde_json::{Value, json};
use std::path::Path;

fn hierarchy(name: &str, version: Version, controllers: &[&str], own: &str) -> Hierarchy {
    Hierarchy {
        name: name.into(),
        version,
        controllers: controllers.iter().map(ToString::to_string).collect(),
        mount: Path::new("/sys/fs/cgroup").join(name),
        own: own.into(),
    }
}

fn v1() -> HostCgroups {
    let names =
        ["cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls,net_prio"];
    let mut hierarchies: Vec<_> = names
        .iter()
        .map(|n| hierarchy(n, Version::V1, &n.split(',').collect::<Vec<_>>(), "user/me"))
        .collect();
    hierarchies.push(hierarchy("", Version::V2, &["hugetlb"], ""));
    HostCgroups { layout: Layout::Hybrid, hierarchies, systemd: None }
}

fn v2() -> HostCgroups {
    let controllers = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"];
    let hierarchies = vec![hierarchy("", Version::V2, &controllers, "user/me")];
    HostCgroups { layout: Layout::V2, hierarchies, systemd: None }
}

fn plan(host: &HostCgroups, linux: Value) -> Result<(CgroupPlan, Vec<Problem>), Vec<Problem>> {
    let spec = json!({"ociVersion": "1.2.0", "linux": linux});
    let spec = serde_json::from_value(spec).unwrap();
    let mut warnings = Vec::new();
    plan_on(&spec, "id", host, &mut warnings).map(|plan| (plan, warnings))
}

fn writes(host: &HostCgroups, resources: Value) -> Vec<String> {
    let (plan, _) = plan(host, json!({"resources": resources})).unwrap();
    plan.settings.iter().map(|s| format!("{}={}", s.file, s.value)).collect()
}

fn refused(host: &HostCgroups, resources: Value) -> Vec<String> {
    let problems = plan(host, json!({"resources": resources})).unwrap_err();
    problems.into_iter().map(|p| p.pointer.trim_start_matches("/linux/resources/").to_owned()).collect()
}

// proves: cgroup limits
#[test]
fn memory() {
    let config = json!({"memory": {"limit": 1 << 20, "swap": 3 << 20, "reservation": 8192}});
    assert_eq!(
        writes(&v1(), config.clone()),
        [
            "memory.limit_in_bytes=1048576",
            "memory.memsw.limit_in_bytes=3145728",
            "memory.soft_limit_in_bytes=8192"
        ]
    );
    assert_eq!(writes(&v2(), config), ["memory.max=1048576", "memory.swap.max=2097152", "memory.low=8192"]);
    let unlimited = json!({"memory": {"limit": -1, "swap": -1}});
    assert_eq!(
        writes(&v1(), unlimited.clone()),
        ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]
    );
    assert_eq!(writes(&v2(), unlimited), ["memory.max=max", "memory.swap.max=max"]);
    for (config, place) in [
        (json!({"limit": 4095}), "memory/limit"),
        (json!({"limit": -2}), "memory/limit"),
        (json!({"swap": 1 << 20}), "memory/swap"),
        (json!({"limit": 2 << 20, "swap": 1 << 20}), "memory/swap"),
        (json!({"swappiness": 101}), "memory/swappiness"),
    ] {
        assert_eq!(refused(&v1(), json!({"memory": config})), [place]);
    }
    assert_eq!(refused(&v2(), json!({"memory": {"swappiness": 1, "disableOOMKiller": true}})).len(), 2);
}

// proves: cgroup limits
#[test]
fn cpu() {
    let config =
        json!({"cpu": {"shares": 1024, "quota": 50_000, "period": 200_000, "burst": 1000, "cpus": "0"}});
    assert_eq!(
        writes(&v1(), config.clone()),
        [
            "cpuset.cpus=0",
            "cpu.shares=1024",
            "cpu.cfs_period_us=200000",
            "cpu.cfs_quota_us=50000",
            "cpu.cfs_burst_us=1000"
        ]
    );
    assert_eq!(
        writes(&v2(), config),
        ["cpuset.cpus=0", "cpu.weight=100", "cpu.max=50000 200000", "cpu.max.burst=1000"]
    );
    assert_eq!(writes(&v2(), json!({"cpu": {"quota": -1}})), ["cpu.max=max 100000"]);
    for (config, place) in [
        (json!({"shares": 1}), "cpu/shares"),
        (json!({"shares": 262_145}), "cpu/shares"),
        (json!({"quota": 999}), "cpu/quota"),
        (json!({"quota": -2}), "cpu/quota"),
        (json!({"quota": 1_u64 << 44}), "cpu/quota"),
        (json!({"period": 999}), "cpu/period"),
        (json!({"period": 1_000_001}), "cpu/period"),
        (json!({"quota": 5000, "burst": 5001}), "cpu/burst"),
        (json!({"idle": 2}), "cpu/idle"),
        (json!({"cpus": "3-1"}), "cpu/cpus"),
        (json!({"realtimeRuntime": 2_000_000}), "cpu/realtimeRuntime"),
    ] {
        assert_eq!(refused(&v1(), json!({"cpu": config})), [place]);
    }
    assert_eq!(refused(&v2(), json!({"cpu": {"realtimeRuntime": 1}})), ["cpu/realtimeRuntime"]);
}

// proves: cgroup limits
#[test]
fn block_io() {
    let config =
        json!({"blockIO": {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}]}});
    assert_eq!(
        writes(&v1(), config.clone()),
        ["blkio.bfq.weight=100", "blkio.throttle.read_bps_device=8:0 7"]
    );
    let (planned, _) = plan(&v2(), json!({"resources": config})).unwrap();
    assert_eq!(planned.settings[0].otherwise, Some(("io.weight".into(), "default 910".into())));
    assert_eq!(planned.settings[1].value, "8:0 rbps=7");
    assert_eq!(refused(&v1(), json!({"blockIO": {"weight": 9}})), ["blockIO/weight"]);
    let bad = json!({"blockIO": {"throttleWriteIOPSDevice": [{"major": -1, "minor": 0, "rate": 7}]}});
    assert_eq!(refused(&v1(), bad), ["blockIO/throttleWriteIOPSDevice/0"]);
}

// proves: cgroup limits
#[test]
fn small_controllers() {
    assert_eq!(writes(&v1(), json!({"pids": {"limit": 7}})), ["pids.max=7"]);
    assert_eq!(writes(&v2(), json!({"pids": {"limit": -1}})), ["pids.max=max"]);
    assert_eq!(refused(&v1(), json!({"pids": {"limit": -2}})), ["pids/limit"]);
    assert_eq!(
        writes(&v1(), json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})),
        ["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"],
        "a controller of the unified hierarchy of a hybrid host"
    );
    for size in ["2MiB", "../2MB", "3MB", "MB", "-2MB"] {
        let config = json!({"hugepageLimits": [{"pageSize": size, "limit": 0}]});
        assert_eq!(refused(&v2(), config), ["hugepageLimits/0/pageSize"], "{size}");
    }
    assert_eq!(writes(&v1(), json!({"network": {"classID": 65537}})), ["net_cls.classid=65537"]);
    assert_eq!(refused(&v2(), json!({"network": {"classID": 65537}})), ["network/classID"]);
    assert_eq!(
        writes(&v2(), json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 9}}})),
        ["rdma.max=mlx5_1 hca_handle=3 hca_object=9"]
    );
}

// proves: cgroup limits
#[test]
fn a_pid_limit_of_zero_depends_on_the_version() {
    for (version, expected) in [("1.0.2", 0), ("1.3.0", 1)] {
        let spec = json!({"ociVersion": version, "linux": {"resources": {"pids": {"limit": 0}}}});
        let plan = plan_on(&serde_json::from_value(spec).unwrap(), "id", &v2(), &mut Vec::new()).unwrap();
        assert_eq!(plan.settings.len(), expected, "{version}");
    }
}

// proves: cgroup limits
#[test]
fn unified_files() {
    let config = json!({"unified": {"io.max": "8:0 rbps=1\n8:16 rbps=2\n", "memory.high": "max"}});
    assert_eq!(writes(&v2(), config), ["io.max=8:0 rbps=1", "io.max=8:16 rbps=2", "memory.high=max"]);
    for name in ["cgroup.procs", "a/b.c", "memory", ".x", "nothere.max"] {
        let config = json!({"unified": {name: "1"}});
        assert_eq!(refused(&v2(), config), [format!("unified/{}", super::escape(name))]);
    }
    assert_eq!(refused(&v1(), json!({"unified": {"memory.high": "1"}})), ["unified/memory.high"]);
}

#[test]
fn the_path_is_taken_as_runc_takes_it() {
    let path = |host: &HostCgroups, path: &str| {
        let (plan, _) = plan(host, json!({"cgroupsPath": path})).unwrap();
        plan.directories[0].path.to_str().unwrap().to_owned()
    };
    assert_eq!(path(&v1(), "/a//b/./c"), "a/b/c");
    assert_eq!(path(&v1(), "a/b"), "user/me/a/b");
    assert_eq!(path(&v2(), "a/b"), "user/a/b");
    assert_eq!(path(&v1(), ""), "user/me/id");
    assert_eq!(path(&v2(), "slice:prefix:name"), "user/slice:prefix:name");
    for bad in ["../x", "/a/../b", "/", "a\nb"] {
        let problems = plan(&v1(), json!({"cgroupsPath": bad})).unwrap_err();
        assert_eq!(problems[0].pointer, "/linux/cgroupsPath", "{bad}");
    }
}

#[test]
fn only_what_is_asked_for_is_necessary() {
    let necessity = |linux| plan(&v1(), linux).unwrap().0.necessity;
    assert_eq!(necessity(json!({"resources": {"devices": [{"allow": false}]}})), Necessity::Implied);
    assert_eq!(necessity(json!({"cgroupsPath": "/x"})), Necessity::Named);
    assert_eq!(necessity(json!({"resources": {"pids": {"limit": 1}}})), Necessity::Limits);
}

#[test]
fn without_cgroups_a_limit_is_refused_and_nothing_else() {
    let host = HostCgroups::default();
    assert!(plan(&host, json!({})).unwrap().0.directories.is_empty());
    assert_eq!(refused(&host, json!({"memory": {"limit": 1 << 20}})), ["memory/limit"]);
}

#[test]
fn device_rules_are_checked() {
    for (rule, place) in [
        (json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rx"}), "devices/0/access"),
        (json!({"allow": true, "type": "p"}), "devices/0/type"),
        (json!({"allow": true, "type": "c", "major": 4096}), "devices/0/major"),
        (json!({"allow": true, "type": "c", "minor": -2}), "devices/0/minor"),
    ] {
        assert_eq!(refused(&v2(), json!({"devices": [rule]})), [place]);
    }
    let part = json!([{"allow": true, "type": "c", "major": 8, "access": "r"},
                      {"allow": false, "type": "c", "major": 8, "minor": 1, "access": "r"}]);
    assert_eq!(refused(&v1(), json!({"devices": part.clone()})), ["devices/1"]);
    assert!(plan(&v2(), json!({"resources": {"devices": part}})).is_ok());
}
