//! The calls of `sextant.v1.Containers` about logs: their requests and entries on
//! the wire, and a stream that is as fast as its client.

use super::convert::time;
use super::status::status;
use crate::engine::Engine;
use crate::engine::error::{Error, Violation};
use crate::logs::{Because, Entry, Follow, Missing, Query, Reader, Stream, What};
use sextant_proto::v1;
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Entries of a log that wait for a slow client, at most.
const AHEAD: usize = 64;

/// Entries as they are read.
pub(super) type Entries = ReceiverStream<Result<v1::LogEntry, Status>>;

/// Begins to read a log.
pub(super) fn read(engine: &Engine, request: v1::LogsRequest) -> Result<Entries, Error> {
    let query = query(&request)?;
    let (paths, snapshots) = engine.follow(&request.id)?;
    let reader = Reader::new(&paths.dir, query, snapshots);
    let (sender, entries) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        // The client's end of the stream ends the reading, also while it waits.
        tokio::select! {
            () = send(reader, &sender) => {}
            () = sender.closed() => {}
        }
    });
    Ok(ReceiverStream::new(entries))
}

async fn send(mut reader: Reader, sender: &mpsc::Sender<Result<v1::LogEntry, Status>>) {
    loop {
        let entries = match reader.next().await {
            Ok(Some(entries)) => entries.into_iter().map(|e| Ok(to_wire(e))).collect(),
            Ok(None) => return,
            Err(error) => vec![Err(status(&error))],
        };
        for entry in entries {
            let last = entry.is_err();
            if sender.send(entry).await.is_err() || last {
                return;
            }
        }
    }
}

fn query(request: &v1::LogsRequest) -> Result<Query, Error> {
    let mut violations = Vec::new();
    let mut time_of = |field: &str, at: Option<prost_types::Timestamp>| {
        let at = at.map(SystemTime::try_from).transpose();
        at.unwrap_or_else(|_| {
            let message = "it is no time".into();
            violations.push(Violation { field: field.into(), message, hint: String::new() });
            None
        })
    };
    let (since, until) = (time_of("since", request.since), time_of("until", request.until));
    if !violations.is_empty() {
        return Err(Error::Refused { attempted: format!("read the log of {}", request.id), violations });
    }
    Ok(Query {
        offset: request.offset,
        follow: if request.follow { Follow::Yes } else { Follow::No },
        since,
        until,
        tail: request.tail,
        stream: match request.stream() {
            v1::log_entry::Stream::Unspecified => None,
            v1::log_entry::Stream::Stdout => Some(Stream::Stdout),
            v1::log_entry::Stream::Stderr => Some(Stream::Stderr),
        },
    })
}

fn to_wire(entry: Entry) -> v1::LogEntry {
    let Entry { what, at, next_offset } = entry;
    let common = v1::LogEntry { at: time(at), next_offset, ..v1::LogEntry::default() };
    match what {
        What::Output { stream, data } => {
            let stream = match stream {
                Stream::Stdout => v1::log_entry::Stream::Stdout,
                Stream::Stderr => v1::log_entry::Stream::Stderr,
            };
            v1::LogEntry { stream: stream.into(), data, ..common }
        }
        What::Missing(Missing { because, lines, bytes }) => {
            let because = match because {
                Because::Rotated => v1::log_missing::Because::Rotated,
                Because::RateLimit => v1::log_missing::Because::RateLimit,
                Because::NotWritten => v1::log_missing::Because::NotWritten,
            };
            let missing = v1::LogMissing { because: because.into(), lines, bytes };
            v1::LogEntry { missing: Some(missing), ..common }
        }
    }
}
