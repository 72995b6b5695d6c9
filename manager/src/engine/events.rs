//! The global journal of events: one file, one order, one writer.
//!
//! [`Events::append`] answers when the event is in the file, which a killed
//! manager does not lose; for what must outlive the host as well
//! ([`writer`] has which), when it is on disk. Readers see it once it is on disk, so
//! that a number that was heard always means the same event. A [`reader`] reads the
//! file from the number it names, so there is no queue
//! that could drop anything. How an event looks in the file is the affair of
//! the [`Codec`]; how a damaged file is mended, of [`mend`]. A file that
//! has grown to its bound is replaced by a shorter one ([`compact`]);
//! readers go on in it from the number that they have reached.

mod compact;
mod mend;
mod reader;
mod writer;

pub use reader::Reader;

use super::error::Error;
use crate::model::Event;
use mend::Found;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot, watch};
use writer::{Append, Writer};

/// Events waiting to be written, at most.
const QUEUE: usize = 1024;

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
    /// Number and offset of a record here and there, in order.
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

impl Events {
    /// Opens or makes the file, mends it, and starts its writer (a thread that
    /// ends with the last clone). The file is made shorter before it grows beyond `bound` bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path, codec: Codec, bound: u64) -> Result<Self, Error> {
        let io = |verb: &str| Error::io(format!("{verb} {}", path.display()));
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
        let file = file.map_err(io("open"))?;
        let Found { seq, bytes, index } = mend::mend(&file, path, codec).map_err(io("read"))?;
        let committed = Committed { seq, bytes, part: Arc::new(Part { file, index: Mutex::new(index) }) };
        let written = Arc::new(AtomicU64::new(seq));
        let writer = Writer::new(path, codec, committed.clone(), Arc::clone(&written), bound);
        let (queue, appends) = channel();
        let (publish, committed) = watch::channel(committed);
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || writer.run(&appends, &publish))
            .map_err(Error::io("start the writer of events"))?;
        Ok(Self { queue, room: Arc::new(Semaphore::new(QUEUE)), committed, written, codec })
    }

    /// Adds an event, whose number is chosen here, and gives the number back
    /// once it is in the file; on disk, if that has to be awaited.
    ///
    /// # Errors
    /// [`Error::Io`]; the event is not in the journal then.
    pub async fn append(&self, event: Event) -> Result<u64, Error> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| Error::Stopping)?;
        let (reply, answer) = oneshot::channel();
        self.queue.send(Append::new(event, reply, room)).map_err(|_| Error::Stopping)?;
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
        Reader::new(committed, self.codec, after, upto)
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
            let events = Events::open(&path, CODEC, BOUND).unwrap();
            assert_eq!(events.last_seq(), round * 300);
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
        let events = Events::open(&dir.path().join("events"), CODEC, BOUND).unwrap();
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
        let events = Events::open(&dir.path().join("events"), CODEC, BOUND).unwrap();
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
        let events = Events::open(&path, CODEC, BOUND).unwrap();
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
        let events = Events::open(&path, CODEC, BOUND).unwrap();
        assert_eq!((seqs(&events, 0).await.len(), events.last_seq()), (41, 41));
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
        let events = Events::open(&path, CODEC, SMALL).unwrap();
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
        let events = Events::open(&path, CODEC, SMALL).unwrap();
        assert_eq!(all(&mut events.read(0)).await, from_the_beginning);
        assert_eq!(events.append(event("b")).await.unwrap(), 2001);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }
}
