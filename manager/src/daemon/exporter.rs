//! The metrics over HTTP, for Prometheus: `GET /metrics`, on a unix socket or on
//! a TCP address of this host, in plain text and without a word about who asks.

use super::config::Listen;
use super::listen::{Own, own};
use crate::api::metrics::Exporter;
use crate::engine::error::Error;
use crate::metrics::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Connections at once; others wait in the kernel's backlog.
const CONNECTIONS: usize = 16;
/// How long a client may take over its request, also over the next one.
const REQUEST: Duration = Duration::from_secs(10);
/// Longest life of a connection.
const CONNECTION: Duration = Duration::from_secs(600);
/// Pause after a failed accept(2).
const BREATH: Duration = Duration::from_millis(50);

/// Where it listens.
enum Socket {
    Unix(Own),
    Tcp(TcpListener),
}

/// Listens, and answers until it is dropped.
///
/// # Errors
/// [`Error::Io`] when it cannot listen there.
pub(super) async fn start(at: &Listen, exporter: Exporter) -> Result<Serving, Error> {
    let socket = match at {
        Listen::Unix(path) => Socket::Unix(own(path, None)?),
        Listen::Tcp(host) => {
            let attempted = Error::io(format!("listen on {host} for metrics"));
            Socket::Tcp(TcpListener::bind(host).await.map_err(attempted)?)
        }
    };
    let address = match &socket {
        Socket::Tcp(listener) => listener.local_addr().map(|a| format!("tcp:{a}")).unwrap_or_default(),
        Socket::Unix(_) => at.to_string(),
    };
    tracing::info!(listen = address, "metrics");
    Ok(Serving(tokio::spawn(serve(socket, exporter))))
}

/// The task that serves; it ends when this is dropped.
pub(super) struct Serving(tokio::task::JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(socket: Socket, exporter: Exporter) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let exporter = exporter.clone();
        let accepted = match &socket {
            Socket::Unix(own) => {
                own.accept().await.map(|stream| tokio::spawn(connection(stream, exporter, place)))
            }
            Socket::Tcp(tcp) => {
                tcp.accept().await.map(|(stream, _)| tokio::spawn(connection(stream, exporter, place)))
            }
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "cannot accept a connection for metrics");
            tokio::time::sleep(BREATH).await;
        }
    }
}

async fn connection<S>(stream: S, exporter: Exporter, place: impl Send)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let exporter = exporter.clone();
        async move { Ok::<_, Infallible>(answer(&request, &exporter).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION, served).await {
        tracing::debug!(%error, "a connection for metrics broke");
    }
    drop(place);
}

async fn answer(request: &Request<Incoming>, exporter: &Exporter) -> Response<String> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match exporter.text().await {
            Ok(text) => (StatusCode::OK, CONTENT_TYPE, text),
            Err(error) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", error.chain() + "\n"),
        },
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".into()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".into()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
