//! `sextant.v1.Execs`: decodes, calls the engine, encodes.

use super::convert;
use super::status::status;
use super::stdio::{over_to_wire, size};
use crate::engine::Engine;
use crate::engine::error::{Error, Violation};
use crate::model::{Exec, NewExec, Stdio};
use sextant_proto::v1;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Execs {
    /// Does the work.
    pub engine: Engine,
}

type Answer<T> = Result<Response<T>, Status>;

fn reply<T>(result: Result<T, Error>) -> Answer<T> {
    result.map(Response::new).map_err(|e| status(&e))
}

#[tonic::async_trait]
impl v1::execs_server::Execs for Execs {
    async fn create(&self, request: Request<v1::CreateExecRequest>) -> Answer<v1::CreateExecResponse> {
        let mut request = request.into_inner();
        let container = std::mem::take(&mut request.container);
        let created = match new_exec(request) {
            Ok(new) => self.engine.exec(&container, new).await,
            Err(error) => Err(error),
        };
        reply(created.map(|exec| v1::CreateExecResponse { exec: Some(exec_to_wire(exec)) }))
    }

    async fn get(&self, request: Request<v1::GetExecRequest>) -> Answer<v1::GetExecResponse> {
        let v1::GetExecRequest { container, exec } = request.into_inner();
        let found = self.engine.get_exec(&container, &exec).await;
        reply(found.map(|exec| v1::GetExecResponse { exec: Some(exec_to_wire(exec)) }))
    }

    async fn list(&self, request: Request<v1::ListExecsRequest>) -> Answer<v1::ListExecsResponse> {
        let execs = self.engine.execs(&request.into_inner().container).await;
        reply(
            execs.map(|execs| v1::ListExecsResponse { execs: execs.into_iter().map(exec_to_wire).collect() }),
        )
    }

    async fn kill(&self, request: Request<v1::KillExecRequest>) -> Answer<v1::KillExecResponse> {
        let v1::KillExecRequest { container, exec, signal } = request.into_inner();
        let signal = if signal == 0 { nix::libc::SIGTERM } else { signal };
        let killed = self.engine.kill_exec(&container, &exec, signal).await;
        reply(killed.map(|()| v1::KillExecResponse {}))
    }

    async fn wait(&self, request: Request<v1::WaitExecRequest>) -> Answer<v1::WaitExecResponse> {
        let v1::WaitExecRequest { container, exec } = request.into_inner();
        reply(self.engine.wait_exec(&container, &exec).await.map(over_to_wire))
    }
}

fn new_exec(request: v1::CreateExecRequest) -> Result<NewExec, Error> {
    let timeout = request.timeout.map(|timeout| {
        convert::duration(timeout).filter(|t| !t.is_zero()).ok_or_else(|| Error::Refused {
            attempted: "execute a process".into(),
            violations: vec![Violation {
                field: "timeout".into(),
                message: "it is not longer than zero, or too long".into(),
                hint: "leave it out for an exec without a time limit".into(),
            }],
        })
    });
    Ok(NewExec {
        command: request.command,
        env: request.env,
        cwd: request.cwd,
        user: request.user,
        additional_gids: request.additional_gids,
        capabilities: request.capabilities,
        stdio: Stdio { stdin: request.stdin, terminal: request.terminal },
        size: request.size.map(size).transpose()?,
        timeout: timeout.transpose()?,
        hold_output: request.hold_output,
        output_limit: request.output_limit,
        key: convert::key(request.idempotency_key),
    })
}

fn exec_to_wire(exec: Exec) -> v1::Exec {
    let timed_out = exec.over.as_ref().is_some_and(|over| over.timed_out);
    v1::Exec {
        container: exec.container,
        id: exec.id,
        pid: exec.pid.unwrap_or(0),
        command: exec.command,
        terminal: exec.terminal,
        started_at: convert::time(exec.started_at),
        exit: exec.over.map(|over| convert::exit_to_wire(over.exit)),
        timed_out,
    }
}
