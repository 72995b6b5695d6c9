//! `sextant audit` against a real daemon: each kind of leak is made by hand, named with its reason and its
//! proofs, and removed by `--fix`, while living containers beside it, and those of another daemon, go on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sextant_integration::process::{DEADLINE, json_of, until};
use sextant_integration::{Bundle, Daemon, binary, skip_unless_root, unique};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// What an audit says, whatever its exit status.
fn audit(daemon: &Daemon, flags: &[&str]) -> (Value, Option<i32>) {
    let output = daemon.command().arg("audit").arg("--json").args(flags).output().unwrap();
    (json_of(&String::from_utf8_lossy(&output.stdout)), output.status.code())
}

/// Orphans of one kind.
fn of_kind<'a>(audit: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = audit["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["kind"] == kind && finding["owner"].is_null()).collect()
}

/// Removes what a test that failed has left: the child, and mounts.
struct Undo {
    children: Vec<Child>,
    mounts: Vec<PathBuf>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap_or_default();
            child.wait().ok();
        }
        for path in &self.mounts {
            umount2(path, MntFlags::MNT_DETACH).unwrap_or_default();
        }
    }
}

/// The leaks that are made, and how each is to be named.
struct Leaks<'a> {
    daemon: &'a Daemon,
    undo: Undo,
    /// Kind, a part of the object, a part of the reason.
    expected: Vec<(&'static str, String, String)>,
}

impl<'a> Leaks<'a> {
    fn new(daemon: &'a Daemon) -> Self {
        Self { daemon, undo: Undo { children: vec![], mounts: vec![] }, expected: vec![] }
    }

    fn root(&self) -> PathBuf {
        self.daemon.dir().join("root")
    }

    fn state(&self) -> PathBuf {
        self.daemon.dir().join("state")
    }

    fn expect(&mut self, kind: &'static str, object: impl ToString, reason: impl ToString) {
        self.expected.push((kind, object.to_string(), reason.to_string()));
    }

    fn runtime(&self) -> Command {
        let mut command = Command::new(binary("sextant-runtime"));
        command.arg("--root").arg(self.state().join("runtime")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn shim(&mut self, id: &str, dir: &Path, socket: &Path) -> i32 {
        let child = Command::new(binary("sextant-shim"))
            .args(["--id", id, "--dir"])
            .arg(dir)
            .arg("--bundle")
            .arg(dir)
            .arg("--runtime")
            .arg(binary("sextant-runtime"))
            .arg("--runtime-root")
            .arg(self.state().join("runtime"))
            .arg("--socket")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.undo.children.push(child);
        assert!(until(DEADLINE, || socket.exists()), "the shim does not listen");
        pid
    }

    /// 1: a shim whose container has no record; with it its socket and its directory.
    fn a_shim_without_a_container(&mut self) {
        let id = unique("ghost");
        let (dir, sockets) = (self.root().join("containers").join(&id), self.state().join("shims").join(&id));
        [&dir, &sockets].into_iter().for_each(|dir| private(dir));
        let pid = self.shim(&id, &dir, &sockets.join("shim.sock"));
        self.expect("shim", format!("{pid} "), format!("no container {id}"));
        // 12: what it has written.
        self.expect("socket", sockets.display(), format!("no container {id}"));
    }

    /// 2: another shim of a container that has one.
    fn a_second_shim(&mut self, living: &str) {
        let dir = self.daemon.dir().join("second");
        private(&dir);
        let pid = self.shim(living, &dir, &dir.join("s"));
        self.expect("shim", format!("{pid} "), format!("the shim of {living} is "));
    }

    /// 3, 4, 5, 6: a container that only the runtime knows: the runtime that waits for it, stopped; its
    /// process, its state, its cgroup.
    fn a_container_of_the_runtime_alone(&mut self, bundle: &Bundle) -> String {
        let id = unique("alone");
        let mut command = self.runtime();
        let child = command.args(["run", "--bundle"]).arg(bundle.write()).arg(&id).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.undo.children.push(child);
        let state = self.state().join("runtime").join(&id);
        let status = || self.runtime().args(["state", &id]).stdout(Stdio::piped()).output().unwrap().stdout;
        assert!(until(DEADLINE, || String::from_utf8_lossy(&status()).contains("\"running\"")));
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        let init = json_of(&String::from_utf8_lossy(&status()))["pid"].as_i64().unwrap();
        self.expect("runtime", format!("{pid} "), "works for nobody");
        self.expect("process", format!("{init} "), format!("no container {id}"));
        self.expect("runtime-state", state.display(), format!("no container {id}"));
        self.expect("cgroup", format!("/{id}"), format!("no container {id}"));
        id
    }

    /// 7: a cgroup, and a process in it, of which nothing else is left: it says itself whose it is.
    fn a_cgroup_with_a_mark(&mut self, bundle: &Bundle) {
        let id = unique("marked");
        let mut command = self.runtime();
        command.args(["run", "--detach", "--bundle"]).arg(bundle.write()).arg(&id);
        assert!(command.status().unwrap().success());
        fs::remove_dir_all(self.state().join("runtime").join(&id)).unwrap();
        self.expect("cgroup", format!("/{id}"), format!("no container {id}"));
    }

    /// 8: a state directory of a creation that was cut short.
    fn a_half_made_state(&mut self) {
        let dir = self.state().join("runtime").join(unique("half"));
        private(&dir);
        self.expect("runtime-state", dir.display(), "no container it-half-");
    }

    /// 9: a mount in a directory that has no record, and 10: that directory.
    fn a_mount(&mut self) {
        let dir = self.root().join("containers").join(unique("mounted"));
        let at = dir.join("in it");
        private(&at);
        mount(Some("leak"), &at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        self.undo.mounts.push(at.clone());
        self.expect("mount", at.display(), "no container it-mounted-");
        self.expect("container-directory", dir.display(), "it has no record");
    }

    /// 11: a file that holds a network namespace, with an interface in it where ip(8) can make one.
    fn a_namespace(&mut self) {
        let file = self.state().join("pins/sandbox").join(unique("pod")).join("net");
        private(file.parent().unwrap());
        fs::write(&file, "").unwrap();
        let script = "ip link add leak0 type veth peer name leak1; mount --bind /proc/self/ns/net \"$0\"";
        let made = Command::new("unshare").args(["--net", "sh", "-c", script]).arg(&file).status().unwrap();
        assert!(made.success());
        self.undo.mounts.push(file.clone());
        self.expect("namespace", file.display(), "no sandbox it-pod-");
        let inside = Command::new("nsenter")
            .arg(format!("--net={}", file.display()))
            .args(["cat", "/proc/net/dev"])
            .output()
            .unwrap();
        if String::from_utf8_lossy(&inside.stdout).contains("leak0") {
            self.expect("interface", format!("leak0 in {}", file.display()), "no sandbox it-pod-");
        } else {
            sextant_integration::skip("an interface in a namespace that is left: ip(8) makes none");
        }
    }

    /// 12 to 16: directories and files.
    fn directories(&mut self, living: &str) {
        let sockets = self.state().join("shims").join(unique("heard"));
        private(&sockets);
        drop(UnixListener::bind(sockets.join("shim.sock")).unwrap());
        self.expect("socket", sockets.display(), "no container it-heard-");
        let shim = self.state().join("shims").join(unique("still"));
        private(&shim);
        self.expect("shim-directory", shim.display(), "no container it-still-");
        let pins = self.state().join("pins/container").join(unique("unpinned"));
        private(&pins);
        self.expect("pin-directory", pins.display(), "no container it-unpinned-");
        let told = self.root().join("containers").join(unique("told"));
        private(&told);
        fs::write(told.join("journal"), "what has happened").unwrap();
        self.expect("journal", told.display(), "it has no record");
        let sandbox = self.root().join("sandboxes").join(unique("sand"));
        private(&sandbox);
        fs::write(sandbox.join("config.json"), "{}").unwrap();
        self.expect("sandbox-directory", sandbox.display(), "it has no record");
        let file = self.root().join("containers").join(living).join("record.json.new");
        fs::write(&file, "{\"id\":").unwrap();
        let written = fs::File::options().write(true).open(&file).unwrap();
        written.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        self.expect("temporary-file", file.display(), "nobody writes it");
    }
}

fn private(dir: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).unwrap();
}

/// A container that goes on, and can be executed in.
fn living(daemon: &Daemon, name: &str, flags: &[&str]) -> String {
    let id = unique(name);
    let flags = [&["-d", "--name", &id], flags].concat();
    daemon.sextant_run(&flags, &["/bin/probe", "sleep", "1000"]).ok();
    id
}

#[track_caller]
fn assert_lives(daemon: &Daemon, id: &str) {
    let inspected = daemon.sextant(&["inspect", id]).ok().json();
    assert_eq!(
        (&inspected[0]["status"], &inspected[0]["degraded"]),
        (&"running".into(), &Value::Null),
        "{id}"
    );
    assert_eq!(daemon.sextant(&["exec", id, "/bin/probe", "echo", "well"]).ok().stdout, "well\n");
}

// proves: audit
#[test]
fn every_leak_is_named_with_its_reason_and_mended() {
    if skip_unless_root() {
        return;
    }
    let (daemon, other) = (Daemon::start(), Daemon::start());
    let pod = unique("pods");
    daemon.sextant(&["sandbox", "create", "--name", &pod]).ok();
    let beside = [living(&daemon, "beside", &[]), living(&daemon, "within", &["--sandbox", &pod])];
    let foreign = living(&other, "foreign", &[]);
    let (clean, code) = audit(&daemon, &["--all"]);
    assert_eq!((code, of_kind(&clean, "shim").len()), (Some(0), 0), "{clean}");
    assert!(!clean.to_string().contains(&foreign), "another daemon's is not ours: {clean}");
    let owned = |kind: &str| {
        let all = clean["findings"].as_array().unwrap();
        let owners = all.iter().filter(|finding| finding["kind"] == kind).map(|finding| &finding["owner"]);
        owners.filter(|owner| **owner == format!("container {}", beside[0])).count()
    };
    for kind in ["shim", "process", "runtime-state", "cgroup", "socket", "journal", "id-range", "descriptor"]
    {
        assert!(owned(kind) > 0, "no {kind} of the container: {clean}");
    }

    let mut leaks = Leaks::new(&daemon);
    let bundles = [(); 2].map(|()| Bundle::without_user().sleeping());
    leaks.a_shim_without_a_container();
    leaks.a_second_shim(&beside[0]);
    leaks.a_container_of_the_runtime_alone(&bundles[0]);
    leaks.a_cgroup_with_a_mark(&bundles[1]);
    leaks.a_half_made_state();
    leaks.a_mount();
    leaks.a_namespace();
    leaks.directories(&beside[0]);
    let (found, code) = audit(&daemon, &[]);
    assert_eq!(code, Some(1), "{found}");
    let mut kinds: Vec<&str> = leaks.expected.iter().map(|(kind, ..)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.len() >= 12, "only {kinds:?}");
    for (kind, object, reason) in &leaks.expected {
        let named = of_kind(&found, kind).into_iter().find(|finding| {
            let text = finding["object"].as_str().unwrap();
            text.contains(object.as_str())
        });
        let named = named.unwrap_or_else(|| panic!("no {kind} {object} in {found:#}"));
        assert!(named["reason"].as_str().unwrap().contains(reason.as_str()), "{named} has not {reason:?}");
        assert!(named["proofs"].as_array().unwrap().len() >= 3, "{named}");
        assert!(!named["remedy"].as_str().unwrap().is_empty() && named["fixable"] == true, "{named}");
    }
    for finding in found["findings"].as_array().unwrap() {
        let text = finding.to_string();
        assert!(finding["owner"].is_null() && !text.contains(&foreign), "{finding}");
    }

    let (fixed, code) = audit(&daemon, &["--fix"]);
    let failed: Vec<&Value> =
        fixed["findings"].as_array().unwrap().iter().filter(|finding| finding["fixed"] != true).collect();
    assert!(failed.is_empty() && code == Some(0), "{failed:#?}");
    let (after, code) = audit(&daemon, &[]);
    assert_eq!((code, after["findings"].as_array().unwrap().len()), (Some(0), 0), "{after:#}");
    beside.iter().for_each(|id| assert_lives(&daemon, id));
    assert_lives(&other, &foreign);
    drop(leaks);
    other.sextant(&["rm", "--force", &foreign]).ok();
    beside.iter().for_each(|id| drop(daemon.sextant(&["rm", "--force", id]).ok()));
    daemon.sextant(&["sandbox", "rm", &pod]).ok();
    other.finish(&[&foreign]);
    daemon.finish(&beside.each_ref().map(String::as_str));
}

#[test]
fn what_comes_and_goes_is_no_leak() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let (id, pod) = (unique("churn"), unique("pod"));
                    daemon.sextant(&["sandbox", "create", "--name", &pod]).ok();
                    daemon.sextant_run(&["--rm", "--name", &id, "--sandbox", &pod], &["/bin/probe"]).ok();
                    daemon.sextant(&["sandbox", "rm", &pod]).ok();
                }
            });
        }
        let audits: Vec<Value> = (0..30).map(|_| audit(&daemon, &["--fix"]).0).collect();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        for audit in audits {
            assert_eq!(audit["findings"].as_array().unwrap().len(), 0, "{audit:#}");
        }
    });
    daemon.finish(&[]);
}

#[test]
fn a_record_that_cannot_be_read_keeps_its_container() {
    if skip_unless_root() {
        return;
    }
    let mut daemon = Daemon::start();
    let id = living(&daemon, "unread", &[]);
    daemon.kill();
    let record = daemon.dir().join("root/containers").join(&id).join("record.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    daemon.restart();
    let known = daemon.sextant(&["ps", "--all", "--json"]).ok().json();
    assert_eq!(known, Value::Array(vec![]), "it does not know it");
    let (found, code) = audit(&daemon, &["--all", "--fix"]);
    assert_eq!(code, Some(0), "{found:#}");
    assert!(
        found.to_string().contains(&format!("record of {id}, which the daemon cannot read")),
        "{found:#}"
    );
    daemon.kill();
    fs::write(&record, whole).unwrap();
    daemon.restart();
    assert_lives(&daemon, &id);
    daemon.sextant(&["rm", "--force", &id]).ok();
    daemon.finish(&[&id]);
}

#[test]
fn one_that_cannot_be_removed_keeps_no_other() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let shims = daemon.dir().join("state/shims");
    let [stays, goes] = ["a-stays", "b-goes"].map(|name| shims.join(name));
    let file = stays.join("file");
    for dir in [&stays, &goes] {
        private(dir);
        fs::write(dir.join("file"), "").unwrap();
    }
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&file).output();
    if !chattr("+i").is_ok_and(|output| output.status.success()) {
        return sextant_integration::skip("chattr(1) makes no file immutable here");
    }
    let (found, code) = audit(&daemon, &["--fix"]);
    chattr("-i").unwrap();
    assert_eq!((code, goes.exists()), (Some(1), false), "{found:#}");
    let left = &found["findings"][0];
    assert!(left["fix_failure"].as_str().unwrap().contains("not permitted"), "{left}");
    assert_eq!(left["fixed"], false);
    let (again, code) = audit(&daemon, &["--fix"]);
    assert_eq!((code, &again["findings"][0]["fixed"]), (Some(0), &Value::Bool(true)), "{again:#}");
    daemon.finish(&[]);
}
