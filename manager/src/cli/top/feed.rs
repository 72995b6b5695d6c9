//! What the daemon is asked for: one stream of figures, one of events, the words of new containers, and the
//! page that is open. A daemon that is away is asked again for as long as this runs.

use super::model::Heard;
use super::page::{Kind, Page};
use crate::cli::client::Client;
use crate::cli::commands::{events, ns, processes, trace};
use crate::cli::error::Error;
use crate::cli::output::Paint;
use crate::cli::width::printable;
use sextant_proto::v1;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};
use tonic::Status;

/// Messages that wait to be heard.
const AHEAD: usize = 256;
/// New containers whose words are asked for; beyond, they have none until the daemon is asked for all again.
const NEW: usize = 4096;
/// Time between two attempts to reach a daemon that is away.
const PAUSE: Duration = Duration::from_millis(500);
/// Lines of a log that come before those that are followed.
const TAIL: u64 = 1000;

/// All containers.
pub(super) async fn list(client: &Client) -> Result<Vec<v1::Container>, Error> {
    let answer = client.clone().containers.list(v1::ListRequest::default()).await;
    Ok(answer.map_err(Error::request("list the containers"))?.into_inner().containers)
}

/// Figures of all that live.
pub(super) async fn stats(client: &Client) -> Result<Vec<v1::Sample>, Error> {
    let answer = client.clone().containers.stats(v1::StatsRequest::default()).await;
    Ok(answer.map_err(Error::request("ask what containers use"))?.into_inner().samples)
}

/// What is under way; it ends when this goes.
#[derive(Debug)]
pub(super) struct Feeds {
    client: Client,
    interval: Duration,
    sender: Sender<Heard>,
    heard: Receiver<Heard>,
    new: Sender<String>,
    tasks: JoinSet<()>,
    page: Option<AbortHandle>,
}

impl Feeds {
    /// Begins to ask.
    pub(super) fn begin(client: &Client, interval: Duration) -> Self {
        let (sender, heard) = channel(AHEAD);
        let (new, ids) = channel(NEW);
        let mut tasks = JoinSet::new();
        tasks.spawn(all(client.clone(), interval, sender.clone()));
        tasks.spawn(describe(client.clone(), ids, sender.clone()));
        Self { client: client.clone(), interval, sender, heard, new, tasks, page: None }
    }

    /// What is heard next.
    pub(super) async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // We have a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// What has been heard already.
    pub(super) fn waiting(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// Asks for the words of a new container.
    pub(super) fn describe(&self, id: String) {
        if self.new.try_send(id).is_err() {
            tracing::debug!("too many new containers at once");
        }
    }

    /// Asks for a page, and for no other.
    pub(super) fn open(&mut self, page: &Page) {
        self.close();
        let (client, sender) = (self.client.clone(), self.sender.clone());
        let (kind, id, serial, interval) = (page.kind, page.id.clone(), page.serial, self.interval);
        self.page = Some(self.tasks.spawn(async move {
            let asked = match kind {
                Kind::Processes => again(&client, &id, serial, interval, &sender).await,
                Kind::Namespaces => say(&sender, serial, ns::one::text(&client, &id).await).await,
                Kind::Trace => say(&sender, serial, trace::text(&client, &id).await).await,
                Kind::Logs => log(&client, id, serial, &sender).await,
                Kind::Events => past(&client, id, serial, &sender).await,
            };
            if let Err(error) = asked {
                send(&sender, Heard::Page(serial, Err(words(&error)))).await;
            }
        }));
    }

    /// No page is asked for any more.
    pub(super) fn close(&mut self) {
        self.page.take().iter().for_each(AbortHandle::abort);
    }
}

async fn send(sender: &Sender<Heard>, heard: Heard) {
    // Nobody hears it when this program ends.
    sender.send(heard).await.unwrap_or_default();
}

/// The first line of what an error says.
fn words(error: &Error) -> String {
    let text = error.render(Paint::Plain);
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("sextant: ").unwrap_or(line).to_owned()
}

async fn say(sender: &Sender<Heard>, serial: u64, text: Result<String, Error>) -> Result<(), Error> {
    let lines = text?.lines().map(str::to_owned).collect();
    send(sender, Heard::Page(serial, Ok(lines))).await;
    Ok(())
}

/// Figures and events, from one moment on; and once more when they end.
async fn all(client: Client, interval: Duration, sender: Sender<Heard>) {
    loop {
        let because = match follow(&client, interval, &sender).await {
            Ok(()) => "it has ended".to_owned(),
            Err(status) => status.message().to_owned(),
        };
        send(&sender, Heard::Lost(because)).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(client: &Client, interval: Duration, sender: &Sender<Heard>) -> Result<(), Status> {
    let Client { mut containers, mut system, .. } = client.clone();
    // What happens behind this number changes what is listed after it.
    let info = system.info(v1::InfoRequest {}).await?.into_inner();
    let request = v1::EventsRequest { after_seq: info.last_event_seq, follow: true, ..Default::default() };
    let mut events = system.events(request).await?.into_inner();
    let list = containers.list(v1::ListRequest::default()).await?.into_inner().containers;
    send(sender, Heard::Daemon(info.version)).await;
    send(sender, Heard::List(list)).await;
    let request = v1::StreamStatsRequest { interval: interval.try_into().ok(), ..Default::default() };
    let mut stats = containers.stream_stats(request).await?.into_inner();
    loop {
        let heard = tokio::select! {
            answer = stats.message() => answer?.map(|answer| Heard::Stats(answer.samples)),
            event = events.message() => event?.map(|event| Heard::Event(Box::new(event))),
        };
        match heard {
            Some(heard) => send(sender, heard).await,
            None => return Ok(()),
        }
    }
}

/// Commands and labels of containers that are new.
async fn describe(client: Client, mut ids: Receiver<String>, sender: Sender<Heard>) {
    while let Some(id) = ids.recv().await {
        let answer = client.clone().containers.get(v1::GetRequest { id, ..Default::default() }).await;
        // One that has gone again needs none.
        if let Some(container) = answer.ok().and_then(|answer| answer.into_inner().container) {
            send(&sender, Heard::Container(Box::new(container))).await;
        }
    }
}

/// Processes, again and again.
async fn again(
    client: &Client,
    id: &str,
    serial: u64,
    interval: Duration,
    sender: &Sender<Heard>,
) -> Result<(), Error> {
    loop {
        if let Err(error) = say(sender, serial, processes::text(client, id).await).await {
            send(sender, Heard::Page(serial, Err(words(&error)))).await;
        }
        tokio::time::sleep(interval).await;
    }
}

/// The end of a log, and what comes.
async fn log(client: &Client, id: String, serial: u64, sender: &Sender<Heard>) -> Result<(), Error> {
    let attempted = format!("read the log of {id}");
    send(sender, Heard::More(serial, Vec::new())).await;
    let mut log = client.logs(v1::LogsRequest { id, follow: true, tail: Some(TAIL), ..Default::default() });
    let mut part = Vec::new();
    while let Some(entry) = log.next().await.map_err(Error::client(&attempted))? {
        let mut lines = Vec::new();
        if entry.missing.is_some() {
            lines.push("(output is missing here)".to_owned());
        }
        for piece in entry.data.split_inclusive(|byte| *byte == b'\n') {
            part.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                lines.push(line(&part));
                part.clear();
            }
        }
        if !lines.is_empty() {
            send(sender, Heard::More(serial, lines)).await;
        }
    }
    if !part.is_empty() {
        send(sender, Heard::More(serial, vec![line(&part)])).await;
    }
    Ok(())
}

/// A line of a log, safe to print; tabs are blanks.
fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    printable(&text.trim_end_matches(['\n', '\r']).replace('\t', "    "))
}

/// The events of a container so far, and what comes.
async fn past(client: &Client, id: String, serial: u64, sender: &Sender<Heard>) -> Result<(), Error> {
    send(sender, Heard::More(serial, Vec::new())).await;
    let request = v1::EventsRequest { follow: true, containers: vec![id], ..Default::default() };
    let mut heard = client.events(request);
    while let Some(event) = heard.next().await.map_err(Error::client("read the events"))? {
        send(sender, Heard::More(serial, vec![events::line(event).trim_end().to_owned()])).await;
    }
    Ok(())
}
