//! Calls to one shim over its socket, each with a deadline. A shim that does
//! not answer costs its caller that deadline and nobody else anything.

use super::link::Link;
use super::wire;
use crate::engine::error::Error;
use crate::faults::{self, Point};
use crate::metrics::Dropped;
use crate::model::{Exit, Failure, Stdio};
use prost::Message;
use sextant_proto::shim::{self, shim_client::ShimClient};
use sextant_runtime::contract::args::Limits;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

/// For calls that run the runtime: hooks may take their time.
pub(super) const WORK: Duration = Duration::from_secs(60);
/// For calls that run the runtime without hooks; above the shim's own limit.
const CHANGE: Duration = Duration::from_secs(40);
/// For signals.
pub(super) const SIGNAL: Duration = Duration::from_secs(5);
/// For calls that only ask.
pub(super) const QUESTION: Duration = Duration::from_secs(3);

/// Whether an operation may end a process that still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It is refused.
    No,
    /// It is killed.
    Yes,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The container's init.
    Init,
    /// Every process of the container.
    All,
}

/// What a shim says of itself.
#[derive(Clone, Debug)]
pub struct ShimState {
    /// The shim's pid.
    pub shim_pid: i32,
    /// What that shim has dropped of the output.
    pub dropped: Dropped,
    /// Refers to that process, where this could be had.
    pub process: Option<Arc<OwnedFd>>,
}

/// One shim. Cloning shares the connection.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) id: Arc<str>,
    link: Arc<Link>,
    /// Number of the last record that is in the manager's own journal.
    told: Arc<AtomicU64>,
}

impl Client {
    /// Of the shim of container `id` at `socket`. Connects at the first call,
    /// and again after a connection was lost or was not used for a while.
    pub fn new(id: &str, socket: &Path) -> Self {
        Self { id: id.into(), link: Arc::new(Link::new(socket)), told: Arc::default() }
    }

    /// Over the connection that all calls share.
    pub(super) fn stub(&self) -> ShimClient<Channel> {
        ShimClient::new(self.link.shared())
    }

    /// A connection of its own, for a stream that its reader may keep waiting: what is not
    /// read would keep the others of a shared connection waiting as well.
    pub(super) fn apart(&self) -> ShimClient<Channel> {
        ShimClient::new(self.link.apart())
    }

    /// Gives the connection up: a shim that ends waits for those that there are.
    pub fn leave(&self) {
        self.link.leave();
    }

    /// Whether there is a connection that [`Client::rest`] can give up.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_kept()
    }

    /// Gives the connection up unless it was used since this was called the last time.
    pub(super) fn rest(&self) {
        self.link.rest();
    }

    /// The process that the last connection was made to, where this could be had; it is the shim's if that
    /// has just answered.
    pub fn peer(&self) -> Option<Arc<OwnedFd>> {
        self.link.peer()
    }

    /// The same, if it is the process `pid`.
    pub(super) fn process(&self, pid: i32) -> Option<Arc<OwnedFd>> {
        self.link.process(pid)
    }

    /// Records up to this one are in the manager's own journal: the shim hears of it with the next
    /// question for its state, and may forget them.
    pub fn is_told(&self, seq: u64) {
        self.told.fetch_max(seq, Ordering::Relaxed);
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        self.link.socket()
    }

    /// Makes the container for its life of this number, from 1 on, with this stdio; the pid of its init.
    ///
    /// # Errors
    /// [`Error::Failed`] with the failed step, [`Error::Timeout`], [`Error::Unreachable`].
    pub async fn create(&self, life: u32, stdio: Stdio) -> Result<i32, Error> {
        let mut stub = self.stub();
        let Stdio { stdin, terminal } = stdio;
        let request = shim::CreateRequest { stdin, terminal, size: None, life };
        self.call("create", WORK, stub.create(request)).await.map(|r| r.pid)
    }

    /// Executes the container's process.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn start(&self) -> Result<(), Error> {
        let mut stub = self.stub();
        self.call("start", WORK, stub.start(shim::StartRequest {})).await.map(|_| ())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn kill(&self, signal: i32, target: Target) -> Result<(), Error> {
        let mut stub = self.stub();
        let request = shim::KillRequest { signal, all: target == Target::All };
        self.call("signal", SIGNAL, stub.kill(request)).await.map(|_| ())
    }

    /// Stops its processes where they are; a paused container stays so.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn pause(&self) -> Result<(), Error> {
        let mut stub = self.stub();
        self.call("pause", CHANGE, stub.pause(shim::PauseRequest {})).await.map(|_| ())
    }

    /// Lets its processes go on; a running container stays so.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn resume(&self) -> Result<(), Error> {
        let mut stub = self.stub();
        self.call("resume", CHANGE, stub.resume(shim::ResumeRequest {})).await.map(|_| ())
    }

    /// Changes limits: all of them, or none.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn update(&self, limits: &Limits) -> Result<(), Error> {
        let mut stub = self.stub();
        let request = shim::UpdateRequest { limits: Some(wire::limits(limits)) };
        self.call("update", CHANGE, stub.update(request)).await.map(|_| ())
    }

    /// Goes on with the log in a new file, if the old one was moved away.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn reopen_log(&self) -> Result<(), Error> {
        let mut stub = self.stub();
        let request = shim::ReopenLogRequest {};
        self.call("open the log anew of", QUESTION, stub.reopen_log(request)).await.map(|_| ())
    }

    /// Deletes the container; the shim ends afterwards.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn delete(&self, force: Force) -> Result<Option<Exit>, Error> {
        let mut stub = self.stub();
        let request = shim::DeleteRequest { force: force == Force::Yes };
        let response = self.call("delete", WORK, stub.delete(request)).await?;
        Ok(response.exit.map(wire::exit))
    }

    /// Asks for the shim's own state; a sign of life.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn state(&self) -> Result<ShimState, Error> {
        let mut stub = ShimClient::new(self.link.present());
        let request = shim::StateRequest { told_seq: self.told.load(Ordering::Relaxed) };
        let state = self.call("ask the state of", QUESTION, stub.state(request)).await?;
        Ok(ShimState {
            shim_pid: state.shim_pid,
            dropped: Dropped { disk: state.log_dropped_bytes, rate: state.log_limited_bytes },
            process: self.process(state.shim_pid),
        })
    }

    pub(super) async fn call<T>(
        &self,
        verb: &str,
        deadline: Duration,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        let attempted = || format!("{verb} container {:?}", self.id);
        if let Err(e) = faults::pass(Point::ShimCall).await {
            return Err(Error::Unreachable {
                attempted: attempted(),
                because: format!("call its shim: {e}"),
            });
        }
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(from_status(attempted(), &status)),
            Err(_) => Err(Error::Timeout { attempted: attempted(), after: deadline }),
        }
    }
}

/// A shim's refusal; its details are an encoded `sextant.shim.v1.Failure`.
pub(super) fn from_status(attempted: String, status: &Status) -> Error {
    let failure = shim::Failure::decode(status.details()).ok().filter(|f| !f.message.is_empty());
    match (failure, status.code()) {
        (Some(failure), _) => Error::Failed { attempted, failure: Box::new(wire::failure(failure)) },
        (None, Code::Unavailable | Code::Unknown | Code::Cancelled) => {
            Error::Unreachable { attempted, because: reason(status) }
        }
        (None, _) => {
            let failure = Failure {
                stage: "shim".into(),
                attempted: attempted.clone(),
                message: status.message().into(),
                ..Failure::default()
            };
            Error::Failed { attempted, failure: Box::new(failure) }
        }
    }
}

/// The innermost reason of a transport error: "Connection refused" rather than "tcp connect error".
fn reason(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        reason = error.to_string();
        next = error.source();
    }
    format!("its shim does not answer: {reason}")
}

/// Connects to a socket at a path of any length: `sun_path` holds 107 bytes
/// (unix(7)), so the directory is opened and the name is taken relative to it.
///
/// # Errors
/// As open(2) and connect(2).
pub async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "a socket path has a directory and a name");
    let directory = std::fs::File::open(socket.parent().ok_or_else(invalid)?)?;
    let name = socket.file_name().ok_or_else(invalid)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    UnixStream::connect(short).await
}

/// What a bare connection says about who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Somebody, perhaps not answering; its pid, where the kernel tells.
    Present(Option<i32>),
    /// Nobody (any more).
    Absent,
}

/// Whether a process listens at `socket`; a stopped one counts.
pub async fn listener(socket: &Path) -> Listener {
    match connect(socket).await {
        Ok(stream) => Listener::Present(stream.peer_cred().ok().and_then(|c| c.pid())),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Listener::Absent
        }
        Err(_) => Listener::Present(None),
    }
}
