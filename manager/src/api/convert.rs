//! The manager's types to `sextant.v1` and back. Checks of requests are in
//! here only as far as a wire type can say what the manager's cannot; the rest
//! is checked by the engine.

use super::container::Mask;
use super::policies;
use super::sandboxes;
use crate::engine::events::{Codec, Whole};
use crate::model::{
    Access, BindMount, Ending, Event, EventKind, Exit, Failure, Limits, LogOptions, NewContainer, Operation,
    OutputLost, RestartPolicy, RootfsSource, Snapshot, Source, StageRecord, Stdio, Verb,
};
use sextant_proto::{journal, v1};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How an event stands in the global journal: a framed `sextant.v1.Event`.
pub const CODEC: Codec = Codec { encode, decode };

fn encode(event: &Event) -> Result<Vec<u8>, String> {
    journal::encode(&event_to_wire(event.clone()))
        .map_err(|size| format!("an event of {size} bytes is too large"))
}

fn decode(bytes: &[u8]) -> Whole {
    let decoded = journal::decode::<v1::Event>(bytes);
    Whole { events: decoded.records.into_iter().map(event_from_wire).collect(), bytes: decoded.valid }
}

/// A wire time.
pub fn time(at: SystemTime) -> Option<prost_types::Timestamp> {
    Some(at.into())
}

pub(super) fn time_from_wire(at: Option<prost_types::Timestamp>) -> SystemTime {
    at.and_then(|t| SystemTime::try_from(t).ok()).unwrap_or(UNIX_EPOCH)
}

/// An exit.
pub fn exit_to_wire(exit: Exit) -> v1::Exit {
    let how = match exit.how {
        Ending::Code(code) => v1::exit::How::Code(code),
        Ending::Signal(signal) => v1::exit::How::Signal(signal),
        Ending::Unknown(because) => v1::exit::How::Unknown(because),
    };
    v1::Exit { how: Some(how), at: time(exit.at), oom_killed: exit.oom_killed }
}

pub(super) fn exit_from_wire(exit: v1::Exit) -> Exit {
    let how = match exit.how {
        Some(v1::exit::How::Code(code)) => Ending::Code(code),
        Some(v1::exit::How::Signal(signal)) => Ending::Signal(signal),
        Some(v1::exit::How::Unknown(because)) => Ending::Unknown(because),
        None => Ending::Unknown(String::new()),
    };
    Exit { how, at: time_from_wire(exit.at), oom_killed: exit.oom_killed }
}

pub(super) fn failure_to_wire(failure: Failure) -> v1::Failure {
    let Failure { stage, attempted, syscall, errno, object, pointer, hint, message } = failure;
    v1::Failure { stage, attempted, syscall, errno, object, pointer, hint, message }
}

fn failure_from_wire(failure: v1::Failure) -> Failure {
    let v1::Failure { stage, attempted, syscall, errno, object, pointer, hint, message } = failure;
    Failure { stage, attempted, syscall, errno, object, pointer, hint, message }
}

/// A kind of event.
pub fn kind_to_wire(kind: EventKind) -> v1::event::Kind {
    match kind {
        EventKind::Created => v1::event::Kind::Created,
        EventKind::CreateFailed => v1::event::Kind::CreateFailed,
        EventKind::Started => v1::event::Kind::Started,
        EventKind::StartFailed => v1::event::Kind::StartFailed,
        EventKind::Exited => v1::event::Kind::Exited,
        EventKind::Deleted => v1::event::Kind::Deleted,
        EventKind::Gap => v1::event::Kind::Gap,
        EventKind::Adopted => v1::event::Kind::Adopted,
        EventKind::Paused => v1::event::Kind::Paused,
        EventKind::Resumed => v1::event::Kind::Resumed,
        EventKind::Updated => v1::event::Kind::Updated,
        EventKind::Oom => v1::event::Kind::Oom,
        EventKind::Degraded => v1::event::Kind::Degraded,
        EventKind::Recovered => v1::event::Kind::Recovered,
        EventKind::ExecStarted => v1::event::Kind::ExecStarted,
        EventKind::ExecExited => v1::event::Kind::ExecExited,
        EventKind::Restarting => v1::event::Kind::Restarting,
        EventKind::Healthy => v1::event::Kind::Healthy,
        EventKind::Unhealthy => v1::event::Kind::Unhealthy,
    }
}

/// An event.
pub fn event_to_wire(event: Event) -> v1::Event {
    let (kind, restarting) = (kind_to_wire(event.kind), event.restarting);
    let event = v1::Event {
        seq: event.seq,
        container: event.container,
        kind: kind.into(),
        at: time(event.at),
        pid: event.pid.unwrap_or(0),
        exit: event.exit.map(exit_to_wire),
        failure: event.failure.map(failure_to_wire),
        container_seq: event.container_seq,
        output_lost: event.output_lost.map(|lost| v1::OutputLost {
            log_offset: lost.log_offset,
            from: time(lost.from),
            until: lost.until.and_then(time),
            because: lost.because,
        }),
        oom_kills: event.oom_kills,
        exec: event.exec.unwrap_or_default(),
        life: event.life,
        probe: event.probe.map(policies::probe_to_wire),
        ..v1::Event::default()
    };
    policies::with_restarting(event, restarting)
}

fn event_from_wire(event: v1::Event) -> Event {
    let kind = match event.kind() {
        v1::event::Kind::Created => EventKind::Created,
        v1::event::Kind::CreateFailed => EventKind::CreateFailed,
        v1::event::Kind::Started => EventKind::Started,
        v1::event::Kind::StartFailed => EventKind::StartFailed,
        v1::event::Kind::Exited => EventKind::Exited,
        v1::event::Kind::Deleted => EventKind::Deleted,
        v1::event::Kind::Adopted => EventKind::Adopted,
        v1::event::Kind::Paused => EventKind::Paused,
        v1::event::Kind::Resumed => EventKind::Resumed,
        v1::event::Kind::Updated => EventKind::Updated,
        v1::event::Kind::Oom => EventKind::Oom,
        v1::event::Kind::Degraded => EventKind::Degraded,
        v1::event::Kind::Recovered => EventKind::Recovered,
        v1::event::Kind::ExecStarted => EventKind::ExecStarted,
        v1::event::Kind::ExecExited => EventKind::ExecExited,
        v1::event::Kind::Restarting => EventKind::Restarting,
        v1::event::Kind::Healthy => EventKind::Healthy,
        v1::event::Kind::Unhealthy => EventKind::Unhealthy,
        v1::event::Kind::Gap | v1::event::Kind::Unspecified => EventKind::Gap,
    };
    let restarting = policies::restarting_from_wire(&event);
    Event {
        seq: event.seq,
        container: event.container,
        kind,
        at: time_from_wire(event.at),
        pid: Some(event.pid).filter(|pid| *pid != 0),
        exit: event.exit.map(exit_from_wire),
        failure: event.failure.map(failure_from_wire),
        container_seq: event.container_seq,
        output_lost: event.output_lost.map(|lost| OutputLost {
            log_offset: lost.log_offset,
            from: time_from_wire(lost.from),
            until: lost.until.map(|at| time_from_wire(Some(at))),
            because: lost.because,
        }),
        oom_kills: event.oom_kills,
        exec: Some(event.exec).filter(|exec| !exec.is_empty()),
        life: event.life,
        restarting,
        probe: event.probe.map(policies::probe_from_wire),
    }
}

/// A container as it is known now.
pub fn container_to_wire(snapshot: Snapshot) -> v1::Container {
    Mask::all().apply(&snapshot)
}

/// A stage of the start-up.
pub fn stage_to_wire(record: StageRecord) -> v1::StageRecord {
    let StageRecord { command, stage, start_ns, end_ns, object, pid, failure } = record;
    v1::StageRecord { command, stage, start_ns, end_ns, object, pid, failure: failure.map(failure_to_wire) }
}

/// A request for a container; `None` when it does not say from what.
pub fn new_container(request: v1::CreateRequest) -> Option<NewContainer> {
    let source = match request.source? {
        v1::create_request::Source::Bundle(path) => Source::Bundle(path.into()),
        v1::create_request::Source::Rootfs(source) => Source::Rootfs(rootfs_source(source)),
    };
    let id = Some(request.id).filter(|id| !id.is_empty());
    let labels = request.labels.into_iter().collect();
    let log = request.log.map(log_options).unwrap_or_default();
    let stdio = Stdio { stdin: request.stdin, terminal: request.terminal };
    // Its policies are put in by those who can refuse them.
    let (restart, check) = (RestartPolicy::default(), None);
    let placement = sandboxes::placement(request.sandbox, request.namespaces);
    let key = key(request.idempotency_key);
    Some(NewContainer { id, source, labels, log, stdio, placement, key, restart, check })
}

/// The key of an operation; `None` when it has none.
pub fn key(key: String) -> Option<String> {
    Some(key).filter(|key| !key.is_empty())
}

/// An operation with a key.
pub fn operation_to_wire(operation: Operation) -> v1::Operation {
    let verb = match operation.verb {
        Verb::Create => v1::operation::Verb::Create,
        Verb::Start => v1::operation::Verb::Start,
        Verb::Stop => v1::operation::Verb::Stop,
        Verb::Delete => v1::operation::Verb::Delete,
        Verb::Pause => v1::operation::Verb::Pause,
        Verb::Resume => v1::operation::Verb::Resume,
        Verb::Update => v1::operation::Verb::Update,
        Verb::Exec => v1::operation::Verb::Exec,
        Verb::Restart => v1::operation::Verb::Restart,
        Verb::CreateSandbox => v1::operation::Verb::CreateSandbox,
        Verb::DeleteSandbox => v1::operation::Verb::DeleteSandbox,
    };
    v1::Operation {
        key: operation.key,
        verb: verb.into(),
        container: operation.container,
        begun_at: time(operation.begun_at),
        ended_at: operation.ended_at.and_then(time),
        failure: operation.failure.map(failure_to_wire),
    }
}

fn rootfs_source(source: v1::RootfsSource) -> RootfsSource {
    let access = |readonly| if readonly { Access::ReadOnly } else { Access::ReadWrite };
    let limit = |n: i64| Some(n).filter(|n| *n != 0);
    let limits = source.limits.unwrap_or_default();
    RootfsSource {
        rootfs: source.rootfs.into(),
        command: source.command,
        env: source.env,
        cwd: source.cwd,
        hostname: source.hostname,
        limits: Limits {
            memory_bytes: limit(limits.memory_bytes),
            cpu_millis: limit(limits.cpu_millis),
            pids: limit(limits.pids),
        },
        access: access(source.readonly),
        mounts: source
            .mounts
            .into_iter()
            .map(|m| BindMount {
                source: m.source.into(),
                destination: m.destination.into(),
                access: access(m.readonly),
            })
            .collect(),
    }
}

fn log_options(options: v1::LogOptions) -> LogOptions {
    let v1::LogOptions { max_file_bytes, max_files, max_bytes_per_second } = options;
    LogOptions {
        max_file_bytes: Some(max_file_bytes).filter(|n| *n != 0),
        max_files: Some(max_files).filter(|n| *n != 0),
        max_bytes_per_second: Some(max_bytes_per_second).filter(|n| *n != 0),
    }
}

/// The limits of an update.
pub fn limits_update(limits: v1::LimitsUpdate) -> sextant_runtime::contract::args::Limits {
    let v1::LimitsUpdate { memory_bytes, memory_swap_bytes, cpu_millis, cpu_shares, cpuset_cpus, pids } =
        limits;
    sextant_runtime::contract::args::Limits {
        memory_bytes,
        memory_swap_bytes,
        cpu_millis,
        cpu_shares,
        cpuset_cpus,
        pids,
    }
}

/// A duration; `None` when it is negative or out of range.
pub fn duration(duration: prost_types::Duration) -> Option<Duration> {
    duration.try_into().ok()
}
