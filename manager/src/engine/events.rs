//! The global journal of events: one file, one order, one writer.
//!
//! [`Events::append`] answers when the event is in the file, which a killed
//! manager does not lose; for what must outlive the host as well
//! ([`is_awaited`]), when it is on disk. Readers see it once it is on disk, so
//! that a number that was heard always means the same event. A reader reads the
//! file from the number it names, so there is no queue
//! that could drop anything. How an event looks in the file is the affair of
//! the [`Codec`]; how a damaged file is mended, of [`super::mend`]. A file that
//! has grown to its bound is replaced by a shorter one ([`super::compact`]);
//! readers go on in it from the number that they have reached.

use super::compact::compact;
use super::error::Error;
use super::mend::mend;
use crate::faults::{self, Point};
use crate::model::{Event, EventKind};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// Events waiting to be written, at most.
const QUEUE: usize = 1024;
/// Bytes that a reader reads at once.
const CHUNK: usize = 64 << 10;
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
    queue: Sender<Append>,
    room: Arc<Semaphore>,
    committed: watch::Receiver<Committed>,
    /// Number of the last event in the file.
    written: Arc<AtomicU64>,
    codec: Codec,
}

#[derive(Debug)]
struct Append {
    event: Event,
    reply: oneshot::Sender<Result<u64, Error>>,
    /// Its place in the queue.
    _room: OwnedSemaphorePermit,
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
        let written = Arc::new(AtomicU64::new(seq));
        let mut writer = Writer {
            path: path.into(),
            codec,
            end: (seq, bytes),
            committed,
            written: Arc::clone(&written),
            due: None,
            records: 0,
            bound,
            limit: bound,
        };
        let mut offset = 0;
        for event in &events {
            writer.remember(event.seq, offset);
            let size = (codec.encode)(event).map_err(|e| io("read")(io::Error::other(e)))?.len();
            offset += u64::try_from(size).unwrap_or(u64::MAX);
        }
        let (queue, appends) = channel();
        let (publish, committed) = watch::channel(writer.committed.clone());
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || writer.run(&appends, &publish))
            .map_err(Error::io("start the writer of events"))?;
        Ok((Self { queue, room: Arc::new(Semaphore::new(QUEUE)), committed, written, codec }, events))
    }

    /// Adds an event, whose number is chosen here, and gives the number back
    /// once it is in the file; on disk, if that has to be awaited.
    ///
    /// # Errors
    /// [`Error::Io`]; the event is not in the journal then.
    pub async fn append(&self, event: Event) -> Result<u64, Error> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| Error::Stopping)?;
        let (reply, answer) = oneshot::channel();
        self.queue.send(Append { event, reply, _room: room }).map_err(|_| Error::Stopping)?;
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

    /// Number of the last event that was added, on disk or not yet.
    pub fn last_added(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Number of the last event on disk, once all that was added before is.
    pub async fn settled(&self) -> u64 {
        let (mut committed, upto) = (self.committed.clone(), self.written.load(Ordering::Acquire));
        // An error says that the writer has gone: what is on disk now is all.
        drop(committed.wait_for(|committed| committed.seq >= upto).await);
        self.last_seq()
    }

    /// Reads the events numbered above `after`. All that were added before are read
    /// before the reader says that there is none.
    pub fn read(&self, after: u64) -> Reader {
        let (committed, upto) = (self.committed.clone(), self.written.load(Ordering::Acquire));
        let part = Arc::clone(&committed.borrow().part);
        Reader { offset: part.offset(after), part, after, upto, committed, codec: self.codec }
    }
}

/// Reads on from one place; each reader is as fast as its client.
#[derive(Debug)]
pub struct Reader {
    part: Arc<Part>,
    offset: u64,
    after: u64,
    /// The last event that was in the file when the reader was made.
    upto: u64,
    committed: watch::Receiver<Committed>,
    codec: Codec,
}

impl Reader {
    /// The next events, in order; empty when all that are on disk were read, and among them
    /// all that were added before the reader was made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        loop {
            let Committed { seq, bytes: end, part } = self.committed.borrow_and_update().clone();
            if !Arc::ptr_eq(&part, &self.part) {
                (self.offset, self.part) = (part.offset(self.after), part);
            }
            if self.offset >= end {
                if seq < self.upto {
                    self.more().await?;
                    continue;
                }
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
    /// Number of the last event in the file, and its size.
    end: (u64, u64),
    /// What of it is on disk.
    committed: Committed,
    written: Arc<AtomicU64>,
    /// When what is not on disk yet is to be synced at the latest.
    due: Option<Instant>,
    /// Records in the file.
    records: u64,
    /// The size that the file is not to grow beyond.
    bound: u64,
    /// The size at which it is made shorter; above the bound after that has failed, and where
    /// what must not be forgotten takes most of it.
    limit: u64,
}

impl Writer {
    /// Writes what waits in one go, syncs it if any of it has to be, answers, and publishes what is on disk.
    fn run(mut self, queue: &Receiver<Append>, publish: &watch::Sender<Committed>) {
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
            life: 0,
            restarting: None,
            probe: None,
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

    #[tokio::test]
    async fn what_nobody_awaits_is_read_all_the_same_and_numbered_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let (events, _) = Events::open(&path, CODEC, BOUND).unwrap();
        let started = || Event { kind: EventKind::Started, ..event("a") };
        for round in 0..20 {
            let seq = events.append(started()).await.unwrap();
            assert_eq!(seq, 2 * round + 1);
            // In the file at once: a manager that is killed now loses nothing.
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((CODEC.decode)(&bytes).events.last().map(|e| e.seq), Some(seq));
            assert_eq!(seqs(&events, seq - 1).await, [seq]);
            assert_eq!(events.settled().await, seq);
            assert_eq!(events.append(event("a")).await.unwrap(), seq + 1);
            assert_eq!(events.last_seq(), seq + 1, "what is awaited is on disk");
        }
        events.append(started()).await.unwrap();
        drop(events);
        let (events, history) = Events::open(&path, CODEC, BOUND).unwrap();
        assert_eq!((history.len(), events.last_seq()), (41, 41));
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
