//! Execs, from and to the wire.

use super::wire;
use crate::execs::{Exec, Execs, Spec, State};
use crate::streams::{Bounds, Over};
use prost::Message;
use sextant_proto::shim::{
    ExecRequest, ExecResponse, ExecState, ProbeRequest, ProbeResponse, WaitExecResponse,
};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;
use tonic::Status;

/// Executes what a request says.
pub(super) async fn start(execs: &Execs, request: ExecRequest) -> Result<ExecResponse, Status> {
    let (name, spec) = spec(request)?;
    let (exec, pid) = execs.start(name, spec).await.map_err(wire::refusal)?;
    // One that has ended at once may be forgotten by now, among many others.
    let state = execs.get(&exec).ok().map(|exec| state(&exec));
    Ok(ExecResponse { exec, pid, state })
}

/// Executes a process of a health check to its end.
pub(super) async fn probe(execs: &Execs, request: ProbeRequest) -> Result<ProbeResponse, Status> {
    let ProbeRequest { command, timeout_ms, output_bytes } = request;
    if command.first().is_none_or(String::is_empty) || timeout_ms == 0 {
        return Err(Status::invalid_argument("probe the container: it needs a program and a time limit"));
    }
    let timeout = Some(Duration::from_millis(timeout_ms));
    let (over, output) = execs
        .probe(Spec { command, timeout, ..Spec::default() }, output_bytes)
        .await
        .map_err(wire::refusal)?;
    Ok(ProbeResponse { exit: Some(wire::exit(&over.exit)), timed_out: over.timed_out, output })
}

fn spec(mut request: ExecRequest) -> Result<(String, Spec), Status> {
    let name = std::mem::take(&mut request.exec);
    sextant_runtime::contract::check_id(&name)
        .map_err(|e| Status::invalid_argument(format!("take {name:?} for the name of an exec: {e}")))?;
    if request.command.first().is_none_or(String::is_empty) {
        return Err(Status::invalid_argument("execute a process: the command names no program"));
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&request.encode_to_vec());
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let spec = Spec {
        command: request.command,
        env: request.env,
        cwd: some(request.cwd),
        user: some(request.user),
        additional_gids: request.additional_gids,
        capabilities: request.capabilities,
        terminal: request.terminal,
        stdin: request.stdin,
        size: wire::size(request.size)?,
        timeout: Some(request.timeout_ms).filter(|ms| *ms > 0).map(Duration::from_millis),
        bounds: Bounds { hold: request.hold_output, limit: request.output_limit },
        key: request.key,
        hash: hasher.finish(),
    };
    Ok((name, spec))
}

/// What is known of an exec.
pub(super) fn state(exec: &Exec) -> ExecState {
    let (pid, ended) = match exec.state() {
        State::Running { pid, .. } => (pid, None),
        State::Ended(over) => (0, Some(over)),
        State::Starting | State::Failed => (0, None),
    };
    ExecState {
        exec: exec.id.clone(),
        pid,
        command: exec.command.clone(),
        terminal: exec.terminal,
        started_at: Some(exec.started_at.into()),
        exit: ended.map(|over| wire::exit(&over.exit)),
        timed_out: ended.is_some_and(|over| over.timed_out),
    }
}

/// How a process ended.
pub(super) fn over(over: &Over) -> WaitExecResponse {
    WaitExecResponse { exit: Some(wire::exit(&over.exit)), timed_out: over.timed_out }
}
