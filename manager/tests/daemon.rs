//! The real `sextantd` with the real shim and a runtime that is a shell script:
//! what survives a killed manager, and what a failed creation leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::system_client::SystemClient;
use sextant_proto::v1::{self, event::Kind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

/// A runtime without any namespace: `create` forks a shell that waits at a fifo
/// for `start` and then runs the file `run` of the bundle.
const RUNTIME: &str = r#"#!/bin/sh
while :; do case "$1" in
  --root) root=$2; shift 2;; --report-fd) shift 2;; --log|--log-format) shift 2;; *) break;;
esac; done
verb=$1; shift
while :; do case "$1" in
  --bundle) bundle=$2; shift 2;; --pid-file) file=$2; shift 2;; --*) shift;; *) break;;
esac; done
dir=$root/$1
case "$verb" in
create)
  if [ -e "$bundle/broken" ]; then echo "the bundle is broken" >&2; exit 1; fi
  mkdir -p "$dir"; mkfifo "$dir/fifo"
  sh -c 'read _ < "$0/fifo"; exec sh "$1/run"' "$dir" "$bundle" &
  echo $! > "$dir/pid"; echo $! > "$file";;
start) echo go > "$dir/fifo";;
state)
  [ -e "$dir/pid" ] || exit 1
  status=stopped; kill -0 "$(cat "$dir/pid")" 2>/dev/null && status=running
  echo "{\"ociVersion\":\"1.3.0\",\"id\":\"$1\",\"status\":\"$status\",\"pid\":0,\"bundle\":\"/\"}";;
kill) kill -"$2" "$(cat "$dir/pid")";;
delete) [ -e "$dir/pid" ] && kill -9 "$(cat "$dir/pid")" 2>/dev/null; rm -rf "$dir";;
esac
exit 0
"#;

const CONFIG: &str = r#"{"ociVersion":"1.2.0","root":{"path":"rootfs"},
  "process":{"user":{"uid":0,"gid":0},"args":["run"],"cwd":"/","env":[]},
  "linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}"#;

/// A manager on directories of its own; killed when dropped.
struct Manager {
    base: TempDir,
    shim: PathBuf,
    daemon: Child,
}

impl Manager {
    /// `None`, with a word why, where it cannot be tested.
    fn new() -> Option<Self> {
        let shim = Path::new(env!("CARGO_BIN_EXE_sextantd")).with_file_name("sextant-shim");
        if !shim.exists() || !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs {} and root", shim.display());
            return None;
        }
        let base = tempfile::tempdir().unwrap();
        let runtime = base.path().join("runtime");
        std::fs::write(&runtime, RUNTIME).unwrap();
        std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o755)).unwrap();
        let daemon = daemon(base.path(), &shim);
        Some(Self { base, shim, daemon })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    async fn channel(&self) -> Channel {
        let socket = self.path("sock");
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
        });
        for _ in 0..500 {
            if let Ok(channel) =
                Endpoint::from_static("http://sextantd").connect_with_connector(connector.clone()).await
            {
                return channel;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("sextantd does not serve");
    }

    async fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel().await)
    }

    async fn events(&self) -> Vec<v1::Event> {
        let mut system = SystemClient::new(self.channel().await);
        let mut stream = system.events(v1::EventsRequest::default()).await.unwrap().into_inner();
        let mut all = Vec::new();
        while let Some(event) = stream.message().await.unwrap() {
            all.push(event);
        }
        all
    }

    fn kill(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    fn restart(&mut self) {
        self.daemon = daemon(self.base.path(), &self.shim);
    }

    /// A bundle whose process is this shell script.
    fn bundle(&self, name: &str, script: &str) -> v1::CreateRequest {
        let bundle = self.path(name);
        std::fs::create_dir_all(bundle.join("rootfs")).unwrap();
        std::fs::write(bundle.join("config.json"), CONFIG).unwrap();
        std::fs::write(bundle.join("run"), script).unwrap();
        let source = v1::create_request::Source::Bundle(bundle.to_str().unwrap().into());
        v1::CreateRequest { id: name.into(), source: Some(source), ..Default::default() }
    }

    fn assert_nothing_is_left(&self) {
        for dir in ["root/containers", "state/shims", "state/runtime"] {
            let left: Vec<_> =
                std::fs::read_dir(self.path(dir)).unwrap().map(|e| e.unwrap().path()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.kill();
    }
}

fn daemon(base: &Path, shim: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(base.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_sextantd"))
        .arg("--root")
        .arg(base.join("root"))
        .arg("--state")
        .arg(base.join("state"))
        .arg(format!("--listen=unix:{}", base.join("sock").display()))
        .arg("--runtime")
        .arg(base.join("runtime"))
        .arg("--shim")
        .arg(shim)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn id<T>(name: &str, make: impl FnOnce(String) -> T) -> T {
    make(name.into())
}

fn code(exit: Option<v1::Exit>) -> Option<v1::exit::How> {
    exit.unwrap().how
}

fn kinds(events: &[v1::Event], container: &str) -> Vec<Kind> {
    events.iter().filter(|e| e.container == container).map(v1::Event::kind).collect()
}

#[tokio::test]
async fn a_container_lives_through_all_its_phases() {
    let Some(manager) = Manager::new() else { return };
    let mut containers = manager.containers().await;
    let request = manager.bundle("a", "echo out; echo err >&2; exit 7");
    let created = containers.create(request.clone()).await.unwrap().into_inner().container.unwrap();
    assert_eq!(created.status(), v1::Status::Created);
    assert_eq!(containers.create(request).await.unwrap_err().code(), Code::AlreadyExists);
    containers.start(id("a", |id| v1::StartRequest { id, ..Default::default() })).await.unwrap();
    let exit = containers
        .wait(id("a", |id| v1::WaitRequest { id, ..Default::default() }))
        .await
        .unwrap()
        .into_inner()
        .exit;
    assert_eq!(code(exit), Some(v1::exit::How::Code(7)));
    let over = containers.pause(v1::PauseRequest { id: "a".into(), ..Default::default() }).await.unwrap_err();
    assert_eq!(over.code(), Code::FailedPrecondition);
    let logs = v1::LogsRequest { id: "a".into(), offset: 0, follow: true, ..Default::default() };
    let mut logs = containers.logs(logs).await.unwrap().into_inner();
    let mut lines = Vec::new();
    while let Some(entry) = logs.message().await.unwrap() {
        lines.push(entry.data);
    }
    lines.sort();
    assert_eq!(lines, [b"err\n".to_vec(), b"out\n".to_vec()]);
    containers
        .delete(v1::DeleteRequest { id: "a".into(), force: false, ..Default::default() })
        .await
        .unwrap();
    let gone = containers.get(id("a", |id| v1::GetRequest { id, ..Default::default() })).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let events = manager.events().await;
    assert_eq!(kinds(&events, "a"), [Kind::Created, Kind::Started, Kind::Exited, Kind::Deleted]);
    manager.assert_nothing_is_left();
}

#[tokio::test]
async fn a_failed_creation_leaves_an_event_and_nothing_else() {
    let Some(manager) = Manager::new() else { return };
    let mut containers = manager.containers().await;
    let request = manager.bundle("b", "");
    std::fs::write(manager.path("b/broken"), "").unwrap();
    let error = containers.create(request.clone()).await.unwrap_err();
    assert!(error.message().contains("the bundle is broken"), "{error}");
    assert_eq!(error.get_error_details().error_info().unwrap().reason, "STEP_FAILED");
    manager.assert_nothing_is_left();
    assert_eq!(kinds(&manager.events().await, "b"), [Kind::CreateFailed]);
    // The name is free at once.
    std::fs::remove_file(manager.path("b/broken")).unwrap();
    containers.create(request).await.unwrap();
    containers
        .delete(v1::DeleteRequest { id: "b".into(), force: false, ..Default::default() })
        .await
        .unwrap();
    // A config that cannot be planned is refused with its place, before there is anything to tell.
    let request = manager.bundle("c", "");
    std::fs::write(manager.path("c/config.json"), CONFIG.replace("\"cwd\":\"/\"", "\"cwd\":\"here\""))
        .unwrap();
    let error = containers.create(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let details = error.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "/process/cwd");
    assert_eq!(kinds(&manager.events().await, "c"), []);
    manager.assert_nothing_is_left();
}

#[tokio::test]
async fn exits_during_the_managers_absence_are_known_and_told_once() {
    let Some(mut manager) = Manager::new() else { return };
    let mut containers = manager.containers().await;
    let go = manager.path("go");
    for n in 0..4 {
        let script = format!("while ! [ -e {} ]; do sleep 0.05; done; exit {n}", go.display());
        let name = format!("c{n}");
        containers.create(manager.bundle(&name, &script)).await.unwrap();
        containers.start(id(&name, |id| v1::StartRequest { id, ..Default::default() })).await.unwrap();
    }
    manager.kill();
    std::fs::write(&go, "").unwrap();
    for _ in 0..2 {
        manager.restart();
        let mut containers = manager.containers().await;
        for n in 0..4 {
            let wait = id(&format!("c{n}"), |id| v1::WaitRequest { id, ..Default::default() });
            let exit = containers.wait(wait).await.unwrap().into_inner().exit;
            assert_eq!(code(exit), Some(v1::exit::How::Code(n)));
        }
        manager.kill();
    }
    manager.restart();
    let mut containers = manager.containers().await;
    let events = manager.events().await;
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    for n in 0..4 {
        let name = format!("c{n}");
        assert_eq!(kinds(&events, &name), [Kind::Created, Kind::Started, Kind::Exited]);
        containers.delete(v1::DeleteRequest { id: name, force: false, ..Default::default() }).await.unwrap();
    }
    manager.assert_nothing_is_left();
}

/// `kill -9` of the container's shim; its pid.
async fn kill_shim(containers: &mut ContainersClient<Channel>, name: &str) -> i32 {
    let get = containers.get(id(name, |id| v1::GetRequest { id, ..Default::default() })).await.unwrap();
    let shim = get.into_inner().container.unwrap().shim_pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    shim
}

/// Until another shim than this one answers; the container.
async fn adopted(containers: &mut ContainersClient<Channel>, name: &str, before: i32) -> v1::Container {
    loop {
        let get = containers.get(id(name, |id| v1::GetRequest { id, ..Default::default() })).await.unwrap();
        let container = get.into_inner().container.unwrap();
        if ![0, before].contains(&container.shim_pid) && container.degraded.is_empty() {
            return container;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_container_whose_shim_was_killed_gets_another_and_loses_neither_output_nor_exit() {
    let Some(manager) = Manager::new() else { return };
    let mut containers = manager.containers().await;
    let go = manager.path("go");
    let script = format!("echo one; while ! [ -e {} ]; do sleep 0.05; done; echo two; exit 7", go.display());
    containers.create(manager.bundle("a", &script)).await.unwrap();
    let started =
        containers.start(id("a", |id| v1::StartRequest { id, ..Default::default() })).await.unwrap();
    let pid = started.into_inner().container.unwrap().pid;
    // As often as one likes, also right after the one before.
    let mut shim = 0;
    for _ in 0..3 {
        shim = kill_shim(&mut containers, "a").await;
        let container = adopted(&mut containers, "a", shim).await;
        assert_eq!((container.status(), container.pid), (v1::Status::Running, pid));
    }
    assert_ne!(kill_shim(&mut containers, "a").await, shim);
    std::fs::write(&go, "").unwrap();
    let exit = containers
        .wait(id("a", |id| v1::WaitRequest { id, ..Default::default() }))
        .await
        .unwrap()
        .into_inner()
        .exit;
    assert_eq!(code(exit), Some(v1::exit::How::Code(7)));
    let logs = v1::LogsRequest { id: "a".into(), offset: 0, follow: true, ..Default::default() };
    let mut logs = containers.logs(logs).await.unwrap().into_inner();
    let mut log = Vec::new();
    while let Some(entry) = logs.message().await.unwrap() {
        log.extend(entry.data);
    }
    assert_eq!(String::from_utf8(log).unwrap(), "one\ntwo\n");
    let events = manager.events().await;
    let adoptions = events.iter().filter(|e| e.kind() == Kind::Adopted).collect::<Vec<_>>();
    assert_eq!(adoptions.len(), 4, "{events:?}");
    assert!(adoptions.iter().all(|e| e.output_lost.is_none()), "{events:?}");
    containers
        .delete(v1::DeleteRequest { id: "a".into(), force: false, ..Default::default() })
        .await
        .unwrap();
    manager.assert_nothing_is_left();
}

#[tokio::test]
async fn a_container_that_ends_while_it_has_no_shim_still_has_its_exit() {
    let Some(manager) = Manager::new() else { return };
    let mut containers = manager.containers().await;
    containers.create(manager.bundle("a", "exec sleep 1000")).await.unwrap();
    let started =
        containers.start(id("a", |id| v1::StartRequest { id, ..Default::default() })).await.unwrap();
    let pid = nix::unistd::Pid::from_raw(started.into_inner().container.unwrap().pid);
    kill_shim(&mut containers, "a").await;
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let exit = containers
        .wait(id("a", |id| v1::WaitRequest { id, ..Default::default() }))
        .await
        .unwrap()
        .into_inner()
        .exit;
    assert_eq!(code(exit), Some(v1::exit::How::Signal(15)));
    containers
        .delete(v1::DeleteRequest { id: "a".into(), force: false, ..Default::default() })
        .await
        .unwrap();
    manager.assert_nothing_is_left();
}

#[tokio::test]
async fn an_exit_that_nobody_could_see_is_unknown_never_made_up() {
    let Some(mut manager) = Manager::new() else { return };
    let mut containers = manager.containers().await;
    for name in ["gone", "lives"] {
        containers
            .create(manager.bundle(name, "trap 'exit 3' TERM; while :; do sleep 0.05; done"))
            .await
            .unwrap();
        containers.start(id(name, |id| v1::StartRequest { id, ..Default::default() })).await.unwrap();
    }
    let get = containers.get(id("gone", |id| v1::GetRequest { id, ..Default::default() })).await.unwrap();
    let gone = get.into_inner().container.unwrap().pid;
    let get = containers.get(id("lives", |id| v1::GetRequest { id, ..Default::default() })).await.unwrap();
    let (lives, shim) = get.into_inner().container.map(|c| (c.pid, c.shim_pid)).unwrap();
    manager.kill();
    let kill = |pid, signal| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    let dead = format!("{}/root/containers/gone/init.pid", manager.base.path().display());
    assert_eq!(std::fs::read_to_string(dead).unwrap().trim(), gone.to_string());
    for name in ["gone", "lives"] {
        let socket = manager.path("state/shims").join(name).join("shim.sock");
        let shim = tokio::net::UnixStream::connect(socket).await.unwrap().peer_cred().unwrap().pid().unwrap();
        kill(shim, nix::sys::signal::Signal::SIGKILL);
    }
    kill(gone, nix::sys::signal::Signal::SIGKILL);
    while Path::new(&format!("/proc/{gone}")).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    manager.restart();
    let mut containers = manager.containers().await;
    let exit = containers
        .wait(id("gone", |id| v1::WaitRequest { id, ..Default::default() }))
        .await
        .unwrap()
        .into_inner()
        .exit;
    match code(exit) {
        Some(v1::exit::How::Unknown(because)) => assert!(because.contains("shim was killed"), "{because}"),
        other => panic!("made up: {other:?}"),
    }
    // The other one goes on; what it wrote while nobody read is said to be missing.
    let container = adopted(&mut containers, "lives", shim).await;
    assert_eq!((container.status(), container.pid), (v1::Status::Running, lives));
    let stop = v1::StopRequest { id: "lives".into(), ..Default::default() };
    let exit = containers.stop(stop).await.unwrap().into_inner().exit;
    assert_eq!(code(exit), Some(v1::exit::How::Code(3)));
    let events = manager.events().await;
    let lost = events.iter().find(|e| e.container == "lives" && e.kind() == Kind::Adopted).unwrap();
    assert!(lost.output_lost.as_ref().unwrap().because.contains("nobody had kept"), "{lost:?}");
    for name in ["gone", "lives"] {
        containers
            .delete(v1::DeleteRequest { id: name.into(), force: false, ..Default::default() })
            .await
            .unwrap();
    }
    manager.assert_nothing_is_left();
}

#[tokio::test]
async fn half_done_work_of_a_killed_manager_is_finished_or_undone() {
    let Some(mut manager) = Manager::new() else { return };
    let mut containers = manager.containers().await;
    containers.create(manager.bundle("delete", "")).await.unwrap();
    manager.kill();
    let record = manager.path("root/containers/delete/record.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("\"create\"", "\"delete\"")).unwrap();
    // As after the intent to create and before the shim.
    let half = manager.path("root/containers/create");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("record.json"), text.replace("\"delete\"", "\"create\"")).unwrap();
    manager.restart();
    let mut containers = manager.containers().await;
    let left = containers.list(v1::ListRequest::default()).await.unwrap().into_inner().containers;
    assert!(left.is_empty(), "{left:?}");
    let events = manager.events().await;
    assert_eq!(kinds(&events, "delete").last(), Some(&Kind::Deleted));
    assert_eq!(kinds(&events, "create"), [Kind::CreateFailed]);
    manager.assert_nothing_is_left();
}

#[tokio::test]
async fn a_second_daemon_is_refused_by_the_pid_of_the_first() {
    let Some(manager) = Manager::new() else { return };
    manager.channel().await;
    let output = Command::new(env!("CARGO_BIN_EXE_sextantd"))
        .arg("--root")
        .arg(manager.path("root"))
        .arg("--state")
        .arg(manager.path("state2"))
        .arg(format!("--listen=unix:{}", manager.path("sock2").display()))
        .args(["--runtime", "/bin/sh", "--shim", "/bin/sh"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains(&format!("pid {}", manager.daemon.id())), "{complaint}");
}
