//! What can be seen at the moment of a scrape.

use super::process::{Process, epoch};
use crate::model::Phase;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::fmt;
use std::time::SystemTime;

/// The phases, with the names that clients know.
const STATUSES: [(Phase, &str); 7] = [
    (Phase::Creating, "creating"),
    (Phase::Created, "created"),
    (Phase::Running, "running"),
    (Phase::Paused, "paused"),
    (Phase::Stopped, "stopped"),
    (Phase::Deleting, "deleting"),
    (Phase::Failed, "failed"),
];

/// The state of a manager at one moment.
#[derive(Clone, Debug)]
pub struct Now {
    /// When the manager was started.
    pub started_at: SystemTime,
    /// Containers by status: creating, created, running, paused, stopped, deleting, failed; see [`Now::count`].
    pub statuses: [u64; STATUSES.len()],
    /// Containers whose shim does not answer.
    pub degraded: u64,
    /// Commands that wait for a container: all together.
    pub queued: u64,
    /// The most that wait for one of them.
    pub longest_queue: u64,
    /// How many may.
    pub queue_limit: u64,
    /// Number of the last event.
    pub last_event: u64,
    /// Bytes of the journal of events.
    pub journal_bytes: u64,
    /// Connections, and how many there may be.
    pub connections: (u64, u64),
    /// Requests under way that have passed the door, and how many there may be.
    pub requests: (u64, u64),
    /// Shims whose memory was read.
    pub shim_count: u64,
    /// Their memory together: resident, private.
    pub shim_bytes: (u64, u64),
    /// The same of each; empty where that is switched off.
    pub shims: Vec<Shim>,
    /// The manager itself.
    pub process: Process,
}

/// The memory of one shim.
#[derive(Clone, Debug)]
pub struct Shim {
    /// Its container.
    pub id: String,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// What of that belongs to it alone.
    pub private_bytes: u64,
}

impl Default for Now {
    fn default() -> Self {
        Self {
            started_at: SystemTime::UNIX_EPOCH,
            statuses: [0; STATUSES.len()],
            degraded: 0,
            queued: 0,
            longest_queue: 0,
            queue_limit: 0,
            last_event: 0,
            journal_bytes: 0,
            connections: (0, 0),
            requests: (0, 0),
            shim_count: 0,
            shim_bytes: (0, 0),
            shims: Vec::new(),
            process: Process::default(),
        }
    }
}

impl Now {
    /// One more container, which is in this phase.
    pub fn count(&mut self, phase: Phase) {
        for ((known, _), count) in STATUSES.iter().zip(&mut self.statuses) {
            *count += u64::from(*known == phase);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfContainer {
    container: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// Writes metrics without a history.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: u64) -> fmt::Result {
        // The exposition has no wider integers.
        self.one(name, help, unit, &ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn one(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        metric: &impl EncodeMetric,
    ) -> fmt::Result {
        metric.encode(self.0.encode_descriptor(name, help, unit, metric.metric_type())?)
    }

    fn family<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let gauge = |value| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let kind = gauge(0).metric_type();
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in values {
            gauge(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Now {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        self.containers(&mut sheet)?;
        self.shims(&mut sheet)?;
        self.process(&mut sheet)
    }
}

impl Now {
    fn containers(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let statuses = STATUSES.iter().zip(self.statuses).map(|((_, status), n)| (OfStatus { status }, n));
        sheet.family("sextant_containers", "Containers by status", None, statuses)?;
        sheet.gauge(
            "sextant_containers_degraded",
            "Containers without an answering shim",
            None,
            self.degraded,
        )?;
        let queued = "Commands that wait for a container, all together";
        sheet.gauge("sextant_mailbox_commands", queued, None, self.queued)?;
        let longest = "Commands that wait for one container, at most";
        sheet.gauge("sextant_mailbox_commands_max", longest, None, self.longest_queue)?;
        let limit = "Commands that may wait for one container";
        sheet.gauge("sextant_mailbox_commands_limit", limit, None, self.queue_limit)?;
        sheet.gauge("sextant_last_event_sequence", "Number of the last event", None, self.last_event)?;
        let bytes = Some(&Unit::Bytes);
        sheet.gauge("sextant_event_journal", "Size of the journal of events", bytes, self.journal_bytes)?;
        let ((connections, most), (requests, limit)) = (self.connections, self.requests);
        sheet.gauge("sextant_connections", "Connections of clients", None, connections)?;
        sheet.gauge("sextant_connections_limit", "Connections that there may be", None, most)?;
        sheet.gauge("sextant_grpc_requests_admitted", "Requests under way that count", None, requests)?;
        sheet.gauge("sextant_grpc_requests_limit", "Requests that may be under way", None, limit)
    }

    fn shims(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let bytes = Some(&Unit::Bytes);
        sheet.gauge("sextant_shims", "Shims whose memory was read", None, self.shim_count)?;
        let (resident, private) = self.shim_bytes;
        sheet.gauge("sextant_shims_resident_memory", "Memory of all shims", bytes, resident)?;
        let help = "Memory of all shims that no file holds";
        sheet.gauge("sextant_shims_private_memory", help, bytes, private)?;
        if self.shims.is_empty() {
            return Ok(());
        }
        let each = |of: fn(&Shim) -> u64| {
            self.shims.iter().map(move |shim| (OfContainer { container: shim.id.clone() }, of(shim)))
        };
        let resident = each(|shim| shim.resident_bytes);
        sheet.family("sextant_shim_resident_memory", "Memory of a shim", bytes, resident)?;
        let help = "Memory of a shim that no file holds";
        sheet.family("sextant_shim_private_memory", help, bytes, each(|shim| shim.private_bytes))
    }

    fn process(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Process { cpu, resident_bytes, open_fds, max_fds, threads } = self.process;
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        sheet.one("process_cpu", "CPU time of sextantd", seconds, &ConstCounter::new(cpu.as_secs_f64()))?;
        sheet.gauge("process_resident_memory", "Memory of sextantd", bytes, resident_bytes)?;
        sheet.gauge("process_open_fds", "Open descriptors of sextantd", None, open_fds)?;
        sheet.gauge("process_max_fds", "Descriptors that sextantd may open", None, max_fds)?;
        sheet.gauge("process_threads", "Threads of sextantd", None, threads)?;
        let started = ConstGauge::new(epoch(self.started_at));
        sheet.one("process_start_time", "When sextantd was started, since the epoch", seconds, &started)?;
        let version = std::iter::once((Version { version: env!("CARGO_PKG_VERSION") }, 1));
        sheet.family("sextant_build_info", "The version, as a label", None, version)
    }
}
