//! What is counted and timed, for Prometheus. Whoever does something says so
//! here, which costs a few atomic additions; a scrape ([`text`]) adds what can be
//! seen at that moment ([`Now`]). Labels have few values: names of containers are
//! in none but those of [`Now::shims`], which can be left away.
//!
//! docs/observability.md lists every metric.

mod now;
mod process;

pub use now::{Now, Shim};
pub use process::{Process, shim};

use crate::model::{EventKind, StageRecord, Verb};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use sextant_runtime::contract::report::Stage;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of buckets, in seconds: of a call or an operation, and of a stage of the runtime.
const CALL: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];
const STAGE: [f64; 10] = [0.000_01, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.1, 1.0];

/// In place of a name that is not known, so that nobody can make up labels.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    verb: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerb {
    verb: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStage {
    command: String,
    stage: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: String,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMethod {
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCause {
    cause: &'static str,
}

/// Bytes of output that are not in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// It could not be written, as on a full disk.
    pub disk: u64,
    /// They were above its rate limit.
    pub rate: u64,
}

impl Dropped {
    /// What came to `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { disk: self.disk.saturating_sub(before.disk), rate: self.rate.saturating_sub(before.rate) }
    }
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counters and histograms of one manager. Cloning shares them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    operations: Family<Operation, Counter>,
    operation_seconds: Histograms<OfVerb>,
    stage_seconds: Histograms<OfStage>,
    calls: Family<Call, Counter>,
    call_seconds: Histograms<OfMethod>,
    in_flight: Family<OfMethod, Gauge>,
    events: Family<OfKind, Counter>,
    log_dropped: Family<OfCause, Counter>,
    registry: Registry,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    /// Nothing has happened.
    fn default() -> Self {
        let call: fn() -> Histogram = || Histogram::new(CALL);
        let stage: fn() -> Histogram = || Histogram::new(STAGE);
        let mut inner = Inner {
            operations: Family::default(),
            operation_seconds: Family::new_with_constructor(call),
            stage_seconds: Family::new_with_constructor(stage),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(call),
            in_flight: Family::default(),
            events: Family::default(),
            log_dropped: Family::default(),
            registry: Registry::with_prefix("sextant"),
        };
        inner.register();
        Self(Arc::new(inner))
    }
}

impl Inner {
    /// Names without prefix, unit and `_total`: the library adds these.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "operations",
            "Operations that have ended, by verb and outcome",
            self.operations.clone(),
        );
        registry.register_with_unit(
            "operation_duration",
            "Time that operations took",
            Unit::Seconds,
            self.operation_seconds.clone(),
        );
        registry.register_with_unit(
            "startup_stage_duration",
            "Time of each stage of the runtime, by its command",
            Unit::Seconds,
            self.stage_seconds.clone(),
        );
        registry.register(
            "grpc_requests",
            "Requests that have ended, by method and code",
            self.calls.clone(),
        );
        registry.register_with_unit(
            "grpc_request_duration",
            "Time from a request to the end of its answer; of streams, as long as they last",
            Unit::Seconds,
            self.call_seconds.clone(),
        );
        registry.register(
            "grpc_requests_in_flight",
            "Requests under way, streams included",
            self.in_flight.clone(),
        );
        registry.register("container_events", "Events of containers, by kind", self.events.clone());
        registry.register_with_unit(
            "log_dropped",
            "Output that is not in the logs, by cause: disk or rate",
            Unit::Bytes,
            self.log_dropped.clone(),
        );
    }
}

impl Metrics {
    /// An operation begins; see [`Timing::end`].
    pub fn operation(&self, verb: Verb) -> Timing {
        Timing { metrics: self.clone(), verb: label(verb), begun: Instant::now(), outcome: "abandoned" }
    }

    /// A stage of the runtime has ended.
    pub fn stage(&self, record: &StageRecord) {
        let known = record.stage.parse::<Stage>().map(|stage| Stage::from(stage.kind).to_string());
        let command = match record.command.as_str() {
            known @ ("create" | "start") => known,
            _ => OTHER,
        };
        let labels = OfStage { command: command.into(), stage: known.unwrap_or_else(|_| OTHER.into()) };
        let took = Duration::from_nanos(record.end_ns.saturating_sub(record.start_ns));
        self.0.stage_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// An event was told.
    pub fn event(&self, kind: EventKind) {
        self.0.events.get_or_create(&OfKind { kind: kind_label(kind).into() }).inc();
    }

    /// So much more output is not in a log.
    pub fn log_dropped(&self, dropped: Dropped) {
        for (cause, bytes) in [("disk", dropped.disk), ("rate", dropped.rate)] {
            self.0.log_dropped.get_or_create(&OfCause { cause }).inc_by(bytes);
        }
    }

    /// A request has come; see [`Request::end`]. Its method is `Service/Method`, or unknown.
    pub fn request(&self, method: Option<&str>) -> Request {
        let method = OfMethod { method: method.unwrap_or(OTHER).into() };
        self.0.in_flight.get_or_create(&method).inc();
        Request { metrics: self.clone(), method, begun: Instant::now(), code: None }
    }
}

/// An operation under way. Dropped without an end, it was given up by who had asked.
#[derive(Debug)]
pub struct Timing {
    metrics: Metrics,
    verb: &'static str,
    begun: Instant,
    outcome: &'static str,
}

impl Timing {
    /// It has ended: `ok`, or the reason of its error.
    pub fn end(mut self, outcome: &'static str) -> Duration {
        self.outcome = outcome;
        self.begun.elapsed()
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        let (metrics, verb) = (&self.metrics.0, self.verb.to_owned());
        metrics.operation_seconds.get_or_create(&OfVerb { verb: verb.clone() }).observe(seconds(self.begun));
        metrics.operations.get_or_create(&Operation { verb, outcome: self.outcome.into() }).inc();
    }
}

/// A request under way. Dropped without an end, its client has gone.
#[derive(Debug)]
pub struct Request {
    metrics: Metrics,
    method: OfMethod,
    begun: Instant,
    code: Option<&'static str>,
}

impl Request {
    /// Its answer has ended with this code of gRPC.
    pub fn end(&mut self, code: &'static str) {
        self.code.get_or_insert(code);
    }

    /// The code that it has ended with, if it has; and the time since it came.
    pub fn ended(&self) -> (Option<&'static str>, Duration) {
        (self.code, self.begun.elapsed())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let metrics = &self.metrics.0;
        metrics.in_flight.get_or_create(&self.method).dec();
        metrics.call_seconds.get_or_create(&self.method).observe(seconds(self.begun));
        let code = self.code.unwrap_or("CANCELLED").to_owned();
        metrics.calls.get_or_create(&Call { method: self.method.method.clone(), code }).inc();
    }
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// Everything, as OpenMetrics has it.
///
/// # Errors
/// [`fmt::Error`], which no known state of affairs leads to.
pub fn text(metrics: &Metrics, now: Now) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode_registry(&mut text, &metrics.0.registry)?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(now));
    encode_registry(&mut text, &registry)?;
    encode_eof(&mut text)?;
    Ok(text)
}

fn label(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "create",
        Verb::Start => "start",
        Verb::Stop => "stop",
        Verb::Delete => "delete",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Update => "update",
        Verb::Exec => "exec",
        Verb::Restart => "restart",
        Verb::CreateSandbox => "create_sandbox",
        Verb::DeleteSandbox => "delete_sandbox",
    }
}

fn kind_label(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::CreateFailed => "create_failed",
        EventKind::Started => "started",
        EventKind::StartFailed => "start_failed",
        EventKind::Exited => "exited",
        EventKind::Deleted => "deleted",
        EventKind::Gap => "gap",
        EventKind::Adopted => "adopted",
        EventKind::Paused => "paused",
        EventKind::Resumed => "resumed",
        EventKind::Updated => "updated",
        EventKind::Oom => "oom",
        EventKind::Degraded => "degraded",
        EventKind::Recovered => "recovered",
        EventKind::ExecStarted => "exec_started",
        EventKind::ExecExited => "exec_exited",
        EventKind::Restarting => "restarting",
        EventKind::Healthy => "healthy",
        EventKind::Unhealthy => "unhealthy",
    }
}

#[cfg(test)]
mod tests;
