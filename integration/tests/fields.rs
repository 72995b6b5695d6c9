//! Every field of a config takes effect: seen by the probe from inside, or in
//! the kernel's files from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::libc::{EACCES, EOPNOTSUPP, EPERM, EROFS};
use serde_json::{Value, json};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::seen::Answer;
use sextant_integration::{Bundle, Running, Runtime, cgroup, skip, skip_unless_root, unique};
use std::ffi::OsStr;

// --- process ---------------------------------------------------------------

#[test]
fn args_env_and_cwd() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&["--stat", "/"]) {
        let bundle = bundle
            .set("/process/cwd", json!("/home"))
            .set("/process/env", json!(["PATH=/bin", "A=1 2", "EMPTY=", "Z=ü"]));
        let seen = Runtime::seen_in(&bundle);
        assert_eq!(seen.argv, ["/bin/probe", "--stat", "/"]);
        // HOME is added where it is missing, as runc does.
        let env: Vec<&String> = seen.env.iter().filter(|e| !e.starts_with("HOME=")).collect();
        assert_eq!(env, ["PATH=/bin", "A=1 2", "EMPTY=", "Z=ü"]);
        assert_eq!(seen.cwd, "/home");
    }
}

#[test]
fn a_program_is_found_in_the_path_of_its_own_environment() {
    if skip_unless_root() {
        return;
    }
    let seen =
        Runtime::seen_in(&Bundle::new().args(&["probe"]).set("/process/env", json!(["PATH=/nowhere:/bin"])));
    assert_eq!(seen.argv, ["probe"]);
}

#[test]
fn a_missing_working_directory_is_made() {
    if skip_unless_root() {
        return;
    }
    let seen = Runtime::seen_in(&Bundle::without_user().set("/process/cwd", json!("/tmp/a/b")));
    assert_eq!(seen.cwd, "/tmp/a/b");
}

// proves: identity and limits of the process
#[test]
fn user_group_and_additional_groups() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&[]) {
        let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000], "umask": 0o27});
        let seen = Runtime::seen_in(&bundle.set("/process/user", user));
        assert_eq!((seen.uid, seen.gid), (vec![1000; 4], vec![1001; 4]));
        assert_eq!(seen.groups, [5, 2000]);
        assert_eq!(seen.umask, 0o27);
    }
}

#[test]
fn the_groups_of_the_caller_are_dropped() {
    if skip_unless_root() {
        return;
    }
    assert_eq!(Runtime::seen_in(&Bundle::new()).groups, Vec::<u32>::new());
}

// proves: identity and limits of the process
#[test]
fn five_capability_sets() {
    if skip_unless_root() {
        return;
    }
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    });
    for bundle in Bundle::both(&[]) {
        // A user other than root keeps over execve(2) what is ambient, and no more.
        let seen = Runtime::seen_in(
            &bundle.set("/process/capabilities", sets.clone()).set("/process/user/uid", json!(7)),
        );
        let (chown, kill, net_raw) = (1 << 0, 1 << 5, 1 << 13);
        assert_eq!(seen.capabilities.bounding, chown | kill | net_raw);
        assert_eq!(seen.capabilities.inheritable, kill);
        assert_eq!(seen.capabilities.ambient, kill);
        assert_eq!(seen.capabilities.permitted, kill);
        assert_eq!(seen.capabilities.effective, kill);
    }
}

#[test]
fn without_capabilities_there_are_none() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&[]) {
        let seen = Runtime::seen_in(
            &bundle.edit(|c| drop(c["process"].as_object_mut().unwrap().remove("capabilities"))),
        );
        assert_eq!(seen.capabilities, sextant_integration::seen::Capabilities::default());
    }
}

// proves: identity and limits of the process
#[test]
fn an_unknown_capability_warns_and_does_not_fail() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new().edit(|c| {
        for set in ["bounding", "permitted", "effective"] {
            c["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_TIME_TRAVEL"]);
        }
    });
    let (runtime, id) = (Runtime::new(), unique("cap"));
    let log = runtime.dir().join("log");
    let args = [OsStr::new("--log"), log.as_os_str(), "run".as_ref(), "--bundle".as_ref()];
    let dir = bundle.write();
    let ran = runtime.call(args.into_iter().chain([dir.as_os_str(), id.as_ref()])).ok();
    assert_eq!(ran.seen().capabilities.effective, 1 << 5);
    // Warnings go to the log: stderr is the container's.
    assert!(std::fs::read_to_string(&log).unwrap().contains("CAP_TIME_TRAVEL"));
    assert!(!ran.stderr.contains("CAP_TIME_TRAVEL"), "{}", ran.stderr);
}

// proves: identity and limits of the process
#[test]
fn no_new_privileges_on_and_off() {
    if skip_unless_root() {
        return;
    }
    for on in [true, false] {
        assert_eq!(
            Runtime::seen_in(&Bundle::new().set("/process/noNewPrivileges", json!(on))).no_new_privs,
            on
        );
    }
}

// proves: identity and limits of the process
#[test]
fn resource_limits() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&[]) {
        let limits = json!([
            {"type": "RLIMIT_NOFILE", "soft": 200, "hard": 300},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        ]);
        let seen = Runtime::seen_in(&bundle.set("/process/rlimits", limits));
        assert_eq!(seen.rlimits["Max open files"], (Some(200), Some(300)));
        assert_eq!(seen.rlimits["Max core file size"], (Some(0), Some(0)));
    }
}

// proves: identity and limits of the process
#[test]
fn oom_score_adj() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&[]) {
        assert_eq!(Runtime::seen_in(&bundle.set("/process/oomScoreAdj", json!(421))).oom_score_adj, 421);
    }
}

#[test]
fn the_process_leads_a_session_of_its_own() {
    if skip_unless_root() {
        return;
    }
    let seen = Runtime::seen_in(&Bundle::new());
    assert_eq!((seen.session, seen.pgid, seen.tty), (1, 1, 0));
}

// --- root and mounts -------------------------------------------------------

// proves: root and propagation
#[test]
fn a_read_only_root() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&["--write", "/etc/passwd", "--mkdir", "/made"]) {
        let seen = Runtime::seen_in(&bundle.set("/root/readonly", json!(true)));
        assert_eq!(seen.writes["/etc/passwd"], Answer::Errno(EROFS));
        assert_eq!(seen.mkdirs["/made"], Answer::Errno(EROFS));
        assert!(seen.mount_at("/").has("ro"));
    }
}

// proves: mount options
#[test]
fn a_bind_mount_with_options() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&["--write", "/mnt/deep/file", "--read", "/mnt/deep/file"]) {
        let source = sextant_integration::bundle::temp_dir();
        let file = source.path().join("file");
        std::fs::write(&file, "of the host").unwrap();
        // Writable for everybody, so that only the mount can refuse.
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let options = ["bind", "ro", "nosuid", "nodev", "noexec", "noatime"];
        let bundle = bundle.mount(json!({
            "destination": "/mnt/deep", "type": "bind", "source": source.path(), "options": options,
        }));
        let seen = Runtime::seen_in(&bundle);
        assert_eq!(seen.contents["/mnt/deep/file"], Answer::Ok("of the host".into()));
        assert_eq!(seen.writes["/mnt/deep/file"], Answer::Errno(EROFS));
        let mount = seen.mount_at("/mnt/deep");
        for option in &options[1..] {
            assert!(mount.has(option), "{option}: {mount:?}");
        }
    }
}

#[test]
fn a_bind_mount_of_a_file() {
    if skip_unless_root() {
        return;
    }
    let source = sextant_integration::bundle::temp_dir();
    let path = source.path().join("file");
    std::fs::write(&path, "one file").unwrap();
    for bundle in Bundle::both(&["--read", "/etc/bound"]) {
        let bundle = bundle.mount(
            json!({"destination": "/etc/bound", "type": "none", "source": path, "options": ["rbind"]}),
        );
        assert_eq!(Runtime::seen_in(&bundle).contents["/etc/bound"], Answer::Ok("one file".into()));
    }
}

// proves: mount options
#[test]
fn a_tmpfs_with_options() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&["--stat", "/mnt/t"]) {
        let bundle = bundle.mount(json!({
            "destination": "/mnt/t", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1750", "size=4096k"],
        }));
        let seen = Runtime::seen_in(&bundle);
        assert_eq!((seen.file("/mnt/t").kind.as_str(), seen.file("/mnt/t").mode), ("dir", 0o1750));
        let mount = seen.mount_at("/mnt/t");
        assert_eq!(mount.fstype, "tmpfs");
        assert!(mount.super_has("size=4096k"), "{mount:?}");
        assert!(["nosuid", "nodev"].iter().all(|o| mount.has(o)), "{mount:?}");
    }
}

#[test]
fn a_read_only_tmpfs_takes_the_mount_points_of_later_mounts() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&["--stat", "/mnt/t/deep/x"]) {
        let bundle = bundle
            .mount(json!({"destination": "/mnt/t", "type": "tmpfs", "source": "tmpfs", "options": ["ro"]}))
            .mount(json!({"destination": "/mnt/t/deep/x", "type": "tmpfs", "source": "tmpfs"}));
        let seen = Runtime::seen_in(&bundle);
        assert_eq!(seen.file("/mnt/t/deep/x").kind, "dir");
        let is_ro = |at: &str| seen.mount_at(at).has("ro");
        assert_eq!((is_ro("/mnt/t"), is_ro("/mnt/t/deep/x")), (true, false), "{:?}", seen.mounts);
    }
}

#[test]
fn mounts_are_made_in_the_order_of_the_config() {
    if skip_unless_root() {
        return;
    }
    let tmpfs = |at: &str| json!({"destination": at, "type": "tmpfs", "source": "tmpfs"});
    let seen =
        Runtime::seen_in(&Bundle::new().mount(tmpfs("/mnt")).mount(tmpfs("/mnt/a")).mount(tmpfs("/mnt/a/b")));
    let order: Vec<_> = seen.mounts.iter().filter(|m| m.target.starts_with("/mnt")).collect();
    assert_eq!(order.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(), ["/mnt", "/mnt/a", "/mnt/a/b"]);
}

// proves: root and propagation
#[test]
fn the_propagation_of_the_root_and_of_a_mount() {
    if skip_unless_root() {
        return;
    }
    let private = Runtime::seen_in(&Bundle::without_user().set("/linux/rootfsPropagation", json!("private")));
    assert_eq!(private.mount_at("/").tags, Vec::<String>::new());
    let bundle = Bundle::without_user().set("/linux/rootfsPropagation", json!("shared")).mount(json!({
        "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["unbindable"],
    }));
    let seen = Runtime::seen_in(&bundle);
    assert!(seen.mount_at("/").tags.iter().any(|t| t.starts_with("shared:")), "{:?}", seen.mount_at("/"));
    assert_eq!(seen.mount_at("/mnt").tags, ["unbindable"]);
}

// proves: masked and read-only paths
#[test]
fn masked_paths_are_empty_and_read_only_paths_are_read_only() {
    if skip_unless_root() {
        return;
    }
    let args =
        ["--read", "/etc/passwd", "--list", "/home", "--write", "/etc/passwd", "--mkdir", "/tmp/x/new"];
    for bundle in Bundle::both(&args) {
        std::fs::create_dir_all(bundle.rootfs().join("tmp/x")).unwrap();
        std::fs::write(bundle.rootfs().join("home/secret"), "secret").unwrap();
        let bundle = bundle
            .set("/linux/maskedPaths", json!(["/etc/passwd", "/home", "/no/such/path"]))
            .set("/linux/readonlyPaths", json!(["/tmp/x", "/proc/sys", "/no/such/path"]));
        let seen = Runtime::seen_in(&bundle);
        assert_eq!(seen.contents["/etc/passwd"], Answer::Ok(String::new()));
        assert_eq!(seen.listings["/home"], Answer::Ok(Vec::new()));
        assert_eq!(seen.mkdirs["/tmp/x/new"], Answer::Errno(EROFS));
    }
}

// --- devices ---------------------------------------------------------------

// proves: default devices and links
#[test]
fn default_devices_and_links() {
    if skip_unless_root() {
        return;
    }
    let nodes = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    let paths: Vec<String> = nodes
        .iter()
        .map(|n| n.0)
        .chain(links.iter().map(|l| l.0))
        .chain(["tty", "ptmx"])
        .map(|n| format!("/dev/{n}"))
        .collect();
    let args: Vec<&str> = paths.iter().flat_map(|p| ["--stat", p]).chain(["--write", "/dev/null"]).collect();
    for bundle in Bundle::both(&args) {
        let seen = Runtime::seen_in(&bundle);
        for (name, minor) in nodes {
            let node = seen.file(&format!("/dev/{name}"));
            assert_eq!((node.kind.as_str(), node.rdev, node.mode), ("char", (1, minor), 0o666), "{name}");
        }
        assert_eq!(seen.file("/dev/tty").rdev, (5, 0));
        for (name, target) in links {
            assert_eq!(seen.file(&format!("/dev/{name}")).link, target);
        }
        assert_eq!(seen.file("/dev/ptmx").link, "pts/ptmx");
        assert_eq!(seen.writes["/dev/null"], Answer::Ok(()));
    }
}

// proves: default devices and links
#[test]
fn a_device_of_the_config_with_mode_and_owner() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::without_user()
        .args(&["/bin/probe", "--stat", "/dev/mine", "--stat", "/dev/pipe"])
        .set("/linux/devices", json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 3, "gid": 4},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        ]));
    let seen = Runtime::seen_in(&bundle);
    let mine = seen.file("/dev/mine");
    assert_eq!((mine.kind.as_str(), mine.rdev, mine.mode, mine.uid, mine.gid), ("char", (1, 3), 0o640, 3, 4));
    assert_eq!(seen.file("/dev/pipe").kind, "fifo");
}

// proves: device rules
#[test]
fn the_device_rules_of_the_cgroup() {
    if skip_unless_root() {
        return;
    }
    // The node exists in both; the rule alone decides.
    let node = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let bundle = || {
        Bundle::without_user()
            .args(&["/bin/probe", "--write", "/dev/kmsg"])
            .set("/linux/devices", node.clone())
    };
    assert_eq!(Runtime::seen_in(&bundle()).writes["/dev/kmsg"], Answer::Errno(EPERM));
    let allowed = bundle().set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"},
        ]),
    );
    assert_eq!(Runtime::seen_in(&allowed).writes["/dev/kmsg"], Answer::Ok(()));
}

// --- linux -----------------------------------------------------------------

// proves: hostname, domainname, sysctl
#[test]
fn sysctls_of_owned_namespaces() {
    if skip_unless_root() {
        return;
    }
    let keys = ["net.ipv4.ip_forward", "kernel.msgmax", "net.ipv4.ping_group_range"];
    let args: Vec<&str> = keys.iter().flat_map(|k| ["--sysctl", k]).collect();
    for bundle in Bundle::both(&args) {
        let bundle = bundle.set("/linux/sysctl", json!({keys[0]: "1", keys[1]: "12345", keys[2]: "0 0"}));
        let seen = Runtime::seen_in(&bundle);
        assert_eq!(seen.sysctls[keys[0]], Answer::Ok("1".into()));
        assert_eq!(seen.sysctls[keys[1]], Answer::Ok("12345".into()));
        assert_eq!(seen.sysctls[keys[2]], Answer::Ok("0\t0".into()));
    }
}

// proves: seccomp actions
#[test]
fn seccomp_gives_the_errno_of_the_profile() {
    if skip_unless_root() {
        return;
    }
    for no_new_privileges in [true, false] {
        for bundle in Bundle::both(&["--mkdir", "/tmp/made"]) {
            let bundle = bundle.set("/process/noNewPrivileges", json!(no_new_privileges)).set("/linux/seccomp", json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": EOPNOTSUPP}],
            }));
            let seen = Runtime::seen_in(&bundle);
            assert_eq!(seen.seccomp, 2);
            assert_eq!(seen.mkdirs["/tmp/made"], Answer::Errno(EOPNOTSUPP));
        }
    }
}

#[test]
fn annotations_are_kept_in_the_state() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("annotated"));
    let bundle = Bundle::new().set("/annotations/org.example.key", json!("a value, ü"));
    runtime.create(&bundle, &id).ok();
    assert_eq!(runtime.state(&id)["annotations"]["org.example.key"], "a value, ü");
    runtime.delete(&id);
}

// --- hooks -----------------------------------------------------------------

// proves: hooks
#[test]
fn each_kind_of_hook_gets_the_state_on_stdin() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("hooks"));
    let bundle = Bundle::without_user().set("/process/args", json!(["/bin/probe", "sleep", "1000"]));
    let host = |kind: &str| {
        let file = runtime.dir().join(kind);
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat > $OUT; test $0 = sh"], "env": [format!("OUT={}", file.display())]}])
    };
    let inside = json!([{"path": "/bin/probe", "args": ["probe", "record", "/tmp/startContainer"]}]);
    let bundle = bundle.set(
        "/hooks",
        json!({
            "prestart": host("prestart"), "createRuntime": host("createRuntime"),
            "createContainer": host("createContainer"), "startContainer": inside,
            "poststart": host("poststart"), "poststop": host("poststop"),
        }),
    );
    let read = |kind: &str| -> Value {
        let path = match kind {
            "startContainer" => bundle.rootfs().join("tmp/startContainer"),
            _ => runtime.dir().join(kind),
        };
        serde_json::from_slice(&std::fs::read(path).unwrap_or_default()).unwrap_or(Value::Null)
    };
    runtime.create(&bundle, &id).ok();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let state = read(kind);
        assert_eq!((&state["id"], &state["bundle"]), (&json!(id), &json!(bundle.dir())), "{kind}");
        assert!(state["ociVersion"].is_string() && state["status"] == "creating", "{kind}: {state}");
    }
    assert_eq!(read("startContainer"), Value::Null, "not before start");
    runtime.call(["start", &id]).ok();
    assert!(
        ["created", "running"].iter().any(|s| read("startContainer")["status"] == *s),
        "{}",
        read("startContainer")
    );
    assert_eq!(read("poststart")["status"], "running");
    assert_eq!(read("poststart")["pid"], runtime.pid(&id));
    assert_eq!(read("poststop"), Value::Null, "not before delete");
    runtime.delete(&id);
    assert_eq!(read("poststop")["status"], "stopped");
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_failing_hook_undoes_the_creation_and_is_named() {
    if skip_unless_root() {
        return;
    }
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let (runtime, id) = (Runtime::new(), unique("badhook"));
        let hooks = json!([{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]);
        let bundle = Bundle::without_user().set(&format!("/hooks/{kind}"), hooks);
        runtime.create(&bundle, &id).failed_with(&[&format!("/hooks/{kind}/1"), "3"]);
        runtime.leftovers(&[&id]).assert_none();
    }
}

// proves: hooks
#[test]
fn a_hook_that_takes_too_long_is_ended() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("slowhook"));
    let mark = format!("SLOW={id}");
    let hooks = json!([{"path": "/bin/sleep", "args": ["sleep", "1000"], "env": [mark], "timeout": 1}]);
    let bundle = Bundle::without_user().set("/hooks/createRuntime", hooks);
    runtime.create(&bundle, &id).failed_with(&["/hooks/createRuntime/0", "1 s"]);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn what_a_hook_does_not_read_or_says_at_length_ends_nobody() {
    if skip_unless_root() {
        return;
    }
    // More than a pipe holds: of the state on stdin, and on stderr.
    let script = "exec <&-; head -c 300000 /dev/zero >&2";
    let hooks = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]);
    for kind in ["createRuntime", "createContainer", "poststart"] {
        let (runtime, id) = (Runtime::new(), unique("deafhook"));
        let bundle = Bundle::without_user()
            .set("/annotations/long", json!("x".repeat(200_000)))
            .set(&format!("/hooks/{kind}"), hooks.clone());
        runtime.run(&bundle, &id).ok();
        runtime.leftovers(&[&id]).assert_none();
    }
}

#[test]
fn a_report_that_nobody_reads_ends_nobody() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("noreader"));
    let bundle = Bundle::new();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let command = runtime.command();
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", "exec 9>&1 >/dev/null; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .args(["--report-fd", "9", "run", "--bundle"])
        .arg(bundle.write())
        .arg(&id)
        .stdout(writer)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    runtime.leftovers(&[&id]).assert_none();
}

// --- cgroup limits, in the kernel's files ----------------------------------

// proves: cgroup limits
#[test]
fn limits_are_in_the_kernels_files() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new().sleeping().edit(|c| {
        let resources = c["linux"]["resources"].as_object_mut().unwrap();
        resources.insert("memory".into(), json!({"limit": 33_554_432, "reservation": 16_777_216}));
        resources.insert(
            "cpu".into(),
            json!({"quota": 50_000, "period": 100_000, "shares": 512, "cpus": "0", "mems": "0"}),
        );
        resources.insert("pids".into(), json!({"limit": 17}));
    });
    let running = Running::start(bundle);
    for (controller, v1, v2) in [
        ("memory", ["memory.limit_in_bytes", "33554432"], ["memory.max", "33554432"]),
        ("memory", ["memory.soft_limit_in_bytes", "16777216"], ["memory.low", "16777216"]),
        ("cpu", ["cpu.cfs_quota_us", "50000"], ["cpu.max", "50000 100000"]),
        ("cpu", ["cpu.shares", "512"], ["cpu.weight", "59"]),
        ("cpuset", ["cpuset.cpus", "0"], ["cpuset.cpus", "0"]),
        ("pids", ["pids.max", "17"], ["pids.max", "17"]),
    ] {
        cgroup::assert_file(running.pid, controller, v1, v2);
    }
    running.end();
}

#[test]
fn the_pids_limit_holds_forks_back() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new()
        .args(&["/bin/probe", "fork", "20", "0.1"])
        .set("/linux/resources/pids", json!({"limit": 5}));
    let ran = Runtime::new().run(&bundle, &unique("pids"));
    // Each child costs a place; std may hold one more for a moment.
    let started = ran.stdout.trim().strip_prefix("started ").and_then(|n| n.parse::<u32>().ok());
    assert!(started.is_some_and(|n| (1..=4).contains(&n)), "{ran:?}");
}

#[test]
fn the_memory_limit_kills() {
    if skip_unless_root() {
        return;
    }
    let eat = |limit: u64| {
        let bundle = Bundle::new()
            .args(&["/bin/probe", "eat", "67108864"])
            .set("/linux/resources/memory", json!({"limit": limit, "swap": limit}));
        Runtime::new().run(&bundle, &unique("memory"))
    };
    eat(134_217_728).ok();
    eat(16_777_216).exited(137);
}

#[test]
fn every_process_of_a_container_is_in_its_cgroup() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(Bundle::new().args(&["/bin/probe", "fork", "3"]));
    for controller in ["memory", "pids", "freezer"] {
        let dir = cgroup::dir(running.pid, controller);
        assert!(dir.to_string_lossy().contains(&running.id), "{}", dir.display());
        let all_in = || std::fs::read_to_string(dir.join("cgroup.procs")).unwrap().lines().count() == 4;
        assert!(until(DEADLINE, all_in), "{controller}");
    }
    running.end();
}

// proves: cgroup namespace
#[test]
fn inside_its_cgroup_namespace_the_container_is_at_the_root() {
    if skip_unless_root() {
        return;
    }
    let seen = Runtime::seen_in(&Bundle::new());
    if seen.cgroups.is_empty() {
        return skip("this kernel has no cgroups");
    }
    assert!(seen.cgroups.iter().all(|l| l.ends_with(":/")), "{:?}", seen.cgroups);
}

#[test]
fn the_cgroup_file_system_inside_is_read_only() {
    if skip_unless_root() {
        return;
    }
    for bundle in Bundle::both(&["--mkdir", "/sys/fs/cgroup/made", "--mkdir", "/sys/fs/cgroup/memory/made"]) {
        let seen = Runtime::seen_in(&bundle);
        for (path, answer) in &seen.mkdirs {
            assert!(
                matches!(answer, Answer::Errno(e) if [EROFS, EACCES, EPERM, 2].contains(e)),
                "{path}: {answer:?}"
            );
        }
    }
}
