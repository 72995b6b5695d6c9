//! How much clients may ask for at once. What is too much is refused at the
//! door, as RESOURCE_EXHAUSTED with the limit's name: nothing of it has
//! happened, and the client may try again. Health is always answered.

use super::answer::{Answer, Kept, keeping};
use super::status::DOMAIN;
use http::{HeaderMap, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

/// Numbers of things at once, and bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections.
    pub connections: usize,
    /// Calls under way, streams included.
    pub calls: usize,
    /// The same of one connection.
    pub calls_per_connection: usize,
    /// Bytes of a request.
    pub message: usize,
}

/// What there is of something now: counted by [`Place`]s.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// How many places are taken.
    pub fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A place, unless `most` are taken.
    pub fn take(&self, most: usize) -> Option<Place> {
        let more = |now| (now < most).then_some(now + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Place(self.clone()))
    }
}

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Place(Count);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is at the other end of a connection, as far as the kernel or TLS says.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// Its user, over a unix socket.
    pub uid: Option<u32>,
    /// Its process, over a unix socket.
    pub pid: Option<i32>,
    /// Where it is, over TCP.
    pub address: Option<Arc<str>>,
}

/// One connection, as its calls see it.
#[derive(Clone, Debug)]
pub struct Peer {
    who: Who,
    calls: Count,
    /// Its place among the connections; none: there were too many already.
    place: Option<Arc<Place>>,
}

impl Peer {
    /// A new connection.
    pub fn new(who: Who, connections: &Count, limits: &Limits) -> Self {
        Self { who, calls: Count::default(), place: connections.take(limits.connections).map(Arc::new) }
    }

    /// Who is there.
    pub fn who(&self) -> &Who {
        &self.who
    }
}

/// The door in front of all services.
#[derive(Clone, Debug)]
pub struct Door {
    limits: Limits,
    calls: Count,
}

impl Door {
    /// Whoever is inside has a place of `calls`.
    pub fn new(limits: Limits, calls: Count) -> Self {
        Self { limits, calls }
    }

    /// The places that a call takes, here and at its connection.
    fn enter(&self, peer: Option<&Peer>) -> Result<Vec<Place>, Status> {
        let Limits { connections, calls, calls_per_connection, .. } = self.limits;
        if peer.is_some_and(|peer| peer.place.is_none()) {
            return Err(exhausted("max-connections", connections, "connections are open"));
        }
        let all = self.calls.take(calls);
        let all = all.ok_or_else(|| exhausted("max-calls", calls, "calls are under way"))?;
        let Some(peer) = peer else { return Ok(vec![all]) };
        let own = peer.calls.take(calls_per_connection).ok_or_else(|| {
            exhausted(
                "max-calls-per-connection",
                calls_per_connection,
                "calls of this connection are under way",
            )
        })?;
        Ok(vec![all, own])
    }

    /// tonic calls a message that is too large OUT_OF_RANGE.
    fn reword(&self, headers: &mut HeaderMap) {
        let says = |name: &str, text: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(text))
        };
        if says("grpc-status", "11") && says("grpc-message", "message%20length%20too%20large") {
            let status = exhausted("max-message", self.limits.message, "bytes are the most of a request");
            for (name, value) in status.into_http::<Body>().headers() {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// The refusal.
fn exhausted(name: &str, limit: usize, what: &str) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(
        "LIMIT_REACHED",
        DOMAIN,
        [("limit".to_owned(), name.to_owned()), ("value".to_owned(), limit.to_string())],
    );
    let message = format!("{limit} {what}; try again, or raise {name} of sextantd");
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

impl<S> Layer<S> for Door {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, door: self.clone() }
    }
}

/// A service behind the door.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    door: Door,
}

impl<S, B> Service<Request<B>> for Guarded<S>
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
        if request.uri().path().starts_with("/grpc.health.v1.") {
            return Box::pin(self.inner.call(request));
        }
        let places = match self.door.enter(request.extensions().get()) {
            Ok(places) => places,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        let (door, answer) = (self.door.clone(), self.inner.call(request));
        Box::pin(async move {
            let (mut head, body) = answer.await?.into_parts();
            door.reword(&mut head.headers);
            Ok(keeping(head, body, places))
        })
    }
}

/// The call is under way until its answer has been sent or given up.
impl Kept for Vec<Place> {}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { connections: 1, calls: 3, calls_per_connection: 2, message: 1024 };

    #[test]
    fn each_limit_refuses_by_its_name() {
        let (door, connections) = (Door::new(LIMITS, Count::default()), Count::default());
        let first = Peer::new(Who::default(), &connections, &LIMITS);
        let refused = |peer| door.enter(Some(peer)).unwrap_err().get_error_details();
        let limit = |details: ErrorDetails| details.error_info().unwrap().metadata["limit"].clone();
        let held: Vec<_> = [(); 2].map(|()| door.enter(Some(&first)).unwrap()).into();
        assert_eq!(limit(refused(&first)), "max-calls-per-connection");
        let beyond = Peer::new(Who::default(), &connections, &LIMITS);
        assert_eq!(limit(refused(&beyond)), "max-connections");
        let other = Peer { who: Who::default(), calls: Count::default(), place: first.place.clone() };
        let last = door.enter(Some(&other)).unwrap();
        assert_eq!(limit(refused(&other)), "max-calls");
        drop((held, last));
        assert!(door.enter(Some(&other)).is_ok());
        drop((first, other));
        assert!(door.enter(Some(&Peer::new(Who::default(), &connections, &LIMITS))).is_ok());
    }

    #[test]
    fn a_refused_call_gives_back_what_it_had_taken() {
        let door = Door::new(Limits { calls: 2, calls_per_connection: 1, ..LIMITS }, Count::default());
        let peer = Peer::new(Who::default(), &Count::default(), &LIMITS);
        let held = door.enter(Some(&peer)).unwrap();
        for _ in 0..5 {
            assert!(door.enter(Some(&peer)).is_err());
        }
        let other = Peer { who: Who::default(), calls: Count::default(), place: peer.place.clone() };
        assert!(door.enter(Some(&other)).is_ok());
        drop(held);
    }
}
