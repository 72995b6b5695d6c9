//! The seccomp listener: a program on the host gets the notification descriptor
//! with the container process state, and decides about a system call, for the
//! container's own process and for one of `exec`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::bundle::copy_program;
use sextant_integration::listener::{Listener, Refused};
use sextant_integration::{Bundle, Runtime, skip, skip_unless_root, unique};
use std::path::Path;

fn profile(socket: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": socket,
        "listenerMetadata": "of the test",
        "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
                  "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    })
}

/// mkdir(1) of the rootfs's busybox, or of the probe.
const MKDIR: [&str; 3] = ["/bin/busybox", "mkdir", "/tmp-of-listener"];

fn with_busybox(bundle: Bundle) -> Option<Bundle> {
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        skip("there is no /bin/busybox");
        return None;
    }
    copy_program(busybox, &bundle.rootfs().join("bin/busybox"));
    Some(bundle)
}

// proves: notify with listener path and metadata
#[test]
fn the_listener_decides_for_the_containers_process() {
    if skip_unless_root() {
        return;
    }
    for bundle in [Bundle::new(), Bundle::without_user()] {
        let (listener, Some(bundle)) = (Listener::start(Refused::All), with_busybox(bundle)) else { return };
        let bundle = bundle.args(&MKDIR).set("/linux/seccomp", profile(&listener.socket()));
        let (runtime, id) = (Runtime::new(), unique("listen"));
        let ran = runtime.run(&bundle, &id);
        assert!(ran.stderr.contains("cross-device"), "{} {}", ran.code, ran.stderr);
        let state = listener.state();
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!(state["metadata"], "of the test");
        assert_eq!(state["state"]["id"], id.as_str());
        assert_eq!(state["state"]["status"], "created");
        assert_eq!(state["state"]["bundle"], bundle.dir().to_str().unwrap());
        assert_eq!(state["pid"], state["state"]["pid"]);
        assert!(state["pid"].as_i64().unwrap() > 1, "{state}");
        runtime.leftovers(&[&id]).assert_none();
    }
}

// proves: notify with listener path and metadata
#[test]
fn the_listener_decides_for_a_process_of_exec() {
    if skip_unless_root() {
        return;
    }
    for bundle in [Bundle::new(), Bundle::without_user()] {
        let (mut first, Some(bundle)) = (Listener::start(Refused::All), with_busybox(bundle)) else { return };
        let socket = first.socket();
        let bundle = bundle.sleeping().set("/linux/seccomp", profile(&socket));
        let (runtime, id) = (Runtime::new(), unique("listen"));
        let pid = runtime.start(&bundle, &id);
        assert_eq!(first.state()["pid"], pid);
        first.stop();

        let ran = runtime.call([&["exec", id.as_str()][..], &MKDIR].concat());
        assert!(ran.stderr.contains("/linux/seccomp/listenerPath"), "{}", ran.stderr);
        assert!(ran.stderr.contains("ECONNREFUSED"), "{}", ran.stderr);

        let second = Listener::start(Refused::All);
        std::fs::rename(second.socket(), &socket).unwrap();
        let ran = runtime.call([&["exec", id.as_str()][..], &MKDIR].concat());
        assert!(ran.stderr.contains("cross-device"), "{} {}", ran.code, ran.stderr);
        let state = second.state();
        assert_eq!((&state["state"]["status"], &state["state"]["pid"]), (&json!("running"), &json!(pid)));
        assert_ne!(state["pid"], pid);
        runtime.delete(&id);
        runtime.leftovers(&[&id]).assert_none();
    }
}

// proves: notify with listener path and metadata
#[test]
fn without_a_listener_nothing_is_created() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new().set("/linux/seccomp", profile(Path::new("/nobody/listens")));
    let (runtime, id) = (Runtime::new(), unique("listen"));
    runtime.create(&bundle, &id).failed_with(&[
        "/linux/seccomp/listenerPath",
        "ENOENT",
        "start the listener",
    ]);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: notify with listener path and metadata
#[test]
fn no_system_call_has_to_be_allowed_for_the_descriptor_to_be_sent() {
    if skip_unless_root() || !cfg!(target_arch = "x86_64") {
        return;
    }
    let messages = ["sendmsg", "sendto", "write", "close", "recvmsg", "clone", "clone3"];
    let refused = |socket: &Path| {
        let mut profile = profile(socket);
        let list = profile["syscalls"].as_array_mut().unwrap();
        list.push(json!({"names": messages, "action": "SCMP_ACT_KILL_PROCESS"}));
        profile
    };
    for bundle in [Bundle::new(), Bundle::without_user()] {
        let (listener, Some(bundle)) = (Listener::start(Refused::All), with_busybox(bundle)) else { return };
        let bundle =
            bundle.args(&["/bin/busybox", "true"]).set("/linux/seccomp", refused(&listener.socket()));
        let (runtime, id) = (Runtime::new(), unique("listen"));
        let ran = runtime.run(&bundle, &id);
        assert!(listener.state()["pid"].as_i64().unwrap() > 1);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        runtime.leftovers(&[&id]).assert_none();
    }
    // The listener may even be asked about them: the process waits for nobody's answer until it has it.
    for bundle in [Bundle::new(), Bundle::without_user()] {
        // mkdir and mkdirat.
        let listener = Listener::start(Refused::These(&[83, 258]));
        let Some(bundle) = with_busybox(bundle) else { return };
        let mut profile = profile(&listener.socket());
        let names = ["sendmsg", "write", "execve", "mkdir", "mkdirat", "capset", "prctl"];
        profile["syscalls"] = json!([{"names": names, "action": "SCMP_ACT_NOTIFY"}]);
        let bundle = bundle.args(&MKDIR).set("/linux/seccomp", profile);
        let (runtime, id) = (Runtime::new(), unique("listen"));
        let ran = runtime.run(&bundle, &id);
        assert!(ran.stderr.contains("cross-device"), "{} {}", ran.code, ran.stderr);
        let asked = listener.calls();
        for number in [59, 1] {
            assert!(asked.contains(&number), "{number} is not in {asked:?}");
        }
        runtime.leftovers(&[&id]).assert_none();
    }
}
