//! Each namespace, created and joined: what the container sees, and what the
//! kernel shows of it from outside in `/proc/PID/ns`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::json;
use sextant_integration::bundle::{HOST_ID, ID_COUNT};
use sextant_integration::process::{DEADLINE, parse_seen, until};
use sextant_integration::{Bundle, Runtime, look, skip, skip_unless_root, unique};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names in config.json and in `/proc/PID/ns`.
const SIX: [(&str, &str); 6] =
    [("pid", "pid"), ("network", "net"), ("mount", "mnt"), ("uts", "uts"), ("user", "user"), ("ipc", "ipc")];

fn namespace(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/{name}"))
}

/// The link's text, such as `net:[4026531840]`.
fn identity(pid: i32, name: &str) -> String {
    std::fs::read_link(namespace(pid, name)).unwrap().display().to_string()
}

/// A container that sleeps, for others to join, and its pid.
fn sleeper(runtime: &Runtime, bundle: Bundle) -> (Bundle, String, i32) {
    let (bundle, id) = (bundle.sleeping(), unique("sleeper"));
    let pid = runtime.start(&bundle, &id);
    (bundle, id, pid)
}

// proves: namespaces created or joined
#[test]
fn six_namespaces_and_the_cgroup_namespace_are_new_from_outside_and_inside() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (_bundle, id, pid) = sleeper(&runtime, Bundle::new());
    let own = i32::try_from(std::process::id()).unwrap();
    for (_, name) in SIX.iter().chain([&("cgroup", "cgroup")]) {
        assert_ne!(identity(pid, name), identity(own, name), "{name} from outside");
    }
    assert_eq!(identity(pid, "time"), identity(own, "time"), "time was not asked for");
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();

    let (inside, outside) = (Runtime::seen_in(&Bundle::new()), look::look());
    for (_, name) in SIX {
        assert_ne!(inside.namespaces[name], outside.namespaces[name], "{name} from inside");
    }
}

#[test]
fn a_namespace_that_is_not_named_is_the_callers() {
    if skip_unless_root() {
        return;
    }
    let own = i32::try_from(std::process::id()).unwrap();
    for (kind, name) in [("uts", "uts"), ("ipc", "ipc"), ("cgroup", "cgroup")] {
        let bundle = Bundle::without_user().edit(|config| {
            sextant_integration::bundle::remove_namespace(config, kind);
            if kind == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
        });
        let runtime = Runtime::new();
        let (_bundle, id, pid) = sleeper(&runtime, bundle);
        assert_eq!(identity(pid, name), identity(own, name));
        runtime.delete(&id);
    }
}

#[test]
fn pid_the_process_is_pid_1_and_sees_itself_only() {
    if skip_unless_root() {
        return;
    }
    let seen = Runtime::seen_in(&Bundle::new());
    assert_eq!((seen.pid, seen.ppid), (1, 0));
    assert_eq!(seen.processes.len(), 1, "{:?}", seen.processes);
    assert_eq!(seen.processes[0].comm, "probe");
}

#[test]
fn network_has_lo_up_and_nothing_else() {
    if skip_unless_root() {
        return;
    }
    let seen = Runtime::seen_in(&Bundle::new());
    let [lo] = seen.interfaces.as_slice() else { panic!("{:?}", seen.interfaces) };
    assert!(lo.name == "lo" && lo.up && lo.loopback, "{lo:?}");
    assert!(lo.addresses.contains(&"127.0.0.1".to_owned()), "{lo:?}");
    assert_eq!(seen.routes, Vec::<String>::new());
}

#[test]
fn mount_the_root_is_its_own_and_the_hosts_mounts_are_gone() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new();
    let host = bundle.dir().display().to_string();
    let seen = Runtime::seen_in(&bundle);
    let roots: Vec<_> = seen.mounts.iter().filter(|m| m.target == "/").collect();
    assert_eq!(roots.len(), 1, "{:?}", seen.mounts);
    assert!(roots[0].root.ends_with("/rootfs"), "{:?}", roots[0]);
    assert!(seen.mounts.iter().all(|m| !m.target.contains(&host)), "{:?}", seen.mounts);
    for target in ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"] {
        assert!(seen.mounts.iter().any(|m| m.target == target), "{target}: {:?}", seen.mounts);
    }
}

// proves: hostname, domainname, sysctl
#[test]
fn uts_has_a_host_name_of_its_own() {
    if skip_unless_root() {
        return;
    }
    let before = look::look();
    let seen = Runtime::seen_in(&Bundle::new().set("/domainname", json!("inside.example")));
    assert_eq!((seen.hostname.as_str(), seen.domainname.as_str()), ("inside", "inside.example"));
    let after = look::look();
    assert_eq!((before.hostname, before.domainname), (after.hostname, after.domainname));
}

// proves: id mappings, joined user namespace
#[test]
fn user_ids_are_mapped_to_unprivileged_ones() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (_bundle, id, pid) = sleeper(&runtime, Bundle::new());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uids = status.lines().find(|l| l.starts_with("Uid:")).unwrap();
    assert!(uids.split_whitespace().skip(1).all(|uid| uid == HOST_ID.to_string()), "{uids}");
    runtime.delete(&id);

    let seen = Runtime::seen_in(&Bundle::new());
    assert_eq!((&seen.uid, &seen.gid), (&vec![0; 4], &vec![0; 4]));
    assert_eq!(seen.uid_map, [[0, HOST_ID, ID_COUNT]]);
    assert_eq!(seen.gid_map, [[0, HOST_ID, ID_COUNT]]);
}

#[test]
fn user_an_idmapped_root_belongs_to_the_containers_root() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new().args(&["/bin/probe", "--stat", "/etc/passwd", "--write", "/etc/passwd"]);
    let file = bundle.rootfs().join("etc/passwd");
    let seen = Runtime::seen_in(&bundle);
    let sextant_integration::seen::Answer::Ok(inside) = &seen.files["/etc/passwd"] else {
        panic!("{seen:?}")
    };
    assert_eq!((inside.uid, inside.gid), (0, 0));
    assert_eq!(look::stat(&file.display().to_string()).unwrap().uid, 0, "nothing was changed on disk");
    assert_eq!(seen.writes["/etc/passwd"], sextant_integration::seen::Answer::Ok(()));
}

/// `ipcs` of the caller's namespace: queues, segments, semaphores.
fn host_ipc_objects() -> usize {
    let ipc = look::look().ipc;
    ipc.msg + ipc.shm + ipc.sem
}

#[test]
fn ipc_objects_of_the_container_are_seen_inside_only() {
    if skip_unless_root() {
        return;
    }
    // One of the host's, so that there is something not to be seen.
    let made = Command::new("ipcmk").arg("-Q").output().unwrap();
    let number = String::from_utf8(made.stdout).unwrap().trim().rsplit(' ').next().unwrap().to_owned();
    let before = host_ipc_objects();
    assert!(before >= 1);
    let seen = Runtime::seen_in(&Bundle::new().args(&["/bin/probe", "ipc"]));
    assert_eq!((seen.ipc.shm, seen.ipc.msg, seen.ipc.sem), (1, 1, 1));
    assert_eq!(seen.ipc.mqueue, ["made"]);
    assert_eq!(host_ipc_objects(), before);
    assert!(Command::new("ipcrm").args(["-q", &number]).status().unwrap().success());
}

// proves: namespaces created or joined
#[test]
fn each_of_the_six_but_mount_is_joined_by_path() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (_first, first_id, pid) = sleeper(&runtime, Bundle::without_user());
    for (kind, name) in SIX.iter().filter(|(kind, _)| !["user", "mount"].contains(kind)) {
        let bundle = Bundle::without_user().join(kind, &namespace(pid, name)).edit(|config| {
            if *kind == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
        });
        let (_second, id, joined) = sleeper(&runtime, bundle);
        assert_eq!(identity(joined, name), identity(pid, name), "{kind} is the first one's");
        for (_, other) in SIX.iter().filter(|(k, n)| n != name && *k != "user") {
            assert_ne!(identity(joined, other), identity(pid, other), "{kind} joined, {other} is new");
        }
        runtime.delete(&id);
        runtime.leftovers(&[&id]);
    }
    runtime.delete(&first_id);
    runtime.leftovers(&[&first_id]).assert_none();
}

// proves: id mappings, joined user namespace
#[test]
fn a_user_namespace_is_joined_by_path_with_the_namespaces_it_owns() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (_first, first_id, pid) = sleeper(&runtime, Bundle::new());
    let bundle = ["user", "network", "ipc"].iter().fold(Bundle::new(), |bundle, kind| {
        let name = SIX.iter().find(|(k, _)| k == kind).unwrap().1;
        bundle.join(kind, &namespace(pid, name))
    });
    let bundle = bundle.without_mappings();
    let (_second, id, joined) = sleeper(&runtime, bundle);
    for name in ["user", "net", "ipc"] {
        assert_eq!(identity(joined, name), identity(pid, name), "{name}");
    }
    assert_ne!(identity(joined, "pid"), identity(pid, "pid"));
    runtime.delete(&id);
    runtime.delete(&first_id);
    runtime.leftovers(&[&id, &first_id]).assert_none();
}

#[test]
fn a_joined_pid_namespace_shows_both_processes() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (_first, first_id, pid) = sleeper(&runtime, Bundle::without_user());
    let bundle = Bundle::without_user().join("pid", &namespace(pid, "pid"));
    let id = unique("joined");
    let seen = runtime.run(&bundle, &id).ok().seen();
    assert_ne!(seen.pid, 1);
    assert!(seen.processes.len() >= 2, "{:?}", seen.processes);
    assert!(seen.processes.iter().any(|p| p.pid == 1), "{:?}", seen.processes);
    runtime.delete(&first_id);
    runtime.leftovers(&[&id, &first_id]).assert_none();
}

#[test]
fn a_joined_network_namespace_is_the_same_stack() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (_first, first_id, pid) = sleeper(&runtime, Bundle::without_user());
    let net = format!("--net={}", namespace(pid, "net").display());
    let ip = ["ip", "address", "add", "192.0.2.77/32", "dev", "lo"];
    assert!(Command::new("nsenter").arg(net).args(ip).status().unwrap().success());
    let bundle = Bundle::without_user().join("network", &namespace(pid, "net"));
    let seen = runtime.run(&bundle, &unique("joined")).ok().seen();
    assert!(seen.interfaces[0].addresses.contains(&"192.0.2.77".to_owned()), "{:?}", seen.interfaces);
    runtime.delete(&first_id);
}

#[test]
fn a_joined_ipc_namespace_shows_the_objects_of_the_first() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (first, first_id, pid) = sleeper(&runtime, Bundle::without_user());
    let make = |bundle: Bundle| bundle.args(&["/bin/probe", "ipc"]).join("ipc", &namespace(pid, "ipc"));
    runtime.run(&make(Bundle::without_user()), &unique("maker")).ok();
    let bundle = Bundle::without_user().join("ipc", &namespace(pid, "ipc"));
    let seen = runtime.run(&bundle, &unique("joined")).ok().seen();
    assert_eq!((seen.ipc.shm, seen.ipc.msg, seen.ipc.sem), (1, 1, 1));
    runtime.delete(&first_id);
    drop(first);
}

// proves: wrong or repeated namespace type
#[test]
fn a_namespace_of_another_type_is_refused_by_name() {
    if skip_unless_root() {
        return;
    }
    for (kind, wrong) in [
        ("network", "uts"),
        ("uts", "ipc"),
        ("ipc", "net"),
        ("pid", "mnt"),
        ("mount", "pid"),
        ("user", "net"),
        ("cgroup", "uts"),
    ] {
        let (runtime, id) = (Runtime::new(), unique("wrong"));
        let path = PathBuf::from(format!("/proc/self/ns/{wrong}"));
        let bundle = if kind == "user" { Bundle::new().without_mappings() } else { Bundle::without_user() };
        let bundle = bundle.join(kind, &path);
        let place = format!(
            "/linux/namespaces/{}/path",
            bundle.config["linux"]["namespaces"].as_array().unwrap().len() - 1
        );
        let named = match wrong {
            "net" => "network",
            "mnt" => "mount",
            other => other,
        };
        runtime.create(&bundle, &id).failed_with(&[&place, kind, named]);
        runtime.leftovers(&[&id]).assert_none();
    }
}

#[test]
fn a_path_that_is_no_namespace_is_refused() {
    if skip_unless_root() {
        return;
    }
    for (path, words) in [("/proc/self/status", "namespace"), ("/nonexistent/ns", "/nonexistent/ns")] {
        let (runtime, id) = (Runtime::new(), unique("nons"));
        let bundle = Bundle::without_user().join("network", Path::new(path));
        runtime.create(&bundle, &id).failed_with(&["/linux/namespaces/", words]);
        runtime.leftovers(&[&id]).assert_none();
    }
}

// proves: wrong or repeated namespace type
#[test]
fn a_type_named_twice_is_refused() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("twice"));
    let bundle = Bundle::new().edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "uts"}));
    });
    runtime.create(&bundle, &id).failed_with(&["/linux/namespaces/7", "uts"]);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn several_at_once_do_not_disturb_each_other() {
    if skip_unless_root() {
        return;
    }
    // Several at once: each sees its own pid 1, its own host name.
    let started: Vec<_> = (0..8)
        .map(|n| {
            let (runtime, id) = (Runtime::new(), unique("many"));
            let bundle = Bundle::new().set("/hostname", json!(format!("host-{n}")));
            runtime.create(&bundle, &id).ok();
            (runtime, bundle, id)
        })
        .collect();
    for (runtime, _, id) in &started {
        runtime.call(["start", id]).ok();
    }
    for (n, (runtime, bundle, id)) in started.iter().enumerate() {
        runtime.wait_stopped(id);
        let path = bundle.dir().join("stdout");
        let mut text = String::new();
        until(DEADLINE, || {
            text = std::fs::read_to_string(&path).unwrap();
            text.ends_with('\n')
        });
        let seen = parse_seen(&text).unwrap();
        assert_eq!((seen.pid, seen.hostname), (1, format!("host-{n}")));
        runtime.delete(id);
        runtime.leftovers(&[id]).assert_none();
    }
}

/// Seconds since the boot as the probe reads them.
fn uptime(seen: &sextant_integration::seen::Seen) -> f64 {
    match &seen.contents["/proc/uptime"] {
        sextant_integration::seen::Answer::Ok(text) => text.split(' ').next().unwrap().parse().unwrap(),
        sextant_integration::seen::Answer::Errno(errno) => panic!("errno {errno}"),
    }
}

fn offsets(pid: i32) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/timens_offsets")).unwrap();
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

// proves: time namespace
#[test]
fn time_has_offsets_of_its_own_and_is_joined_by_path() {
    if skip_unless_root() {
        return;
    }
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return skip("this kernel has no time namespaces");
    }
    const SHIFT: f64 = 1_000_000.0;
    let host = || std::fs::read_to_string("/proc/uptime").unwrap();
    let host = || host().split(' ').next().unwrap().parse::<f64>().unwrap();
    let shifted = |seen: &sextant_integration::seen::Seen| {
        let ahead = uptime(seen) - host();
        (SHIFT - 60.0..SHIFT + 1.0).contains(&ahead)
    };
    let read = ["/bin/probe", "--read", "/proc/uptime"];
    for bundle in [Bundle::new(), Bundle::without_user()] {
        let runtime = Runtime::new();
        let bundle = bundle.set("/linux/namespaces/-", json!({"type": "time"})).set(
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 7, "nanosecs": 5}}),
        );
        let seen = runtime.run(&bundle.args(&read), &unique("time")).ok().seen();
        assert!(shifted(&seen), "{} beside {}", uptime(&seen), host());

        let bundle = Bundle::without_user().set("/linux/namespaces/-", json!({"type": "time"})).set(
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 7, "nanosecs": 5}}),
        );
        let (_first, id, pid) = sleeper(&runtime, bundle);
        assert_ne!(identity(pid, "time"), identity(std::process::id().cast_signed(), "time"));
        assert_eq!(offsets(pid), [["monotonic", "7", "5"], ["boottime", "1000000", "0"]]);
        let executed = runtime.call([&["exec", id.as_str()][..], &read].concat()).ok().seen();
        assert!(shifted(&executed));

        let joining = Bundle::without_user().sleeping().join("time", &namespace(pid, "time"));
        let other = unique("time");
        let joined = runtime.start(&joining, &other);
        assert_eq!(identity(joined, "time"), identity(pid, "time"));
        let seen = runtime.call([&["exec", other.as_str()][..], &read].concat()).ok().seen();
        assert!(shifted(&seen));
        runtime.delete(&other);
        let seen = runtime.run(&joining.args(&read), &unique("time")).ok().seen();
        assert!(shifted(&seen), "{} beside {}", uptime(&seen), host());
        runtime.delete(&id);
        runtime.leftovers(&[&id]).assert_none();
    }
    let without = Bundle::new().args(&read);
    let seen = Runtime::seen_in(&without);
    assert!((uptime(&seen) - host()).abs() < 60.0);
}
