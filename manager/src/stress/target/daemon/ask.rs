//! Asking: over one of the connections, and again where who is killed on purpose took the call with it.

use super::super::Fault;
use super::super::again::Deadline;
use super::Daemon;
use sextant_proto::client::{Client, Error};
use std::sync::atomic::Ordering;
use tonic::Status;

impl Daemon {
    /// One of the connections, in turn.
    pub(super) fn client(&self) -> Client {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let chosen = self.connections.get(turn % self.connections.len().max(1));
        chosen.or(self.connections.first()).cloned().unwrap_or_else(|| unreachable!("there is a connection"))
    }

    /// The key of an operation; empty where nobody is killed on purpose.
    pub(super) fn key(&self, verb: &str, id: &str) -> String {
        if self.again.has_keys() { format!("{verb}-{id}") } else { String::new() }
    }

    /// Asks, and asks again where who is killed on purpose took the call with it.
    pub(super) async fn ask<Q: Clone, T, F>(
        &self,
        operation: &'static str,
        request: Q,
        call: impl Fn(Client, Q) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        self.ask_until(operation, request, &mut Deadline::default(), call).await.map_err(fault)
    }

    /// The same; the deadline tells whether it was asked more than once.
    pub(super) async fn ask_until<Q: Clone, T, F>(
        &self,
        operation: &'static str,
        request: Q,
        deadline: &mut Deadline,
        call: impl Fn(Client, Q) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>> + Send,
    {
        loop {
            match call(self.client(), request.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => self.again.wait(operation, status.into(), deadline).await?,
            }
        }
    }
}

/// What an error of the client is here.
pub(super) fn fault(error: Error) -> Fault {
    let message = error.to_string();
    match error {
        Error::Refused(refusal) => {
            let reason = match refusal.reason.as_str() {
                "" => format!("{:?}", refusal.code()),
                reason => reason.to_owned(),
            };
            Fault::new(reason, message)
        }
        Error::Away(_) => Fault::new("AWAY", message),
        _ => Fault::new("CONNECT", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_known_by_its_reason_or_its_code() {
        assert_eq!(fault(Error::from(Status::unavailable("gone"))).cause, "AWAY");
        assert_eq!(fault(Error::from(Status::not_found("none"))).cause, "NotFound");
    }
}
