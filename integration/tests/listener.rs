//! The seccomp listener: a program on the host gets the notification descriptor
//! with the container process state, and decides about a system call, for the
//! container's own process and for one of `exec`. The listener is a script in
//! Python, since it takes ioctl(2).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::{Bundle, Runtime, process, skip, skip_unless_root, unique};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Takes one connection: prints the state, answers each call with EXDEV (18).
const LISTENER: &str = r#"
import array, fcntl, os, socket, struct, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(sys.argv[1] + ".new")
server.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
connection, _ = server.accept()
text, fds, _, _ = socket.recv_fds(connection, 65536, 4)
assert len(fds) == 1, fds
with open(sys.argv[2], "wb") as out:
    out.write(text)
RECV, SEND = 0xC0502100, 0xC0182101
while True:
    request = bytearray(80)
    fcntl.ioctl(fds[0], RECV, request)
    identity, = struct.unpack_from("Q", request)
    fcntl.ioctl(fds[0], SEND, struct.pack("QqiI", identity, 0, -18, 0))
"#;

struct Listener {
    child: Child,
    dir: tempfile::TempDir,
}

impl Listener {
    fn start() -> Option<Self> {
        Self::of(LISTENER)
    }

    fn of(script: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("python3")
            .args(["-c", script])
            .args([dir.path().join("socket"), dir.path().join("state")])
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            skip("there is no python3");
            return None;
        };
        let listener = Self { child, dir };
        assert!(process::until(process::DEADLINE, || listener.socket().exists()));
        Some(listener)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("socket")
    }

    fn state(&self) -> Value {
        let path = self.dir.path().join("state");
        let read = || std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        assert!(process::until(process::DEADLINE, || read().is_some()));
        read().unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

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
    if std::fs::copy("/bin/busybox", bundle.rootfs().join("bin/busybox")).is_err() {
        skip("there is no /bin/busybox");
        return None;
    }
    Some(bundle)
}

// proves: notify with listener path and metadata
#[test]
fn the_listener_decides_for_the_containers_process() {
    if skip_unless_root() {
        return;
    }
    for bundle in [Bundle::new(), Bundle::without_user()] {
        let (Some(listener), Some(bundle)) = (Listener::start(), with_busybox(bundle)) else { return };
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
        let (Some(mut first), Some(bundle)) = (Listener::start(), with_busybox(bundle)) else { return };
        let socket = first.socket();
        let bundle = bundle.sleeping().set("/linux/seccomp", profile(&socket));
        let (runtime, id) = (Runtime::new(), unique("listen"));
        let pid = {
            runtime.start(&bundle, &id);
            runtime.pid(&id)
        };
        assert_eq!(first.state()["pid"], pid);
        drop(first.child.kill());
        drop(first.child.wait());

        let ran = runtime.call([&["exec", id.as_str()][..], &MKDIR].concat());
        assert!(ran.stderr.contains("/linux/seccomp/listenerPath"), "{}", ran.stderr);
        assert!(ran.stderr.contains("ECONNREFUSED"), "{}", ran.stderr);

        let second = Listener::start().unwrap();
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

/// The listener allows everything but mkdir, which it refuses.
const ALLOWING: &str = r#"
import fcntl, os, socket, struct, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(sys.argv[1] + ".new")
server.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
connection, _ = server.accept()
text, fds, _, _ = socket.recv_fds(connection, 65536, 4)
asked = set()
RECV, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
while True:
    request = bytearray(80)
    fcntl.ioctl(fds[0], RECV, request)
    identity, pid, flags, nr = struct.unpack_from("QIIi", request)
    asked.add(nr)
    with open(sys.argv[2], "w") as out:
        out.write("[" + ", ".join(map(str, sorted(asked))) + "]")
    answer = (0, -18, 0) if nr in (83, 258) else (0, 0, CONTINUE)
    fcntl.ioctl(fds[0], SEND, struct.pack("QqiI", identity, *answer))
"#;

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
        let (Some(listener), Some(bundle)) = (Listener::start(), with_busybox(bundle)) else { return };
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
        let (Some(listener), Some(bundle)) = (Listener::of(ALLOWING), with_busybox(bundle)) else { return };
        let mut profile = profile(&listener.socket());
        let names = ["sendmsg", "write", "execve", "mkdir", "mkdirat", "capset", "prctl"];
        profile["syscalls"] = json!([{"names": names, "action": "SCMP_ACT_NOTIFY"}]);
        let bundle = bundle.args(&MKDIR).set("/linux/seccomp", profile);
        let (runtime, id) = (Runtime::new(), unique("listen"));
        let ran = runtime.run(&bundle, &id);
        assert!(ran.stderr.contains("cross-device"), "{} {}", ran.code, ran.stderr);
        let asked = listener.state();
        for number in [59, 1] {
            assert!(asked.as_array().unwrap().contains(&json!(number)), "{number} is not in {asked}");
        }
        runtime.leftovers(&[&id]).assert_none();
    }
}
