//! The verbs of the runtime, as whoever drives runc uses them: what they print,
//! how they exit, what they refuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::process::{DEADLINE, json_of, until};
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};
use std::ffi::OsStr;

fn sleeper() -> Bundle {
    Bundle::new().sleeping()
}

#[test]
fn created_running_stopped_deleted() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("life"));
    let bundle = Bundle::new().args(&["/bin/probe", "sleep", "1000", "--term-exit", "5"]);
    runtime.create(&bundle, &id).ok();
    let state = runtime.state(&id);
    assert_eq!((&state["id"], &state["status"]), (&json!(id), &json!("created")));
    assert_eq!(state["bundle"], json!(bundle.dir()));
    assert!(state["pid"].as_i64().unwrap() > 1 && state["ociVersion"].is_string(), "{state}");
    assert!(!bundle.dir().join("stdout").metadata().is_ok_and(|m| m.len() > 0), "it waits for start");

    runtime.call(["start", &id]).ok();
    assert_eq!(runtime.state(&id)["status"], "running");
    let ready = || std::fs::read_to_string(bundle.dir().join("stdout")).is_ok_and(|t| t == "ready\n");
    assert!(until(DEADLINE, ready));
    runtime.call(["kill", &id, "SIGTERM"]).ok();
    runtime.wait_stopped(&id);
    runtime.call(["delete", &id]).ok();
    runtime.call(["state", &id]).failed_with(&[&id, "not exist"]);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn run_exits_as_the_container_does() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    for code in [0, 1, 42, 255] {
        let bundle = Bundle::new().args(&["/bin/probe", "exit", &code.to_string()]);
        let id = unique("exit");
        runtime.run(&bundle, &id).exited(code);
        runtime.leftovers(&[&id]).assert_none();
    }
}

#[test]
fn run_gives_128_and_the_signal() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("signal"), sleeper());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| runtime.run(&bundle, &id));
        let state = || {
            let out = runtime.command().args(["state", &id]).output();
            serde_json::from_slice::<Value>(&out.unwrap().stdout).unwrap_or(Value::Null)
        };
        assert!(until(DEADLINE, || state()["status"] == "running"));
        let pid = i32::try_from(state()["pid"].as_i64().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        running.join().unwrap().exited(137);
    });
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn what_is_wrong_order_is_refused() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("order"), sleeper());
    runtime.start(&bundle, &id);
    runtime.call(["start", &id]).failed_with(&[&id, "running"]);
    runtime.call(["delete", &id]).failed_with(&[&id, "running"]);
    assert_eq!(runtime.state(&id)["status"], "running", "it was left alone");
    runtime.call(["kill", &id, "KILL"]).ok();
    runtime.wait_stopped(&id);
    runtime.call(["kill", &id, "TERM"]).failed_with(&[&id, "not running"]);
    runtime.call(["start", &id]).failed_with(&[&id, "stopped"]);
    runtime.call(["delete", &id]).ok();
    runtime.call(["delete", &id]).failed_with(&[&id, "not exist"]);
    runtime.call(["delete", "--force", &id]).ok();
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn delete_force_kills() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let (created, running) = (unique("created"), unique("running"));
    let bundles = [sleeper(), Bundle::new().args(&["/bin/probe", "fork", "3"])];
    runtime.create(&bundles[0], &created).ok();
    runtime.start(&bundles[1], &running);
    for id in [&created, &running] {
        runtime.call(["delete", "--force", id]).ok();
    }
    runtime.leftovers(&[&created, &running]).assert_none();
}

#[test]
fn an_id_is_taken_once() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("twice"), sleeper());
    runtime.create(&bundle, &id).ok();
    let pid = runtime.pid(&id);
    runtime.create(&bundle, &id).failed_with(&[&id, "exists"]);
    assert_eq!(
        (runtime.pid(&id), &runtime.state(&id)["status"]),
        (pid, &json!("created")),
        "it was left alone"
    );
    runtime.delete(&id);
    runtime.create(&bundle, &id).ok();
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn an_id_that_is_a_path_is_refused() {
    if skip_unless_root() {
        return;
    }
    let (runtime, bundle) = (Runtime::new(), sleeper());
    for id in ["../escape", "a/b", "..", "."] {
        runtime.create(&bundle, id).failed_with(&["id"]);
    }
    runtime.leftovers(&[]).assert_none();
}

#[test]
fn kill_by_number_by_name_and_to_all() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    for signal in ["9", "KILL", "SIGKILL"] {
        let (id, bundle) = (unique("kill"), sleeper());
        runtime.start(&bundle, &id);
        runtime.call(["kill", &id, signal]).ok();
        runtime.wait_stopped(&id);
        runtime.call(["delete", &id]).ok();
    }
    let (id, bundle) = (unique("all"), Bundle::new().args(&["/bin/probe", "fork", "3"]));
    runtime.start(&bundle, &id);
    runtime.call(["kill", &id, "NOSUCH"]).failed_with(&["NOSUCH"]);
    runtime.call(["kill", "--all", &id, "KILL"]).ok();
    runtime.wait_stopped(&id);
    runtime.call(["delete", &id]).ok();
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn list_as_table_as_json_and_ids_only() {
    if skip_unless_root() {
        return;
    }
    let (runtime, bundle) = (Runtime::new(), sleeper());
    let none = runtime.call(["list", "--format", "json"]).ok().stdout;
    assert!(["null", "[]"].contains(&none.trim()), "{none}");
    let ids = [unique("list"), unique("list")];
    for id in &ids {
        runtime.create(&bundle, id).ok();
    }
    let list = runtime.call(["list", "--format", "json"]).ok().json();
    let listed: Vec<&str> = list.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids);
    let quiet = runtime.call(["list", "--quiet"]).ok().stdout;
    assert_eq!(quiet.lines().collect::<Vec<_>>(), ids);
    let table = runtime.call(["list"]).ok().stdout;
    assert!(table.starts_with("ID") && table.contains("created") && table.contains(&ids[1]), "{table}");
    ids.iter().for_each(|id| runtime.delete(id));
}

#[test]
fn init_ends_when_the_runtime_is_killed_before_it_was_ready() {
    if skip_unless_root() {
        return;
    }
    for bundle in [Bundle::new(), Bundle::without_user()] {
        let (runtime, id) = (Runtime::new(), unique("killed"));
        let seen = runtime.dir().join("hook-input");
        let kill = format!("cat > {}; kill -9 $PPID", seen.display());
        let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", kill] }]);
        let bundle = bundle.set("/hooks", json!({ "createRuntime": hook }));
        assert_ne!(runtime.create(&bundle, &id).code, 0);
        let state: Value = serde_json::from_slice(&std::fs::read(&seen).unwrap()).unwrap();
        let init = format!("/proc/{}", state["pid"]);
        assert!(until(DEADLINE, || !std::fs::exists(&init).unwrap()), "init {init} waits for nobody");
        assert_eq!(runtime.state(&id)["status"], "creating");
        runtime.delete(&id);
        runtime.leftovers(&[&id]).assert_none();
    }
}

#[test]
fn the_pid_file_has_the_pid_of_init() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("pidfile"), sleeper());
    let file = runtime.dir().join("pid");
    let args: [&OsStr; 6] = [
        "create".as_ref(),
        "--bundle".as_ref(),
        bundle.write().as_os_str(),
        "--pid-file".as_ref(),
        file.as_ref(),
        id.as_ref(),
    ];
    runtime.call(args).ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), runtime.pid(&id).to_string());
    runtime.delete(&id);
}

#[test]
fn a_program_that_is_missing_fails_start_or_create_by_name() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("missing"));
    let ran = runtime.run(&Bundle::new().args(&["/no/such/program"]), &id);
    ran.failed_with(&["/process/args/0", "/no/such/program", "no such file"]);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn the_json_log_has_the_fields_of_runcs() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("log"));
    let log = runtime.dir().join("log.json");
    let bundle = Bundle::new().set("/process/cwd", json!("relative"));
    let mut command = runtime.command();
    command
        .arg("--log")
        .arg(&log)
        .args(["--log-format", "json", "create", "--bundle"])
        .arg(bundle.write())
        .arg(&id);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    let text = std::fs::read_to_string(&log).unwrap();
    let last = json_of(text.lines().last().unwrap());
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("/process/cwd"), "{last}");
    // RFC 3339, as containerd parses it.
    let time = last["time"].as_str().unwrap();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "{time}");
}

// proves: errors name stage, call, errno, object, pointer
#[test]
fn a_failure_in_the_child_names_stage_call_errno_object_and_pointer() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("child"));
    let bundle = Bundle::new().mount(json!({"destination": "/mnt/x", "type": "nosuchfs", "source": "none"}));
    let index = bundle.config["mounts"].as_array().unwrap().len() - 1;
    let dir = bundle.write().to_path_buf();
    let args: [&OsStr; 4] = ["create".as_ref(), "--bundle".as_ref(), dir.as_ref(), id.as_ref()];
    let (ran, records) = runtime.report(&args, &dir);
    let pointer = format!("/mounts/{index}");
    ran.failed_with(&[&pointer, "nosuchfs", "ENODEV"]);
    let failed: Vec<&Value> = records.iter().filter(|r| !r["failure"].is_null()).collect();
    let [record] = failed.as_slice() else { panic!("{records:#?}") };
    assert_eq!(record["stage"], json!(format!("mount/{index}")));
    let failure = &record["failure"];
    assert_eq!(failure["errno"], nix::libc::ENODEV);
    assert!(failure["pointer"].as_str().unwrap().starts_with(&pointer), "{failure}");
    assert!(failure["syscall"].as_str().unwrap().contains("nosuchfs"), "{failure}");
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn the_report_has_every_stage_in_order() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("report"), sleeper());
    let dir = bundle.write().to_path_buf();
    let args: [&OsStr; 4] = ["create".as_ref(), "--bundle".as_ref(), dir.as_ref(), id.as_ref()];
    let (ran, records) = runtime.report(&args, &dir);
    ran.ok();
    let stages: Vec<&str> = records.iter().map(|r| r["stage"].as_str().unwrap()).collect();
    let at = |stage: &str| {
        stages.iter().position(|s| *s == stage).unwrap_or_else(|| panic!("no {stage}: {stages:?}"))
    };
    let order = ["load", "plan", "clone", "mount/0", "mount/1", "pivot", "ready"];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{stages:?}");
    // A new pid or IPC namespace is made by clone and needs nothing more.
    for kind in ["user", "network", "mount", "uts", "cgroup"] {
        at(&format!("namespace-{kind}"));
    }
    for record in &records {
        let (start, end) = (record["start_ns"].as_u64().unwrap(), record["end_ns"].as_u64().unwrap());
        assert!(start > 0 && start <= end, "{record}");
        assert!(record["failure"].is_null(), "{record}");
    }
    runtime.delete(&id);
}

#[test]
fn a_spec_runs_as_it_is_written() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("spec"), Bundle::without_user());
    std::fs::remove_file(bundle.write().join("config.json")).unwrap();
    let mut spec = runtime.command();
    assert!(spec.arg("spec").arg("--bundle").arg(bundle.dir()).status().unwrap().success());
    let text = std::fs::read(bundle.dir().join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&text).unwrap();
    // As runc's, it asks for a terminal and a shell.
    let bundle = bundle.edit(|c| *c = config).args(&["/bin/probe"]).set("/process/terminal", json!(false));
    let seen = runtime.run(&bundle, &id).ok().seen();
    assert_eq!(seen.pid, 1);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn features_are_json_with_the_namespaces() {
    let features = Runtime::new().call(["features"]).ok().json();
    let kinds = features["linux"]["namespaces"].as_array().unwrap();
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        assert!(kinds.contains(&json!(kind)), "{features}");
    }
    assert!(features["hooks"].as_array().is_some_and(|h| h.contains(&json!("createRuntime"))), "{features}");
}

// proves: explain
#[test]
fn explain_prints_the_plan_and_makes_nothing() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("explain"), sleeper());
    let ran = runtime.call(["explain".as_ref(), "--bundle".as_ref(), bundle.write().as_os_str()]).ok();
    for word in ["network", "/proc", "pivot"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    runtime.leftovers(&[&id]).assert_none();
}
