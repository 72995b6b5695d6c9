//! A `sextantd` on private directories and a private socket.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::bundle::{make_rootfs, temp_dir};
use crate::process::{DEADLINE, Ran, run, until};
use crate::{Leftovers, binary};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::execs_client::ExecsClient;
use sextant_proto::v1::stdio_client::StdioClient;
use sextant_proto::v1::system_client::SystemClient;
use sextant_proto::v1::{CreateRequest, RootfsSource};
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// A running daemon. What it and its shims left is killed when it is dropped.
#[derive(Debug)]
pub struct Daemon {
    dir: TempDir,
    child: Child,
    args: Vec<String>,
    /// The plan of faults, where it is a build that has them.
    plan: Option<PathBuf>,
}

impl Daemon {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with further arguments.
    pub fn start_with(args: &[&str]) -> Self {
        Self::start_at(temp_dir(), args)
    }

    /// The same, with its directories below `base`.
    pub fn start_in(base: &Path, args: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("sextant-it-").tempdir_in(base);
        Self::start_at(dir.expect("a directory for the daemon"), args)
    }

    /// The same of a build with fault points, shims and runtime as well: the file `plan` says what fails in
    /// processes that are started from now on. `None` where no such build is there.
    pub fn start_faulty(base: &Path, plan: &Path, args: &[&str]) -> Option<Self> {
        let [shim, runtime] = ["sextant-shim-faults", "sextant-runtime-faults"].map(crate::binary_if_built);
        crate::binary_if_built(FAULTY)?;
        let (shim, runtime) = (shim?.display().to_string(), runtime?.display().to_string());
        let dir = tempfile::Builder::new().prefix("sextant-it-").tempdir_in(base);
        let args = [&["--shim", &shim, "--runtime", &runtime], args].concat();
        Some(Self::start_planned(dir.expect("a directory for the daemon"), &args, Some(plan.into())))
    }

    fn start_at(dir: TempDir, args: &[&str]) -> Self {
        Self::start_planned(dir, args, None)
    }

    fn start_planned(dir: TempDir, args: &[&str], plan: Option<PathBuf>) -> Self {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        make_rootfs(&dir.path().join("rootfs"));
        let child = spawn(dir.path(), &args, plan.as_deref()).unwrap_or_else(|e| panic!("{e}"));
        Self { dir, child, args, plan }
    }

    /// Its directory: `root`, `state`, `socket`, `rootfs`, `log`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A root file system of the probe, for `RootfsSource`.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// Where it listens, as `unix:PATH`.
    pub fn address(&self) -> String {
        format!("unix:{}", self.dir.path().join("socket").display())
    }

    /// Pid of the daemon.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the daemon");
        self.child.wait().expect("wait for the daemon");
    }

    /// Ends it with SIGTERM; what it has made stays.
    #[track_caller]
    pub fn terminate(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
            .expect("signal the daemon");
        let status = crate::process::wait(&mut self.child).expect("the daemon ends on SIGTERM");
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Starts it again on the same directories, after [`Daemon::kill`] or [`Daemon::terminate`].
    pub fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|e| panic!("{e}"));
    }

    /// The same, where it may end at once.
    ///
    /// # Errors
    /// What it has logged.
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.child = spawn(self.dir.path(), &self.args, self.plan.as_deref())?;
        Ok(())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("look after the daemon").is_some()
    }

    /// A connection.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.address()).expect("an address");
        endpoint.connect().await.unwrap_or_else(|e| panic!("connect: {e:?}\n{}", self.log()))
    }

    /// A client of `sextant.v1.Containers`.
    pub async fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel().await)
    }

    /// A client of `sextant.v1.Execs`.
    pub async fn execs(&self) -> ExecsClient<Channel> {
        ExecsClient::new(self.channel().await)
    }

    /// A client of `sextant.v1.Stdio`.
    pub async fn stdio(&self) -> StdioClient<Channel> {
        StdioClient::new(self.channel().await)
    }

    /// A client of `sextant.v1.System`.
    pub async fn system(&self) -> SystemClient<Channel> {
        SystemClient::new(self.channel().await)
    }

    /// A request for a container that runs `command` in the daemon's root file system.
    pub fn request(&self, id: &str, command: &[&str]) -> CreateRequest {
        let source = RootfsSource {
            rootfs: self.rootfs().display().to_string(),
            command: command.iter().map(ToString::to_string).collect(),
            ..RootfsSource::default()
        };
        CreateRequest { id: id.into(), source: Some(Source::Rootfs(source)), ..CreateRequest::default() }
    }

    /// The command line, with this daemon's address.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("sextant"));
        command.arg("--address").arg(self.address());
        command
    }

    /// Runs the command line to its end.
    #[track_caller]
    pub fn sextant(&self, args: &[&str]) -> Ran {
        run(self.command().args(args), self.dir.path())
    }

    /// Runs the command line with `--rootfs` of this daemon and the command behind it.
    #[track_caller]
    pub fn sextant_run(&self, options: &[&str], command: &[&str]) -> Ran {
        let rootfs = self.rootfs();
        let mut sextant = self.command();
        sextant.arg("run").args(options).arg("--rootfs").arg(rootfs).arg("--").args(command);
        run(&mut sextant, self.dir.path())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// What must not be left of these containers, while the daemon itself goes on.
    pub fn leftovers_of(&self, ids: &[&str]) -> Leftovers {
        Leftovers::of(&self.dir.path().join("no-such-path"), ids)
    }

    /// Ends the daemon with SIGTERM and asserts that nothing at all is left.
    #[track_caller]
    pub fn finish(mut self, ids: &[&str]) {
        self.terminate();
        Leftovers::of(self.dir.path(), ids).assert_none();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- log of the daemon\n{}", self.log());
        }
        if let Err(e) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("end the daemon: {e}");
        }
        let ids = container_ids(self.dir.path());
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        Leftovers::of(self.dir.path(), &ids).clean_up();
    }
}

/// Names in the daemon's directories: those of containers are among them.
fn container_ids(dir: &Path) -> Vec<String> {
    let dirs = ["root/containers", "state/containers", "state/runtime"].map(|d| dir.join(d));
    let entries = dirs.iter().flat_map(|d| std::fs::read_dir(d).into_iter().flatten());
    entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|id| id.starts_with("it-"))
        .collect()
}

/// The build with fault points.
const FAULTY: &str = "sextantd-faults";

fn spawn(dir: &Path, args: &[String], plan: Option<&Path>) -> Result<Child, String> {
    let log = || File::options().create(true).append(true).open(dir.join("log")).expect("open the log");
    let socket = dir.join("socket");
    let mut command = Command::new(binary(if plan.is_some() { FAULTY } else { "sextantd" }));
    if let Some(plan) = plan {
        command.env("SEXTANT_FAULTS", format!("@{}", plan.display()));
    }
    command.arg("--root").arg(dir.join("root")).arg("--state").arg(dir.join("state"));
    command.arg("--listen").arg(format!("unix:{}", socket.display()));
    command.args(args).stdin(Stdio::null()).stdout(log()).stderr(log());
    let mut child = command.spawn().expect("start sextantd");
    let pid = i32::try_from(child.id()).expect("a pid");
    // A child of one that was killed has its socket for a moment, until it executes what it is to be.
    let listens = || {
        let peer = UnixStream::connect(&socket).map(|stream| getsockopt(&stream, PeerCredentials));
        peer.is_ok_and(|peer| peer.is_ok_and(|peer| peer.pid() == pid))
    };
    let up = until(DEADLINE, || listens() || child.try_wait().is_ok_and(|ended| ended.is_some()));
    let ended = child.try_wait().expect("look after sextantd");
    if !up || ended.is_some() {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        return Err(format!("sextantd does not listen ({ended:?}):\n{log}"));
    }
    Ok(child)
}
