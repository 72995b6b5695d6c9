//! What containers use, as `--json` prints it: keys are the API's, what the
//! kernel does not tell is null; and sizes and times for people.

use super::time::rfc3339;
use prost_types::Timestamp;
use serde::Serialize;
use sextant_proto::v1;

/// A sample.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Sample, described there")]
pub struct Sample {
    pub id: String,
    pub at: Option<String>,
    /// Seconds.
    pub age: f64,
    pub stale: Option<String>,
    pub cpu: Option<Cpu>,
    pub memory: Option<Memory>,
    pub io: Option<Io>,
    pub pids: Option<Pids>,
}

/// CPU time.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.CpuStats, described there")]
pub struct Cpu {
    pub usage_ns: u64,
    pub user_ns: Option<u64>,
    pub kernel_ns: Option<u64>,
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled_ns: Option<u64>,
    pub pressure: Option<Pressure>,
}

/// Memory.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.MemoryStats, described there")]
pub struct Memory {
    pub usage_bytes: u64,
    pub working_set_bytes: u64,
    pub limit_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
    pub anon_bytes: Option<u64>,
    pub file_bytes: Option<u64>,
    pub swap_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
    pub pressure: Option<Pressure>,
}

/// Block I/O.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.IoStats, described there")]
pub struct Io {
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
    pub reads: Option<u64>,
    pub writes: Option<u64>,
    pub pressure: Option<Pressure>,
}

/// Processes and threads.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.PidsStats, described there")]
pub struct Pids {
    pub current: u64,
    pub limit: Option<u64>,
}

/// Pressure stall information.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Pressure, described there")]
pub struct Pressure {
    pub some: Stall,
    pub full: Stall,
}

/// One of its lines.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.PressureOf, described there")]
pub struct Stall {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total_us: u64,
}

/// A process.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.ProcessInfo, described there")]
pub struct Process {
    pub pid: i32,
    pub parent_pid: i32,
    pub container_pid: i32,
    pub uid: u32,
    pub state: String,
    pub rss_bytes: u64,
    pub cpu_ns: u64,
    pub threads: u32,
    pub started_at: Option<String>,
    pub command: Vec<String>,
}

impl From<v1::Sample> for Sample {
    fn from(s: v1::Sample) -> Self {
        let age = s.age.and_then(|age| std::time::Duration::try_from(age).ok()).unwrap_or_default();
        Self {
            id: s.id,
            at: s.at.as_ref().map(rfc3339),
            age: age.as_secs_f64(),
            stale: Some(s.stale).filter(|stale| !stale.is_empty()),
            cpu: s.cpu.map(|c| Cpu {
                usage_ns: c.usage_ns,
                user_ns: c.user_ns,
                kernel_ns: c.kernel_ns,
                periods: c.periods,
                throttled_periods: c.throttled_periods,
                throttled_ns: c.throttled_ns,
                pressure: c.pressure.map(Pressure::from),
            }),
            memory: s.memory.map(|m| Memory {
                usage_bytes: m.usage_bytes,
                working_set_bytes: m.working_set_bytes,
                limit_bytes: m.limit_bytes,
                peak_bytes: m.peak_bytes,
                anon_bytes: m.anon_bytes,
                file_bytes: m.file_bytes,
                swap_bytes: m.swap_bytes,
                oom_kills: m.oom_kills,
                pressure: m.pressure.map(Pressure::from),
            }),
            io: s.io.map(|io| Io {
                read_bytes: io.read_bytes,
                written_bytes: io.written_bytes,
                reads: io.reads,
                writes: io.writes,
                pressure: io.pressure.map(Pressure::from),
            }),
            pids: s.pids.map(|p| Pids { current: p.current, limit: p.limit }),
        }
    }
}

impl From<v1::Pressure> for Pressure {
    fn from(pressure: v1::Pressure) -> Self {
        let stall = |of: Option<v1::PressureOf>| {
            let v1::PressureOf { avg10, avg60, avg300, total_us } = of.unwrap_or_default();
            Stall { avg10, avg60, avg300, total_us }
        };
        Self { some: stall(pressure.some), full: stall(pressure.full) }
    }
}

impl From<v1::ProcessInfo> for Process {
    fn from(p: v1::ProcessInfo) -> Self {
        Self {
            pid: p.pid,
            parent_pid: p.parent_pid,
            container_pid: p.container_pid,
            uid: p.uid,
            state: p.state,
            rss_bytes: p.rss_bytes,
            cpu_ns: p.cpu_ns,
            threads: p.threads,
            started_at: p.started_at.as_ref().map(rfc3339),
            command: p.command,
        }
    }
}

/// A size for people, in the largest unit of 1024 that it has one of: `1.5MiB`.
pub fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{}{unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes}B"),
    }
}

/// Nanoseconds as seconds.
pub fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}

/// A time as seconds since the epoch; 0 for one before.
pub fn time(at: &Timestamp) -> f64 {
    let seconds = u64::try_from(at.seconds).unwrap_or(0);
    std::time::Duration::new(seconds, u32::try_from(at.nanos).unwrap_or(0)).as_secs_f64()
}

/// Digits by three: 1,204.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (size, text) in
            [(0, "0B"), (1023, "1023B"), (1024, "1.0KiB"), (3 << 19, "1.5MiB"), (5 << 40, "5.0TiB")]
        {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn what_is_absent_is_null() {
        let json = serde_json::to_value(Sample::from(v1::Sample::default())).unwrap();
        assert!(json["cpu"].is_null() && json["memory"].is_null() && json["stale"].is_null());
        let memory = Some(v1::MemoryStats { usage_bytes: 7, ..Default::default() });
        let json = serde_json::to_value(Sample::from(v1::Sample { memory, ..Default::default() })).unwrap();
        assert_eq!(json["memory"]["usage_bytes"], 7);
        assert!(json["memory"]["limit_bytes"].is_null() && json["memory"]["pressure"].is_null());
    }
}
