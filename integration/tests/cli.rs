//! `sextant`, the command line: exit codes, output as text and as JSON, errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::Value;
use sextant_integration::process::{DEADLINE, parse_seen, until};
use sextant_integration::{Daemon, skip_unless_root, unique};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn run_shows_the_output_and_exits_with_the_status() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    daemon.sextant_run(&["--rm"], &["/bin/probe", "exit", "42"]).exited(42);
    let ran = daemon.sextant_run(&["--rm"], &["/bin/probe", "echo", "to", "stdout"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("to stdout\n", ""));
    let ran = daemon.sextant_run(&["--rm"], &["/bin/probe", "nonsense"]).exited(2);
    assert!(ran.stdout.is_empty() && ran.stderr.starts_with("probe: "), "{ran:?}");
    let spam = daemon.sextant_run(&["--rm"], &["/bin/probe", "spam", "300000"]).ok();
    assert_eq!(spam.stdout.len() + spam.stderr.len(), 300_000);
    daemon.finish(&[]);
}

#[test]
fn run_detached_then_wait_inspect_logs_and_rm() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("cli"));
    let ran =
        daemon.sextant_run(&["-d", "--name", &id], &["/bin/probe", "sleep", "1000", "--term-exit", "6"]).ok();
    assert_eq!(ran.stdout.trim(), id);
    assert!(daemon.sextant(&["ps"]).ok().stdout.contains(&id));
    let ready = || daemon.sextant(&["logs", &id]).ok().stdout == "ready\n";
    assert!(until(DEADLINE, ready));
    daemon.sextant(&["stop", &id]).ok();
    assert_eq!(daemon.sextant(&["wait", &id]).ok().stdout.trim(), "6");
    let inspect = json(&daemon.sextant(&["inspect", &id]).ok().stdout);
    assert_eq!(
        (&inspect[0]["id"], &inspect[0]["status"]),
        (&Value::from(id.as_str()), &Value::from("stopped"))
    );
    assert_eq!(inspect[0]["exit"]["code"], 6);
    assert!(!daemon.sextant(&["ps"]).ok().stdout.contains(&id), "ps lists those that run");
    assert_eq!(json(&daemon.sextant(&["ps", "--all", "--json"]).ok().stdout)[0]["id"], id.as_str());
    daemon.sextant(&["rm", &id]).ok();
    assert_eq!(json(&daemon.sextant(&["ps", "--all", "--json"]).ok().stdout), Value::Array(vec![]));
    let kinds: Vec<Value> =
        daemon.sextant(&["events", "--json"]).ok().stdout.lines().map(|l| json(l)["kind"].clone()).collect();
    assert_eq!(kinds, ["created", "started", "exited", "deleted"]);
    daemon.finish(&[&id]);
}

#[test]
fn create_and_start_apart() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("apart"));
    let rootfs = daemon.rootfs().display().to_string();
    daemon.sextant(&["create", "--name", &id, "--rootfs", &rootfs, "--", "/bin/probe"]).ok();
    daemon.sextant(&["start", &id]).ok();
    assert_eq!(daemon.sextant(&["wait", &id]).ok().stdout.trim(), "0");
    let seen = parse_seen(&daemon.sextant(&["logs", &id]).ok().stdout).unwrap();
    assert_eq!(seen.pid, 1);
    daemon.sextant(&["rm", &id]).ok();
    daemon.finish(&[&id]);
}

#[test]
fn ns_and_trace_for_people_and_for_programs() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("ns"));
    daemon.sextant_run(&["-d", "--name", &id], &["/bin/probe", "sleep", "1000"]).ok();
    let table = daemon.sextant(&["ns", &id]).ok().stdout;
    let document = json(&daemon.sextant(&["ns", "--json", &id]).ok().stdout);
    let namespaces = document["namespaces"].as_array().unwrap();
    for kind in ["pid", "network", "mount", "uts", "user", "ipc"] {
        assert!(table.contains(kind), "{kind}: {table}");
        let entry =
            namespaces.iter().find(|n| n["type"] == kind).unwrap_or_else(|| panic!("{kind}: {document}"));
        assert_ne!(entry["inode"], entry["host_inode"], "{kind}");
    }
    assert!(daemon.sextant(&["trace", &id]).ok().stdout.contains("clone"));
    let stages = json(&daemon.sextant(&["trace", "--json", &id]).ok().stdout);
    assert!(stages.as_array().is_some_and(|s| s.len() > 10), "{stages}");
    daemon.sextant(&["kill", "--signal", "KILL", &id]).ok();
    assert_eq!(daemon.sextant(&["wait", &id]).ok().stdout.trim(), "137");
    daemon.sextant(&["rm", &id]).ok();
    daemon.finish(&[&id]);
}

#[test]
fn an_error_is_printed_once() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let ran = daemon.sextant(&["inspect", "nobody"]).exited(1);
    assert!(ran.stdout.is_empty() || ran.stdout.trim() == "[]", "{ran:?}");
    assert_eq!(ran.stderr.matches("there is no container").count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().filter(|l| l.starts_with("sextant: ")).count(), 1, "{}", ran.stderr);
    let ran = daemon.sextant_run(&["--rm", "--name", &unique("once")], &["/no/such/program"]).exited(127);
    assert_eq!(ran.stderr.matches("no such file").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("/no/such/program"), "{}", ran.stderr);
    daemon.finish(&[]);
}

#[test]
fn no_daemon_is_said_so() {
    let dir = sextant_integration::bundle::temp_dir();
    let mut command = std::process::Command::new(sextant_integration::binary("sextant"));
    command.arg("--address").arg(format!("unix:{}", dir.path().join("none").display())).arg("ps");
    let ran = sextant_integration::process::run(&mut command, dir.path());
    ran.failed_with(&["none", "hint"]);
}

#[test]
fn completions_need_no_daemon() {
    for shell in ["bash", "zsh", "fish"] {
        let dir = sextant_integration::bundle::temp_dir();
        let mut command = std::process::Command::new(sextant_integration::binary("sextant"));
        let ran = sextant_integration::process::run(command.args(["completions", shell]), dir.path()).ok();
        assert!(ran.stdout.contains("inspect"), "{shell}");
    }
}

#[test]
fn policies_are_flags_and_ps_shows_what_becomes_of_them() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    if !sextant_integration::bundle::add_busybox(&daemon.rootfs(), &["sh", "sleep", "true"]) {
        return;
    }
    let (waits, well) = (unique("waits"), unique("well"));
    let policy =
        ["-d", "--restart", "on-failure:3", "--restart-min-delay", "1h", "--restart-max-delay", "1h"];
    let named = ["--name", &waits, "-l", "app=waits"];
    daemon.sextant_run(&[&policy[..], &named].concat(), &["/bin/sh", "-c", "exit 4"]).ok();
    let check = ["-d", "--name", &well, "--health-cmd", "true", "--health-interval", "20ms"];
    daemon.sextant_run(&check, &["/bin/sleep", "1000"]).ok();
    let shows = |text: &str| until(DEADLINE, || daemon.sextant(&["ps"]).ok().stdout.contains(text));
    assert!(shows("restarting") && shows("running (healthy)"));
    let selected = daemon.sextant(&["ps", "-q", "--selector", "app in (waits)"]).ok().stdout;
    assert_eq!(selected.trim(), waits);
    let wrong = daemon.sextant(&["ps", "-l", "app ="]).ok().stdout;
    assert!(!wrong.contains(&waits), "its value is not empty");
    let refused = daemon.sextant(&["ps", "-l", "app in waits"]).exited(1);
    assert!(refused.stderr.contains("at character 8, 'w': ( is expected"), "{}", refused.stderr);
    let inspect = json(&daemon.sextant(&["inspect", &waits]).ok().stdout);
    assert_eq!(inspect[0]["restart"]["when"], "on_failure");
    assert_eq!(
        (&inspect[0]["restart"]["max_retries"], &inspect[0]["life"]),
        (&Value::from(3), &Value::from(1))
    );
    assert!(inspect[0]["next_restart_at"].is_string());
    let events = daemon.sextant(&["events", "--container", &waits]).ok().stdout;
    assert!(events.contains("restarting     attempt 1 in 3600 s"), "{events}");
    daemon.sextant(&["restart", "-t", "0", &well]).ok();
    let inspect = json(&daemon.sextant(&["inspect", &well]).ok().stdout);
    assert_eq!((&inspect[0]["life"], &inspect[0]["last_exit"]["signal"]), (&Value::from(2), &Value::from(9)));
    assert_eq!(inspect[0]["health_check"]["interval"], 0.02);
    daemon.sextant(&["stop", &waits]).ok();
    assert_eq!(daemon.sextant(&["wait", "--condition", "settled", &waits]).ok().stdout.trim(), "4");
    daemon.sextant(&["rm", "-f", &waits, &well]).ok();
    // In the foreground it shows the output of all lives.
    let options = ["--restart", "on-failure:2", "--restart-min-delay", "10ms", "--name", &waits];
    let ran = daemon.sextant_run(&options, &["/bin/sh", "-c", "echo life; exit 5"]).exited(5);
    assert_eq!(ran.stdout, "life\nlife\nlife\n");
    daemon.sextant(&["rm", &waits]).ok();
    daemon.finish(&[&waits, &well]);
}

#[test]
fn what_somebody_has_mounted_in_our_directories_is_not_emptied() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("mounted"));
    let rootfs = daemon.rootfs().display().to_string();
    daemon.sextant(&["create", "--name", &id, "--rootfs", &rootfs, "--", "/bin/probe", "exit", "0"]).ok();
    let [theirs, at] =
        ["theirs".into(), format!("root/containers/{id}/at")].map(|name| daemon.dir().join(name));
    std::fs::create_dir(&theirs).unwrap();
    std::fs::create_dir(&at).unwrap();
    std::fs::write(theirs.join("kept"), "kept").unwrap();
    let none = None::<&str>;
    nix::mount::mount(Some(&theirs), &at, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
    let ran = daemon.sextant(&["rm", "--force", &id]);
    nix::mount::umount(&at).unwrap();
    assert_eq!(std::fs::read_to_string(theirs.join("kept")).unwrap(), "kept");
    let ran = ran.exited(1);
    assert!(
        ran.stderr.contains("something is mounted at") && ran.stderr.contains("umount"),
        "{}",
        ran.stderr
    );
    // It is being deleted still, and can be.
    daemon.sextant(&["rm", "--force", &id]).ok();
    daemon.finish(&[&id]);
}
