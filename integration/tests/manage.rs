//! Commands on a container that runs: pause, resume, ps, kill, update, events,
//! list; their output beside runc's, where that is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};

fn sleeper() -> Bundle {
    Bundle::new().args(&["/bin/probe", "sleep", "1000"])
}

/// One that has two processes and init.
fn family() -> Bundle {
    Bundle::new().args(&["/bin/probe", "fork", "2"])
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

// proves: create, start, run, state, kill, delete, exec, ps, list, spec, pause, resume
#[test]
fn pause_stops_and_resume_lets_go_on() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("pause"));
    let bundle = Bundle::new().args(&["/bin/probe", "sleep", "1000", "--term-exit", "0"]);
    runtime.start(&bundle, &id);
    assert!(until(DEADLINE, || bundle.dir().join("stdout").metadata().is_ok_and(|m| m.len() > 0)));
    runtime.call(["resume", &id]).failed_with(&[&id, "not paused"]);
    runtime.call(["pause", &id]).ok();
    assert_eq!(runtime.state(&id)["status"], "paused");
    let listed = json_of(&runtime.call(["list", "--format", "json"]).ok().stdout);
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
    let pids = || json_of(&runtime.call(["ps", "--format", "json", &id]).ok().stdout);
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
    let count = || json_of(&runtime.call(["ps", "-f", "json", &id]).ok().stdout).as_array().unwrap().len();
    assert!(until(DEADLINE, || count() == 3));
    runtime.call(["kill", &id, "KILL"]).ok();
    assert!(until(DEADLINE, || count() == 0));
    runtime.call(["kill", "--all", &id, "KILL"]).ok();
    runtime.delete(&id);
    runtime.leftovers(&[&id]).assert_none();
}
