//! `sextant.shim.v1`: decodes a request, asks [`crate::task`], encodes the
//! answer. Wire types live here and in [`wire`] and go no further inward.

mod attach;
mod execs;
pub(crate) mod past;
pub(crate) mod wire;

use crate::command::{Command, Force, New, Reply, Snapshot, Target};
use crate::error::Error;
use crate::event::Phase;
use crate::execs::Execs;
use crate::journal::Reader;
use crate::ledger::Ledger;
use crate::log::Counters;
use crate::streams::{Current, Streams};
use sextant_proto::shim::shim_server::{Shim, ShimServer};
use sextant_proto::shim::{
    AttachRequest, AttachResponse, CloseStdinRequest, CloseStdinResponse, CreateRequest, CreateResponse,
    DeleteRequest, DeleteResponse, Event, ExecRequest, ExecResponse, ExecsRequest, ExecsResponse,
    KillExecRequest, KillExecResponse, KillRequest, KillResponse, PauseRequest, PauseResponse, ProbeRequest,
    ProbeResponse, ReopenLogRequest, ReopenLogResponse, ResizeRequest, ResizeResponse, ResumeRequest,
    ResumeResponse, StartRequest, StartResponse, StateRequest, StateResponse, UpdateRequest, UpdateResponse,
    WaitExecRequest, WaitExecResponse, WaitRequest, WaitResponse, WatchRequest,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Answers for one container.
#[derive(Debug)]
pub(crate) struct Service {
    /// The container's id.
    pub(crate) id: String,
    /// Its bundle directory.
    pub(crate) bundle: String,
    /// Its journal, for watchers.
    pub(crate) journal: PathBuf,
    /// The same, as it is written.
    pub(crate) ledger: Arc<Ledger>,
    /// How much was logged.
    pub(crate) counters: Arc<Counters>,
    /// The stdio of its own process.
    pub(crate) streams: Current,
    /// Its other processes.
    pub(crate) execs: Execs,
    /// To the container's task.
    pub(crate) commands: mpsc::Sender<Command>,
    /// From the container's task.
    pub(crate) snapshot: watch::Receiver<Snapshot>,
}

impl Service {
    /// The server for it.
    pub(crate) fn into_server(self) -> ShimServer<Self> {
        ShimServer::new(self)
    }

    /// Gives the task a command and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Status> {
        let gone = || Status::unavailable("the shim is about to end");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?.map_err(wire::refusal)
    }

    /// The stdio of an exec; of the container's own process where no exec is named.
    fn streams_of(&self, exec: &str) -> Result<Arc<Streams>, Status> {
        if exec.is_empty() {
            return Ok(self.streams.get());
        }
        self.execs.get(exec).map(|exec| Arc::clone(&exec.streams)).map_err(wire::refusal)
    }

    fn now(&self) -> Snapshot {
        *self.snapshot.borrow()
    }
}

#[tonic::async_trait]
impl Shim for Service {
    type WatchStream = ReceiverStream<Result<Event, Status>>;

    async fn create(&self, request: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        let CreateRequest { stdin, terminal, size, life } = request.into_inner();
        let (now, life) = (self.now(), life.max(1));
        if matches!(now.phase, Phase::Created | Phase::Running | Phase::Paused) || life <= now.life {
            return Err(Status::already_exists(format!("create {}: it is {}", self.id, now.phase)));
        }
        let new = New { life, stdin, terminal, size: wire::size(size)? };
        let pid = self.ask(|reply| Command::Create(new, reply)).await?;
        Ok(Response::new(CreateResponse { pid }))
    }

    async fn start(&self, _: Request<StartRequest>) -> Result<Response<StartResponse>, Status> {
        self.ask(Command::Start).await?;
        Ok(Response::new(StartResponse {}))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<KillResponse>, Status> {
        let KillRequest { signal, all } = request.into_inner();
        let signal = wire::signal(signal)?;
        let target = if all { Target::All } else { Target::Init };
        self.ask(|reply| Command::Kill(signal, target, reply)).await?;
        Ok(Response::new(KillResponse {}))
    }

    async fn wait(&self, _: Request<WaitRequest>) -> Result<Response<WaitResponse>, Status> {
        let mut snapshot = self.snapshot.clone();
        let over = snapshot.wait_for(|s| s.exit.is_some() || s.phase == Phase::Deleted).await;
        match over.ok().and_then(|s| s.exit) {
            Some(exit) => Ok(Response::new(WaitResponse { exit: Some(wire::exit(&exit)) })),
            None => Err(Status::failed_precondition("wait for the exit: the container never ran")),
        }
    }

    async fn state(&self, request: Request<StateRequest>) -> Result<Response<StateResponse>, Status> {
        self.ledger.is_told(request.into_inner().told_seq);
        let now = self.now();
        Ok(Response::new(StateResponse {
            id: self.id.clone(),
            status: wire::status(now.phase).into(),
            pid: now.pid,
            shim_pid: nix::unistd::getpid().as_raw(),
            exit: now.exit.as_ref().map(wire::exit),
            last_seq: now.last_seq,
            bundle: self.bundle.clone(),
            log_bytes: self.counters.written.load(Ordering::Acquire),
            log_dropped_bytes: self.counters.dropped.load(Ordering::Relaxed),
            log_limited_bytes: self.counters.limited.load(Ordering::Relaxed),
        }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let after = request.into_inner().after_seq;
        let reader = Reader::open(&self.journal)
            .map_err(|e| wire::internal(&Error::new(format!("read {}", self.journal.display()), e)))?;
        let (events, stream) = mpsc::channel(1);
        tokio::spawn(follow(reader, after, self.snapshot.clone(), events));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn pause(&self, _: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        self.ask(Command::Pause).await?;
        Ok(Response::new(PauseResponse {}))
    }

    async fn resume(&self, _: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        self.ask(Command::Resume).await?;
        Ok(Response::new(ResumeResponse {}))
    }

    async fn update(&self, request: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        let limits = wire::limits(request.into_inner().limits.unwrap_or_default());
        self.ask(|reply| Command::Update(limits, reply)).await?;
        Ok(Response::new(UpdateResponse {}))
    }

    async fn reopen_log(&self, _: Request<ReopenLogRequest>) -> Result<Response<ReopenLogResponse>, Status> {
        self.ask(Command::ReopenLog).await?;
        Ok(Response::new(ReopenLogResponse {}))
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<DeleteResponse>, Status> {
        let force = if request.into_inner().force { Force::Yes } else { Force::No };
        let exit = self.ask(|reply| Command::Delete(force, reply)).await?;
        Ok(Response::new(DeleteResponse { exit: exit.as_ref().map(wire::exit) }))
    }

    async fn exec(&self, request: Request<ExecRequest>) -> Result<Response<ExecResponse>, Status> {
        execs::start(&self.execs, request.into_inner()).await.map(Response::new)
    }

    async fn probe(&self, request: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        execs::probe(&self.execs, request.into_inner()).await.map(Response::new)
    }

    async fn execs(&self, _: Request<ExecsRequest>) -> Result<Response<ExecsResponse>, Status> {
        let execs = self.execs.all().iter().map(|exec| execs::state(exec)).collect();
        Ok(Response::new(ExecsResponse { execs }))
    }

    async fn wait_exec(
        &self,
        request: Request<WaitExecRequest>,
    ) -> Result<Response<WaitExecResponse>, Status> {
        let exec = self.execs.get(&request.into_inner().exec).map_err(wire::refusal)?;
        exec.wait().await.map(|over| Response::new(execs::over(&over))).map_err(wire::refusal)
    }

    async fn kill_exec(
        &self,
        request: Request<KillExecRequest>,
    ) -> Result<Response<KillExecResponse>, Status> {
        let KillExecRequest { exec, signal } = request.into_inner();
        let signal = wire::signal(signal)?;
        let killed = self.execs.get(&exec).and_then(|exec| exec.kill(signal));
        killed.map(|()| Response::new(KillExecResponse {})).map_err(wire::refusal)
    }

    type AttachStream = ReceiverStream<Result<AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        attach::attach(self, request.into_inner()).await.map(Response::new)
    }

    async fn resize(&self, request: Request<ResizeRequest>) -> Result<Response<ResizeResponse>, Status> {
        let ResizeRequest { exec, size } = request.into_inner();
        attach::resize(&*self.streams_of(&exec)?, size)?;
        Ok(Response::new(ResizeResponse {}))
    }

    async fn close_stdin(
        &self,
        request: Request<CloseStdinRequest>,
    ) -> Result<Response<CloseStdinResponse>, Status> {
        attach::close_stdin(&*self.streams_of(&request.into_inner().exec)?)?;
        Ok(Response::new(CloseStdinResponse {}))
    }
}

/// Sends the records above `after` from the file, up to what is published, then waits for more.
/// Ends with the last record, with the task, or when nobody listens.
async fn follow(
    mut reader: Reader,
    after: u64,
    mut snapshot: watch::Receiver<Snapshot>,
    events: mpsc::Sender<Result<Event, Status>>,
) {
    let mut sent = 0;
    loop {
        let published = snapshot.borrow_and_update().last_seq;
        while sent < published {
            let event = match reader.following() {
                Ok(Some(event)) => event,
                Ok(None) => {
                    return tell(&events, Status::data_loss(format!("record {} is damaged", sent + 1))).await;
                }
                Err(e) => {
                    return tell(&events, Status::internal(format!("read record {}: {e}", sent + 1))).await;
                }
            };
            sent = event.seq;
            let last = wire::is_last(&event);
            if event.seq > after && events.send(Ok(event)).await.is_err() || last {
                return;
            }
        }
        tokio::select! {
            changed = snapshot.changed() => if changed.is_err() { return },
            () = events.closed() => return,
        }
    }
}

/// The last word to a watcher, who may have gone.
async fn tell(events: &mpsc::Sender<Result<Event, Status>>, status: Status) {
    drop(events.send(Err(status)).await);
}
