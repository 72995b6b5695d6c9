//! Namespaces that are pinned to files: nobody is in them, containers join them,
//! and they are gone when they were let go.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::bundle::temp_dir;
use sextant_integration::process::{Ran, run};
use sextant_integration::{Bundle, Leftovers, Runtime, skip, skip_unless_root, unique};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// In the config, in `/proc/PID/ns`.
const KINDS: [(&str, &str); 4] = [("user", "user"), ("network", "net"), ("uts", "uts"), ("ipc", "ipc")];
const MAP: [&str; 2] = ["uidMappings", "gidMappings"];

/// A config and a place for the files.
struct Pod {
    runtime: Runtime,
    dir: TempDir,
}

impl Pod {
    /// With these namespaces.
    fn new(kinds: &[&str], change: impl FnOnce(&mut Value)) -> Self {
        let (runtime, dir) = (Runtime::new(), temp_dir());
        let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
        let mut config = json!({"ociVersion": "1.2.0", "linux": {"namespaces": namespaces}});
        if kinds.contains(&"user") {
            for map in MAP {
                config["linux"][map] = json!([{"containerID": 0, "hostID": 3_000_000, "size": 65536}]);
            }
        }
        change(&mut config);
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        std::fs::create_dir(dir.path().join("ns")).unwrap();
        Self { runtime, dir }
    }

    fn files(&self) -> PathBuf {
        self.dir.path().join("ns")
    }

    fn pin(&self) -> Ran {
        let bundle = self.dir.path().to_str().unwrap();
        self.runtime.call(["pin", "--bundle", bundle, "--to", self.files().to_str().unwrap()])
    }

    fn unpin(&self) -> Ran {
        self.runtime.call(["unpin", self.files().to_str().unwrap()])
    }

    /// A container in those namespaces, with others of its own.
    fn container(&self, kinds: &[(&str, &str)]) -> Bundle {
        let bundle =
            if kinds.contains(&KINDS[0]) { Bundle::new().without_mappings() } else { Bundle::without_user() };
        // Its host name would be the pod's.
        let bundle = bundle.edit(|config| drop(config.as_object_mut().unwrap().remove("hostname")));
        kinds.iter().fold(bundle, |bundle, (kind, name)| bundle.join(kind, &self.files().join(name)))
    }

    /// Nothing of it: no file, no mount, no process.
    #[track_caller]
    fn assert_nothing(&self) {
        let left: Vec<_> = std::fs::read_dir(self.files()).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
        Leftovers::of(self.dir.path(), &[]).assert_none();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.unpin();
    }
}

/// What the file refers to, as `/proc/PID/ns` writes it.
fn identity(path: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).unwrap();
    (found.dev(), found.ino())
}

#[test]
fn containers_share_what_was_pinned_and_nobody_else_is_in_it() {
    if skip_unless_root() {
        return;
    }
    let pod = Pod::new(&["network", "uts", "ipc", "user"], |config| {
        config["hostname"] = json!("pod");
        config["linux"]["sysctl"] =
            json!({"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "9000"});
    });
    pod.pin().ok();
    for (_, name) in KINDS {
        let inode = identity(&pod.files().join(name)).1;
        let inside = |pid: &str| {
            std::fs::read_link(format!("/proc/{pid}/ns/{name}"))
                .is_ok_and(|l| l.to_string_lossy().contains(&inode.to_string()))
        };
        let pids =
            std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().into_string().ok());
        assert!(!pids.into_iter().any(|pid| inside(&pid)), "{name}: a process is in it");
    }
    let bundles = [pod.container(&KINDS).sleeping(), pod.container(&KINDS).sleeping()];
    let ids = [unique("pod"), unique("pod")];
    for (bundle, id) in bundles.iter().zip(&ids) {
        let pid = pod.runtime.start(bundle, id);
        for (_, name) in KINDS {
            let of_process = identity(Path::new(&format!("/proc/{pid}/ns/{name}")));
            assert_eq!(of_process, identity(&pod.files().join(name)), "{name}");
        }
        assert_ne!(
            identity(Path::new(&format!("/proc/{pid}/ns/pid"))),
            identity(Path::new("/proc/self/ns/pid"))
        );
    }
    let look = pod.container(&KINDS);
    let look = look.args(&[
        "/bin/probe",
        "--read",
        "/proc/sys/kernel/msgmax",
        "--read",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    ]);
    let seen = pod.runtime.run(&look, &unique("pod")).ok().seen();
    assert_eq!(seen.hostname, "pod");
    assert!(
        seen.interfaces.iter().any(|i| i.addresses.contains(&"127.0.0.1".to_owned())),
        "{:?}",
        seen.interfaces
    );
    let text = serde_json::to_string(&seen.contents).unwrap();
    assert!(text.contains("9000") && text.contains("77"), "{text}");
    for id in &ids {
        pod.runtime.delete(id);
    }
    // They outlive all who were in them.
    assert_eq!(pod.runtime.run(&pod.container(&KINDS), &unique("pod")).ok().seen().hostname, "pod");
    pod.unpin().ok();
    pod.assert_nothing();
    pod.unpin().ok();
}

#[test]
fn some_of_them_can_be_pinned_and_without_a_user_namespace() {
    if skip_unless_root() {
        return;
    }
    let pod = Pod::new(&["network", "ipc"], |_| {});
    pod.pin().ok();
    let mut names: Vec<_> = std::fs::read_dir(pod.files())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["ipc", "net"]);
    let kinds = [("network", "net"), ("ipc", "ipc")];
    pod.runtime.run(&pod.container(&kinds).args(&["/bin/true"]), &unique("pod")).ok();
    pod.unpin().ok();
    pod.assert_nothing();
}

#[test]
fn what_cannot_be_pinned_is_refused_and_leaves_nothing() {
    if skip_unless_root() {
        return;
    }
    for (kinds, words) in [
        (
            &["network", "pid"][..],
            &["/linux/namespaces", "pin the pid namespace", "cannot be shared by a file"][..],
        ),
        (&["mount", "ipc"], &["/linux/namespaces/0", "pin the mount namespace"]),
        (&["cgroup"], &["pin the cgroup namespace"]),
        (&[], &["/linux/namespaces", "there is none: name some of user, network, uts, ipc"]),
    ] {
        let pod = Pod::new(kinds, |_| {});
        pod.pin().failed_with(words);
        pod.assert_nothing();
    }
    let joined = Pod::new(&["network"], |config| {
        config["linux"]["namespaces"][0]["path"] = json!("/proc/1/ns/net");
    });
    joined.pin().failed_with(&["pin the network namespace", "it exists already"]);
    joined.assert_nothing();
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    if skip_unless_root() {
        return;
    }
    let wrong = Pod::new(&["network", "user"], |config| {
        config["linux"]["sysctl"] = json!({"net.ipv4.no_such_thing": "1"});
    });
    wrong.pin().failed_with(&["/linux/sysctl/net.ipv4.no_such_thing", "this kernel has no such sysctl"]);
    wrong.assert_nothing();
    let twice = Pod::new(&["network", "ipc"], |_| {});
    std::fs::write(twice.files().join("ipc"), "mine").unwrap();
    twice.pin().failed_with(&["make", "ns/ipc", "unpin"]);
    assert_eq!(std::fs::read_to_string(twice.files().join("ipc")).unwrap(), "mine");
    assert!(!twice.files().join("net").exists());
    std::fs::remove_file(twice.files().join("ipc")).unwrap();
    twice.assert_nothing();
    let absent = Pod::new(&["ipc"], |_| {});
    std::fs::remove_dir(absent.files()).unwrap();
    absent.pin().failed_with(&["make the directory first"]);
    std::fs::create_dir(absent.files()).unwrap();
}

#[test]
fn interfaces_go_into_the_pinned_namespace_and_back_when_it_fails() {
    if skip_unless_root() {
        return;
    }
    // Stands for the host, so that its interfaces are this test's own.
    let host = Pod::new(&["network"], |_| {});
    host.pin().ok();
    let in_host = |args: &[&str]| {
        let net = format!("--net={}", host.files().join("net").display());
        run(Command::new("nsenter").arg(net).args(args), host.dir.path())
    };
    if in_host(&["ip", "link", "add", "pod0", "type", "veth", "peer", "name", "peer0"]).code != 0 {
        skip("no veth pairs: neither ip(8) nor the kernel may lack them");
        return;
    }
    let names = || in_host(&["ip", "-o", "link"]).ok().stdout;
    let pinned = |change: fn(&mut Value)| {
        let pod = Pod::new(&["network"], |config| {
            config["linux"]["netDevices"] = json!({"pod0": {"name": "eth0"}});
            change(config);
        });
        let runtime = sextant_integration::runtime::binary_under_test().display().to_string();
        let (bundle, to) = (pod.dir.path().display().to_string(), pod.files().display().to_string());
        let ran = in_host(&[&runtime, "pin", "--bundle", &bundle, "--to", &to]);
        (pod, ran)
    };
    let (failed, ran) = pinned(|config| config["linux"]["sysctl"] = json!({"net.ipv4.no_such_thing": "1"}));
    ran.failed_with(&["no_such_thing"]);
    failed.assert_nothing();
    assert!(names().contains("pod0"), "{}", names());
    let (pod, ran) = pinned(|_| {});
    ran.ok();
    assert!(!names().contains("pod0"), "{}", names());
    let seen = pod.runtime.run(&pod.container(&[("network", "net")]), &unique("pod")).ok().seen();
    assert!(seen.interfaces.iter().any(|interface| interface.name == "eth0"), "{:?}", seen.interfaces);
    pod.unpin().ok();
    pod.assert_nothing();
    host.unpin().ok();
    host.assert_nothing();
}
