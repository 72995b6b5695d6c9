//! The real `sextant` binary against a daemon that is made up: what it prints,
//! and how it exits. What a true daemon does is tested in integration/.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_imports,
    reason = "a test"
)]

mod fake;

use fake::Fake;
use serde_json::Value;
use std::process::{Command, Output, Stdio};

/// Runs `sextant` and gives what it printed.
fn sextant(address: &str, args: &[&str]) -> Output {
    command(address, args).output().unwrap()
}

fn command(address: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sextant"));
    command.args(args).env("SEXTANT_ADDRESS", address).env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Exit code, stdout and stderr.
fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_a_daemon_the_hint_starts_one() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("unix:{}/none.sock", dir.path().display());
    let (code, out, err) = parts(&sextant(&address, &["ps"]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let expected = format!(
        "sextant: reach sextantd: {address}: there is no such socket\n\
         hint: start the daemon: sextantd --listen {address}\n"
    );
    assert_eq!(err, expected);
    assert_eq!(sextant(&address, &["run", "--bundle", "/b"]).status.code(), Some(125));
}

#[test]
fn a_socket_that_nobody_serves_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (code, _, err) = parts(&sextant(&format!("unix:{}", path.display()), &["info"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("nobody listens on the socket\nhint: start the daemon"), "{err}");
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    for args in [&["run"][..], &["nonsense"], &["kill", "-s", "NOPE", "a"], &["--address", "tcp:x", "ps"]] {
        assert_eq!(sextant("unix:/nonexistent", args).status.code(), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["run", "--help"], &["--version"], &["completions", "bash"]] {
        let (code, out, _) = parts(&sextant("unix:/nonexistent", args));
        assert_eq!(code, Some(0), "{args:?}");
        assert!(out.contains("sextant"), "{args:?}");
    }
}

#[test]
fn run_in_the_foreground_is_transparent() {
    let fake = Fake::start();
    let output = sextant(fake.address(), &["run", "--name", "exits-3", "--rootfs", "/r", "--", "true"]);
    assert_eq!(parts(&output), (Some(3), "out\n".into(), "err\n".into()));
    assert_eq!(
        fake.calls(),
        ["create exits-3", "start exits-3", "logs exits-3 0", "wait exits-3", "logs exits-3 2"]
    );
}

#[test]
fn run_exits_as_a_shell_after_a_signal_and_removes_what_it_should() {
    let fake = Fake::start();
    let output = sextant(fake.address(), &["run", "--rm", "--name", "killed", "--bundle", "/b"]);
    assert_eq!(output.status.code(), Some(137));
    assert_eq!(fake.calls().last().map(String::as_str), Some("delete killed force"));
}

#[test]
fn run_that_cannot_start_exits_with_125() {
    let fake = Fake::start();
    let output = sextant(fake.address(), &["run", "--rm", "--name", "broken", "--bundle", "/b"]);
    let (code, _, err) = parts(&output);
    assert_eq!(code, Some(125));
    assert_eq!(
        err,
        "sextant: start broken: mount /proc: fsopen(\"proc\"): EPERM (Operation not permitted)\n  \
         stage: mount/0\n  pointer: /mounts/0\nhint: give the container a pid namespace\n"
    );
    assert_eq!(fake.calls(), ["create broken", "start broken", "delete broken force"]);
    let unknown = sextant(fake.address(), &["run", "--name", "unknown", "--bundle", "/b"]);
    let (code, _, err) = parts(&unknown);
    assert_eq!(code, Some(125));
    assert_eq!(err, "sextant: tell the exit code of unknown: the shim was killed\n");
}

#[test]
fn a_detached_run_prints_the_id_that_was_made_up() {
    let fake = Fake::start();
    let output = sextant(fake.address(), &["run", "-d", "--bundle", "/b"]);
    assert_eq!(parts(&output), (Some(0), "made-up\n".into(), String::new()));
    assert_eq!(fake.calls(), ["create ", "start made-up"]);
}

#[test]
fn every_mistake_of_a_bundle_is_listed() {
    let fake = Fake::start();
    let (code, _, err) = parts(&sextant(fake.address(), &["create", "--name", "refused", "--bundle", "/b"]));
    assert_eq!(code, Some(1));
    assert_eq!(
        err,
        "sextant: create refused: the bundle has 2 mistakes\n  /process/cwd: is not absolute\n  \
         /root/path: does not exist\n"
    );
}

#[test]
fn one_of_several_that_fails_does_not_stop_the_others() {
    let fake = Fake::start();
    let (code, out, err) = parts(&sextant(fake.address(), &["rm", "-f", "a", "missing", "b"]));
    assert_eq!((code, out.as_str()), (Some(1), "a\nb\n"));
    assert_eq!(err, "sextant: delete missing: there is no container missing\n");
}

#[test]
fn wait_prints_a_code_for_each_in_order() {
    let fake = Fake::start();
    let output = sextant(fake.address(), &["wait", "killed", "exits-3", "unknown"]);
    assert_eq!(parts(&output), (Some(0), "137\n3\nunknown\n".into(), String::new()));
}

#[test]
fn signals_and_grace_arrive_as_numbers() {
    let fake = Fake::start();
    sextant(fake.address(), &["kill", "-s", "hup", "--all", "a"]);
    sextant(fake.address(), &["stop", "-t", "0.5", "-s", "9", "a"]);
    sextant(fake.address(), &["stop", "a"]);
    assert_eq!(fake.calls(), ["kill a 1 all", "stop a 9 Some(500ms)", "stop a 0 None"]);
}

#[test]
fn ps_lists_running_containers_or_all() {
    let fake = Fake::start();
    let (_, out, _) = parts(&sextant(fake.address(), &["ps"]));
    assert!(out.starts_with("ID   STATUS   PID  COMMAND"), "{out}");
    assert_eq!(out.lines().count(), 2);
    assert_eq!(parts(&sextant(fake.address(), &["ps", "-aq"])).1, "old\nweb\n");
    let all = json(&sextant(fake.address(), &["ps", "-a", "--json"]));
    assert_eq!((&all[0]["id"], &all[0]["exit"]["code"]), (&"old".into(), &0.into()));
    assert_eq!((&all[1]["status"], &all[1]["pid"]), (&"running".into(), &42.into()));
}

#[test]
fn json_documents_are_whole() {
    let fake = Fake::start();
    let address = fake.address();
    assert_eq!(json(&sextant(address, &["inspect", "web"]))[0]["labels"]["tier"], "front");
    assert_eq!(json(&sextant(address, &["info", "--json"]))["cgroup"], "hybrid");
    let ns = json(&sextant(address, &["ns", "web", "--json"]));
    assert_eq!(
        (&ns["namespaces"][0]["type"], &ns["namespaces"][0]["shared"]),
        (&"pid".into(), &false.into())
    );
    assert_eq!(json(&sextant(address, &["trace", "web", "--json"]))[0]["stage"], "load");
    let events = sextant(address, &["events", "--json"]);
    let lines: Vec<Value> =
        parts(&events).1.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["kind"]), (3, &"exited".into()));
}

#[test]
fn a_host_is_looked_at_without_a_daemon_that_could() {
    let fake = Fake::start();
    let (_, out, err) = parts(&sextant(fake.address(), &["doctor", "--json"]));
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    assert_eq!(report["view"], "local");
    assert!(report["because"].as_str().unwrap().ends_with("does not say: not in this one"), "{report}");
    let (_, out, _) = parts(&sextant("unix:/nonexistent", &["doctor"]));
    assert!(out.contains("sextantd does not answer at") && out.contains("containers fit here"), "{out}");
}

#[test]
fn top_needs_a_terminal() {
    let fake = Fake::start();
    let (code, out, err) = parts(&sextant(fake.address(), &["top"]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("sextant: show the containers: standard output is no terminal\nhint: "), "{err}");
}

#[test]
fn tables_for_people() {
    let fake = Fake::start();
    let (code, out, _) = parts(&sextant(fake.address(), &["ns", "web"]));
    assert_eq!(code, Some(0));
    assert!(out.contains("pid        7          1     own  its own processes only"), "{out}");
    let (code, out, _) = parts(&sextant(fake.address(), &["trace", "web"]));
    assert_eq!((code, out.lines().next()), (Some(0), Some("create: 3 µs")));
    let (code, out, _) = parts(&sextant(fake.address(), &["events", "--after", "2"]));
    assert_eq!((code, out.lines().count()), (Some(0), 1));
}

#[test]
fn a_log_goes_on_where_a_restarted_daemon_broke_it_off() {
    let fake = Fake::start();
    let output = sextant(fake.address(), &["logs", "-f", "restarted"]);
    assert_eq!(parts(&output), (Some(0), "one\ntwo\n".into(), String::new()));
    assert_eq!(fake.calls(), ["logs restarted 0", "logs restarted 1"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let fake = Fake::start();
    let mut child = command(fake.address(), &["logs", "endless"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let (code, _, err) = parts(&child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn signals_are_handed_on_to_the_container() {
    let fake = Fake::start();
    let mut child = command(fake.address(), &["run", "--name", "obeys", "--bundle", "/b"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line says that it runs, and so that signals are caught.
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(fake.calls().contains(&"kill obeys 15".to_owned()));
}

#[test]
fn an_audit_exits_with_1_while_there_are_orphans() {
    let fake = Fake::start();
    let (code, out, _) = parts(&sextant(fake.address(), &["audit"]));
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("/sextant/gone\n") && out.contains("one of them an orphan"), "{out}");
    let fixed = json(&sextant(fake.address(), &["audit", "--fix", "--all", "--json"]));
    assert_eq!(
        (&fixed["findings"][0]["fixed"], &fixed["findings"][0]["proofs"][1]),
        (&true.into(), &"two".into())
    );
    assert_eq!((&fixed["counts"][0]["orphans"], &fixed["findings"][0]["owner"]), (&0.into(), &Value::Null));
    assert_eq!(fake.calls(), ["audit false false", "audit true true"]);
}
