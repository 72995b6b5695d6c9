//! Commands on a container that runs: pause, resume, ps, kill, update, events,
//! list.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::process::{DEADLINE, json_of, until};
use sextant_integration::{Bundle, Runtime, cgroup, skip_unless_root, unique};

fn sleeper() -> Bundle {
    Bundle::without_user().sleeping()
}

/// One that has two processes and init.
fn family() -> Bundle {
    Bundle::without_user().args(&["/bin/probe", "fork", "2"])
}

// proves: create, start, run, state, kill, delete, exec, ps, list, spec, pause, resume
#[test]
fn pause_stops_and_resume_lets_go_on() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("pause"));
    let bundle = Bundle::without_user().args(&["/bin/probe", "sleep", "1000", "--term-exit", "0"]);
    runtime.start(&bundle, &id);
    assert!(until(DEADLINE, || bundle.dir().join("stdout").metadata().is_ok_and(|m| m.len() > 0)));
    runtime.call(["resume", &id]).failed_with(&[&id, "not paused"]);
    runtime.call(["pause", &id]).ok();
    assert_eq!(runtime.state(&id)["status"], "paused");
    let listed = runtime.call(["list", "--format", "json"]).ok().json();
    assert_eq!(listed[0]["status"], "paused");
    runtime.call(["pause", &id]).failed_with(&[&id, "not running"]);
    runtime.call(["delete", &id]).failed_with(&[&id, "not stopped", "paused"]);
    runtime.call(["kill", &id, "TERM"]).ok();
    assert_eq!(runtime.state(&id)["status"], "paused", "the signal is pending");
    runtime.call(["resume", &id]).ok();
    runtime.wait_stopped(&id);
    runtime.call(["pause", &id]).failed_with(&[&id, "not running"]);
    runtime.call(["delete", &id]).ok();
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_paused_container_dies_of_sigkill_and_of_delete() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let bundle = family();
    let [killed, all, deleted] = ["kill", "all", "delete"].map(unique);
    for id in [&killed, &all, &deleted] {
        runtime.start(&bundle, id);
        runtime.call(["pause", id]).ok();
    }
    runtime.call(["kill", &killed, "KILL"]).ok();
    runtime.wait_stopped(&killed);
    runtime.call(["kill", "--all", &all, "KILL"]).ok();
    runtime.wait_stopped(&all);
    runtime.call(["delete", "--force", &deleted]).ok();
    for id in [&killed, &all] {
        runtime.call(["delete", id]).ok();
    }
    runtime.leftovers(&[&killed, &all, &deleted]).assert_none();
}

#[test]
fn a_created_container_can_be_paused_but_not_started_then() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("early"), sleeper());
    runtime.create(&bundle, &id).ok();
    runtime.call(["pause", &id]).ok();
    assert_eq!(runtime.state(&id)["status"], "paused");
    runtime.call(["start", &id]).failed_with(&["paused", "resume"]);
    runtime.call(["resume", &id]).ok();
    assert_eq!(runtime.state(&id)["status"], "created");
    runtime.call(["start", &id]).ok();
    assert_eq!(runtime.state(&id)["status"], "running");
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn ps_lists_the_processes_of_the_container_alone() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, other) = (Runtime::new(), unique("ps"), unique("other"));
    let bundles = [family(), sleeper()];
    let init = runtime.start(&bundles[0], &id);
    runtime.start(&bundles[1], &other);
    let pids = || runtime.call(["ps", "--format", "json", &id]).ok().json();
    assert!(until(DEADLINE, || pids().as_array().is_some_and(|p| p.len() == 3)), "{}", pids());
    let pids = pids();
    assert!(pids.as_array().unwrap().contains(&json!(init)), "{pids}");

    let table = runtime.call(["ps", &id]).ok().stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().next().unwrap().contains("PID"), "{table}");
    let table = runtime.call(["ps", &id, "-eo", "comm,pid"]).ok().stdout;
    assert!(table.lines().skip(1).any(|l| l.split_whitespace().nth(1) == Some(&init.to_string())), "{table}");
    runtime.call(["ps", &id, "-eo", "comm"]).failed_with(&["PID field"]);

    runtime.call(["kill", &id, "KILL"]).ok();
    runtime.wait_stopped(&id);
    assert!(until(DEADLINE, || runtime.call(["ps", "-f", "json", &id]).ok().stdout == "[]\n"));
    runtime.call(["ps", "nobody"]).failed_with(&["nobody", "not exist"]);
    runtime.delete(&id);
    runtime.delete(&other);
    runtime.leftovers(&[&id, &other]).assert_none();
}

/// Without a pid namespace the kernel does not end init's children with it.
#[test]
fn kill_reaches_all_of_a_container_in_the_hosts_pid_namespace() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("hostpid"));
    let bundle = Bundle::without_user()
        .args(&["/bin/probe", "fork", "2"])
        .edit(|config| sextant_integration::bundle::remove_namespace(config, "pid"));
    runtime.start(&bundle, &id);
    let count = || runtime.call(["ps", "-f", "json", &id]).ok().json().as_array().unwrap().len();
    assert!(until(DEADLINE, || count() == 3));
    runtime.call(["kill", &id, "KILL"]).ok();
    assert!(until(DEADLINE, || count() == 0));
    runtime.call(["kill", "--all", &id, "KILL"]).ok();
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: update (every flag and `--resources`)
#[test]
fn update_sets_each_limit() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("update"), sleeper());
    let pid = runtime.start(&bundle, &id);
    for (flag, value, controller, v1, v2) in [
        ("--cpu-share", "512", "cpu", ["cpu.shares", "512"], ["cpu.weight", "59"]),
        ("--cpu-period", "50000", "cpu", ["cpu.cfs_period_us", "50000"], ["cpu.max", "max 50000"]),
        ("--cpu-quota", "20000", "cpu", ["cpu.cfs_quota_us", "20000"], ["cpu.max", "20000 50000"]),
        ("--cpu-burst", "5000", "cpu", ["cpu.cfs_burst_us", "5000"], ["cpu.max.burst", "5000"]),
        ("--cpu-quota", "-1", "cpu", ["cpu.cfs_quota_us", "-1"], ["cpu.max", "max 50000"]),
        ("--cpuset-cpus", "0", "cpuset", ["cpuset.cpus", "0"], ["cpuset.cpus", "0"]),
        ("--cpuset-mems", "0", "cpuset", ["cpuset.mems", "0"], ["cpuset.mems", "0"]),
        ("--memory", "64M", "memory", ["memory.limit_in_bytes", "67108864"], ["memory.max", "67108864"]),
        (
            "--memory-reservation",
            "32m",
            "memory",
            ["memory.soft_limit_in_bytes", "33554432"],
            ["memory.low", "33554432"],
        ),
        ("--pids-limit", "50", "pids", ["pids.max", "50"], ["pids.max", "50"]),
        ("--pids-limit", "0", "pids", ["pids.max", "0"], ["pids.max", "0"]),
        ("--pids-limit", "-1", "pids", ["pids.max", "max"], ["pids.max", "max"]),
    ] {
        let ran = runtime.call(["update", flag, value, &id]);
        if ran.code != 0 && ran.stderr.contains("ENOENT") {
            println!("skipped: {flag}: {}", ran.stderr.trim());
            continue;
        }
        ran.ok();
        cgroup::assert_file(pid, controller, v1, v2);
    }
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

/// Neither order of writing memory and the sum with swap is always right.
#[test]
fn update_moves_memory_and_swap_in_either_direction() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("swap"));
    let bundle = sleeper()
        .set("/linux/resources/memory/limit", json!(32 << 20))
        .set("/linux/resources/memory/swap", json!(64 << 20));
    let ran = runtime.create(&bundle, &id);
    if ran.code != 0 && ran.stderr.contains("swapaccount") {
        return sextant_integration::skip("the kernel does not account swap");
    }
    ran.ok();
    let pid = runtime.pid(&id);
    let limits = || {
        let memory = cgroup::read(pid, "memory", "memory.limit_in_bytes", "memory.max");
        let swap = cgroup::read(pid, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX) >> 20;
        let (memory, swap) = (number(&memory), number(&swap));
        (memory, if cgroup::is_version_1("memory") { swap } else { memory + swap })
    };
    assert_eq!(limits(), (32, 64));
    runtime.call(["update", "--memory", "100M", "--memory-swap", "200M", &id]).ok();
    assert_eq!(limits(), (100, 200));
    runtime.call(["update", "--memory", "150M", &id]).ok();
    assert_eq!(limits(), (150, 200), "the sum stays");
    runtime.call(["update", "--memory-swap", "160M", &id]).ok();
    assert_eq!(limits(), (150, 160));
    runtime.call(["update", "--memory", "16M", "--memory-swap", "32M", &id]).ok();
    assert_eq!(limits(), (16, 32));
    runtime.call(["update", "--memory", "-1", &id]).ok();
    assert!(limits().0 > 1 << 30 && limits().1 > 1 << 30, "{:?}", limits());
    runtime.delete(&id);
}

#[test]
fn update_reads_resources_from_a_file_and_from_stdin() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("file"), sleeper());
    let pid = runtime.start(&bundle, &id);
    let pids = || cgroup::read(pid, "pids", "pids.max", "pids.max");
    let file = runtime.dir().join("resources.json");
    let resources = json!({
        "memory": {"limit": 50 << 20, "swap": 0, "checkBeforeUpdate": true},
        "cpu": {"shares": 100, "quota": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0},
        "pids": {"limit": 60},
        "devices": [{"allow": true, "access": "rwm"}],
    });
    std::fs::write(&file, resources.to_string()).unwrap();
    let devices = |pid| cgroup::read(pid, "devices", "devices.list", "cgroup.events");
    let before = devices(pid);
    runtime.call(["update".as_ref(), "--resources".as_ref(), file.as_os_str(), id.as_ref()]).ok();
    assert_eq!(pids(), "60");
    assert_eq!(cgroup::read(pid, "memory", "memory.limit_in_bytes", "memory.max"), (50 << 20).to_string());
    assert_eq!(devices(pid), before, "device rules are kept");

    let mut command = runtime.command();
    command.args(["update", "-r", "-", &id]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), br#"{"pids":{"limit":61}}"#).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(pids(), "61");

    for (text, words) in [
        ("{", vec!["resources.json", "not JSON", "line 1"]),
        ("[]", vec!["not a JSON object"]),
        (r#"{"pids":{"limit":"many"}}"#, vec!["/pids/limit"]),
        (r#"{"cpu":{"period":7},"pids":{"limit":62}}"#, vec!["/cpu/period", "1000"]),
    ] {
        std::fs::write(&file, text).unwrap();
        runtime.call(["update".as_ref(), "-r".as_ref(), file.as_os_str(), id.as_ref()]).failed_with(&words);
    }
    assert_eq!(pids(), "61");
    runtime.delete(&id);
}

#[test]
fn a_refused_update_changes_nothing() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("refused"), sleeper());
    let pid = runtime.start(&bundle, &id);
    runtime.call(["update", "--memory", "64M", "--pids-limit", "50", &id]).ok();
    let limits = || {
        let memory = cgroup::read(pid, "memory", "memory.limit_in_bytes", "memory.max");
        (memory, cgroup::read(pid, "pids", "pids.max", "pids.max"))
    };
    let before = limits();
    // The kernel has no such CPU: this is known only when it is written, after the others.
    let args = ["update", "--memory", "32M", "--pids-limit", "40", "--cpuset-cpus", "4000", &id];
    runtime.call(args).failed_with(&["--cpuset-cpus", "cpuset.cpus", "CPU list"]);
    assert_eq!(limits(), before);
    for (args, words) in [
        (vec!["--memory", "lots"], vec!["--memory", "lots", "1.5GiB"]),
        (vec!["--cpu-period", "5", "--cpu-share", "1"], vec!["--cpu-period", "--cpu-share", "1000"]),
        (vec!["--pids-limit", "few"], vec!["--pids-limit", "whole number"]),
        (vec!["--memory", "32M", "--l3-cache-schema", "L3:0=f"], vec!["--l3-cache-schema", "not enabled"]),
        (vec!["--resources", "/nowhere"], vec!["/nowhere", "ENOENT"]),
    ] {
        if args.contains(&"--l3-cache-schema") && std::path::Path::new("/sys/fs/resctrl/info").exists() {
            continue;
        }
        runtime.call(["update"].into_iter().chain(args).chain([id.as_str()])).failed_with(&words);
    }
    assert_eq!(limits(), before);
    runtime.call(["kill", &id, "KILL"]).ok();
    runtime.wait_stopped(&id);
    runtime.call(["update", "--pids-limit", "5", &id]).failed_with(&["not running"]);
    runtime.delete(&id);
}

fn events(text: &str) -> Vec<Value> {
    text.lines().map(json_of).collect()
}

/// How many statistics the commands of this runtime have printed so far.
fn printed(runtime: &Runtime) -> usize {
    let text = std::fs::read_to_string(runtime.dir().join("stdout")).unwrap_or_default();
    text.lines().filter(|line| line.contains(r#""type":"stats""#)).count()
}

// proves: events (stats, oom, `--stats`, `--interval`)
#[test]
fn events_print_statistics_once_and_at_an_interval() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("stats"));
    let bundle = family().set("/linux/resources/pids/limit", json!(50));
    runtime.start(&bundle, &id);
    let stats = || runtime.call(["events", "--stats", &id]).ok().json();
    assert!(until(DEADLINE, || stats()["data"]["pids"] == json!({"current": 3, "limit": 50})), "{}", stats());
    let event = stats();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(id)));
    let data = &event["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{data}");
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{data}");
    assert!(data["memory"]["raw"].as_object().unwrap().len() > 10, "{data}");
    assert!(!data["cpuset"]["cpus"].as_array().unwrap().is_empty(), "{data}");

    let before = printed(&runtime);
    std::thread::scope(|scope| {
        let following = scope.spawn(|| runtime.call(["events", "--interval", "20ms", &id]));
        assert!(until(DEADLINE, || printed(&runtime) > before + 1));
        runtime.call(["kill", &id, "KILL"]).ok();
        let lines = events(&following.join().unwrap().ok().stdout);
        assert!(lines.iter().all(|e| e["type"] == "stats"), "{lines:?}");
    });
    runtime.call(["events", "--stats", &id]).failed_with(&[&id, "not running"]);
    runtime.call(["events", "--interval", "0s", &id]).failed_with(&["interval", "greater than 0"]);
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn events_tell_that_memory_ran_out() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("oom"));
    let bundle = Bundle::without_user()
        .args(&["/bin/probe", "eat", &(64_u64 << 20).to_string()])
        .set("/linux/resources/memory/limit", json!(16 << 20));
    runtime.create(&bundle, &id).ok();
    std::thread::scope(|scope| {
        let following = scope.spawn(|| runtime.call(["events", "--interval", "20ms", &id]));
        assert!(until(DEADLINE, || printed(&runtime) > 0), "the first statistics say that it watches");
        runtime.call(["start", &id]).ok();
        let lines = events(&following.join().unwrap().ok().stdout);
        assert!(lines.contains(&json!({"type": "oom", "id": id})), "{lines:?}");
    });
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: `--pidfd-socket` of create and run
#[test]
fn a_pidfd_of_init_is_passed_on() {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    use std::os::fd::AsRawFd;
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("pidfd"), sleeper());
    let path = runtime.dir().join("pidfd.sock");
    let create = |id: &str| {
        let dir = bundle.write().to_str().unwrap().to_owned();
        runtime.call(["create", "--bundle", &dir, "--pidfd-socket", path.to_str().unwrap(), id])
    };
    create(&id).failed_with(&["--pidfd-socket", "ENOENT", "listen"]);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    create(&id).ok();
    let (stream, _) = listener.accept().unwrap();
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut bytes = [0; 64];
    let mut text = [std::io::IoSliceMut::new(&mut bytes)];
    let got = recvmsg::<()>(stream.as_raw_fd(), &mut text, Some(&mut space), MsgFlags::empty()).unwrap();
    let Some(ControlMessageOwned::ScmRights(fds)) = got.cmsgs().unwrap().next() else {
        panic!("no descriptor came")
    };
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0])).unwrap();
    nix::unistd::close(fds[0]).unwrap();
    assert!(info.contains(&format!("Pid:\t{}\n", runtime.pid(&id))), "{info}");
    runtime.delete(&id);
    drop((listener, stream));
    runtime.leftovers(&[&id]).assert_none();
}

// proves: `features` complete and true
#[test]
fn features_of_the_host_are_probed() {
    let runtime = Runtime::new();
    assert_eq!(runtime.call(["features"]).ok().json().get("host"), None);
    let host = runtime.call(["features", "--host"]).ok().json()["host"].take();
    assert_eq!(host["systemCalls"]["clone3"], true, "{host}");
    assert!(host["namespaces"].as_array().unwrap().contains(&json!("pid")), "{host}");
    assert!(
        host["seccomp"]["flags"].as_array().unwrap().contains(&json!("SECCOMP_FILTER_FLAG_LOG")),
        "{host}"
    );
}

// proves: `--log`, `--log-format`, `--debug`, `--criu`, `--rootless`, `--version`
#[test]
fn global_options_are_runcs() {
    let runtime = Runtime::new();
    let log = runtime.dir().join("log");
    let log_arg = log.to_str().unwrap();
    for (rootless, format) in [("auto", "json"), ("true", "text"), ("false", "json")] {
        let args = [
            "--log",
            log_arg,
            "--log-format",
            format,
            "--rootless",
            rootless,
            "--criu",
            "criu",
            "state",
            "none",
        ];
        runtime.call(args).failed_with(&["none", "does not exist"]);
    }
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let entry = json_of(lines[0]);
    assert!(entry["level"] == "error" && entry["time"].is_string(), "{entry}");
    assert!(entry["msg"].as_str().unwrap().contains("does not exist"), "{entry}");
    assert!(lines[1].starts_with("time=") && lines[1].contains("level=error msg="), "{text}");
    runtime.call(["--log", log_arg, "--debug", "list"]).ok();
    assert!(std::fs::read_to_string(&log).unwrap().contains("level=debug"), "{text}");
    // Without a file, the form is that of stderr.
    let ran = runtime.call(["--log-format", "json", "state", "none"]).exited(1);
    assert_eq!(json_of(ran.stderr.trim())["level"], "error");
    runtime.call(["--rootless", "maybe", "list"]).failed_with(&["maybe", "auto"]);
    let version = runtime.call(["--version"]).ok().stdout;
    let lines: Vec<&str> = version.lines().collect();
    assert!(lines[0].starts_with("sextant-runtime version 0."), "{version}");
    assert!(lines.contains(&"spec: 1.3.0"), "{version}");
    assert_eq!(runtime.call(["-v"]).ok().stdout, version);
}
