//! Streams and waits that outlive the daemon. A daemon may be restarted while
//! its containers run on; whoever follows one asks again from where they were,
//! so that nothing is lost and nothing comes twice.

use super::client::Client;
use super::error::{Error, Report};
use super::view::Exit;
use sextant_proto::v1::wait_request::Condition;
use sextant_proto::v1::{Event, EventsRequest, LogEntry, LogsRequest, WaitRequest};
use std::error::Error as _;
use std::time::Duration;
use tonic::{Code, Response, Status, Streaming};
use tonic_types::StatusExt;

/// How often to ask again, and how many times before giving up: 30 seconds.
const PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS: u32 = 300;

/// What is left of the patience with a daemon that is away.
pub(super) struct Patience(u32);

impl Patience {
    pub(super) fn new() -> Self {
        Self(ATTEMPTS)
    }

    /// Waits a moment after `status`, or gives it back when it is an answer
    /// and not an absence, or when the daemon has been away for too long.
    pub(super) async fn wait(&mut self, status: Status) -> Result<(), Status> {
        self.0 = self.0.saturating_sub(1);
        if !away(&status) || self.0 == 0 {
            return Err(status);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// Whether `status` tells of a daemon that is gone or going, not of a daemon
/// that cannot reach a shim.
fn away(status: &Status) -> bool {
    let going = || status.get_details_error_info().is_none_or(|info| info.reason == "STOPPING");
    status.source().is_some() || status.code() == Code::Unavailable && going()
}

/// Hands every log entry that `request` asks for to `sink`, in order. Gives
/// the offset behind the last one.
///
/// # Errors
/// What the daemon says, or what `sink` says.
pub async fn logs(
    client: &Client,
    request: LogsRequest,
    sink: impl FnMut(LogEntry) -> Result<(), Error>,
) -> Result<u64, Error> {
    let attempted = format!("read the log of {}", request.id);
    let open = async |request| client.clone().containers.logs(request).await;
    let advance = |request: &mut LogsRequest, entry: &LogEntry| {
        // Counted from the end it would be another place by now.
        (request.offset, request.tail) = (entry.next_offset, None);
    };
    Ok(resume(&attempted, request, open, advance, sink).await?.offset)
}

/// Hands every event that `request` asks for to `sink`, in order.
///
/// # Errors
/// What the daemon says, or what `sink` says.
pub async fn events(
    client: &Client,
    request: EventsRequest,
    sink: impl FnMut(Event) -> Result<(), Error>,
) -> Result<(), Error> {
    let open = async |request| client.clone().system.events(request).await;
    let advance = |request: &mut EventsRequest, event: &Event| request.after_seq = event.seq;
    resume("read the events", request, open, advance, sink).await.map(drop)
}

/// Reads the stream that `open` gives for `request` to its end; whenever the
/// daemon goes away, asks again with what `advance` made of the request. Gives
/// the request as it is then.
async fn resume<R: Clone, T>(
    attempted: &str,
    mut request: R,
    open: impl AsyncFn(R) -> Result<Response<Streaming<T>>, Status>,
    advance: impl Fn(&mut R, &T),
    mut sink: impl FnMut(T) -> Result<(), Error>,
) -> Result<R, Error> {
    let mut patience = Patience::new();
    loop {
        let status = match open(request.clone()).await {
            Err(status) => status,
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(None) => return Ok(request),
                        Err(status) => break status,
                        Ok(Some(item)) => {
                            patience = Patience::new();
                            advance(&mut request, &item);
                            sink(item)?;
                        }
                    }
                }
            }
        };
        patience.wait(status).await.map_err(|status| Report::request(attempted, status))?;
    }
}

/// How container `id` ended, as soon as the exit that `condition` names has come.
///
/// # Errors
/// What the daemon says.
pub async fn exit(client: &Client, id: &str, condition: Condition) -> Result<Exit, Status> {
    let mut patience = Patience::new();
    loop {
        let request = WaitRequest { id: id.to_owned(), condition: condition.into() };
        match client.clone().containers.wait(request).await {
            Ok(answer) => return Ok(answer.into_inner().exit.unwrap_or_default().into()),
            Err(status) => patience.wait(status).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn an_unreachable_shim_is_an_answer() {
        let unavailable = |reason: &str| {
            let details = ErrorDetails::with_error_info(reason, "sextant", std::collections::HashMap::new());
            Status::with_error_details(Code::Unavailable, "", details)
        };
        assert!(away(&Status::unavailable("")) && away(&unavailable("STOPPING")));
        assert!(!away(&unavailable("SHIM_UNREACHABLE")) && !away(&Status::not_found("")));
    }
}
