//! What a config says of the process beside its identity, seen by the probe
//! from inside: scheduler, I/O priority, execution domain, memory policy,
//! session keyring.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::seen::Seen;
use sextant_integration::{Bundle, Running, Runtime, skip, skip_unless_root, unique};

/// The probe that reads these files, in a bundle with and one without a user namespace.
fn reading(paths: &[&str]) -> [Bundle; 2] {
    Bundle::both(&paths.iter().flat_map(|path| ["--read", *path]).collect::<Vec<_>>())
}

/// Nice value, real-time priority and policy: fields 19, 40 and 41 of proc_pid_stat(5).
fn scheduling(seen: &Seen) -> (i32, u32, u32) {
    let stat = seen.content("/proc/self/stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[16].parse().unwrap(), fields[37].parse().unwrap(), fields[38].parse().unwrap())
}

// proves: scheduler
#[test]
fn the_scheduler_of_the_process() {
    if skip_unless_root() {
        return;
    }
    for (scheduler, expected) in [
        (json!({"policy": "SCHED_OTHER", "nice": -3}), (-3, 0, 0)),
        (json!({"policy": "SCHED_BATCH", "nice": 7}), (7, 0, 3)),
        (json!({"policy": "SCHED_IDLE"}), (0, 0, 5)),
        (json!({"policy": "SCHED_FIFO", "priority": 2, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}), (0, 2, 1)),
        (json!({"policy": "SCHED_RR", "priority": 3}), (0, 3, 2)),
    ] {
        for bundle in reading(&["/proc/self/stat"]) {
            let bundle = bundle.set("/process/scheduler", scheduler.clone());
            let ran = Runtime::new().run(&bundle, &unique("sched"));
            if expected.1 > 0 && ran.stderr.contains("realtimeRuntime") {
                skip("the cgroup v1 of this machine has no real-time share to give");
                continue;
            }
            assert_eq!(scheduling(&ran.ok().seen()), expected, "{scheduler}");
        }
    }
}

// proves: scheduler
#[test]
fn a_deadline_of_the_process() {
    if skip_unless_root() {
        return;
    }
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 50_000_000, "period": 100_000_000});
    let bundle = Bundle::without_user().sleeping().set("/process/scheduler", deadline);
    let (runtime, id) = (Runtime::new(), unique("deadline"));
    let created = runtime.create(&bundle, &id);
    if created.stderr.contains("EBUSY") || created.stderr.contains("EPERM") {
        return skip("this machine has no room for a deadline");
    }
    created.ok();
    let pid = runtime.pid(&id);
    let told = std::process::Command::new("chrt").args(["--pid", &pid.to_string()]).output();
    let Ok(told) = told else { return skip("chrt is not installed") };
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("SCHED_DEADLINE") && told.contains("1000000/50000000/100000000"), "{told}");
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: ioPriority
#[test]
fn the_io_priority_of_the_process() {
    if skip_unless_root() {
        return;
    }
    for (class, level, expected) in [
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_RT", 1, "realtime: prio 1"),
    ] {
        for bundle in [Bundle::new(), Bundle::without_user()] {
            let priority = json!({"class": class, "priority": level});
            let running = Running::start(bundle.sleeping().set("/process/ioPriority", priority));
            let told = std::process::Command::new("ionice").args(["-p", &running.pid.to_string()]).output();
            let Ok(told) = told else { return skip("ionice is not installed") };
            assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), expected);
            running.end();
        }
    }
}

// proves: personality
#[test]
fn the_execution_domain_of_the_process() {
    if skip_unless_root() {
        return;
    }
    for (personality, expected) in [
        (json!({"domain": "LINUX"}), "00000000"),
        (json!({"domain": "LINUX32"}), "00000008"),
        (json!({"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE", "UNAME26"]}), "00060008"),
    ] {
        for bundle in reading(&["/proc/self/personality"]) {
            let seen = Runtime::seen_in(&bundle.set("/linux/personality", personality.clone()));
            assert_eq!(seen.content("/proc/self/personality").trim(), expected);
        }
    }
}

// proves: memoryPolicy
#[test]
fn the_memory_policy_of_the_process() {
    if skip_unless_root() {
        return;
    }
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        return skip("this kernel has no memory policies");
    }
    for (policy, expected) in [
        (json!({"mode": "MPOL_BIND", "nodes": "0"}), "bind:0"),
        (
            json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "prefer=static:0",
        ),
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "interleave:0"),
        (json!({"mode": "MPOL_LOCAL"}), "local"),
        (json!({"mode": "MPOL_DEFAULT"}), "default"),
    ] {
        for bundle in reading(&["/proc/self/numa_maps"]) {
            let seen = Runtime::seen_in(&bundle.set("/linux/memoryPolicy", policy.clone()));
            let maps = seen.content("/proc/self/numa_maps");
            assert!(maps.lines().next().unwrap().split(' ').any(|w| w == expected), "{policy}: {maps}");
        }
    }
    let far = Bundle::new().set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "1000"}));
    Runtime::new().run(&far, &unique("node")).failed_with(&[
        "/linux/memoryPolicy",
        "MPOL_BIND",
        "none of the nodes",
    ]);
}

// proves: session keyring
#[test]
fn a_session_keyring_of_its_own() {
    if skip_unless_root() {
        return;
    }
    if !std::path::Path::new("/proc/keys").exists() {
        return skip("this kernel has no /proc/keys");
    }
    // Without a user namespace the keyring is root's, and seen from the host.
    let host = || std::fs::read_to_string("/proc/keys").unwrap();
    let running = Running::start(Bundle::without_user().sleeping());
    assert!(host().contains(&format!("_ses.{}", running.id)), "{}", host());
    running.end();
    let [_, bundle] = reading(&["/proc/keys"]);
    let bundle = bundle.set("/linux/maskedPaths", json!([]));
    let (runtime, id) = (Runtime::new(), unique("keys"));
    let own = format!("_ses.{id}");
    let seen = runtime.run(&bundle, &id).ok().seen();
    assert!(seen.content("/proc/keys").contains(&own), "{seen:?}");
    let id = unique("keys");
    let own = format!("_ses.{id}");
    let args = ["run".as_ref(), "--no-new-keyring".as_ref(), "--bundle".as_ref()];
    let seen = runtime.call(args.into_iter().chain([bundle.write().as_os_str(), id.as_ref()])).ok().seen();
    assert!(!seen.content("/proc/keys").contains(&own), "{seen:?}");
}

/// Serial number and owner of the keyrings of this name in a /proc/keys (keyrings(7)).
fn session_keyrings(keys: &str, name: &str) -> Vec<(String, String)> {
    let fields = keys.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields
        .filter(|f| f.get(8).is_some_and(|found| found.trim_end_matches(':') == name))
        .map(|f| (f[0].to_owned(), f[5].to_owned()))
        .collect()
}

// proves: session keyring
#[test]
fn the_keyring_in_a_user_namespace_is_that_of_its_root() {
    if skip_unless_root() {
        return;
    }
    if !std::path::Path::new("/proc/keys").exists() {
        return skip("this kernel has no /proc/keys");
    }
    let [bundle, _] = reading(&["/proc/keys"]);
    let bundle = bundle.set("/linux/maskedPaths", json!([]));
    let (runtime, id) = (Runtime::new(), unique("keys"));
    let own = format!("_ses.{id}");
    let seen = runtime.run(&bundle, &id).ok().seen();
    let keyrings = session_keyrings(seen.content("/proc/keys"), &own);
    assert!(matches!(&keyrings[..], [(_, uid)] if uid == "0"), "{keyrings:?}");

    // Another name: the kernel takes the keyring of a process that ended out of the list later.
    let running = Running::start(bundle.sleeping());
    let own = format!("_ses.{}", running.id);
    let exec = || {
        let seen = running.exec(&[], &["/bin/probe", "--read", "/proc/keys"]).ok().seen();
        session_keyrings(seen.content("/proc/keys"), &own)
    };
    let (first, second) = (exec(), exec());
    assert_eq!(first, second, "each process of the container is in the same one");
    assert!(matches!(&first[..], [(_, uid)] if uid == "0"), "{first:?}");
    running.end();
}

/// The CPUs of a process, from the text of its `/proc/PID/status`.
fn cpus_in(status: &str) -> String {
    status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}

fn cpus_of_init(running: &Running) -> String {
    cpus_in(&std::fs::read_to_string(format!("/proc/{}/status", running.pid)).unwrap())
}

const READ_STATUS: &[&str] = &["/bin/probe", "--read", "/proc/self/status"];

/// The CPUs of a process of `exec`, that reads its status.
#[track_caller]
fn cpus_of_exec(running: &Running, exec: &[&str], command: &[&str]) -> String {
    cpus_in(running.call(exec, command).ok().seen().content("/proc/self/status"))
}

/// Binds the calling thread, and what it starts, to these CPUs, or to all of its cpuset.
fn bind(cpus: Option<usize>) {
    let mut set = nix::sched::CpuSet::new();
    for cpu in cpus.map_or(0..nix::sched::CpuSet::count(), |cpu| cpu..cpu + 1) {
        set.set(cpu).unwrap();
    }
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).unwrap();
}

/// All CPUs of this thread's cpuset, as a list of the kernel, and their numbers; it may use them from here on.
fn all_cpus() -> (String, Vec<u32>) {
    bind(None);
    let list = cpus_in(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u32>().unwrap()..=last.parse().unwrap()
    };
    let numbers = list.split(',').flat_map(range).collect();
    (list, numbers)
}

/// Since Linux 6.2 a process keeps, in another cpuset, the CPUs that were asked for.
fn affinity_outlives_a_cpuset() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(2))
}

// proves: execCPUAffinity
#[test]
fn the_cpus_of_a_process_of_exec() {
    if skip_unless_root() {
        return;
    }
    let (whole, all) = all_cpus();
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return };
    if first == last {
        return skip("there is one CPU only");
    }
    let (first, last) = (first.to_string(), last.to_string());
    let by_kernel = if affinity_outlives_a_cpuset() { &first } else { &whole };
    for (affinity, expected) in [
        (json!({}), &whole),
        (json!({"initial": first}), by_kernel),
        (json!({"final": last}), &last),
        (json!({"initial": first, "final": last}), &last),
    ] {
        for bundle in [Bundle::new(), Bundle::without_user()] {
            let bundle = bundle.sleeping().set("/process/execCPUAffinity", affinity.clone());
            let running = Running::start(bundle);
            assert_eq!(
                cpus_of_init(&running),
                whole,
                "{affinity}: it is not about the container's own process"
            );
            assert_eq!(cpus_of_exec(&running, &["exec"], READ_STATUS), *expected, "{affinity}");
            // A process file may say otherwise, or nothing.
            for (own, expected) in [(json!({"final": first}), &first), (Value::Null, expected)] {
                let file = running.runtime.dir().join("process.json");
                let process = json!({"args": READ_STATUS, "cwd": "/", "execCPUAffinity": own});
                std::fs::write(&file, process.to_string()).unwrap();
                let exec = ["exec", "--process", file.to_str().unwrap()];
                assert_eq!(cpus_of_exec(&running, &exec, &[]), *expected, "{affinity} {own}");
            }
            running.end();
        }
    }
    let far = json!({"final": "8000"});
    let running = Running::start(Bundle::new().sleeping().set("/process/execCPUAffinity", far));
    let ran = running.exec(&[], &["/bin/true"]);
    assert_ne!(ran.code, 0);
    for words in ["/process/execCPUAffinity/final", "EINVAL", "online"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    running.end();
}

/// Whoever calls the runtime may be bound to some CPUs, by its unit for instance.
// proves: the CPUs are those of the cgroup
#[test]
fn the_cpus_are_those_of_the_cgroup_and_not_of_the_caller() {
    if skip_unless_root() {
        return;
    }
    let (whole, all) = all_cpus();
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return };
    if first == last {
        return skip("there is one CPU only");
    }
    bind(Some(usize::try_from(*first).unwrap()));
    let last = last.to_string();
    for (cpus, expected) in [("", &whole), (&last, &last)] {
        for bundle in [Bundle::new(), Bundle::without_user()] {
            let bundle = bundle.sleeping().set("/linux/resources/cpu", json!({ "cpus": cpus }));
            let running = Running::start(bundle);
            assert_eq!(cpus_of_init(&running), *expected, "{cpus:?}");
            assert_eq!(cpus_of_exec(&running, &["exec"], READ_STATUS), *expected, "{cpus:?}: of exec");
            running.end();
        }
    }
}

// proves: what has no effect warns
#[test]
fn legal_values_without_an_effect_here_warn() {
    if skip_unless_root() {
        return;
    }
    for (pointer, value, place, words) in [
        ("/process/scheduler", json!({"policy": "SCHED_ISO"}), "/process/scheduler/policy", "SCHED_OTHER"),
        ("/vm", json!({"kernel": {"path": "/kernel"}}), "/vm", "virtual machines"),
        ("/windows", json!({"layerFolders": ["C"]}), "/windows", "no effect"),
        ("/hooks/prestart", json!([{"path": "/bin/true"}]), "/hooks/prestart", "createRuntime"),
        ("/linux/noSuchProperty", json!(true), "/linux/noSuchProperty", "unknown property"),
        ("/process/user/username", json!("ann"), "/process/user/username", "no effect"),
        ("/process/commandLine", json!("cmd"), "/process/commandLine", "no effect"),
        ("/process/consoleSize", json!({"height": 1, "width": 2}), "/process/consoleSize", "terminal"),
    ] {
        let (runtime, id) = (Runtime::new(), unique("warn"));
        let bundle = Bundle::without_user().args(&["/bin/true"]).set(pointer, value);
        let args = ["--debug".as_ref(), "run".as_ref(), "--bundle".as_ref(), bundle.write().as_os_str()];
        let ran = runtime.call(args.into_iter().chain([id.as_ref()])).ok();
        let warned = ran.stderr.lines().any(|line| line.contains(place) && line.contains(words));
        assert!(warned, "{pointer}: {}", ran.stderr);
        runtime.leftovers(&[&id]).assert_none();
    }
}
