//! The calls of `sextant.v1.Containers` about what containers use: samples and
//! processes on the wire, and samples as a stream. What the kernel does not count
//! is absent.

use super::convert::{duration, time};
use super::filter;
use super::status::status;
use crate::engine::Engine;
use crate::engine::error::{Error, Violation};
use crate::engine::stats::Sample;
use crate::processes::Process;
use crate::selector::Selector;
use sextant_proto::v1;
use sextant_runtime::contract::stats::{Blkio, BlkioEntry, Psi, PsiData};
use sextant_runtime::observe::Usage;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Time between two answers when none is named, and the least.
const INTERVAL: Duration = Duration::from_secs(1);
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// A limit from here on is none: version 1 has the largest number of pages for that.
const UNLIMITED: u64 = 1 << 62;

const ATTEMPTED: &str = "tell what containers use";

/// Samples as they are read.
pub(super) type Samples = ReceiverStream<Result<v1::StatsResponse, Status>>;

/// What containers use now.
pub(super) async fn stats(
    engine: &Engine,
    ids: &[String],
    selector: &str,
) -> Result<v1::StatsResponse, Error> {
    read(engine, ids, &filter::selector(selector, ATTEMPTED)?).await
}

/// The same; those that are named are not selected from.
async fn read(engine: &Engine, ids: &[String], selector: &Selector) -> Result<v1::StatsResponse, Error> {
    let selects = |sample: &Sample| {
        let labels = engine.look(&sample.id, |snapshot| selector.matches(&snapshot.labels));
        !ids.is_empty() || labels.unwrap_or(false)
    };
    let samples = engine.stats(ids).await?.into_iter().filter(selects);
    Ok(v1::StatsResponse { samples: samples.map(sample_to_wire).collect() })
}

/// The same at an interval. Nothing is read ahead of a slow client.
pub(super) async fn stream(engine: &Engine, request: v1::StreamStatsRequest) -> Result<Samples, Error> {
    let interval = request.interval.map_or(Some(INTERVAL), duration);
    let Some(interval) = interval.filter(|interval| *interval >= LEAST_INTERVAL) else {
        let message = format!("it is below {} ms", LEAST_INTERVAL.as_millis());
        let violations = vec![Violation { field: "interval".into(), message, hint: String::new() }];
        return Err(Error::Refused { attempted: ATTEMPTED.into(), violations });
    };
    // A name that does not exist is an error of the call, and not an empty stream.
    let selector = filter::selector(&request.selector, ATTEMPTED)?;
    let first = read(engine, &request.ids, &selector).await?;
    let (sender, samples) = mpsc::channel(1);
    tokio::spawn(send(engine.clone(), (request.ids, selector), interval, first, sender));
    Ok(ReceiverStream::new(samples))
}

async fn send(
    engine: Engine,
    (mut ids, selector): (Vec<String>, Selector),
    interval: Duration,
    first: v1::StatsResponse,
    sender: mpsc::Sender<Result<v1::StatsResponse, Status>>,
) {
    let (all, mut next) = (ids.is_empty(), Ok(first));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let failed = next.is_err();
        if sender.send(next).await.is_err() || failed {
            return;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            () = sender.closed() => return,
        }
        ids.retain(|id| engine.get(id).is_ok_and(|s| !s.is_settled()));
        if ids.is_empty() && !all {
            return;
        }
        next = match read(&engine, &ids, &selector).await {
            // One ended since it was looked at: it is left out the next time.
            Err(Error::NotFound { .. } | Error::WrongPhase { .. } | Error::Failed { .. }) if !all => {
                Ok(v1::StatsResponse::default())
            }
            result => result.map_err(|error| status(&error)),
        };
    }
}

/// The processes of a container.
pub(super) async fn processes(engine: &Engine, id: &str) -> Result<v1::ProcessesResponse, Error> {
    let processes = engine.processes(id).await?.into_iter().map(process_to_wire).collect();
    Ok(v1::ProcessesResponse { processes })
}

fn process_to_wire(process: Process) -> v1::ProcessInfo {
    v1::ProcessInfo {
        pid: process.pid,
        parent_pid: process.parent_pid,
        container_pid: process.container_pid,
        uid: process.uid,
        state: process.state.into(),
        rss_bytes: process.rss_bytes,
        cpu_ns: u64::try_from(process.cpu.as_nanos()).unwrap_or(u64::MAX),
        threads: process.threads,
        started_at: process.started_at.and_then(time),
        command: process.command,
    }
}

fn sample_to_wire(sample: Sample) -> v1::Sample {
    let age = sample.read.elapsed();
    let Usage { counted, .. } = *sample.usage;
    v1::Sample {
        id: sample.id,
        at: time(SystemTime::now().checked_sub(age).unwrap_or(sample.at)),
        age: prost_types::Duration::try_from(age).ok(),
        stale: sample.stale.unwrap_or_default(),
        cpu: counted.cpu.then(|| cpu(&sample.usage)),
        memory: counted.memory.then(|| memory(&sample.usage)),
        io: counted.io.then(|| io(&sample.usage.stats.blkio)),
        pids: counted.pids.then(|| pids(&sample.usage)),
    }
}

fn cpu(usage: &Usage) -> v1::CpuStats {
    let cpu = &usage.stats.cpu;
    // Without a quota there are no periods.
    let limited = |n: u64| Some(n).filter(|_| cpu.throttling.periods > 0);
    v1::CpuStats {
        usage_ns: cpu.usage.total,
        user_ns: Some(cpu.usage.user),
        kernel_ns: Some(cpu.usage.kernel),
        periods: limited(cpu.throttling.periods),
        throttled_periods: limited(cpu.throttling.throttled_periods),
        throttled_ns: limited(cpu.throttling.throttled_time),
        pressure: cpu.psi.map(pressure),
    }
}

fn memory(usage: &Usage) -> v1::MemoryStats {
    let memory = &usage.stats.memory;
    // Version 1 counts those of sub-cgroups in names with a prefix.
    let raw = |names: [&str; 2]| names.iter().find_map(|name| memory.raw.get(*name).copied());
    let inactive = raw(["total_inactive_file", "inactive_file"]).unwrap_or(0);
    let swapped = memory.swap.usage.checked_sub(memory.usage.usage).filter(|_| memory.swap.usage > 0);
    v1::MemoryStats {
        usage_bytes: memory.usage.usage,
        working_set_bytes: memory.usage.usage.saturating_sub(inactive),
        limit_bytes: Some(memory.usage.limit).filter(|limit| (1..UNLIMITED).contains(limit)),
        peak_bytes: Some(memory.usage.max).filter(|peak| *peak > 0),
        anon_bytes: raw(["total_rss", "anon"]),
        file_bytes: raw(["total_cache", "file"]),
        swap_bytes: raw(["total_swap", "swap"]).or(swapped),
        oom_kills: usage.oom_kills,
        pressure: memory.psi.map(pressure),
    }
}

fn io(io: &Blkio) -> v1::IoStats {
    let sum = |entries: &[BlkioEntry], op: &str| {
        Some(entries.iter().filter(|entry| entry.op.eq_ignore_ascii_case(op)).map(|e| e.value).sum())
    };
    v1::IoStats {
        read_bytes: sum(&io.io_service_bytes_recursive, "read"),
        written_bytes: sum(&io.io_service_bytes_recursive, "write"),
        reads: sum(&io.io_serviced_recursive, "read"),
        writes: sum(&io.io_serviced_recursive, "write"),
        pressure: io.psi.map(pressure),
    }
}

fn pids(usage: &Usage) -> v1::PidsStats {
    let pids = &usage.stats.pids;
    v1::PidsStats { current: pids.current, limit: Some(pids.limit).filter(|limit| *limit > 0) }
}

fn pressure(psi: Psi) -> v1::Pressure {
    let of = |data: PsiData| v1::PressureOf {
        avg10: data.avg10,
        avg60: data.avg60,
        avg300: data.avg300,
        total_us: data.total,
    };
    v1::Pressure { some: Some(of(psi.some)), full: Some(of(psi.full)) }
}
