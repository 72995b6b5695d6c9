//! The journal: what happened to the container, in a file that outlives the
//! shim. A record is in the file before anybody hears of it, and so survives a shim
//! that is killed. The end of the container is synced as well, for a host that fails
//! while no manager hears of it; all else is as gone then as the container. Watchers read the
//! file itself, one record at a time; nothing is queued for them, so nothing
//! can be dropped. The framing is [`sextant_proto::journal`]'s, the payload
//! [`crate::service::wire`]'s.

mod compact;

use crate::error::{Attempted, Error, Result};
use crate::event::Happening;
use crate::faults::{self, Point};
use crate::service::wire;
use nix::fcntl::{FallocateFlags, Flock, FlockArg};
use sextant_proto::journal::{HEADER, next, record_size};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes that are reserved on disk, so that an exit can be recorded on a full one.
const RESERVED: i64 = 64 << 10;

/// Length at which a journal is written anew, shorter.
const BOUND: u64 = 256 << 10;

/// The writing end; there is one, which the file's lock makes sure of.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Flock<File>,
    length: u64,
    last_seq: u64,
    /// Length at which it is made shorter: above the bound where much has to stay.
    limit: u64,
}

/// Number and times of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// From 1 on, without a gap.
    pub(crate) seq: u64,
    /// When it was written.
    pub(crate) at: SystemTime,
    /// The same on `CLOCK_MONOTONIC`, in nanoseconds.
    pub(crate) monotonic_ns: u64,
}

impl Journal {
    /// Opens or makes the journal, mode 0600, and cuts off a torn last record.
    ///
    /// # Errors
    /// When it cannot be opened, or another shim holds it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let attempted = || format!("open the journal {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .attempted(attempted)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, e)| Error::new(attempted(), e).hint("another shim holds it"))?;
        let (length, last_seq) = whole_part(path).attempted(attempted)?;
        file.set_len(length).attempted(attempted)?;
        reserve(&file);
        Ok(Self { path: path.to_owned(), file, length, last_seq, limit: BOUND })
    }

    /// Number of the last record; 0 when there is none.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Makes it shorter when it has grown to its bound; the manager knows its records up to `told`.
    /// Readers go on in the new file ([`Reader::next`]). What fails is tried again much later.
    pub(crate) fn keep_short(&mut self, told: u64) {
        if self.length < self.limit {
            return;
        }
        if let Err(e) = self.shorten(told) {
            complain!("make the journal {} shorter: {e}", self.path.display());
        }
        self.limit = BOUND.max(self.length.saturating_mul(2));
    }

    fn shorten(&mut self, told: u64) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&new)?;
        file.set_len(0)?;
        compact::copy(Reader::open(&self.path)?, &file, told)?;
        // Nobody else is to write to it from the moment that it has the name.
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| e)?;
        reserve(&file);
        file.sync_all()?;
        faults::reach(Point::JournalCompact)?;
        std::fs::rename(&new, &self.path)?;
        self.length = file.metadata()?.len();
        self.file = file;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }

    /// Appends one record; it is in the file when this returns.
    ///
    /// # Errors
    /// When it cannot be written; the file is as before then.
    pub(crate) fn append(&mut self, what: &Happening) -> Result<Stamp> {
        let stamp = Stamp { seq: self.last_seq + 1, at: SystemTime::now(), monotonic_ns: monotonic_ns()? };
        let attempted = || format!("write record {} of the journal {}", stamp.seq, self.path.display());
        let record = sextant_proto::journal::encode(&wire::event(stamp, what))
            .map_err(|size| Error::new(attempted(), format!("its {size} bytes are too many")))?;
        if let Err(e) = faults::write(Point::JournalAppend, &record, |bytes| (&*self.file).write_all(bytes)) {
            self.file.set_len(self.length).attempted(attempted)?;
            return Err(Error::new(attempted(), e));
        }
        self.length += u64::try_from(record.len()).attempted(attempted)?;
        self.last_seq = stamp.seq;
        Ok(stamp)
    }

    /// The file, to be synced where that keeps nobody waiting.
    ///
    /// # Errors
    /// Of fcntl(2).
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Keeps room on disk. A file system that has no fallocate(2) does without.
fn reserve(file: &File) {
    nix::fcntl::fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, RESERVED).unwrap_or_default();
}

/// Length and last number of the whole records of a journal.
fn whole_part(path: &Path) -> io::Result<(u64, u64)> {
    let mut reader = Reader::open(path)?;
    let mut last_seq = 0;
    while let Some(event) = reader.next()? {
        last_seq = event.seq;
    }
    Ok((reader.offset, last_seq))
}

/// Reads a journal from its beginning, holding one record at a time; also on in the file that has
/// taken its place.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    file: File,
    offset: u64,
    /// Number of the last record that was read.
    seq: u64,
}

impl Reader {
    /// Opens the journal at `path`.
    ///
    /// # Errors
    /// Of open(2).
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)?, offset: 0, seq: 0 })
    }

    /// The next whole record, in the order of their numbers; `None` when there is none (yet).
    ///
    /// # Errors
    /// Of open(2), stat(2) and pread(2).
    pub(crate) fn following(&mut self) -> io::Result<Option<wire::Event>> {
        loop {
            match self.next()? {
                Some(event) if event.seq > self.seq => {
                    self.seq = event.seq;
                    return Ok(Some(event));
                }
                // It was read in the file before.
                Some(_) => {}
                None if self.is_replaced()? => (self.file, self.offset) = (File::open(&self.path)?, 0),
                None => return Ok(None),
            }
        }
    }

    /// Whether another file has its name.
    fn is_replaced(&self) -> io::Result<bool> {
        let identity = |m: std::fs::Metadata| (m.dev(), m.ino());
        Ok(identity(std::fs::metadata(&self.path)?) != identity(self.file.metadata()?))
    }

    /// The next whole record; `None` when there is none (yet).
    ///
    /// # Errors
    /// Of pread(2).
    pub(crate) fn next(&mut self) -> io::Result<Option<wire::Event>> {
        let mut header = [0; HEADER];
        if !self.read_at_offset(&mut header)? {
            return Ok(None);
        }
        let Some(size) = record_size(&header) else { return Ok(None) };
        let left = self.file.metadata()?.len().saturating_sub(self.offset);
        if u64::try_from(size).map_err(io::Error::other)? > left {
            return Ok(None);
        }
        let mut bytes = vec![0; size];
        if !self.read_at_offset(&mut bytes)? {
            return Ok(None);
        }
        let Some((event, size)) = next(&bytes) else { return Ok(None) };
        self.offset += u64::try_from(size).map_err(io::Error::other)?;
        Ok(Some(event))
    }

    /// Whether `buffer` could be filled from the current offset.
    fn read_at_offset(&self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact_at(buffer, self.offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Now on `CLOCK_MONOTONIC`, in nanoseconds.
fn monotonic_ns() -> Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .attempted(|| "read CLOCK_MONOTONIC".into())?;
    let seconds = u64::try_from(now.tv_sec()).attempted(|| "read CLOCK_MONOTONIC".into())?;
    let nanos = u64::try_from(now.tv_nsec()).attempted(|| "read CLOCK_MONOTONIC".into())?;
    Ok(seconds * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sextant_runtime::contract::args::Limits;

    #[test]
    fn records_are_numbered_and_a_torn_tail_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        for _ in 0..2 {
            journal.append(&Happening::Deleted).unwrap();
        }
        let whole = std::fs::metadata(&path).unwrap().len();
        drop(journal);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&[9, 0, 0, 0, 1, 2, 3, 4, 5]).unwrap();

        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        assert_eq!(journal.append(&Happening::Deleted).unwrap().seq, 3);
        let mut reader = Reader::open(&path).unwrap();
        let seqs: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).map(|e| e.seq).collect();
        assert_eq!(seqs, [1, 2, 3]);
    }

    /// A record of which few fill a journal.
    fn large() -> Happening {
        let cpuset_cpus = Some("0,".repeat(4096));
        Happening::Updated { limits: Limits { cpuset_cpus, ..Limits::default() } }
    }

    #[test]
    fn a_long_journal_is_made_shorter_under_its_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&Happening::Paused).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!(reader.following().unwrap().unwrap().seq, 1);
        let mut seq = 1;
        while journal.length < BOUND {
            seq = journal.append(&large()).unwrap().seq;
        }
        assert!(reader.following().unwrap().is_some_and(|e| e.seq == 2));
        journal.keep_short(seq - 1);
        assert!(journal.length < 20_000, "{}", journal.length);
        assert_eq!(journal.append(&Happening::Resumed).unwrap().seq, seq + 1);
        // Its lock is that of the new file.
        assert!(Journal::open(&path).is_err());
        // Who reads on in the old file comes to the new one, and misses none that is there.
        let rest: Vec<u64> =
            std::iter::from_fn(|| reader.following().unwrap()).map(|event| event.seq).collect();
        assert!(rest.iter().copied().eq(3..=seq + 1), "{}", rest.len());
        let anew = std::iter::from_fn({
            let mut reader = Reader::open(&path).unwrap();
            move || reader.following().unwrap()
        });
        assert_eq!(anew.map(|event| event.seq).collect::<Vec<_>>(), [1, seq, seq + 1]);
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().last_seq(), seq + 1);
    }

    #[test]
    fn what_the_manager_does_not_know_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        while journal.length < BOUND {
            journal.append(&large()).unwrap();
        }
        let before = (journal.length, journal.last_seq());
        journal.keep_short(0);
        assert_eq!((journal.length, journal.last_seq()), before);
        assert!(journal.limit >= 2 * BOUND);
    }

    #[test]
    fn a_second_shim_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let _first = Journal::open(&path).unwrap();
        assert!(Journal::open(&path).unwrap_err().line().contains("another shim"));
    }
}
