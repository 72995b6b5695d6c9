//! Hooks (config.md, "POSIX-platform Hooks"): each kind at its time, in the
//! namespaces where it belongs, with the state of that time; and what becomes of
//! the container when one fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::process::json_of;
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};
use std::path::Path;

/// A hook of the host that appends a line of JSON to `log`: its name, its
/// namespaces, the state, and what init is by then.
fn logging(name: &str, log: &Path) -> Value {
    const SCRIPT: &str = r#"
        state=$(cat)
        pid=$(printf %s "$state" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
        exe=$(readlink "/proc/$pid/exe")
        printf '{"hook":"%s","mnt":"%s","pid":"%s","exe":"%s","started":"%s","env":"%s","state":%s}\n' "$0" \
            "$(readlink /proc/self/ns/mnt)" "$(readlink /proc/self/ns/pid)" "$exe" "$STARTED" "$(env | grep -c ^TERM)" "$state" >> "$LOG"
    "#;
    let env = [format!("LOG={}", log.display()), "PATH=/usr/bin:/bin".to_owned()];
    json!({"path": "/bin/sh", "args": [name, "-c", SCRIPT, name], "env": env})
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().map(json_of).collect()
}

fn own(kind: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

fn sleeper() -> Bundle {
    Bundle::without_user().sleeping()
}

/// Exits with that status.
fn exit(status: u8) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", format!("exit {status}")]})
}

// proves: hooks
#[test]
fn each_kind_runs_at_its_time_in_its_namespaces_with_the_state_of_then() {
    if skip_unless_root() {
        return;
    }
    for detached in [false, true] {
        let (runtime, id) = (Runtime::new(), unique("hooks"));
        let log = runtime.dir().join("log");
        let both =
            |name: &str| json!([logging(&format!("{name}/0"), &log), logging(&format!("{name}/1"), &log)]);
        let bundle = sleeper().set("/annotations", json!({"of": "the test"})).set(
            "/hooks",
            json!({
                "prestart": both("prestart"), "createRuntime": both("createRuntime"),
                "createContainer": both("createContainer"), "poststart": both("poststart"),
                "poststop": both("poststop"),
                "startContainer": [{"path": "/bin/probe", "args": ["probe", "record", "/tmp/inside"]}],
            }),
        );
        let inside = bundle.rootfs().join("tmp/inside");
        if detached {
            let args = [
                "run".as_ref(),
                "--detach".as_ref(),
                "--bundle".as_ref(),
                bundle.write().as_os_str(),
                id.as_ref(),
            ];
            runtime.call(args).ok();
        } else {
            runtime.create(&bundle, &id).ok();
            assert_eq!(lines(&log).len(), 6, "before start: {:?}", lines(&log));
            assert!(!inside.exists(), "startContainer before start");
            runtime.call(["start", &id]).ok();
        }
        let pid = runtime.pid(&id);
        assert_eq!(lines(&log).len(), 8, "before delete");
        let of_init = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap().display().to_string();
        runtime.delete(&id);
        let lines = lines(&log);
        let order: Vec<&str> = lines.iter().map(|line| line["hook"].as_str().unwrap()).collect();
        let expected = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
        let expected: Vec<String> =
            expected.iter().flat_map(|k| [format!("{k}/0"), format!("{k}/1")]).collect();
        assert_eq!(order, expected);
        for line in &lines {
            let hook = line["hook"].as_str().unwrap().split('/').next().unwrap();
            let state = &line["state"];
            assert_eq!((&state["id"], &state["bundle"]), (&json!(id), &json!(bundle.dir())), "{hook}");
            assert_eq!(state["annotations"]["of"], "the test", "{hook}");
            assert_eq!(line["env"], "0", "{hook}: the environment is the config's alone");
            let (status, number, mnt) = match hook {
                "prestart" | "createRuntime" => ("creating", json!(pid), own("mnt")),
                // In the container's pid namespace init is 1.
                "createContainer" => ("creating", json!(1), of_init.clone()),
                "poststart" => ("running", json!(pid), own("mnt")),
                _ => ("stopped", json!(0), own("mnt")),
            };
            assert_eq!(state["status"], status, "{hook}");
            assert_eq!(state.get("pid").unwrap_or(&json!(0)), &number, "{hook}");
            assert_eq!(line["mnt"], mnt, "{hook}");
            assert_eq!(line["pid"] == own("pid"), hook != "createContainer", "{hook}");
            let is_users = line["exe"].as_str().unwrap().ends_with("/bin/probe");
            assert_eq!(is_users, hook == "poststart", "{hook}: {}", line["exe"]);
        }
        let state: Value = serde_json::from_slice(&std::fs::read(inside).unwrap()).unwrap();
        assert_eq!(
            (&state["id"], &state["status"], &state["pid"]),
            (&json!(id), &json!("created"), &json!(1))
        );
        runtime.leftovers(&[&id]).assert_none();
    }
}

// proves: hooks
#[test]
fn a_poststart_hook_that_fails_stops_the_container() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("poststart"));
    let log = runtime.dir().join("log");
    let bundle = sleeper()
        .set("/hooks/poststart", json!([exit(7), logging("poststart/1", &log)]))
        .set("/hooks/poststop", json!([logging("poststop/0", &log)]));
    runtime.create(&bundle, &id).ok();
    runtime.call(["start", &id]).failed_with(&["/hooks/poststart/0", "status 7"]);
    assert_eq!(runtime.state(&id)["status"], "stopped");
    assert!(lines(&log).is_empty(), "{:?}", lines(&log));
    runtime.call(["delete", &id]).ok();
    assert_eq!(lines(&log).len(), 1);

    runtime.run(&bundle, &id).failed_with(&["/hooks/poststart/0", "status 7"]);
    assert_eq!(lines(&log).len(), 2, "the container is deleted");
    runtime.leftovers(&[&id]).assert_none();
}

// proves: hooks
#[test]
fn a_poststop_hook_that_fails_is_a_warning_and_the_others_run() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("poststop"));
    let log = runtime.dir().join("log");
    let hooks = json!([exit(7), logging("second", &log), exit(8), logging("fourth", &log)]);
    let bundle = sleeper().set("/hooks/poststop", hooks);
    runtime.start(&bundle, &id);
    let ran = runtime.call(["--debug", "delete", "--force", &id]).ok();
    assert!(
        ran.stderr.contains("/hooks/poststop/0") && ran.stderr.contains("/hooks/poststop/2"),
        "{}",
        ran.stderr
    );
    let ran: Vec<String> = lines(&log).iter().map(|l| l["hook"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ran, ["second", "fourth"]);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: hooks
#[test]
fn a_start_container_hook_that_fails_fails_the_start() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("startcont"));
    let bundle = sleeper().set("/hooks/startContainer", json!([{"path": "/bin/false", "args": ["false"]}]));
    runtime.create(&bundle, &id).ok();
    runtime.call(["start", &id]).failed_with(&["/hooks/startContainer/0", "status 1"]);
    runtime.wait_stopped(&id);
    runtime.call(["delete", &id]).ok();
    runtime.run(&bundle, &id).failed_with(&["/hooks/startContainer/0"]);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: hooks
#[test]
fn every_kind_has_its_timeout() {
    if skip_unless_root() {
        return;
    }
    let slow = |path: &str| json!([{"path": path, "args": ["sleep", "1000"], "timeout": 1}]);
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let inside = kind == "startContainer";
        let path = if inside { "/bin/sleep" } else { "/usr/bin/sleep" };
        let (runtime, id) = (Runtime::new(), unique("slow"));
        let bundle = Bundle::without_user().set(&format!("/hooks/{kind}"), slow(path));
        let args = ["--debug".as_ref(), "run".as_ref(), "--bundle".as_ref(), bundle.write().as_os_str()];
        let ran = runtime.call(args.into_iter().chain([id.as_ref()]));
        assert_eq!(ran.code != 0, kind != "poststop", "{kind}: {}", ran.stderr);
        let pointer = format!("/hooks/{kind}/0");
        assert!(
            ran.stderr.contains(&pointer) && ran.stderr.contains("timeout of 1 s"),
            "{kind}: {}",
            ran.stderr
        );
        runtime.leftovers(&[&id]).assert_none();
    }
}
