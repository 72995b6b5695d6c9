//! `sextant.shim.v1` into the manager's own types. Only decoding: the requests
//! to a shim have no content worth a type.

use super::{Ends, Fact, Init, Pipe, ShimEvent, Terminal};
use crate::model::{Ending, Exit, Failure, OutputLost, StageRecord};
use sextant_proto::shim;
use sextant_runtime::contract::args::Limits;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A wire time; the epoch where it is missing or cannot be represented.
pub(super) fn time(at: Option<prost_types::Timestamp>) -> SystemTime {
    at.and_then(|t| SystemTime::try_from(t).ok()).unwrap_or(UNIX_EPOCH + Duration::ZERO)
}

pub(super) fn exit(exit: shim::Exit) -> Exit {
    let how = match exit.how {
        Some(shim::exit::How::Code(code)) => Ending::Code(code),
        Some(shim::exit::How::Signal(signal)) => Ending::Signal(signal),
        Some(shim::exit::How::Unknown(because)) => Ending::Unknown(because),
        None => Ending::Unknown("because the shim did not say".into()),
    };
    Exit { how, at: time(exit.at), oom_killed: exit.oom_killed }
}

pub(super) fn failure(failure: shim::Failure) -> Failure {
    let shim::Failure { stage, attempted, syscall, errno, object, pointer, hint, message } = failure;
    Failure { stage, attempted, syscall, errno, object, pointer, hint, message }
}

pub(super) fn stage(record: shim::StageRecord) -> StageRecord {
    let shim::StageRecord { command, stage, start_ns, end_ns, object, pid, failure: why } = record;
    StageRecord { command, stage, start_ns, end_ns, object, pid, failure: why.map(failure) }
}

fn ends(
    pipes: [Option<shim::Pipe>; 2],
    hands: [Option<shim::Pipe>; 2],
    terminal: Option<shim::Terminal>,
) -> Ends {
    let pipe = |pipe: shim::Pipe| Pipe { fd: pipe.fd, inode: pipe.inode };
    Ends {
        pipes: pipes.map(|p| p.map(pipe)),
        hands: hands.map(|p| p.map(pipe)),
        terminal: terminal.map(|t| Terminal { fd: t.fd, number: t.number }),
    }
}

pub(super) fn event(event: shim::Event) -> ShimEvent {
    use shim::event::What;
    let (seq, at) = (event.seq, time(event.at));
    let stages = stages_of(event.what.as_ref()).iter().cloned().map(stage).collect();
    let fact = match event.what {
        Some(What::Created(created)) => Fact::Created(Init {
            // A shim of old knows of one life only.
            life: created.life.max(1),
            pid: created.pid,
            start_time: created.start_time,
            boot_id: created.boot_id,
            ends: ends(
                [created.stdout, created.stderr],
                [created.stdout_hand, created.stderr_hand],
                created.terminal,
            ),
        }),
        Some(What::Adopted(adopted)) => {
            let lost = adopted.lost.map(|lost| OutputLost {
                log_offset: lost.log_offset,
                from: time(lost.from),
                until: lost.until.map(|at| time(Some(at))),
                because: lost.because,
            });
            let hands = [adopted.stdout_hand, adopted.stderr_hand];
            Fact::Adopted(ends([adopted.stdout, adopted.stderr], hands, adopted.terminal), lost)
        }
        Some(What::CreateFailed(failed)) => Fact::CreateFailed(failure(failed.failure.unwrap_or_default())),
        Some(What::Started(_)) => Fact::Started,
        Some(What::StartFailed(failed)) => Fact::StartFailed(failure(failed.failure.unwrap_or_default())),
        Some(What::Paused(_)) => Fact::Paused,
        Some(What::Resumed(_)) => Fact::Resumed,
        Some(What::Updated(_)) => Fact::Updated,
        Some(What::Oom(oom)) => Fact::Oom(oom.kills),
        Some(What::Exited(exited)) => Fact::Exited(exit(exited.exit.unwrap_or_default())),
        Some(What::ExecStarted(e)) => Fact::ExecStarted(e.exec, e.pid),
        Some(What::ExecExited(e)) => Fact::ExecExited(e.exec, exit(e.exit.unwrap_or_default())),
        Some(What::Deleted(_)) => Fact::Deleted,
        None => Fact::Unknown,
    };
    ShimEvent { seq, at, fact, stages }
}

pub(super) fn limits(limits: &Limits) -> shim::Limits {
    let Limits { memory_bytes, memory_swap_bytes, cpu_millis, cpu_shares, cpuset_cpus, pids } =
        limits.clone();
    shim::Limits { memory_bytes, memory_swap_bytes, cpu_millis, cpu_shares, cpuset_cpus, pids }
}

/// The stage records that an event carries.
fn stages_of(what: Option<&shim::event::What>) -> &[shim::StageRecord] {
    use shim::event::What;
    match what {
        Some(What::Created(e)) => &e.trace,
        Some(What::CreateFailed(e)) => &e.trace,
        Some(What::Started(e)) => &e.trace,
        Some(What::StartFailed(e)) => &e.trace,
        _ => &[],
    }
}
