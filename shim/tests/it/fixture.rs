//! Drives the real shim over its socket, with a runtime made of shell, which
//! honours the arguments of `sextant_runtime::contract::args`.

use hyper_util::rt::TokioIo;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use sextant_proto::shim::shim_client::ShimClient;
use sextant_proto::shim::{
    CreateRequest, DeleteRequest, Event, StartRequest, WaitRequest, WatchRequest, exit::How,
};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};

/// A runtime that forks `sh -c "$(cat BUNDLE/command)"`, held back by a fifo until `start`.
const RUNTIME: &str = r#"#!/bin/bash
report=2
while :; do
    case $1 in
    --root) root=$2; shift 2 ;;
    --report-fd) report=$2; shift 2 ;;
    *) break ;;
    esac
done
verb=$1; shift
while :; do
    case $1 in
    --bundle) bundle=$2; shift 2 ;;
    --pid-file) pid_file=$2; shift 2 ;;
    --force) force=yes; shift ;;
    --all) all=yes; shift ;;
    *) break ;;
    esac
done
id=$1; dir=$root/$id
say() { echo "$1" >&"$report"; }
case $verb in
create)
    if [ -e "$bundle/runtime-script" ]; then . "$bundle/runtime-script"; fi
    mkdir -p "$dir" || exit 1
    mkfifo "$dir/go"
    (
        read -r go < "$dir/go"
        exec {report}>&-
        exec sh -c "$(cat "$bundle/command")"
    ) &
    echo $! > "$dir/pid"
    say '{"stage":"load","start_ns":1,"end_ns":2,"pid":7}'
    say '{"stage":"mount/3","start_ns":2,"end_ns":5,"pid":1,"object":"/proc"}'
    cp "$dir/pid" "$pid_file"
    ;;
start)
    say '{"stage":"start","start_ns":8,"end_ns":9,"pid":7}'
    if [ -e "$dir/hang" ]; then exec sleep 1000; fi
    if [ -e "$dir/no-start" ]; then echo "will not start" >&2; exit 1; fi
    echo go > "$dir/go"
    touch "$dir/started"
    ;;
state)
    status=created; if [ -e "$dir/started" ]; then status=running; fi
    echo '{"ociVersion":"1.3.0","id":"'"$id"'","status":"'$status'","bundle":"/"}'
    ;;
kill) kill -"$2" "$(cat "$dir/pid")" ;;
delete)
    if [ ! -d "$dir" ]; then [ "$force" = yes ]; exit; fi
    rm -r "$dir"
    ;;
esac
"#;

/// A shim, its directories and a client. What lives at the end is killed.
pub(crate) struct Fixture {
    pub(crate) shim: Child,
    pub(crate) client: ShimClient<Channel>,
    pub(crate) temp: tempfile::TempDir,
}

impl Fixture {
    /// A shim for a container whose init is `sh -c command`.
    pub(crate) async fn new(command: &str) -> Self {
        Self::of(layout(command)).await
    }

    /// A shim in a directory that [`layout`] made.
    pub(crate) async fn of(temp: tempfile::TempDir) -> Self {
        let shim = ready(spawn(temp.path()));
        let client = connect(socket(temp.path())).await;
        Self { shim, client, temp }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.shim.kill().unwrap();
        self.shim.wait().unwrap();
    }

    /// Another shim, after [`Fixture::kill`]; `held` are descriptors kept for it.
    pub(crate) async fn adopt(&mut self, held: &[(u8, OwnedFd)]) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let names: Vec<u8> = held.iter().map(|(name, _)| *name).collect();
        let fds: Vec<i32> = held.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let message = [std::io::IoSlice::new(&names)];
        sendmsg::<()>(ours.as_raw_fd(), &message, &rights, MsgFlags::empty(), None).unwrap();
        let mut command = command(self.temp.path());
        self.shim = ready(command.arg("--adopt").stdin(OwnedFd::from(theirs)).spawn().unwrap());
        self.client = connect(socket(self.temp.path())).await;
    }

    /// Why another shim does not take over.
    pub(crate) fn refused(&self) -> String {
        let output = command(self.temp.path()).arg("--adopt").output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) async fn create(&mut self) -> i32 {
        self.client.create(CreateRequest::default()).await.unwrap().into_inner().pid
    }

    pub(crate) async fn start(&mut self) {
        self.client.start(StartRequest {}).await.unwrap();
    }

    pub(crate) async fn wait(&mut self) -> How {
        within(self.client.wait(WaitRequest {})).await.unwrap().into_inner().exit.unwrap().how.unwrap()
    }

    /// Create, start and wait.
    pub(crate) async fn live(&mut self) -> How {
        self.create().await;
        self.start().await;
        self.wait().await
    }

    /// Delete, and the end of the shim.
    pub(crate) async fn delete(&mut self) {
        within(self.client.delete(DeleteRequest { force: true })).await.unwrap();
        assert!(within(ended(&mut self.shim)).await);
    }

    /// The next `n` events after `seq`.
    pub(crate) async fn events(&mut self, seq: u64, n: usize) -> Vec<Event> {
        let mut stream = self.client.watch(WatchRequest { after_seq: seq }).await.unwrap().into_inner();
        let mut events = Vec::new();
        while events.len() < n {
            events.push(within(stream.message()).await.unwrap().unwrap());
        }
        events
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.temp.path().join("dir").join(name)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // After a failed test: a child of a living shim has its pid to itself.
        let pid = std::fs::read_to_string(self.file("init.pid")).unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        if status.contains(&format!("PPid:\t{}\n", self.shim.id()))
            && let Ok(pid) = pid.trim().parse()
        {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).ok();
        }
        self.shim.kill().ok();
        self.shim.wait().ok();
    }
}

/// `bundle/command`, `runtime`, and the private directories `dir` and `socket`.
pub(crate) fn layout(command: &str) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    for private in ["dir", "root", &socket(Path::new("")).parent().unwrap().to_string_lossy()] {
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(root.join(private)).unwrap();
    }
    std::fs::create_dir(root.join("bundle")).unwrap();
    std::fs::write(root.join("bundle/command"), command).unwrap();
    std::fs::write(root.join("runtime"), RUNTIME).unwrap();
    std::fs::set_permissions(root.join("runtime"), std::fs::Permissions::from_mode(0o755)).unwrap();
    temp
}

/// Below `root`, at a path that is too long for `sun_path`.
pub(crate) fn socket(root: &Path) -> PathBuf {
    root.join("s".repeat(120)).join("socket")
}

pub(crate) fn spawn(root: &Path) -> Child {
    command(root).spawn().unwrap()
}

/// The shim, once it has said that it is ready.
fn ready(mut shim: Child) -> Child {
    let mut ready = [0; 6];
    if shim.stdout.take().unwrap().read_exact(&mut ready).is_err() {
        let mut why = String::new();
        shim.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        panic!("not ready: {why}");
    }
    assert_eq!(&ready, b"ready\n");
    shim
}

fn command(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sextant-shim"));
    command
        .args(["--id", "c1", "--dir"])
        .arg(root.join("dir"))
        .arg("--bundle")
        .arg(root.join("bundle"))
        .arg("--runtime")
        .arg(root.join("runtime"))
        .arg("--runtime-root")
        .arg(root.join("root"))
        .arg("--socket")
        .arg(socket(root))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A connection of its own.
pub(crate) async fn connect(socket: PathBuf) -> ShimClient<Channel> {
    let connector = tower::service_fn(move |_: Uri| {
        let dir = std::fs::File::open(socket.parent().unwrap()).unwrap();
        async move {
            let path = format!("/proc/self/fd/{}/socket", std::os::fd::AsRawFd::as_raw_fd(&dir));
            tokio::net::UnixStream::connect(path).await.map(TokioIo::new)
        }
    });
    ShimClient::new(Endpoint::from_static("http://shim").connect_with_connector(connector).await.unwrap())
}

/// Nothing here takes longer than this, even on a loaded machine.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("takes too long")
}

/// Whether the process ends well.
pub(crate) async fn ended(child: &mut Child) -> bool {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns when `condition` holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
