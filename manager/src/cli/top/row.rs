//! A container as a row, and what makes figures of two samples.

use crate::cli::usage;
use crate::cli::view::Exit;
use sextant_proto::v1::{self, Status};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What rows can be sorted by, in the order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the columns")]
pub enum Column {
    Name,
    State,
    Cpu,
    Memory,
    Pids,
    Read,
    Written,
    Age,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Name, Self::State, Self::Cpu, Self::Memory, Self::Pids, Self::Read, Self::Written, Self::Age];

    /// Its heading, and the letter that chooses it.
    pub fn heading(self) -> (&'static str, char) {
        match self {
            Self::Name => ("NAME", 'n'),
            Self::State => ("STATE", 's'),
            Self::Cpu => ("CPU%", 'c'),
            Self::Memory => ("MEM", 'm'),
            Self::Pids => ("PIDS", 'p'),
            Self::Read => ("READ/s", 'r'),
            Self::Written => ("WRITE/s", 'w'),
            Self::Age => ("AGE", 'a'),
        }
    }

    /// Whether the largest come first.
    pub fn descends(self) -> bool {
        !matches!(self, Self::Name | Self::State)
    }
}

/// What a container is, for the totals and the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum State {
    Running,
    Paused,
    Restarting,
    Created,
    Creating,
    Stopped,
    Failed,
    Removed,
}

impl State {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Created => "created",
            Self::Creating => "creating",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Removed => "removed",
        }
    }
}

/// Figures of the last sample, rates since the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Percent of one CPU.
    pub cpu: Option<f64>,
    /// Bytes, and the limit.
    pub memory: Option<u64>,
    /// See `memory`.
    pub limit: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes a second.
    pub read: Option<f64>,
    /// Bytes a second.
    pub written: Option<f64>,
    /// Percent of the last 10 seconds in which some process waited: for CPU, memory, I/O.
    pub pressure: [Option<f64>; 3],
    /// Why it is not new.
    pub stale: String,
}

/// What rates are made from.
#[derive(Clone, Copy, Debug)]
struct Before {
    at: f64,
    cpu_ns: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
}

/// A container.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// What it is.
    pub state: State,
    /// Words beside the state: of its health, and that its shim does not answer.
    pub notes: Vec<String>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Its command.
    pub command: String,
    /// Its sandbox; empty for none.
    pub sandbox: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Since when it is what it is, in seconds since the epoch.
    pub since: Option<i64>,
    /// Figures; all unknown while it does not live.
    pub figures: Figures,
    before: Option<Before>,
    /// When it was removed, on the clock of the model: it stays for a moment.
    pub removed: Option<f64>,
}

impl Row {
    /// One of which only an event is known.
    pub fn unknown(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: State::Creating,
            notes: Vec::new(),
            exit: None,
            command: String::new(),
            sandbox: String::new(),
            labels: BTreeMap::new(),
            since: None,
            figures: Figures::default(),
            before: None,
            removed: None,
        }
    }

    /// Takes over what the daemon says of it.
    pub fn describe(&mut self, container: v1::Container) {
        self.state = match container.status() {
            _ if container.next_restart_at.is_some() => State::Restarting,
            Status::Running => State::Running,
            Status::Paused => State::Paused,
            Status::Created => State::Created,
            Status::Stopped => State::Stopped,
            Status::Failed => State::Failed,
            Status::Deleting => State::Removed,
            Status::Creating | Status::Unspecified => State::Creating,
        };
        let health =
            container.health.as_ref().map(|health| crate::cli::view::Health::from(health.clone()).state);
        let degraded = (!container.degraded.is_empty()).then(|| "degraded".to_owned());
        self.notes = health.into_iter().chain(degraded).collect();
        self.since = match &container.exit {
            Some(exit) => exit.at.map(|at| at.seconds),
            None => container.started_at.or(container.created_at).map(|at| at.seconds),
        };
        self.removed = None;
        self.exit = container.exit.clone().map(Exit::from);
        self.name(container);
        if !self.lives() {
            self.rest();
        }
    }

    /// Takes over what does not change in its life: of its state, events tell.
    pub fn name(&mut self, container: v1::Container) {
        self.command = container.command.join(" ");
        self.sandbox = container.sandbox;
        self.labels = container.labels.into_iter().collect();
    }

    /// It uses nothing any more.
    pub fn rest(&mut self) {
        self.figures = Figures::default();
        self.before = None;
    }

    /// Whether there are figures to come.
    pub fn lives(&self) -> bool {
        matches!(self.state, State::Running | State::Paused | State::Created)
    }

    /// Takes a sample; rates are since the one before.
    pub fn measure(&mut self, sample: &v1::Sample) {
        let (memory, io) = (sample.memory.as_ref(), sample.io.as_ref());
        let now = Before {
            at: sample.at.as_ref().map_or(0.0, usage::time),
            cpu_ns: sample.cpu.as_ref().map(|cpu| cpu.usage_ns),
            read: io.and_then(|io| io.read_bytes),
            written: io.and_then(|io| io.written_bytes),
        };
        let since = self.before.filter(|before| now.at > before.at);
        let rate = |now_value: Option<u64>, before: fn(&Before) -> Option<u64>| {
            let before_it = since.as_ref()?;
            let used = now_value?.checked_sub(before(before_it)?)?;
            Some(used as f64 / (now.at - before_it.at))
        };
        let cpu = rate(now.cpu_ns, |before| before.cpu_ns).map(|ns| ns / 1e7);
        let pressure = |of: Option<&v1::Pressure>| Some(of?.some.as_ref()?.avg10);
        // The same sample once more says nothing new.
        let old = self.before.is_some_and(|before| now.at <= before.at);
        self.figures = Figures {
            cpu: if old { self.figures.cpu } else { cpu },
            memory: memory.map(|memory| memory.working_set_bytes),
            limit: memory.and_then(|memory| memory.limit_bytes),
            pids: sample.pids.as_ref().map(|pids| pids.current),
            read: if old { self.figures.read } else { rate(now.read, |before| before.read) },
            written: if old { self.figures.written } else { rate(now.written, |before| before.written) },
            pressure: [
                pressure(sample.cpu.as_ref().and_then(|cpu| cpu.pressure.as_ref())),
                pressure(memory.and_then(|memory| memory.pressure.as_ref())),
                pressure(io.and_then(|io| io.pressure.as_ref())),
            ],
            stale: sample.stale.clone(),
        };
        self.before = Some(now);
    }

    /// The state as it is shown: with how it ended, and whether it is well.
    pub fn status(&self) -> String {
        let word = match (self.state, &self.exit) {
            (State::Stopped | State::Removed, Some(exit)) => format!("exit {}", exit.summary()),
            (state, _) => state.word().to_owned(),
        };
        match self.notes.is_empty() {
            true => word,
            false => format!("{word} ({})", self.notes.join(", ")),
        }
    }

    /// Which of two comes first, by a column in its own direction.
    pub fn compare(&self, other: &Self, by: Column) -> Ordering {
        let numbers = |of: fn(&Figures) -> Option<f64>| {
            let [one, two] = [self, other].map(|row| of(&row.figures).unwrap_or(-1.0));
            two.total_cmp(&one)
        };
        match by {
            Column::Name => self.id.cmp(&other.id),
            Column::State => self.state.cmp(&other.state),
            Column::Cpu => numbers(|figures| figures.cpu),
            Column::Memory => other.figures.memory.cmp(&self.figures.memory),
            Column::Pids => other.figures.pids.cmp(&self.figures.pids),
            Column::Read => numbers(|figures| figures.read),
            Column::Written => numbers(|figures| figures.written),
            // The youngest last: with the largest age first.
            Column::Age => self.since.cmp(&other.since),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A sample at a second, with CPU time in milliseconds.
    pub(in crate::cli::top) fn sample(id: &str, seconds: i64, cpu_ms: u64, mib: u64) -> v1::Sample {
        v1::Sample {
            id: id.into(),
            at: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            cpu: Some(v1::CpuStats { usage_ns: cpu_ms * 1_000_000, ..Default::default() }),
            memory: Some(v1::MemoryStats { working_set_bytes: mib << 20, ..Default::default() }),
            io: Some(v1::IoStats { read_bytes: Some(cpu_ms * 1024), ..Default::default() }),
            pids: Some(v1::PidsStats { current: 3, limit: None }),
            ..Default::default()
        }
    }

    #[test]
    fn rates_take_two_samples_and_time_between_them() {
        let mut row = Row::unknown("a");
        row.measure(&sample("a", 10, 500, 1));
        assert_eq!((row.figures.cpu, row.figures.memory, row.figures.pids), (None, Some(1 << 20), Some(3)));
        row.measure(&sample("a", 12, 1500, 1));
        assert_eq!((row.figures.cpu, row.figures.read), (Some(50.0), Some(512_000.0)));
        row.measure(&sample("a", 12, 1500, 2));
        assert_eq!((row.figures.cpu, row.figures.memory), (Some(50.0), Some(2 << 20)), "the same time");
        // A further life begins at nothing.
        row.measure(&sample("a", 14, 100, 1));
        assert_eq!(row.figures.cpu, None);
    }

    #[test]
    fn what_is_not_known_comes_last() {
        let (mut busy, idle) = (Row::unknown("busy"), Row::unknown("idle"));
        busy.figures.cpu = Some(0.0);
        assert_eq!(busy.compare(&idle, Column::Cpu), Ordering::Less);
        assert_eq!(busy.compare(&idle, Column::Name), Ordering::Less);
    }
}
