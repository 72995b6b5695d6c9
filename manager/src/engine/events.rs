//! The global journal of events: one file, one order, one writer.
//!
//! [`Events::append`] answers when the event is on disk; only then readers see
//! it. A reader reads the file from the number it names, so there is no queue
//! that could drop anything. How an event looks in the file is the affair of
//! the [`Codec`]; how a damaged file is mended, of [`super::mend`].

use super::error::Error;
use super::mend::mend;
use crate::model::Event;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};

/// Events waiting to be written, at most.
const QUEUE: usize = 1024;
/// Bytes that a reader reads at once.
const CHUNK: usize = 64 << 10;
/// One in so many events has its offset remembered.
const SPARSE: u64 = 256;

/// Events to bytes and back.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// One event as a record; an error says why it cannot be one.
    pub encode: fn(&Event) -> Result<Vec<u8>, String>,
    /// The whole records at the beginning of the bytes.
    pub decode: fn(&[u8]) -> Whole,
}

/// What bytes hold.
#[derive(Debug)]
pub struct Whole {
    /// The records up to the end or to the first one that is not whole.
    pub events: Vec<Event>,
    /// How many bytes they take.
    pub bytes: usize,
}

/// What is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Committed {
    seq: u64,
    bytes: u64,
}

/// The journal. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Append>,
    committed: watch::Receiver<Committed>,
    /// Number and offset of one in [`SPARSE`] events.
    index: Arc<Mutex<Vec<(u64, u64)>>>,
    path: Arc<PathBuf>,
    codec: Codec,
}

#[derive(Debug)]
struct Append {
    event: Event,
    reply: oneshot::Sender<Result<u64, Error>>,
}

impl Events {
    /// Opens or makes the file, mends it, and starts its writer (a thread that
    /// ends with the last clone). Gives back all events there are.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path, codec: Codec) -> Result<(Self, Vec<Event>), Error> {
        let io = |verb: &str| Error::io(format!("{verb} {}", path.display()));
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let file = file.map_err(io("open"))?;
        let (events, bytes) = mend(&file, path, codec).map_err(io("read"))?;
        let writer = Writer {
            file,
            path: path.into(),
            codec,
            committed: Committed { seq: events.last().map_or(0, |e| e.seq), bytes },
            index: Arc::default(),
        };
        let mut offset = 0;
        for event in &events {
            writer.remember(event.seq, offset);
            let size = (codec.encode)(event).map_err(|e| io("read")(io::Error::other(e)))?.len();
            offset += u64::try_from(size).unwrap_or(u64::MAX);
        }
        let (queue, appends) = mpsc::channel(QUEUE);
        let (publish, committed) = watch::channel(writer.committed);
        let index = Arc::clone(&writer.index);
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || writer.run(appends, &publish))
            .map_err(Error::io("start the writer of events"))?;
        Ok((Self { queue, committed, index, path: Arc::new(path.into()), codec }, events))
    }

    /// Adds an event, whose number is chosen here, and gives the number back
    /// once it is on disk.
    ///
    /// # Errors
    /// [`Error::Io`]; the event is not in the journal then.
    pub async fn append(&self, event: Event) -> Result<u64, Error> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Append { event, reply }).await.map_err(|_| Error::Stopping)?;
        answer.await.map_err(|_| Error::Stopping)?
    }

    /// Number of the last event on disk; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        self.committed.borrow().seq
    }

    /// Reads the events numbered above `after`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read(&self, after: u64) -> Result<Reader, Error> {
        let file = File::open(&*self.path).map_err(Error::io(format!("open {}", self.path.display())))?;
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        // Of the remembered ones, the last that is not behind the first wanted.
        let place = index.partition_point(|(seq, _)| *seq <= after.saturating_add(1));
        let offset = place.checked_sub(1).and_then(|p| index.get(p)).map_or(0, |(_, offset)| *offset);
        drop(index);
        let committed = self.committed.clone();
        Ok(Reader { file: Arc::new(file), offset, after, committed, codec: self.codec })
    }
}

/// Reads on from one place; each reader is as fast as its client.
#[derive(Debug)]
pub struct Reader {
    file: Arc<File>,
    offset: u64,
    after: u64,
    committed: watch::Receiver<Committed>,
    codec: Codec,
}

impl Reader {
    /// The next events, in order; empty when all that are on disk were read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        loop {
            let end = self.committed.borrow_and_update().bytes;
            if self.offset >= end {
                return Ok(Vec::new());
            }
            let whole = self.chunk(end).await?;
            self.offset += u64::try_from(whole.bytes).unwrap_or(u64::MAX);
            let after = self.after;
            let events: Vec<Event> = whole.events.into_iter().filter(|e| e.seq > after).collect();
            if let Some(last) = events.last() {
                self.after = last.seq;
                return Ok(events);
            }
        }
    }

    /// Returns when there may be more, or with an error when there never will be.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn more(&mut self) -> Result<(), Error> {
        self.committed.changed().await.map_err(|_| Error::Stopping)
    }

    /// Whole records from the offset on; reads more while not even one is whole.
    async fn chunk(&self, end: u64) -> Result<Whole, Error> {
        let mut size = CHUNK;
        loop {
            let left = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
            let (file, offset, codec) = (Arc::clone(&self.file), self.offset, self.codec);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; size.min(left)];
                file.read_exact_at(&mut bytes, offset)?;
                Ok((codec.decode)(&bytes))
            });
            let whole = read.await.map_err(|_| Error::Stopping)?.map_err(Error::io("read the events"))?;
            if whole.bytes > 0 {
                return Ok(whole);
            }
            if size >= left {
                let damage =
                    io::Error::new(io::ErrorKind::InvalidData, "the file was changed by somebody else");
                return Err(Error::io("read the events")(damage));
            }
            size *= 4;
        }
    }
}

/// Owns the file.
struct Writer {
    file: File,
    path: PathBuf,
    codec: Codec,
    committed: Committed,
    index: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Writer {
    /// Writes what waits in one go, syncs once, then publishes and answers.
    fn run(mut self, mut queue: mpsc::Receiver<Append>, publish: &watch::Sender<Committed>) {
        let mut batch = Vec::new();
        while queue.blocking_recv_many(&mut batch, QUEUE) > 0 {
            let result = self.write(&batch);
            let first = self.committed.seq + 1;
            if let Ok(committed) = result {
                self.committed = committed;
                publish.send_replace(committed);
            }
            for (append, seq) in batch.drain(..).zip(first..) {
                let answer = match &result {
                    Ok(_) => Ok(seq),
                    Err(e) => Err(Error::io(format!("write {}", self.path.display()))(copy(e))),
                };
                if append.reply.send(answer).is_err() {
                    tracing::debug!(seq, "nobody waits for the number of an event");
                }
            }
        }
    }

    fn write(&mut self, batch: &[Append]) -> io::Result<Committed> {
        let mut bytes = Vec::new();
        let mut committed = self.committed;
        let mut places = Vec::new();
        for append in batch {
            committed.seq += 1;
            let event = Event { seq: committed.seq, ..append.event.clone() };
            places.push((committed.seq, self.committed.bytes + len(&bytes)));
            bytes.extend((self.codec.encode)(&event).map_err(io::Error::other)?);
        }
        committed.bytes += len(&bytes);
        if let Err(error) =
            self.file.write_all_at(&bytes, self.committed.bytes).and_then(|()| self.file.sync_data())
        {
            // Half a record must not stay: the next one begins where this one did.
            self.file.set_len(self.committed.bytes)?;
            return Err(error);
        }
        for (seq, offset) in places {
            self.remember(seq, offset);
        }
        Ok(committed)
    }

    fn remember(&self, seq: u64, offset: u64) {
        if seq % SPARSE == 1 {
            self.index.lock().unwrap_or_else(PoisonError::into_inner).push((seq, offset));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::convert::CODEC;
    use crate::model::EventKind;
    use std::time::SystemTime;

    fn event(container: &str) -> Event {
        Event {
            seq: 0,
            container: container.into(),
            kind: EventKind::Created,
            at: SystemTime::UNIX_EPOCH,
            pid: Some(7),
            exit: None,
            failure: None,
            container_seq: 1,
            output_lost: None,
        }
    }

    async fn seqs(events: &Events, after: u64) -> Vec<u64> {
        let mut reader = events.read(after).unwrap();
        let mut all = Vec::new();
        loop {
            let next = reader.next().await.unwrap();
            if next.is_empty() {
                return all;
            }
            all.extend(next.iter().map(|e| e.seq));
        }
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart_and_readers_begin_anywhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        for round in 0..3 {
            let (events, history) = Events::open(&path, CODEC).unwrap();
            assert_eq!(history.len(), round * 300);
            for _ in 0..300 {
                events.append(event("a")).await.unwrap();
            }
            let last = events.last_seq();
            assert_eq!(seqs(&events, 0).await, (1..=last).collect::<Vec<_>>());
            for after in [1, 255, 256, 257, last - 1, last, last + 5] {
                assert_eq!(
                    seqs(&events, after).await,
                    (after + 1..=last).collect::<Vec<_>>(),
                    "after {after}"
                );
            }
        }
    }

    #[tokio::test]
    async fn events_of_many_writers_are_each_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (events, _) = Events::open(&dir.path().join("events"), CODEC).unwrap();
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let events = events.clone();
                tokio::spawn(async move {
                    let mut given = Vec::new();
                    for _ in 0..20 {
                        given.push(events.append(event("a")).await.unwrap());
                    }
                    given
                })
            })
            .collect();
        let mut given = Vec::new();
        for writer in writers {
            given.extend(writer.await.unwrap());
        }
        given.sort_unstable();
        assert_eq!(given, (1..=160).collect::<Vec<_>>());
        assert_eq!(seqs(&events, 0).await, given);
    }

    #[tokio::test]
    async fn a_follower_is_woken() {
        let dir = tempfile::tempdir().unwrap();
        let (events, _) = Events::open(&dir.path().join("events"), CODEC).unwrap();
        let mut reader = events.read(0).unwrap();
        assert!(reader.next().await.unwrap().is_empty());
        let (more, added) = tokio::join!(reader.more(), events.append(event("b")));
        more.unwrap();
        assert_eq!(added.unwrap(), 1);
        assert_eq!(reader.next().await.unwrap()[0].container, "b");
    }
}
