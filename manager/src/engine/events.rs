//! The global journal of events: one file, one order, one writer.
//!
//! [`Events::append`] answers when the event is on disk; only then readers see
//! it. A reader reads the file from the number it names, so there is no queue
//! that could drop anything. How an event looks in the file is the affair of
//! the [`Codec`]; how a damaged file is mended, of [`super::mend`]. A file that
//! has grown to its bound is replaced by a shorter one ([`super::compact`]);
//! readers go on in it from the number that they have reached.

use super::compact::compact;
use super::error::Error;
use super::mend::mend;
use crate::model::Event;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
#[derive(Clone, Debug)]
struct Committed {
    seq: u64,
    bytes: u64,
    part: Arc<Part>,
}

/// The file, until it is replaced by a shorter one.
#[derive(Debug)]
struct Part {
    file: File,
    /// Number and offset of one in [`SPARSE`] records.
    index: Mutex<Vec<(u64, u64)>>,
}

impl Part {
    fn new(file: File) -> Self {
        Self { file, index: Mutex::default() }
    }

    fn index(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An offset that is not behind the first event above `after`.
    fn offset(&self, after: u64) -> u64 {
        let index = self.index();
        let place = index.partition_point(|(seq, _)| *seq <= after.saturating_add(1));
        place.checked_sub(1).and_then(|p| index.get(p)).map_or(0, |(_, offset)| *offset)
    }
}

/// The journal. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Append>,
    committed: watch::Receiver<Committed>,
    codec: Codec,
}

#[derive(Debug)]
struct Append {
    event: Event,
    reply: oneshot::Sender<Result<u64, Error>>,
}

impl Events {
    /// Opens or makes the file, mends it, and starts its writer (a thread that
    /// ends with the last clone). Gives back all events there are. The file is
    /// made shorter before it grows beyond `bound` bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path, codec: Codec, bound: u64) -> Result<(Self, Vec<Event>), Error> {
        let io = |verb: &str| Error::io(format!("{verb} {}", path.display()));
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let file = file.map_err(io("open"))?;
        let (events, bytes) = mend(&file, path, codec).map_err(io("read"))?;
        let seq = events.last().map_or(0, |e| e.seq);
        let committed = Committed { seq, bytes, part: Arc::new(Part::new(file)) };
        let mut writer = Writer { path: path.into(), codec, committed, records: 0, bound, limit: bound };
        let mut offset = 0;
        for event in &events {
            writer.remember(event.seq, offset);
            let size = (codec.encode)(event).map_err(|e| io("read")(io::Error::other(e)))?.len();
            offset += u64::try_from(size).unwrap_or(u64::MAX);
        }
        let (queue, appends) = mpsc::channel(QUEUE);
        let (publish, committed) = watch::channel(writer.committed.clone());
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || writer.run(appends, &publish))
            .map_err(Error::io("start the writer of events"))?;
        Ok((Self { queue, committed, codec }, events))
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

    /// Size of the journal.
    pub fn bytes(&self) -> u64 {
        self.committed.borrow().bytes
    }

    /// Reads the events numbered above `after`.
    pub fn read(&self, after: u64) -> Reader {
        let committed = self.committed.clone();
        let part = Arc::clone(&committed.borrow().part);
        Reader { offset: part.offset(after), part, after, committed, codec: self.codec }
    }
}

/// Reads on from one place; each reader is as fast as its client.
#[derive(Debug)]
pub struct Reader {
    part: Arc<Part>,
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
            let Committed { bytes: end, part, .. } = self.committed.borrow_and_update().clone();
            if !Arc::ptr_eq(&part, &self.part) {
                (self.offset, self.part) = (part.offset(self.after), part);
            }
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
            let (part, offset, codec) = (Arc::clone(&self.part), self.offset, self.codec);
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; size.min(left)];
                part.file.read_exact_at(&mut bytes, offset)?;
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

/// The one who writes.
struct Writer {
    path: PathBuf,
    codec: Codec,
    committed: Committed,
    /// Records in the file.
    records: u64,
    /// The size that the file is not to grow beyond.
    bound: u64,
    /// The size at which it is made shorter; above the bound after that has failed, and where
    /// what must not be forgotten takes most of it.
    limit: u64,
}

impl Writer {
    /// Writes what waits in one go, syncs once, then publishes and answers.
    fn run(mut self, mut queue: mpsc::Receiver<Append>, publish: &watch::Sender<Committed>) {
        let mut batch = Vec::new();
        while queue.blocking_recv_many(&mut batch, QUEUE) > 0 {
            let first = self.committed.seq + 1;
            let result = self.write(&batch);
            if let Ok((seq, bytes)) = result {
                (self.committed.seq, self.committed.bytes) = (seq, bytes);
            }
            publish.send_replace(self.committed.clone());
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

    /// Number of the last event, and size of the file, after the batch.
    fn write(&mut self, batch: &[Append]) -> io::Result<(u64, u64)> {
        let mut bytes = Vec::new();
        let mut seq = self.committed.seq;
        let mut places = Vec::new();
        for append in batch {
            seq += 1;
            let event = Event { seq, ..append.event.clone() };
            places.push((seq, len(&bytes)));
            bytes.extend((self.codec.encode)(&event).map_err(io::Error::other)?);
        }
        if self.committed.bytes + len(&bytes) > self.limit {
            self.try_to_shorten();
        }
        let before = self.committed.bytes;
        let file = &self.committed.part.file;
        if let Err(error) = file.write_all_at(&bytes, before).and_then(|()| file.sync_data()) {
            // Half a record must not stay: the next one begins where this one did.
            file.set_len(before)?;
            return Err(error);
        }
        for (seq, offset) in places {
            self.remember(seq, before + offset);
        }
        Ok((seq, before + len(&bytes)))
    }

    /// Makes the file shorter; when that fails, it is tried again much later.
    fn try_to_shorten(&mut self) {
        if let Err(error) = self.shorten() {
            tracing::warn!(%error, file = %self.path.display(), "cannot make the journal of events shorter");
            self.limit = self.committed.bytes + self.bound / 2;
        }
    }

    /// Replaces the file by one of half the bound, and what must not be forgotten beside.
    fn shorten(&mut self) -> io::Result<()> {
        let mut old = vec![0; usize::try_from(self.committed.bytes).map_err(io::Error::other)?];
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
        std::fs::rename(&new, &self.path)?;
        // From here on the new one is the journal, whatever comes.
        (self.committed.bytes, self.committed.part) = (len(&bytes), Arc::new(Part::new(file)));
        (self.records, self.limit) = (0, self.bound.max(self.committed.bytes + self.bound / 4));
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
            oom_kills: 0,
            exec: None,
        }
    }

    /// Beyond what these tests write.
    const BOUND: u64 = 1 << 20;

    async fn seqs(events: &Events, after: u64) -> Vec<u64> {
        let mut reader = events.read(after);
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
            let (events, history) = Events::open(&path, CODEC, BOUND).unwrap();
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
        let (events, _) = Events::open(&dir.path().join("events"), CODEC, BOUND).unwrap();
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
        let (events, _) = Events::open(&dir.path().join("events"), CODEC, BOUND).unwrap();
        let mut reader = events.read(0);
        assert!(reader.next().await.unwrap().is_empty());
        let (more, added) = tokio::join!(reader.more(), events.append(event("b")));
        more.unwrap();
        assert_eq!(added.unwrap(), 1);
        assert_eq!(reader.next().await.unwrap()[0].container, "b");
    }

    /// Numbers and kinds of what comes above `after` now.
    async fn all(reader: &mut Reader) -> Vec<(u64, EventKind)> {
        let mut all = Vec::new();
        loop {
            let next = reader.next().await.unwrap();
            if next.is_empty() {
                return all;
            }
            all.extend(next.into_iter().map(|e| (e.seq, e.kind)));
        }
    }

    #[tokio::test]
    async fn the_file_keeps_within_its_bound_and_readers_are_told_of_the_gap() {
        const SMALL: u64 = 4 << 10;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let (events, _) = Events::open(&path, CODEC, SMALL).unwrap();
        events.append(event("lives")).await.unwrap();
        let mut slow = events.read(0);
        assert_eq!(all(&mut slow).await, [(1, EventKind::Created)]);
        let mut follower = events.read(0);
        let mut followed = Vec::new();
        for seq in 2..=2000 {
            let kind = if seq % 2 == 0 { EventKind::Created } else { EventKind::Deleted };
            let number = events.append(Event { kind, ..event("a") }).await.unwrap();
            assert_eq!(number, seq);
            followed.extend(all(&mut follower).await);
            assert!(std::fs::metadata(&path).unwrap().len() <= SMALL);
        }
        // Who keeps up misses nothing, and reads nothing twice.
        assert!(followed.iter().map(|(seq, _)| *seq).eq(1..=2000), "{followed:?}");
        assert!(followed.iter().all(|(_, kind)| *kind != EventKind::Gap));
        // Who does not is told.
        let late = all(&mut slow).await;
        assert_eq!(late[0].1, EventKind::Gap);
        assert!(late[1..].iter().all(|(_, kind)| *kind != EventKind::Gap), "{late:?}");
        assert!(late.iter().map(|(seq, _)| *seq).eq(late[0].0..=2000), "{late:?}");
        let from_the_beginning = all(&mut events.read(0)).await;
        assert_eq!(from_the_beginning[0], (1, EventKind::Created), "the last word about what still exists");
        assert_eq!(from_the_beginning[1..], late);
        assert_eq!(all(&mut events.read(1990)).await.len(), 10);
        drop((events, slow, follower));
        // The same numbers after a restart, and on from there.
        let (events, history) = Events::open(&path, CODEC, SMALL).unwrap();
        let again: Vec<_> = history.iter().map(|e| (e.seq, e.kind)).collect();
        assert_eq!(again, from_the_beginning);
        assert_eq!(events.append(event("b")).await.unwrap(), 2001);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }
}
