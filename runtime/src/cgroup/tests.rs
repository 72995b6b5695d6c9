//! Against the kernel, in whatever layout the host has: needs root, and makes
//! cgroups named `sextant-test-*` that it removes again.

use super::layout::{HostCgroups, Layout};
use super::{Cgroup, CgroupPlan, plan_on};
use serde_json::{Value, json};
use std::process::{Child, Command};

/// The plan of a cgroup of its own at the root, or why there is none.
fn planned(name: &str, resources: Value) -> Option<CgroupPlan> {
    let host = HostCgroups::probe();
    if !nix::unistd::geteuid().is_root() || host.layout == Layout::None {
        eprintln!("skipped: needs root and a cgroup file system");
        return None;
    }
    // A parent of its own: tests remove theirs at the end, while others may be making one.
    let path = format!("/sextant-test-{}-{name}/{name}", std::process::id());
    let spec = json!({"ociVersion": "1.2.0", "linux": {"cgroupsPath": path, "resources": resources}});
    Some(plan_on(&serde_json::from_value(spec).unwrap(), name, &host, &mut Vec::new()).unwrap())
}

/// Removes cgroup and parents at the end of a test.
struct Clean(Cgroup);

impl Drop for Clean {
    fn drop(&mut self) {
        self.0.kill(libc::SIGKILL).unwrap();
        self.0.remove().unwrap();
        for path in self.0.paths().paths.values() {
            std::fs::remove_dir(path.parent().unwrap()).unwrap();
        }
    }
}

fn create(plan: &CgroupPlan) -> Clean {
    Clean(Cgroup::create(plan).unwrap())
}

fn sleeper(cgroup: &Cgroup) -> Child {
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    cgroup.join(pid).unwrap();
    cgroup.join_unified(pid).unwrap();
    child
}

// proves: cgroup drivers
#[test]
fn limits_are_in_the_files_and_removal_leaves_nothing() {
    if !matches!(Layout::probe(), Layout::V1 | Layout::Hybrid) {
        eprintln!("skipped: needs cgroup version 1");
        return;
    }
    let Some(plan) =
        planned("limits", json!({"memory": {"limit": 1 << 23}, "pids": {"limit": 9}, "cpu": {"shares": 77}}))
    else {
        return;
    };
    let cgroup = create(&plan);
    let paths = cgroup.0.paths();
    let value = |hierarchy: &str, file: &str| {
        std::fs::read_to_string(paths.paths[hierarchy].join(file)).unwrap().trim().to_owned()
    };
    assert_eq!(value("memory", "memory.limit_in_bytes"), "8388608");
    assert_eq!(value("pids", "pids.max"), "9");
    assert!(!value("cpuset", "cpuset.cpus").is_empty());
    assert!(!value("devices", "devices.list").contains("a *:*"));
    assert!(value("devices", "devices.list").contains("c 1:3 rwm"));
    assert_eq!(cgroup.0.oom_kills(), Some(0));
    cgroup.0.remove().unwrap();
    cgroup.0.remove().unwrap();
    assert!(paths.paths.values().all(|path| !path.exists()));
    assert_eq!(Cgroup::open(&paths).procs().unwrap(), [0; 0]);
    assert!(!Cgroup::open(&paths).frozen().unwrap());
}

#[test]
fn processes_are_joined_listed_frozen_and_killed() {
    let Some(plan) = planned("procs", json!({})) else { return };
    let cgroup = create(&plan);
    let mut child = sleeper(&cgroup.0);
    let handle = Cgroup::open(&cgroup.0.paths());
    assert_eq!(handle.procs().unwrap(), [i32::try_from(child.id()).unwrap()]);

    let lines = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    let joined = lines.lines().filter(|line| line.ends_with("/procs")).count();
    assert_eq!(joined, cgroup.0.paths().paths.len(), "{lines}");

    assert!(!handle.frozen().unwrap());
    handle.freeze().unwrap();
    assert!(handle.frozen().unwrap());
    handle.kill(libc::SIGTERM).unwrap();
    assert!(handle.frozen().unwrap(), "stays frozen, the signal pending");
    assert!(child.try_wait().unwrap().is_none());
    handle.kill(libc::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_cgroup_in_use_is_refused_and_left_alone() {
    let Some(plan) = planned("used", json!({})) else { return };
    let cgroup = create(&plan);
    let mut child = sleeper(&cgroup.0);
    let failure = Cgroup::create(&plan).unwrap_err();
    assert!(failure.because.contains("1 processes"), "{failure}");
    assert_eq!(cgroup.0.procs().unwrap().len(), 1);
    cgroup.0.kill(libc::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_failed_limit_names_its_place_and_leaves_nothing() {
    if HostCgroups::probe().find("cpuset").is_none() {
        eprintln!("skipped: needs the cpuset controller");
        return;
    }
    let Some(plan) = planned("failing", json!({"cpu": {"cpus": "8000"}})) else { return };
    let failure = Cgroup::create(&plan).unwrap_err();
    assert_eq!(failure.pointer, "/linux/resources/cpu/cpus");
    assert_eq!(failure.attempted, "set CPU list 8000");
    assert!(failure.errno != 0 && failure.object.ends_with("cpuset.cpus"), "{failure:?}");
    for directory in &plan.directories {
        assert!(!directory.mount.join(&directory.path).exists());
    }
}

#[test]
fn sub_cgroups_are_listed_and_removed() {
    let Some(plan) = planned("deep", json!({})) else { return };
    let cgroup = create(&plan);
    for path in cgroup.0.paths().paths.values() {
        std::fs::create_dir_all(path.join("a/b")).unwrap();
    }
    let mut child = sleeper(&cgroup.0);
    let paths = cgroup.0.paths().paths;
    let freezer = paths.get("freezer").unwrap_or_else(|| &paths[""]);
    std::fs::write(freezer.join("a/b/cgroup.procs"), child.id().to_string()).unwrap();
    assert_eq!(cgroup.0.procs().unwrap().len(), 1);
    let busy = std::fs::read_to_string(freezer.join("a/b/cgroup.procs")).unwrap();
    assert_eq!(busy.trim(), child.id().to_string());
    cgroup.0.kill(libc::SIGKILL).unwrap();
    child.wait().unwrap();
    cgroup.0.remove().unwrap();
    assert!(!freezer.exists());
}

// proves: device rules
#[test]
fn devices_outside_of_the_rules_cannot_be_opened() {
    let rules = json!({"devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"}]});
    let Some(plan) = planned("devices", rules) else { return };
    let cgroup = create(&plan);
    assert_eq!(cgroup.0.guard(&plan).unwrap(), None);
    let opens = |redirection: &str| {
        // The shell waits for a line, and joins the cgroup before it opens anything.
        let mut shell = Command::new("sh")
            .args(["-c", &format!("read go; exec 3{redirection}")])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        cgroup.0.join(pid).unwrap();
        cgroup.0.join_unified(pid).unwrap();
        std::io::Write::write_all(&mut shell.stdin.take().unwrap(), b"go\n").unwrap();
        shell.wait().unwrap().success()
    };
    assert!(opens("</dev/null") && opens(">/dev/null") && opens("</dev/urandom"));
    if std::path::Path::new("/dev/kmsg").exists() {
        assert!(opens(">/dev/kmsg") && !opens("</dev/kmsg"));
    }
}

#[test]
fn each_directory_says_whose_container_it_is_of() {
    let Some(plan) = planned("owner", json!({})) else { return };
    let cgroup = create(&plan);
    let paths = cgroup.0.paths().paths;
    assert!(paths.values().all(|path| crate::observe::owner(path).is_none()));
    cgroup.0.mark(std::path::Path::new("/run/some/runtime"));
    assert!(!paths.is_empty());
    for path in paths.values() {
        let owner = crate::observe::owner(path);
        assert_eq!(owner.as_deref(), Some(std::path::Path::new("/run/some/runtime")), "{}", path.display());
    }
}
