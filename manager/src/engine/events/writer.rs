//! The one who writes the journal: a thread that takes what waits, writes it in one go, syncs it where somebody
//! awaits that, and makes the file shorter at its bound.

use super::super::error::Error;
use super::compact::compact;
use super::{Codec, Committed, Part};
use crate::faults::{self, Point};
use crate::model::{Event, EventKind};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

/// One in so many events has its offset remembered.
const SPARSE: u64 = 256;
/// How long an event that nobody awaits waits for others to be synced with.
const COMPANY: Duration = Duration::from_millis(2);
/// How long until a sync that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Whether who causes an event of this kind hears of its effect only when the event is on disk:
/// whatever a restart of the host does not undo by itself. That a process was executed, paused or
/// joined by another is as gone with the host as the process.
fn is_awaited(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Created
            | EventKind::CreateFailed
            | EventKind::StartFailed
            | EventKind::Exited
            | EventKind::Deleted
            | EventKind::Gap
    )
}

/// An event that is to be written.
#[derive(Debug)]
pub(super) struct Append {
    event: Event,
    reply: oneshot::Sender<Result<u64, Error>>,
    /// Its place in the queue.
    _room: OwnedSemaphorePermit,
}

impl Append {
    /// Whose number is told by `reply`.
    pub(super) fn new(
        event: Event,
        reply: oneshot::Sender<Result<u64, Error>>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self { event, reply, _room: room }
    }
}

/// The one who writes.
pub(super) struct Writer {
    path: PathBuf,
    codec: Codec,
    /// Number of the last event in the file, and its size.
    end: (u64, u64),
    /// What of it is on disk.
    committed: Committed,
    written: Arc<AtomicU64>,
    /// When what is not on disk yet is to be synced at the latest.
    due: Option<Instant>,
    /// Records since the file was opened or made.
    records: u64,
    /// The size that the file is not to grow beyond.
    bound: u64,
    /// The size at which it is made shorter; above the bound after that has failed, and where
    /// what must not be forgotten takes most of it.
    limit: u64,
}

impl Writer {
    /// Writes behind what is on disk.
    pub(super) fn new(
        path: &Path,
        codec: Codec,
        committed: Committed,
        written: Arc<AtomicU64>,
        bound: u64,
    ) -> Self {
        let end = (committed.seq, committed.bytes);
        Self { path: path.into(), codec, end, committed, written, due: None, records: 0, bound, limit: bound }
    }

    /// Writes what waits in one go, syncs it if any of it has to be, answers, and publishes what is on disk.
    pub(super) fn run(mut self, queue: &Receiver<Append>, publish: &watch::Sender<Committed>) {
        loop {
            let next = match self.due {
                Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(first) => {
                    let batch: Vec<Append> = std::iter::once(first).chain(queue.try_iter()).collect();
                    self.add(batch, publish);
                }
                Err(RecvTimeoutError::Timeout) => self.settle(publish),
                Err(RecvTimeoutError::Disconnected) => {
                    if self.due.is_some() {
                        self.settle(publish);
                    }
                    return;
                }
            }
        }
    }

    fn add(&mut self, batch: Vec<Append>, publish: &watch::Sender<Committed>) {
        let first = self.end.0 + 1;
        let awaited = batch.iter().any(|append| is_awaited(append.event.kind));
        let added = self.write(&batch, awaited);
        if added.is_ok() && awaited {
            self.commit(publish);
        } else if added.is_ok() {
            self.due.get_or_insert_with(|| Instant::now() + COMPANY);
        }
        for (append, seq) in batch.into_iter().zip(first..) {
            let answer = match &added {
                Ok(()) => Ok(seq),
                Err(e) => Err(Error::io(format!("write {}", self.path.display()))(copy(e))),
            };
            if append.reply.send(answer).is_err() {
                tracing::debug!(seq, "nobody waits for the number of an event");
            }
        }
    }

    /// Syncs what nobody awaits.
    fn settle(&mut self, publish: &watch::Sender<Committed>) {
        match faults::reach(Point::EventsSync).and_then(|()| self.committed.part.file.sync_data()) {
            Ok(()) => self.commit(publish),
            Err(error) => {
                tracing::error!(%error, file = %self.path.display(), "events cannot be synced");
                self.due = Some(Instant::now() + RETRY);
            }
        }
    }

    /// All that is in the file is on disk.
    fn commit(&mut self, publish: &watch::Sender<Committed>) {
        (self.committed.seq, self.committed.bytes) = self.end;
        self.due = None;
        publish.send_replace(self.committed.clone());
    }

    /// Writes the batch behind the last event; after an error nothing of it is in the file.
    fn write(&mut self, batch: &[Append], sync: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut seq = self.end.0;
        let mut places = Vec::new();
        for append in batch {
            seq += 1;
            let event = Event { seq, ..append.event.clone() };
            places.push((seq, len(&bytes)));
            bytes.extend((self.codec.encode)(&event).map_err(io::Error::other)?);
        }
        if self.end.1 + len(&bytes) > self.limit {
            self.try_to_shorten();
        }
        let before = self.end.1;
        let file = &self.committed.part.file;
        let written = faults::write(Point::EventsAppend, &bytes, |bytes| file.write_all_at(bytes, before));
        let synced = || faults::reach(Point::EventsSync).and_then(|()| file.sync_data());
        if let Err(error) = written.and_then(|()| if sync { synced() } else { Ok(()) }) {
            // Half a record must not stay: the next one begins where this one did.
            file.set_len(before)?;
            return Err(error);
        }
        for (seq, offset) in places {
            self.remember(seq, before + offset);
        }
        self.end = (seq, before + len(&bytes));
        self.written.store(seq, Ordering::Release);
        Ok(())
    }

    /// Makes the file shorter; when that fails, it is tried again much later.
    fn try_to_shorten(&mut self) {
        if let Err(error) = self.shorten() {
            tracing::warn!(%error, file = %self.path.display(), "cannot make the journal of events shorter");
            self.limit = self.end.1 + self.bound / 2;
        }
    }

    /// Replaces the file by one of half the bound, and what must not be forgotten beside.
    fn shorten(&mut self) -> io::Result<()> {
        let mut old = vec![0; usize::try_from(self.end.1).map_err(io::Error::other)?];
        self.committed.part.file.read_exact_at(&mut old, 0)?;
        let encode = |event: &Event| (self.codec.encode)(event).map_err(io::Error::other);
        let mut sized = Vec::new();
        for event in (self.codec.decode)(&old).events {
            let size = len(&encode(&event)?);
            sized.push((event, size));
        }
        let kept = compact(sized, self.bound / 2);
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for event in &kept {
            places.push((event.seq, len(&bytes)));
            bytes.extend(encode(event)?);
        }
        let new = self.path.with_extension("new");
        let file =
            File::options().create(true).truncate(true).read(true).write(true).mode(0o600).open(&new)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        faults::reach(Point::EventsCompact)?;
        std::fs::rename(&new, &self.path)?;
        // From here on the new one is the journal, whatever comes. It is published with what comes next,
        // until which readers go on in the old one.
        self.end.1 = len(&bytes);
        (self.committed.seq, self.committed.bytes) = self.end;
        self.committed.part = Arc::new(Part::new(file));
        (self.records, self.limit) = (0, self.bound.max(self.end.1 + self.bound / 4));
        for (seq, offset) in places {
            self.remember(seq, offset);
        }
        tracing::info!(
            events = kept.len(),
            bytes = self.committed.bytes,
            "the journal of events was made shorter"
        );
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    fn remember(&mut self, seq: u64, offset: u64) {
        if self.records.is_multiple_of(SPARSE) {
            self.committed.part.index().push((seq, offset));
        }
        self.records += 1;
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// An `io::Error` for each of several callers.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
