//! What a shim does for execs and attached clients. Each call has a deadline, but
//! for the wait and the stream of an attachment, which has a connection of its own
//! and is only passed on: nothing of it is kept here.

use super::client::{Client, QUESTION, SIGNAL, WORK, from_status};
use super::wire;
use crate::engine::error::{Error, Violation};
use crate::logs::Stream;
use crate::model::{Exec, Input, NewAttachment, NewExec, OutputFrom, Over, Stdio, Told};
use sextant_proto::shim::{
    self, attach_open::From, attach_request::What as Said, attach_response::What as Heard, output,
};
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

impl Client {
    /// Executes a process as `exec`, or finds the one with the same key.
    ///
    /// # Errors
    /// The failed step, what is refused, [`Error::Timeout`], [`Error::Unreachable`].
    pub async fn exec(&self, exec: &str, new: NewExec) -> Result<Exec, Error> {
        let mut stub = self.stub();
        let request = shim::ExecRequest {
            exec: exec.into(),
            command: new.command,
            env: new.env,
            cwd: new.cwd,
            user: new.user,
            additional_gids: new.additional_gids,
            capabilities: new.capabilities,
            terminal: new.stdio.terminal,
            stdin: new.stdio.stdin,
            size: new.size.map(size),
            timeout_ms: new.timeout.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX).max(1)),
            hold_output: new.hold_output,
            output_limit: new.output_limit,
            key: new.key.unwrap_or_default(),
        };
        let attempted = format!("execute a process in container {:?}", self.id);
        let key = request.key.clone();
        match self.ask(&attempted, exec, WORK, stub.exec(request)).await {
            Ok(shim::ExecResponse { state: Some(state), .. }) => Ok(self.exec_of(state)),
            // An older shim, that lives on below a newer manager.
            Ok(answer) => {
                let found = self.execs().await?.into_iter().find(|known| known.id == answer.exec);
                found.ok_or_else(|| Error::NoExec { id: self.id.to_string(), exec: answer.exec })
            }
            Err(Error::KeyReused { first, .. }) => Err(Error::KeyReused { key, first }),
            Err(error) => Err(error),
        }
    }

    /// The execs that are remembered, the oldest first.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Unreachable`].
    pub async fn execs(&self) -> Result<Vec<Exec>, Error> {
        let mut stub = self.stub();
        let attempted = format!("list the execs of container {:?}", self.id);
        let answer = self.ask(&attempted, "", QUESTION, stub.execs(shim::ExecsRequest {})).await?;
        Ok(answer.execs.into_iter().map(|state| self.exec_of(state)).collect())
    }

    fn exec_of(&self, state: shim::ExecState) -> Exec {
        Exec {
            container: self.id.to_string(),
            id: state.exec,
            pid: Some(state.pid).filter(|pid| *pid > 0),
            command: state.command,
            terminal: state.terminal,
            started_at: wire::time(state.started_at),
            over: state.exit.map(|exit| Over { exit: wire::exit(exit), timed_out: state.timed_out }),
        }
    }

    /// Waits for the end of an exec, however long that takes.
    ///
    /// # Errors
    /// [`Error::NoExec`], [`Error::Unreachable`].
    pub async fn wait_exec(&self, exec: &str) -> Result<Over, Error> {
        let mut stub = self.stub();
        let answer = stub.wait_exec(shim::WaitExecRequest { exec: exec.into() }).await;
        let attempted = format!("wait for the exec {exec:?} of container {:?}", self.id);
        answer.map(|r| over(r.into_inner())).map_err(|status| self.refusal(&attempted, exec, &status))
    }

    /// Sends a signal to the process of an exec.
    ///
    /// # Errors
    /// [`Error::NoExec`], [`Error::Without`], [`Error::Timeout`], [`Error::Unreachable`].
    pub async fn kill_exec(&self, exec: &str, signal: i32) -> Result<(), Error> {
        let mut stub = self.stub();
        let attempted = format!("signal the exec {exec:?} of container {:?}", self.id);
        let request = shim::KillExecRequest { exec: exec.into(), signal };
        self.ask(&attempted, exec, SIGNAL, stub.kill_exec(request)).await.map(drop)
    }

    /// Sets the size of a terminal; of the container's own process where `exec` is empty.
    ///
    /// # Errors
    /// As [`Client::kill_exec`].
    pub async fn resize(&self, exec: &str, (rows, columns): (u16, u16)) -> Result<(), Error> {
        let mut stub = self.stub();
        let attempted = format!("resize a terminal of container {:?}", self.id);
        let request = shim::ResizeRequest { exec: exec.into(), size: Some(size((rows, columns))) };
        self.ask(&attempted, exec, QUESTION, stub.resize(request)).await.map(drop)
    }

    /// Closes a stdin; that of the container's own process where `exec` is empty.
    ///
    /// # Errors
    /// As [`Client::kill_exec`].
    pub async fn close_stdin(&self, exec: &str) -> Result<(), Error> {
        let mut stub = self.stub();
        let attempted = format!("close a stdin in container {:?}", self.id);
        let request = shim::CloseStdinRequest { exec: exec.into() };
        self.ask(&attempted, exec, QUESTION, stub.close_stdin(request)).await.map(drop)
    }

    /// Attaches a client, which says what comes out of `input`. Detached when the answer is dropped.
    ///
    /// # Errors
    /// As [`Client::kill_exec`].
    pub async fn attach(
        &self,
        new: NewAttachment,
        input: mpsc::Receiver<Input>,
    ) -> Result<Attachment, Error> {
        let exec = new.exec.clone().unwrap_or_default();
        let attempted = match exec.as_str() {
            "" => format!("attach to container {:?}", self.id),
            exec => format!("attach to the exec {exec:?} of container {:?}", self.id),
        };
        let opening = tokio_stream::once(shim::AttachRequest { what: Some(Said::Open(open(&new))) });
        let requests = opening.chain(ReceiverStream::new(input).map(said));
        let mut stub = self.apart();
        let stream = self.ask(&attempted, &exec, QUESTION, stub.attach(requests)).await?;
        Ok(Attachment { client: self.clone(), attempted, exec, stream })
    }

    /// Waits for an answer until the deadline.
    pub(super) async fn ask<T>(
        &self,
        attempted: &str,
        exec: &str,
        deadline: Duration,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.refusal(attempted, exec, &status)),
            Err(_) => Err(Error::Timeout { attempted: attempted.into(), after: deadline }),
        }
    }

    /// What the shim says, as the engine's own error.
    fn refusal(&self, attempted: &str, exec: &str, status: &Status) -> Error {
        let because = status.message().to_owned();
        match status.code() {
            Code::NotFound => Error::NoExec { id: self.id.to_string(), exec: exec.into() },
            Code::FailedPrecondition if status.details().is_empty() => {
                Error::Without { attempted: attempted.into(), because }
            }
            Code::ResourceExhausted => {
                Error::Exhausted { what: because, hint: "wait until some have ended, or have gone" }
            }
            Code::AlreadyExists => {
                Error::KeyReused { key: because, first: format!("an exec in container {:?}", self.id) }
            }
            Code::InvalidArgument => Error::Refused {
                attempted: attempted.into(),
                violations: vec![Violation { field: "open".into(), message: because, hint: String::new() }],
            },
            _ => from_status(attempted.into(), status),
        }
    }
}

/// A client that is attached.
#[derive(Debug)]
pub struct Attachment {
    client: Client,
    attempted: String,
    exec: String,
    stream: Streaming<shim::AttachResponse>,
}

impl Attachment {
    /// The next that the client is told; `None` after the last.
    ///
    /// # Errors
    /// What the shim refuses, or that it is gone.
    pub async fn next(&mut self) -> Result<Option<Told>, Error> {
        loop {
            let message = self.stream.message().await;
            let message =
                message.map_err(|status| self.client.refusal(&self.attempted, &self.exec, &status))?;
            let Some(message) = message else { return Ok(None) };
            if let Some(told) = message.what.map(told) {
                return Ok(Some(told));
            }
        }
    }
}

fn open(new: &NewAttachment) -> shim::AttachOpen {
    let slow = if new.block { shim::SlowClient::Block } else { shim::SlowClient::Drop };
    let from = match new.from {
        Some(OutputFrom::Last(bytes)) => Some(From::ReplayBytes(bytes)),
        Some(OutputFrom::Offset(offset)) => Some(From::FromOffset(offset)),
        Some(OutputFrom::Kept) | None => None,
    };
    let exec = new.exec.clone().unwrap_or_default();
    shim::AttachOpen { exec, slow: slow.into(), from, no_output: new.from.is_none() }
}

fn said(input: Input) -> shim::AttachRequest {
    let what = match input {
        Input::Stdin(bytes) => Said::Stdin(bytes),
        Input::Resize(rows, columns) => Said::Resize(size((rows, columns))),
        Input::CloseStdin => Said::CloseStdin(shim::CloseStdinRequest::default()),
    };
    shim::AttachRequest { what: Some(what) }
}

fn told(what: Heard) -> Told {
    match what {
        Heard::Attached(a) => Told::Attached(Stdio { stdin: a.stdin, terminal: a.terminal }),
        Heard::Output(output) => {
            let stream = match output.stream() {
                output::Stream::Stderr => Stream::Stderr,
                output::Stream::Stdout | output::Stream::Unspecified => Stream::Stdout,
            };
            Told::Output { stream, data: output.data, offset: output.offset }
        }
        Heard::Dropped(bytes) => Told::Dropped(bytes),
        Heard::Exit(exit) => Told::Over(over(exit)),
    }
}

fn over(ended: shim::WaitExecResponse) -> Over {
    Over { exit: wire::exit(ended.exit.unwrap_or_default()), timed_out: ended.timed_out }
}

fn size((rows, columns): (u16, u16)) -> shim::WindowSize {
    shim::WindowSize { rows: rows.into(), columns: columns.into() }
}
