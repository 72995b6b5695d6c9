//! The systemd driver, in a machine where systemd is pid 1 (`scripts/vm --systemd`),
//! for root and for a user with a manager of his own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::bundle::{make_rootfs, set, temp_dir};
use sextant_integration::cgroup::{self, ROOT};
use sextant_integration::process::{DEADLINE, Ran, run, until};
use sextant_integration::{Bundle, Leftovers, Runtime, binary, skip, skip_unless_root, unique};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether there is no systemd to talk to; says so.
fn skip_without_systemd() -> bool {
    if skip_unless_root() {
        return true;
    }
    let absent = std::fs::read_to_string("/proc/1/comm").unwrap().trim() != "systemd"
        || !Path::new("/run/systemd/private").exists();
    if absent {
        skip("systemd is not pid 1");
    }
    absent
}

/// Likewise for what only a pure version 2 has.
fn skip_without_v2() -> bool {
    let other = skip_without_systemd();
    let hybrid = !other && !cgroup::is_version_2_alone();
    if hybrid {
        skip("version 2 is not the only one");
    }
    other || hybrid
}

fn sleeper() -> Bundle {
    Bundle::without_user().sleeping()
}

/// `create` and `start` in a unit.
#[track_caller]
fn start(runtime: &Runtime, bundle: &Bundle, id: &str) -> i32 {
    create(runtime, bundle, id).ok();
    runtime.call(["start", id]).ok();
    runtime.pid(id)
}

#[track_caller]
fn create(runtime: &Runtime, bundle: &Bundle, id: &str) -> Ran {
    runtime.create_with(&["--systemd-cgroup"], bundle, id)
}

/// What systemd says of a unit.
fn properties(unit: &str) -> BTreeMap<String, String> {
    let shown = Command::new("systemctl").args(["show", "--no-pager", unit]).output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
}

#[track_caller]
fn assert_unit(unit: &str, expected: &[(&str, &str)]) {
    let found = properties(unit);
    for (name, value) in expected {
        assert_eq!(found.get(*name).map(String::as_str), Some(*value), "{name} of {unit}");
    }
}

/// A unit that is gone is loaded no more, whether it had failed or not.
#[track_caller]
fn assert_gone(unit: &str) {
    let gone = || properties(unit)["LoadState"] == "not-found";
    assert!(until(DEADLINE, gone), "{unit} is {}", properties(unit)["ActiveState"]);
}

fn cgroup_of(pid: i32) -> PathBuf {
    cgroup::dir(pid, "")
}

fn value(pid: i32, file: &str) -> String {
    cgroup::read(pid, "", file, file)
}

fn limits() -> Value {
    json!({
        "devices": [{"allow": false, "access": "rwm"}],
        "memory": {"limit": 50_331_648, "reservation": 16_777_216, "swap": 67_108_864},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "burst": 1_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 17},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
        "unified": {"memory.high": "41943040", "memory.oom.group": "1"},
    })
}

// proves: systemd driver for root
#[test]
fn a_scope_has_the_limits_and_is_gone_with_the_container() {
    if skip_without_v2() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("scope"));
    let bundle = sleeper()
        .set("/linux/resources", limits())
        .set("/linux/cgroupsPath", json!(format!("it-nested.slice:it:{id}")));
    let pid = start(&runtime, &bundle, &id);
    let unit = format!("it-{id}.scope");
    assert_eq!(cgroup_of(pid), Path::new(ROOT).join("it.slice/it-nested.slice").join(&unit));
    assert_unit(
        &unit,
        &[
            ("ActiveState", "active"),
            ("Slice", "it-nested.slice"),
            ("Delegate", "yes"),
            ("MemoryMax", "50331648"),
            ("MemoryLow", "16777216"),
            ("MemoryHigh", "41943040"),
            ("MemorySwapMax", "16777216"),
            ("CPUWeight", "59"),
            ("CPUQuotaPerSecUSec", "500ms"),
            ("AllowedCPUs", "0"),
            ("AllowedMemoryNodes", "0"),
            ("TasksMax", "17"),
        ],
    );
    for (file, expected) in [
        ("memory.max", "50331648"),
        ("memory.low", "16777216"),
        ("memory.high", "41943040"),
        ("memory.swap.max", "16777216"),
        ("memory.oom.group", "1"),
        ("cpu.weight", "59"),
        ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "1000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "17"),
        ("hugetlb.2MB.max", "4194304"),
        ("cgroup.procs", pid.to_string().as_str()),
    ] {
        assert_eq!(value(pid, file), expected, "{file}");
    }
    // The state remembers the driver: no flag is needed any more.
    runtime.delete(&id);
    assert_gone(&unit);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn without_a_path_and_limits_it_is_an_unlimited_scope_of_the_system() {
    if skip_without_v2() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("plain"));
    let pid = start(&runtime, &sleeper(), &id);
    let unit = format!("sextant-{id}.scope");
    assert_eq!(cgroup_of(pid), Path::new(ROOT).join("system.slice").join(&unit));
    assert_eq!(value(pid, "pids.max"), "max", "DefaultTasksMax is no limit of the config's");
    // One that ends by itself takes its unit along.
    runtime.call(["kill", &id, "KILL"]).ok();
    runtime.wait_stopped(&id);
    assert_gone(&unit);
    runtime.call(["delete", &id]).ok();
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn one_process_is_enough_for_a_limit_of_one() {
    if skip_without_v2() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("one"));
    let pid = start(&runtime, &sleeper().set("/linux/resources/pids", json!({"limit": 1})), &id);
    assert_eq!(value(pid, "pids.max"), "1");
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: update with the systemd driver
#[test]
fn update_changes_files_and_properties_or_neither() {
    if skip_without_v2() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("update"));
    let pid = start(&runtime, &sleeper().set("/linux/resources", limits()), &id);
    let unit = format!("sextant-{id}.scope");
    runtime.call(["update", "--memory", "60M", "--cpu-quota", "12345", "--pids-limit", "9", &id]).ok();
    let reloaded = Command::new("systemctl").arg("daemon-reload").status().unwrap();
    assert!(reloaded.success());
    assert_unit(&unit, &[("MemoryMax", "62914560"), ("TasksMax", "9"), ("CPUQuotaPerSecUSec", "130ms")]);
    assert_eq!((value(pid, "memory.max"), value(pid, "pids.max")), ("62914560".into(), "9".into()));
    // The last of these is refused: there is no such CPU.
    runtime
        .call(["update", "--memory", "70M", "--pids-limit", "8", "--cpuset-cpus", "4000", &id])
        .failed_with(&["cpuset", "not online"]);
    assert_unit(&unit, &[("MemoryMax", "62914560"), ("TasksMax", "9"), ("AllowedCPUs", "0")]);
    assert_eq!((value(pid, "memory.max"), value(pid, "pids.max")), ("62914560".into(), "9".into()));
    assert_eq!(value(pid, "cpuset.cpus"), "0");
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn every_other_command_works_in_a_unit() {
    if skip_without_v2() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("verbs"), sleeper());
    let pid = start(&runtime, &bundle, &id);
    let pid_file = runtime.dir().join("pid");
    let exec =
        ["exec", "--detach", "--pid-file", pid_file.to_str().unwrap(), &id, "/bin/probe", "sleep", "1000"];
    runtime.call(exec).ok();
    let other: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert_eq!(cgroup_of(other), cgroup_of(pid));
    assert_eq!(runtime.call(["ps", "--format", "json", &id]).ok().json(), json!([pid, other]));
    runtime.call(["pause", &id]).ok();
    assert_eq!(
        (runtime.state(&id)["status"].as_str(), value(pid, "cgroup.freeze")),
        (Some("paused"), "1".into())
    );
    runtime.call(["resume", &id]).ok();
    let stats = runtime.call(["events", "--stats", &id]).ok().json();
    assert_eq!(stats["data"]["pids"]["current"], json!(2));
    runtime.call(["kill", "--all", &id, "KILL"]).ok();
    runtime.wait_stopped(&id);
    runtime.call(["delete", &id]).ok();
    assert_gone(&format!("sextant-{id}.scope"));
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_slice_can_be_the_unit() {
    if skip_without_v2() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("slice"));
    // A dash would be one more slice.
    let slice = format!("itpods-{}.slice", id.replace('-', "_"));
    let bundle = sleeper()
        .set("/linux/cgroupsPath", json!(format!("itpods.slice::{slice}")))
        .set("/linux/resources/pids", json!({"limit": 7}));
    let pid = start(&runtime, &bundle, &id);
    assert_eq!(cgroup_of(pid), Path::new(ROOT).join("itpods.slice").join(&slice));
    assert_unit(&slice, &[("TasksMax", "7"), ("ActiveState", "active")]);
    runtime.delete(&id);
    // Any name of a slice can be asked for, and is then loaded.
    assert_unit(&slice, &[("ActiveState", "inactive")]);
    assert!(!Path::new(ROOT).join("itpods.slice").join(&slice).exists());
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_creation_that_fails_leaves_no_unit() {
    if skip_without_v2() {
        return;
    }
    for (name, pointer, wrong) in [
        ("limit", "/linux/resources/cpu/cpus", json!("4000")),
        (
            "mount",
            "/mounts/-",
            json!({"destination": "/x", "type": "bind", "source": "/none", "options": ["bind"]}),
        ),
    ] {
        let (runtime, id) = (Runtime::new(), unique(name));
        create(&runtime, &sleeper().set(pointer, wrong), &id).failed_with(&[]);
        assert_gone(&format!("sextant-{id}.scope"));
        runtime.leftovers(&[&id]).assert_none();
    }
}

#[test]
fn a_unit_in_use_is_refused_and_left_alone() {
    if skip_without_v2() {
        return;
    }
    let (runtime, [first, second]) = (Runtime::new(), ["first", "second"].map(unique));
    let bundle = sleeper().set("/linux/cgroupsPath", json!(format!("::{first}")));
    let pid = start(&runtime, &bundle, &first);
    let refused = create(&runtime, &bundle, &second);
    refused.failed_with(&[
        "/linux/cgroupsPath",
        &format!("{first}.scope"),
        "already",
        "choose another cgroupsPath",
    ]);
    assert_eq!(value(pid, "cgroup.procs"), pid.to_string());
    runtime.delete(&first);
    runtime.leftovers(&[&first, &second]).assert_none();
}

// proves: annotations cannot set arbitrary properties of systemd
#[test]
fn annotations_set_what_concerns_the_unit_alone() {
    if skip_without_v2() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("annotated"));
    let with = |name: &str, text: &str| {
        let key = format!("/annotations/org.systemd.property.{name}");
        sleeper().set(&key, json!(text))
    };
    for (name, text) in
        [("Conflicts", "['dbus.service']"), ("MemoryMax", "uint64 1"), ("TimeoutStopUSec", "soon")]
    {
        create(&runtime, &with(name, text), &id).failed_with(&["/annotations/org.systemd.property.", name]);
    }
    start(&runtime, &with("TimeoutStopSec", "uint64 7"), &id);
    assert_unit(&format!("sextant-{id}.scope"), &[("TimeoutStopUSec", "7s")]);
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_path_of_another_form_is_refused_before_anything_is_made() {
    if skip_without_systemd() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("form"));
    for path in ["/a/b", "a:b:c", "a--b.slice:p:n", "a.slice:p:../n"] {
        let bundle = sleeper().set("/linux/cgroupsPath", json!(path));
        create(&runtime, &bundle, &id).failed_with(&["/linux/cgroupsPath", "hint"]);
        assert!(!runtime.root().exists(), "{path}");
    }
}

// proves: systemd driver on a hybrid host
#[test]
fn on_a_hybrid_host_the_unit_has_its_version_1_cgroups() {
    if skip_without_systemd() {
        return;
    }
    if !Path::new(ROOT).join("memory").exists() {
        return skip("the host has no version 1 hierarchies");
    }
    let (runtime, id) = (Runtime::new(), unique("hybrid"));
    let bundle = sleeper().edit(|config| {
        set(config, "/linux/resources/memory", json!({"limit": 50_331_648}));
        set(config, "/linux/resources/pids", json!({"limit": 17}));
        set(config, "/linux/resources/cpu", json!({"shares": 512, "quota": 50_000}));
    });
    let pid = start(&runtime, &bundle, &id);
    let unit = format!("sextant-{id}.scope");
    assert_unit(&unit, &[("MemoryLimit", "50331648"), ("TasksMax", "17"), ("CPUShares", "512")]);
    for (file, expected) in [
        ("memory/system.slice/UNIT/memory.limit_in_bytes", "50331648"),
        ("pids/system.slice/UNIT/pids.max", "17"),
        ("cpu/system.slice/UNIT/cpu.shares", "512"),
        ("cpu/system.slice/UNIT/cpu.cfs_quota_us", "50000"),
        ("freezer/system.slice/UNIT/cgroup.procs", pid.to_string().as_str()),
    ] {
        let path = Path::new(ROOT).join(file.replace("UNIT", &unit));
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), expected, "{file}");
    }
    let devices = || {
        std::fs::read_to_string(Path::new(ROOT).join("devices/system.slice").join(&unit).join("devices.list"))
    };
    assert!(devices().unwrap().contains("c 1:3 rwm"), "{devices:?}", devices = devices());
    runtime.call(["update", "--memory", "60M", &id]).ok();
    assert_unit(&unit, &[("MemoryLimit", "62914560"), ("DevicePolicy", "strict")]);
    assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
    let after = devices().unwrap();
    assert!(after.contains("c 1:3 rwm") && !after.contains("a *:*"), "systemd has its own rules: {after}");
    runtime.call(["pause", &id]).ok();
    runtime.delete(&id);
    assert_gone(&unit);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn without_systemd_the_socket_and_the_remedy_are_named() {
    if skip_unless_root() {
        return;
    }
    if Path::new("/run/systemd/private").exists() || Path::new("/run/dbus/system_bus_socket").exists() {
        return skip("systemd, or a bus, is here");
    }
    let (runtime, id) = (Runtime::new(), unique("absent"));
    create(&runtime, &sleeper(), &id).failed_with(&["/run/systemd/private", "leave --systemd-cgroup out"]);
    assert!(!runtime.root().exists());
}

/// A user with a manager that runs (`loginctl enable-linger`).
struct User {
    dir: tempfile::TempDir,
    id: String,
}

const UID: u32 = 1000;

impl User {
    /// `None`, said, where there is no such user.
    fn find() -> Option<Self> {
        if skip_without_v2() {
            return None;
        }
        if !Path::new(&format!("/run/user/{UID}/systemd/private")).exists() {
            skip("no manager of a user runs");
            return None;
        }
        let user = Self { dir: temp_dir(), id: unique("user") };
        let bundle = user.dir.path().join("b");
        std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
        make_rootfs(&bundle.join("rootfs"));
        let owned =
            Command::new("chown").arg("-R").arg(UID.to_string()).arg(user.dir.path()).status().unwrap();
        assert!(owned.success());
        user.call("$runtime spec --rootless --bundle b").ok();
        user.edit(|config| {
            set(config, "/process/terminal", json!(false));
            set(config, "/process/args", json!(["/bin/probe", "sleep", "1000"]));
            set(config, "/process/env", json!(["PATH=/bin"]));
        });
        Some(user)
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.dir.path().join("b/config.json");
        let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
    }

    fn call(&self, script: &str) -> Ran {
        let mut command = Command::new("setpriv");
        let uid = UID.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--init-groups", "env", "-i", "PATH=/usr/bin:/bin"]);
        command.arg(format!("XDG_RUNTIME_DIR=/run/user/{UID}")).arg(format!("id={}", self.id));
        command.arg(format!("runtime={} --root root", binary("sextant-runtime").display()));
        command.args(["bash", "-c", &format!("set -e; {script}")]).current_dir(self.dir.path());
        run(&mut command, self.dir.path())
    }
}

// proves: systemd driver for a user
#[test]
fn a_user_gets_a_scope_of_his_own_manager() {
    let Some(user) = User::find() else { return };
    user.edit(|config| {
        set(config, "/linux/resources/memory", json!({"limit": 50_331_648}));
        set(config, "/linux/resources/cpu", json!({"cpus": "0", "quota": 50_000}));
        set(config, "/linux/resources/pids", json!({"limit": 17}));
    });
    user.call(
        "$runtime --systemd-cgroup run --detach --bundle b --pid-file pid $id </dev/null >/dev/null 2>err",
    )
    .ok();
    let pid =
        |name: &str| std::fs::read_to_string(user.dir.path().join(name)).unwrap().parse::<i32>().unwrap();
    let scope =
        format!("user.slice/user-{UID}.slice/user@{UID}.service/user.slice/sextant-{}.scope", user.id);
    assert_eq!(cgroup_of(pid("pid")), Path::new(ROOT).join(&scope));
    for (file, expected) in
        [("memory.max", "50331648"), ("pids.max", "17"), ("cpuset.cpus", "0"), ("cpu.max", "50000 100000")]
    {
        assert_eq!(value(pid("pid"), file), expected, "{file}");
    }
    let shown = user.call("systemctl --user show -p MemoryMax -p Slice sextant-$id.scope").ok().stdout;
    assert!(shown.contains("MemoryMax=50331648") && shown.contains("Slice=user.slice"), "{shown}");
    user.call(
        "$runtime exec --detach --pid-file other $id /bin/probe sleep 1000 </dev/null >/dev/null 2>err",
    )
    .ok();
    assert_eq!(cgroup_of(pid("other")), cgroup_of(pid("pid")), "exec from outside of the manager's cgroups");
    user.call("$runtime update --memory 60M $id; $runtime pause $id; $runtime state $id | grep paused").ok();
    assert_eq!(value(pid("pid"), "memory.max"), "62914560");
    user.call("$runtime delete --force $id").ok();
    let state = user.call("systemctl --user show -p LoadState sextant-$id.scope").ok().stdout;
    assert!(state.contains("not-found"), "{state}");
    Leftovers::of(user.dir.path(), &[&user.id]).empty_dir(user.dir.path().join("root")).assert_none();
}

#[test]
fn a_user_without_a_manager_is_told_the_remedy() {
    let Some(user) = User::find() else { return };
    for nowhere in ["XDG_RUNTIME_DIR=/nonexistent", "-u XDG_RUNTIME_DIR"] {
        let ran = user.call(&format!("env {nowhere} $runtime --systemd-cgroup run --bundle b $id"));
        ran.failed_with(&["user manager", "loginctl enable-linger"]);
    }
}
