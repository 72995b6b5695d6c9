//! Commands beside runc's, where that is installed: each in the same situation
//! with the same arguments; every difference is named here, with its reason.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Map, Value, json};
use sextant_integration::bundle::{remove_namespace, temp_dir};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Bundle, Ran, Runtime, skip_unless_root, unique};

/// Ours, and runc; `None`, and it is said, where one of them cannot be driven.
fn both() -> Option<[Runtime; 2]> {
    if skip_unless_root() {
        return None;
    }
    Some([Runtime::new(), Runtime::runc()?])
}

/// Without a cgroup namespace, as runc writes its own configs on cgroup v1.
fn bundle(args: &[&str]) -> Bundle {
    Bundle::without_user().args(args).edit(|config| remove_namespace(config, "cgroup"))
}

/// The exit status of both, which has to be the same.
#[track_caller]
fn same_code(said: &[Ran; 2], what: &str) -> i32 {
    assert_eq!(said[0].code, said[1].code, "{what}: {said:?}");
    said[0].code
}

/// What both say, once `hidden` is taken out: what differs from container to container.
#[track_caller]
fn same_text(said: &[Ran; 2], hidden: &[[String; 2]], what: &str) {
    let text = |side: usize| {
        let plain = |text: String, hidden: &[String; 2]| text.replace(&hidden[side], "-");
        hidden.iter().fold(said[side].stdout.clone(), plain)
    };
    assert_eq!(text(0), text(1), "{what}");
}

// proves: list beside runc's
#[test]
fn list_beside_runcs() {
    let Some(both) = both() else { return };
    let call = |args: &[&str]| both.each_ref().map(|runtime| runtime.call(args));
    let none = call(&["list", "--format", "json"]);
    same_code(&none, "list of nothing");
    // Go prints a list that was never made as null; no reader of JSON takes the two for different.
    assert_eq!((none[0].json(), none[1].json()), (json!([]), Value::Null));
    same_text(&call(&["list"]), &[], "a table of nothing");
    same_text(&call(&["list", "--quiet"]), &[], "no ids");

    let bundle = bundle(&["/bin/probe", "sleep", "1000"]).set("/annotations", json!({"a.b": "c"}));
    let ids = [unique("list"), unique("list"), unique("list")];
    for runtime in &both {
        // One after the other: with the same ids they have the same cgroups.
        for id in &ids {
            runtime.create(&bundle, id).ok();
        }
        runtime.call(["start", &ids[1]]).ok();
        runtime.call(["kill", &ids[2], "KILL"]).ok();
        runtime.wait_stopped(&ids[2]);
        let quiet = runtime.call(["list", "-q"]).ok().stdout;
        assert_eq!(quiet.lines().collect::<Vec<_>>(), ids);
        assert_eq!(runtime.call(["list", "-q", "-f", "json"]).ok().stdout, quiet, "-q comes first");
        let list = runtime.call(["list", "-f", "json"]).ok().json();
        let table = runtime.call(["list"]).ok().stdout;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        for ((container, row), (id, status)) in list
            .as_array()
            .unwrap()
            .iter()
            .zip(&rows[1..])
            .zip(ids.iter().zip(["created", "running", "stopped"]))
        {
            let mut state = runtime.state(id);
            assert_eq!(state["status"], status, "{state}");
            // The id of the owner is a name here.
            state["owner"] = json!("root");
            assert_eq!(*container, state);
            let cell = |name: &str| container[name].to_string().trim_matches('"').to_owned();
            assert_eq!(*row, ["id", "pid", "status", "bundle", "created", "owner"].map(cell));
            assert_eq!(container["annotations"], json!({"a.b": "c"}));
        }
        assert_ne!(runtime.call(["list", "-f", "yaml"]).code, 0);
        ids.iter().for_each(|id| runtime.delete(id));
        runtime.leftovers(&ids.each_ref().map(String::as_str)).assert_none();
    }
}

/// The pids that `ps` gives as JSON; runc says null where there are none.
fn pids(runtime: &Runtime, id: &str) -> Vec<i64> {
    let list = runtime.call(["ps", "--format", "json", id]).ok().json();
    list.as_array().into_iter().flatten().map(|pid| pid.as_i64().unwrap()).collect()
}

/// A container of each, with init and two more processes.
fn families(both: &[Runtime; 2], bundle: &Bundle) -> [String; 2] {
    both.each_ref().map(|runtime| {
        let id = unique("family");
        runtime.start(bundle, &id);
        assert!(until(DEADLINE, || pids(runtime, &id).len() == 3));
        id
    })
}

// proves: ps beside runc's
#[test]
fn ps_beside_runcs() {
    let Some(both) = both() else { return };
    let bundle = bundle(&["/bin/probe", "fork", "2"]);
    let ids = families(&both, &bundle);
    let call = |before: &[&str], options: &[&str]| {
        [0, 1].map(|side| both[side].call([before, &[ids[side].as_str()], options].concat()))
    };
    for (flags, options) in [
        (&["--format", "table"][..], &["-o", "comm,pid", "-e"][..]),
        (&["-f", "table"], &["-eo", "pid,comm"]),
        (&[], &["axo", "user,pid,args"]),
        (&[], &["-o", "pid,ppid,comm", "-A"]),
    ] {
        let said = call(&[&["ps"], flags].concat(), options);
        assert_eq!(same_code(&said, &format!("{options:?}")), 0, "{said:?}");
        let shape = |ran: &Ran| {
            let column = |line: &str| line.split_whitespace().filter(|w| w.parse::<u32>().is_err()).collect();
            ran.stdout.lines().map(column).collect::<Vec<String>>()
        };
        assert_eq!(shape(&said[0]), shape(&said[1]), "{options:?}");
        assert_eq!(said[0].stdout.lines().count(), 4, "{options:?}: a heading and three processes");
    }
    // Without options those of -ef.
    let said = call(&["ps"], &[]);
    for (side, ran) in said.iter().enumerate() {
        let heading: Vec<&str> = ran.stdout.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(heading, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        let listed = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap();
        let listed: Vec<i64> = ran.stdout.lines().skip(1).map(listed).collect();
        assert_eq!(listed, pids(&both[side], &ids[side]));
        assert_eq!(listed[0], i64::from(both[side].pid(&ids[side])));
    }
    // What is no list of theirs.
    for (flags, options, words) in [
        (&[][..], &["-eo", "comm"][..], "couldn't find PID field in ps output"),
        (&[], &["--no-such-option"], "unknown gnu long option"),
        (&["--format", "yaml"], &[], "format"),
    ] {
        let said = call(&[&["ps"], flags].concat(), options);
        assert_eq!(same_code(&said, &format!("{flags:?} {options:?}")), 1);
        assert!(said.iter().all(|ran| ran.stderr.contains(words)), "{words}: {said:?}");
    }
    // JSON asks nobody: options are not looked at.
    let said = call(&["ps", "-f", "json"], &["--no-such-option"]);
    assert_eq!(same_code(&said, "json with options"), 0);
    for (runtime, id) in both.iter().zip(&ids) {
        runtime.call(["kill", id, "KILL"]).ok();
        runtime.wait_stopped(id);
    }
    let said = call(&["ps", "-f", "json"], &[]);
    assert_eq!((said[0].json(), said[1].json()), (json!([]), Value::Null));
    same_text(&call(&["ps"], &[]), &[], "a heading is left");
    for (runtime, id) in both.iter().zip(&ids) {
        runtime.delete(id);
        runtime.leftovers(&[id]).assert_none();
    }
}

// proves: kill beside runc's
#[test]
fn kill_beside_runcs() {
    let Some(both) = both() else { return };
    for own_pids in [true, false] {
        let mut bundle = bundle(&["/bin/probe", "fork", "2"]);
        if !own_pids {
            bundle = bundle.edit(|config| remove_namespace(config, "pid"));
        }
        let ids = families(&both, &bundle);
        let call = |before: &[&str], after: &[&str]| {
            [0, 1].map(|side| both[side].call([before, &[ids[side].as_str()], after].concat()))
        };
        // Nobody minds these: 0 is no signal, and CONT does nothing to who is not stopped.
        for signal in ["0", "CONT", "SIGCONT", "cont", "18"] {
            assert_eq!(same_code(&call(&["kill"], &[signal]), signal), 0, "{signal}");
            assert_eq!(same_code(&call(&["kill", "--all"], &[signal]), signal), 0, "{signal} to all");
        }
        for signal in ["65", "-1", "NOSUCH", "SIG"] {
            assert_eq!(same_code(&call(&["kill"], &[signal]), signal), 1, "{signal}");
        }
        for (runtime, id) in both.iter().zip(&ids) {
            assert_eq!(pids(runtime, id).len(), 3, "all of them live");
        }
        // The children have no handler, and are no pid 1: they end, and init goes on.
        call(&["kill", "-a"], &["USR1"]);
        for (runtime, id) in both.iter().zip(&ids) {
            let left = || pids(runtime, id).len();
            assert!(until(DEADLINE, || left() == usize::from(own_pids)), "{own_pids}: {}", left());
        }
        assert_eq!(same_code(&call(&["kill", "--all"], &["KILL"]), "all"), 0);
        for (runtime, id) in both.iter().zip(&ids) {
            runtime.wait_stopped(id);
        }
        // Nobody is left: to signal all of nobody is no mistake, to signal init is one.
        for signal in ["TERM", "KILL"] {
            assert_eq!(same_code(&call(&["kill", "--all"], &[signal]), signal), 0);
            let said = call(&["kill"], &[signal]);
            assert_eq!(same_code(&said, signal), 1);
            assert!(said.iter().all(|ran| ran.stderr.contains("container not running")), "{said:?}");
        }
        // TERM is what is sent where none is named.
        assert_eq!(same_code(&call(&["kill"], &[]), "no signal"), 1);
        for (runtime, id) in both.iter().zip(&ids) {
            runtime.delete(id);
            runtime.leftovers(&[id]).assert_none();
        }
    }
}

/// The config that `spec` writes with these flags.
fn spec(runtime: &Runtime, flags: &[&str]) -> Value {
    let dir = temp_dir();
    let to = ["--bundle", dir.path().to_str().unwrap()];
    let args = [&["spec"], flags, &to].concat();
    runtime.call(&args).ok();
    let again = runtime.call(&args);
    assert!(again.code == 1 && again.stderr.contains("config.json"), "{again:?}");
    serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap()
}

/// Takes a list's entries out of `value`, which have to be there.
#[track_caller]
fn take_out(value: &mut Value, pointer: &str, entries: &[Value]) {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut).unwrap();
    for entry in entries {
        let at = list.iter().position(|found| found == entry);
        list.remove(at.unwrap_or_else(|| panic!("{entry} is not in {pointer}")));
    }
}

fn sort(value: &mut Value, pointer: &str) {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut).unwrap();
    list.sort_by_key(ToString::to_string);
}

// proves: spec beside runc's
#[test]
fn spec_beside_runcs() {
    let Some(both) = both() else { return };
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    for flags in [&[][..], &["--rootless"]] {
        let [mut ours, mut theirs] = both.each_ref().map(|runtime| spec(runtime, flags));
        // Each has its own name, and the version of the specification that it knows.
        assert_eq!((&ours["hostname"], &theirs["hostname"]), (&json!("sextant"), &json!("runc")));
        assert_eq!(ours["ociVersion"], "1.3.0");
        for name in ["hostname", "ociVersion"] {
            ours[name] = theirs[name].clone();
        }
        // runc 1.1 asks for ambient capabilities that are never in force, since none is
        // inheritable; runc 1.2 does no longer.
        let sets = theirs.pointer_mut("/process/capabilities").and_then(Value::as_object_mut).unwrap();
        assert!(!sets.contains_key("inheritable"));
        sets.remove("ambient");
        // The counters of powercap tell what others compute (CVE-2020-8694).
        take_out(&mut ours, "/linux/maskedPaths", &[json!("/sys/devices/virtual/powercap")]);
        // runc does so where there is cgroup v2 alone.
        if !unified {
            take_out(&mut ours, "/linux/namespaces", &[json!({"type": "cgroup"})]);
        }
        // The order of these means nothing.
        for list in ["/linux/maskedPaths", "/linux/readonlyPaths", "/linux/namespaces"] {
            sort(&mut ours, list);
            sort(&mut theirs, list);
        }
        assert_eq!(ours, theirs, "{flags:?}");
    }
}

/// What of `theirs` is not in `ours`.
fn missing(theirs: &Value, ours: &Value) -> Vec<Value> {
    let ours = ours.as_array().unwrap();
    theirs.as_array().unwrap().iter().filter(|name| !ours.contains(name)).cloned().collect()
}

/// The names of all members of the features document (features.md of the specification).
const FEATURES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "annotations",
            "hooks",
            "linux",
            "mountOptions",
            "ociVersionMax",
            "ociVersionMin",
            "potentiallyUnsafeConfigAnnotations",
        ],
    ),
    (
        "/linux",
        &[
            "apparmor",
            "capabilities",
            "cgroup",
            "intelRdt",
            "memoryPolicy",
            "mountExtensions",
            "namespaces",
            "netDevices",
            "seccomp",
            "selinux",
        ],
    ),
    ("/linux/cgroup", &["rdma", "systemd", "systemdUser", "v1", "v2"]),
    ("/linux/seccomp", &["actions", "archs", "enabled", "knownFlags", "operators", "supportedFlags"]),
    ("/linux/apparmor", &["enabled"]),
    ("/linux/selinux", &["enabled"]),
    ("/linux/intelRdt", &["enabled", "monitoring", "schemata"]),
    ("/linux/memoryPolicy", &["flags", "modes"]),
    ("/linux/mountExtensions", &["idmap"]),
    ("/linux/mountExtensions/idmap", &["enabled"]),
    ("/linux/netDevices", &["enabled"]),
];

// proves: `features` complete and true
#[test]
fn features_have_each_member_of_the_specification() {
    let features = Runtime::new().call(["features"]).ok().json();
    for (pointer, names) in FEATURES {
        let members: &Map<String, Value> = features.pointer(pointer).and_then(Value::as_object).unwrap();
        assert_eq!(members.keys().map(String::as_str).collect::<Vec<_>>(), *names, "{pointer}");
        for (name, value) in members {
            let place = format!("{pointer}/{name}");
            match value {
                // What is here is carried out; what a build could lack is not built without.
                Value::Bool(on) => assert!(*on, "{place}"),
                Value::Array(list) => {
                    let names: std::collections::BTreeSet<&str> =
                        list.iter().map(|name| name.as_str().unwrap()).collect();
                    assert!(!names.is_empty() && names.len() == list.len(), "{place}: {list:?}");
                }
                Value::String(text) => assert!(!text.is_empty(), "{place}"),
                Value::Object(_) => {}
                other => panic!("{place}: {other}"),
            }
        }
    }
    assert_eq!((&features["ociVersionMin"], &features["ociVersionMax"]), (&json!("1.0.0"), &json!("1.3.0")));
    assert!(features["annotations"].as_object().unwrap().values().all(Value::is_string));
}

// proves: `features` complete and true
#[test]
fn features_beside_runcs() {
    let ours = Runtime::new().call(["features"]).ok().json();
    let Some(runc) = Runtime::runc() else { return };
    let theirs = runc.call(["features"]).ok().json();
    for list in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
    ] {
        let of = |features: &Value| features.pointer(list).unwrap().clone();
        assert_eq!(missing(&of(&theirs), &of(&ours)), Vec::<Value>::new(), "{list}");
    }
    // Those of libseccomp that no machine has which runs our binaries: their names are taken, and
    // make no rules.
    for arch in missing(&theirs["linux"]["seccomp"]["archs"], &ours["linux"]["seccomp"]["archs"]) {
        let name = arch.as_str().unwrap().trim_start_matches("SCMP_ARCH_");
        assert!(name.starts_with("MIPS") || ["PPC", "PPC64", "S390"].contains(&name), "{name}");
    }
    for pointer in
        ["/ociVersionMin", "/linux/cgroup", "/linux/apparmor", "/linux/selinux", "/linux/seccomp/enabled"]
    {
        match (theirs.pointer(pointer).unwrap(), ours.pointer(pointer).unwrap()) {
            (Value::Object(theirs), Value::Object(ours)) => {
                assert!(theirs.iter().all(|(name, value)| ours[name] == *value), "{pointer}: {theirs:?}");
            }
            (theirs, ours) => assert_eq!(theirs, ours, "{pointer}"),
        }
    }
    const CHECKPOINTS: &str = "org.opencontainers.runc.checkpoint.enabled";
    assert_eq!(ours["annotations"][CHECKPOINTS], theirs["annotations"][CHECKPOINTS]);
}
