//! Streams and waits that outlive the daemon. A daemon may be restarted while
//! its containers run on; whoever follows one asks again from where they were,
//! so that nothing is lost and nothing comes twice.

use super::{Client, Error};
use crate::v1::wait_request::Condition;
use crate::v1::{Event, EventsRequest, Exit, LogEntry, LogsRequest, WaitRequest};
use std::future::Future;
use std::time::Duration;
use tonic::{Status, Streaming};

/// How often to ask again, and how many times before giving up: 30 seconds.
const PAUSE: Duration = Duration::from_millis(100);
const ATTEMPTS: u32 = 300;

/// What is left of the patience with a daemon that is away: about 30 seconds at first.
#[derive(Debug)]
pub struct Patience(u32);

impl Default for Patience {
    fn default() -> Self {
        Self(ATTEMPTS)
    }
}

impl Patience {
    /// Waits a moment after `error`, or gives it back when it is an answer
    /// and not an absence, or when the daemon has been away for too long.
    ///
    /// # Errors
    /// `error`.
    pub async fn wait(&mut self, error: Error) -> Result<(), Error> {
        self.0 = self.0.saturating_sub(1);
        if !matches!(error, Error::Away(_)) || self.0 == 0 {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

/// A request that is answered by a stream, and can ask for the rest of it.
pub trait Resumable: Clone + Send {
    /// What the stream consists of.
    type Item: Send + 'static;
    /// Asks.
    fn open(&self, client: &Client) -> impl Future<Output = Result<Streaming<Self::Item>, Status>> + Send;
    /// Asks from now on for what comes behind `item`.
    fn advance(&mut self, item: &Self::Item);
}

impl Resumable for LogsRequest {
    type Item = LogEntry;

    async fn open(&self, client: &Client) -> Result<Streaming<LogEntry>, Status> {
        Ok(client.containers.clone().logs(self.clone()).await?.into_inner())
    }

    fn advance(&mut self, entry: &LogEntry) {
        // Counted from the end it would be another place by now.
        (self.offset, self.tail) = (entry.next_offset, None);
    }
}

impl Resumable for EventsRequest {
    type Item = Event;

    async fn open(&self, client: &Client) -> Result<Streaming<Event>, Status> {
        Ok(client.system.clone().events(self.clone()).await?.into_inner())
    }

    fn advance(&mut self, event: &Event) {
        self.after_seq = event.seq;
    }
}

/// The answer to a [`LogsRequest`] or an [`EventsRequest`], whatever becomes of the daemon meanwhile.
#[derive(Debug)]
pub struct Follow<R: Resumable> {
    client: Client,
    request: R,
    stream: Option<Streaming<R::Item>>,
    patience: Patience,
}

impl<R: Resumable> Follow<R> {
    fn new(client: &Client, request: R) -> Self {
        Self { client: client.clone(), request, stream: None, patience: Patience::default() }
    }

    /// The next item, in order; `None` at the end. To give up waiting for it (in a `select!`, say) loses nothing.
    ///
    /// # Errors
    /// What the daemon says; [`Error::Away`] when it has been away for 30 seconds.
    pub async fn next(&mut self) -> Result<Option<R::Item>, Error> {
        loop {
            let next = match &mut self.stream {
                Some(stream) => stream.message().await,
                None => match self.request.open(&self.client).await {
                    Ok(stream) => {
                        self.stream = Some(stream);
                        continue;
                    }
                    Err(status) => Err(status),
                },
            };
            match next {
                Ok(Some(item)) => {
                    self.patience = Patience::default();
                    self.request.advance(&item);
                    return Ok(Some(item));
                }
                Ok(None) => return Ok(None),
                Err(status) => {
                    self.stream = None;
                    self.patience.wait(status.into()).await?;
                }
            }
        }
    }

    /// What would be asked for now: the request, from behind the last item on.
    pub fn request(&self) -> &R {
        &self.request
    }
}

impl Client {
    /// The log entries that `request` asks for.
    pub fn logs(&self, request: LogsRequest) -> Follow<LogsRequest> {
        Follow::new(self, request)
    }

    /// The events that `request` asks for.
    pub fn events(&self, request: EventsRequest) -> Follow<EventsRequest> {
        Follow::new(self, request)
    }

    /// How container `id` ended, as soon as it has.
    ///
    /// # Errors
    /// What the daemon says; [`Error::Away`] when it has been away for 30 seconds.
    pub async fn wait(&self, id: &str) -> Result<Exit, Error> {
        self.wait_for(id, Condition::Unspecified).await
    }

    /// The same for the exit that `condition` names, of a container that may have several lives.
    ///
    /// # Errors
    /// As [`Client::wait`].
    pub async fn wait_for(&self, id: &str, condition: Condition) -> Result<Exit, Error> {
        let request = WaitRequest { id: id.to_owned(), condition: condition.into() };
        let mut patience = Patience::default();
        loop {
            match self.containers.clone().wait(request.clone()).await {
                Ok(answer) => return Ok(answer.into_inner().exit.unwrap_or_default()),
                Err(status) => patience.wait(status.into()).await?,
            }
        }
    }
}
