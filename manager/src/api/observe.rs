//! Every request in the log and in the metrics: it gets an id and a span, so that
//! whatever is logged on its behalf can be found by that id, and is counted by its
//! method and the code that its answer ends with. Stands before the door, and sees
//! what is refused there as well.

use super::answer::{Answer, Kept, keeping};
use super::limits::Peer;
use crate::engine::measure::milliseconds;
use crate::metrics::{self, Metrics};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::SystemTime;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::{Instrument, Span};

/// The header with the id of a request: a client may choose it, and is told it.
pub const REQUEST_ID: &str = "x-request-id";
/// Longest id of a client's.
const LONGEST: usize = 64;

/// Makes [`Observed`] services.
#[derive(Clone, Debug)]
pub struct Observer {
    metrics: Metrics,
    /// Made-up ids: what they begin with, and how many there were.
    ids: Arc<(u64, AtomicU64)>,
}

impl Observer {
    /// Counts in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { metrics, ids: Arc::new((now.as_secs(), AtomicU64::new(0))) }
    }

    /// The client's id, if it is one that can stand in a log, else a new one.
    fn id(&self, headers: &HeaderMap) -> String {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let fits = |id: &&str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !id.is_empty() && id.len() <= LONGEST && id.chars().all(plain)
        };
        given.filter(fits).map(str::to_owned).unwrap_or_else(|| {
            let (begin, count) = &*self.ids;
            format!("{begin:x}-{:x}", count.fetch_add(1, Ordering::Relaxed))
        })
    }
}

impl<S> Layer<S> for Observer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, observer: self.clone() }
    }
}

/// A service whose requests are told of.
#[derive(Clone, Debug)]
pub struct Observed<S> {
    inner: S,
    observer: Observer,
}

impl<S, B> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let id = self.observer.id(request.headers());
        let method = method(request.uri().path()).to_owned();
        let span = span(&id, &method, request.extensions().get());
        #[cfg(feature = "otel")]
        crate::telemetry::go_on(&span, request.headers());
        let known = is_known(&method).then_some(method.as_str());
        let call = Call { told: self.observer.metrics.request(known), span: span.clone() };
        let answer = span.in_scope(|| self.inner.call(request));
        let work = async move {
            let (mut head, body) = answer.await?.into_parts();
            if let Ok(id) = HeaderValue::from_str(&id) {
                head.headers.insert(REQUEST_ID, id);
            }
            let mut call = call;
            call.hear(&head.headers);
            Ok(keeping(head, body, call))
        };
        Box::pin(work.instrument(span))
    }
}

/// `/sextant.v1.System/Info` without its slash.
fn method(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// Whether it is a method of a service that is served here: anybody can ask for others.
fn is_known(method: &str) -> bool {
    super::methods().iter().any(|known| known == method)
}

fn span(id: &str, method: &str, peer: Option<&Peer>) -> Span {
    let who = peer.map(Peer::who);
    let (uid, pid) = (who.and_then(|who| who.uid), who.and_then(|who| who.pid));
    let address = who.and_then(|who| who.address.as_deref());
    tracing::info_span!("request", request = id, method, uid, pid, address)
}

/// A request until the end of its answer.
struct Call {
    told: metrics::Request,
    span: Span,
}

impl Kept for Call {
    /// Looks for the code in headers or trailers.
    fn hear(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.told.end(name(Code::from_bytes(status.as_bytes())));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (code, took) = self.told.ended();
        let ms = milliseconds(took);
        self.span.in_scope(|| match code {
            Some("OK") => tracing::debug!(code, ms, "answered"),
            Some(code) => tracing::info!(code, ms, "answered"),
            None => tracing::debug!(ms, "its client has gone"),
        });
    }
}

/// The code as gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_over_or_made_up() {
        let observer = Observer::new(Metrics::default());
        let with = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(id).unwrap());
            observer.id(&headers)
        };
        assert_eq!(with("7f3c-a_b.C"), "7f3c-a_b.C");
        for strange in ["", "a b", "a=b", &"x".repeat(65)] {
            assert_ne!(with(strange), strange);
        }
        assert_ne!(observer.id(&HeaderMap::new()), observer.id(&HeaderMap::new()));
    }

    #[test]
    fn only_methods_that_are_served_are_named() {
        assert_eq!(method("/sextant.v1.System/Info"), "sextant.v1.System/Info");
        for known in ["sextant.v1.System/Info", "sextant.v1.Stdio/Attach", "grpc.health.v1.Health/Check"] {
            assert!(is_known(known), "{known}");
        }
        assert!(!is_known("sextant.v1.System/Other") && !is_known("sextant.shim.v1.Shim/Create"));
    }
}
