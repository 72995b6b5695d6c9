//! From the shim's own types to those of `sextant.shim.v1`. Back goes only the
//! journal of a shim that was killed: [`super::past`].

use crate::command::Refusal;
use crate::error::Error;
use crate::event::{Exit, Happening, Phase, Stage, TerminalEnd};
use crate::journal::Stamp;
use crate::pipe::PipeEnd;
use crate::runtime_cmd::{Fault, FaultKind};
use crate::sys::How;
use prost::Message;
use sextant_proto::shim::{self as wire, event::What};
use sextant_runtime::contract::args::Limits;
use sextant_runtime::contract::report;
use tonic::Code;

/// A record of the journal, as it is on disk and on the wire.
pub(crate) use sextant_proto::shim::Event;

/// Longest message of a failure; it travels in a header, whose size HTTP/2 limits.
const MAX_MESSAGE: usize = 1 << 10;

/// The record of what happened.
pub(crate) fn event(stamp: Stamp, what: &Happening) -> Event {
    let what = match what {
        Happening::Created { life, pid, trace, handover: h } => What::Created(wire::Created {
            life: *life,
            pid: *pid,
            trace: stages(trace),
            start_time: h.start_time,
            boot_id: h.boot_id.clone(),
            stdout: h.ends.pipes[0].map(pipe),
            stderr: h.ends.pipes[1].map(pipe),
            stdout_hand: h.ends.hands[0].map(pipe),
            stderr_hand: h.ends.hands[1].map(pipe),
            terminal: h.ends.terminal.map(terminal),
            oom: h.oom.as_ref().map(|oom| wire::OomCounter {
                file: oom.file.to_string_lossy().into_owned(),
                before: oom.before,
            }),
        }),
        Happening::Adopted { ends, lost } => What::Adopted(wire::Adopted {
            stdout: ends.pipes[0].map(pipe),
            stderr: ends.pipes[1].map(pipe),
            stdout_hand: ends.hands[0].map(pipe),
            stderr_hand: ends.hands[1].map(pipe),
            terminal: ends.terminal.map(terminal),
            lost: lost.map(|lost| wire::OutputLost {
                log_offset: lost.log_offset,
                from: Some(lost.from.into()),
                until: lost.until.map(Into::into),
                because: lost.because.into(),
            }),
        }),
        Happening::CreateFailed { failure: f, trace } => {
            What::CreateFailed(wire::CreateFailed { failure: Some(failure(f)), trace: stages(trace) })
        }
        Happening::Started { trace } => What::Started(wire::Started { trace: stages(trace) }),
        Happening::StartFailed { failure: f, trace } => {
            What::StartFailed(wire::StartFailed { failure: Some(failure(f)), trace: stages(trace) })
        }
        Happening::Paused => What::Paused(wire::Paused {}),
        Happening::Resumed => What::Resumed(wire::Resumed {}),
        Happening::Updated { limits } => {
            What::Updated(wire::Updated { limits: Some(limits_to_wire(limits)) })
        }
        Happening::Oom { kills } => What::Oom(wire::Oom { kills: *kills }),
        Happening::Exited { exit: e, failure: f } => {
            What::Exited(wire::Exited { exit: Some(exit(e)), failure: f.as_ref().map(failure) })
        }
        Happening::ExecStarted(start) => What::ExecStarted(wire::ExecStarted {
            exec: start.exec.clone(),
            pid: start.pid,
            start_time: start.start_time,
            boot_id: start.boot_id.clone(),
            command: start.command.clone(),
            terminal: start.terminal,
            key: start.key.clone(),
            request_hash: start.request_hash,
            deadline: start.deadline.map(Into::into),
            cgroup: start.cgroup.as_ref().map(|c| c.to_string_lossy().into_owned()).unwrap_or_default(),
        }),
        Happening::ExecExited { exec, over } => What::ExecExited(wire::ExecExited {
            exec: exec.clone(),
            exit: Some(exit(&over.exit)),
            timed_out: over.timed_out,
        }),
        Happening::Deleted => What::Deleted(wire::Deleted {}),
    };
    Event { seq: stamp.seq, at: Some(stamp.at.into()), monotonic_ns: stamp.monotonic_ns, what: Some(what) }
}

/// Whether nothing comes after this record.
pub(super) fn is_last(event: &Event) -> bool {
    matches!(event.what, Some(What::Deleted(_)))
}

fn terminal(end: TerminalEnd) -> wire::Terminal {
    wire::Terminal { fd: end.fd, number: end.number }
}

fn pipe(end: PipeEnd) -> wire::Pipe {
    wire::Pipe { fd: end.fd, inode: end.inode }
}

fn limits_to_wire(limits: &Limits) -> wire::Limits {
    let Limits { memory_bytes, memory_swap_bytes, cpu_millis, cpu_shares, cpuset_cpus, pids } =
        limits.clone();
    wire::Limits { memory_bytes, memory_swap_bytes, cpu_millis, cpu_shares, cpuset_cpus, pids }
}

/// The limits of a request.
pub(super) fn limits(limits: wire::Limits) -> Limits {
    let wire::Limits { memory_bytes, memory_swap_bytes, cpu_millis, cpu_shares, cpuset_cpus, pids } = limits;
    Limits { memory_bytes, memory_swap_bytes, cpu_millis, cpu_shares, cpuset_cpus, pids }
}

pub(super) fn exit(exit: &Exit) -> wire::Exit {
    let how = match exit.how {
        How::Code(code) => wire::exit::How::Code(code),
        How::Signal(signal) => wire::exit::How::Signal(signal),
        How::Unknown(because) => wire::exit::How::Unknown(because.into()),
    };
    wire::Exit { how: Some(how), at: Some(exit.at.into()), oom_killed: exit.oom_killed }
}

pub(super) fn status(phase: Phase) -> wire::Status {
    match phase {
        Phase::Empty => wire::Status::Empty,
        Phase::Creating => wire::Status::Creating,
        Phase::Created => wire::Status::Created,
        Phase::Running => wire::Status::Running,
        Phase::Paused => wire::Status::Paused,
        Phase::Stopped => wire::Status::Stopped,
        Phase::Deleted => wire::Status::Deleted,
    }
}

/// The status that answers a refused command. A failure of the runtime is in
/// its details, as an encoded `sextant.shim.v1.Failure`.
pub(super) fn refusal(refusal: Refusal) -> tonic::Status {
    match refusal {
        Refusal::Phase { attempted, phase } => {
            tonic::Status::failed_precondition(format!("{attempted}: it is {phase}"))
        }
        Refusal::NoExec(name) => {
            tonic::Status::not_found(format!("there is no exec {name:?} in the container"))
        }
        Refusal::TooMany(what) => tonic::Status::resource_exhausted(format!("too many {what}")),
        Refusal::KeyReused(key) => {
            tonic::Status::already_exists(format!("the key {key:?} belongs to another exec"))
        }
        Refusal::Without(what) => tonic::Status::failed_precondition(what),
        Refusal::Shim(error) => internal(&error),
        Refusal::Runtime(Fault { failure: f, kind, .. }) => {
            let code = match kind {
                FaultKind::Reported => Code::FailedPrecondition,
                FaultKind::Unexplained => Code::Internal,
                FaultKind::Killed => Code::DeadlineExceeded,
            };
            let f = failure(&f);
            tonic::Status::with_details(code, f.message.clone(), f.encode_to_vec().into())
        }
    }
}

/// Signals are 1 to this number (signal(7), x86 and ARM).
const LAST_SIGNAL: i32 = 64;

/// A signal that exists.
pub(super) fn signal(signal: i32) -> Result<i32, tonic::Status> {
    match signal {
        1..=LAST_SIGNAL => Ok(signal),
        _ => Err(tonic::Status::invalid_argument(format!("signal {signal}: signals are 1 to {LAST_SIGNAL}"))),
    }
}

/// Rows and columns that a terminal can have.
pub(super) fn size(size: Option<wire::WindowSize>) -> Result<Option<(u16, u16)>, tonic::Status> {
    let Some(wire::WindowSize { rows, columns }) = size else { return Ok(None) };
    match (u16::try_from(rows), u16::try_from(columns)) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err(tonic::Status::invalid_argument(format!(
            "size {rows} by {columns}: a terminal has at most 65535 rows and columns"
        ))),
    }
}

/// An error of the shim itself.
pub(super) fn internal(error: &Error) -> tonic::Status {
    tonic::Status::internal(error.line())
}

fn failure(f: &report::Failure) -> wire::Failure {
    let mut message = f.to_string();
    let end = (0..=MAX_MESSAGE.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    message.truncate(end.unwrap_or(0));
    wire::Failure {
        stage: f.stage.clone(),
        attempted: f.attempted.clone(),
        syscall: f.syscall.clone(),
        errno: f.errno,
        object: f.object.clone(),
        pointer: f.pointer.clone(),
        hint: f.hint.clone(),
        message,
    }
}

fn stages(trace: &[Stage]) -> Vec<wire::StageRecord> {
    let stage = |Stage { command, record: r }: &Stage| wire::StageRecord {
        command: (*command).into(),
        stage: r.stage.to_string(),
        start_ns: r.start_ns,
        end_ns: r.end_ns,
        object: r.object.clone(),
        pid: r.pid,
        failure: r.failure.as_ref().map(failure),
    };
    trace.iter().map(stage).collect()
}
