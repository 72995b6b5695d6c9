//! Spans for an OpenTelemetry collector, over OTLP/gRPC: those that the log has
//! (`request`, `operation`), and below an operation the stages of the runtime, which
//! are known afterwards. A client's trace is gone on with (`traceparent`, W3C).
//!
//! Spans wait in a queue of fixed length, and are dropped when the collector does
//! not take them: it keeps nobody waiting.

use crate::model::StageRecord;
use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanBuilder, Status, TracerProvider as _};
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::{Duration, SystemTime};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The name of the tracer, and of the service.
const NAME: &str = "sextantd";
/// How long one export may take.
const EXPORT: Duration = Duration::from_secs(5);
/// How long the last spans may take at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way to the collector; what waits is sent when this is dropped.
#[derive(Debug)]
pub struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// To the collector at `endpoint`, such as `http://127.0.0.1:4317`, which need not be there yet. Within a
    /// runtime of tokio; once in a process.
    ///
    /// # Errors
    /// When it is no address.
    pub fn start(endpoint: &str) -> Result<Self, String> {
        let exporter =
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT).build();
        let exporter = exporter.map_err(|error| format!("telemetry to {endpoint}: {error}"))?;
        let resource = Resource::builder_empty()
            .with_service_name(NAME)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        global::set_tracer_provider(provider.clone());
        Ok(Self(provider))
    }

    /// What hands spans of ours on, whatever the log shows.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = Targets::new().with_target("sextant_manager", tracing::Level::INFO);
        tracing_opentelemetry::layer().with_tracer(self.0.tracer(NAME)).with_filter(ours)
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FAREWELL) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Lets a span go on with the trace of the client, if the headers of its request name one.
pub(crate) fn go_on(span: &Span, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract(&Headers(headers));
    if let Err(error) = span.set_parent(parent) {
        tracing::debug!(?error, "a request begins a trace of its own");
    }
}

/// Hands stages of the runtime on, as children of the current span.
pub fn stages(records: &[StageRecord]) {
    let (tracer, parent) = (global::tracer(NAME), Span::current().context());
    let (now, clock) = (SystemTime::now(), monotonic());
    let at = |ns: u64| now.checked_sub(clock.saturating_sub(Duration::from_nanos(ns))).unwrap_or(now);
    for record in records {
        let attributes = [("sextant.command", &record.command), ("sextant.object", &record.object)];
        let attributes = attributes.into_iter().filter(|(_, value)| !value.is_empty());
        let mut span = SpanBuilder::from_name(record.stage.clone())
            .with_start_time(at(record.start_ns))
            .with_attributes(attributes.map(|(key, value)| KeyValue::new(key, value.clone())))
            .start_with_context(&tracer, &parent);
        if let Some(failure) = &record.failure {
            span.set_status(Status::error(failure.message.clone()));
        }
        span.end_with_timestamp(at(record.end_ns));
    }
}

/// The clock of stage records.
fn monotonic() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(Duration::ZERO, Duration::from)
}
