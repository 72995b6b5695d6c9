//! The container's log in CRI's format: each line of output becomes
//! `TIME STREAM TAG CONTENT`. TAG is `F` where the output had a newline, and
//! `P` for a piece without one: of a line longer than [`MAX_CONTENT`], or the
//! last words of a stream. Joining the contents, with a newline after each
//! `F`, gives the output back byte for byte.
//!
//! A write that fails loses its entries, which are counted, and nothing else.

use crate::error::{Attempted, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Most bytes of output in one entry, as in CRI.
pub(crate) const MAX_CONTENT: usize = 16 << 10;

/// No entry is longer: the content, and time, stream and tag before it.
const LONGEST: u64 = 17 << 10;

/// Entries are written in batches of about this many bytes at most.
const BATCH: usize = 64 << 10;

/// What has become of the output so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Length of the log, in bytes.
    pub(crate) written: AtomicU64,
    /// Bytes of output that could not be written.
    pub(crate) dropped: AtomicU64,
}

/// The log file.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    counters: Arc<Counters>,
    batch: Vec<u8>,
    /// Bytes of output in `batch`.
    pending: u64,
}

impl Log {
    /// Opens the log for appending, mode 0600; a last entry that a killed shim
    /// did not write to its end is cut off.
    ///
    /// # Errors
    /// Of open(2), pread(2) and ftruncate(2).
    pub(crate) fn open(path: &Path, counters: Arc<Counters>) -> Result<Self> {
        let attempted = || format!("open the log {}", path.display());
        let options = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        let file = options.attempted(attempted)?;
        let length = whole_entries(&file).attempted(attempted)?;
        file.set_len(length).attempted(attempted)?;
        counters.written.store(length, Ordering::Relaxed);
        Ok(Self { file, counters, batch: Vec::new(), pending: 0 })
    }

    fn entry(&mut self, at: &str, stream: &str, tag: Tag, content: &[&[u8]]) {
        let newline: u64 = match tag {
            Tag::Full => 1,
            Tag::Partial => 0,
        };
        self.batch.extend_from_slice(format!("{at} {stream} {} ", tag.letter()).as_bytes());
        for piece in content {
            self.batch.extend_from_slice(piece);
            self.pending += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        }
        self.batch.push(b'\n');
        self.pending += newline;
        if self.batch.len() >= BATCH {
            self.write();
        }
    }

    /// Writes the batch, or counts what is lost; a torn entry is taken back.
    fn write(&mut self) {
        let before = self.counters.written.load(Ordering::Relaxed);
        let size = u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
        if self.file.write_all(&self.batch).is_ok() {
            self.counters.written.store(before + size, Ordering::Release);
        } else {
            self.counters.dropped.fetch_add(self.pending, Ordering::Relaxed);
            if self.file.set_len(before).is_err() {
                let length = self.file.metadata().map_or(before, |m| m.len());
                self.counters.written.store(length, Ordering::Release);
            }
        }
        self.batch.clear();
        self.pending = 0;
    }
}

/// Up to where a log has whole entries; there is no newline within one.
fn whole_entries(file: &File) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    let mut begin = length;
    while begin > 0 {
        let size = begin.min(LONGEST);
        begin -= size;
        let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
        file.read_exact_at(&mut bytes, begin)?;
        if let Some(at) = bytes.iter().rposition(|b| *b == b'\n') {
            return Ok(begin + u64::try_from(at).map_err(std::io::Error::other)? + 1);
        }
    }
    Ok(0)
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    Full,
    Partial,
}

impl Tag {
    fn letter(self) -> char {
        match self {
            Self::Full => 'F',
            Self::Partial => 'P',
        }
    }
}

/// Cuts one stream into entries.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: &'static str,
    /// The beginning of a line whose end has not come; shorter than [`MAX_CONTENT`].
    held: Vec<u8>,
}

impl Lines {
    /// For `stream`: "stdout" or "stderr".
    pub(crate) fn new(stream: &'static str) -> Self {
        Self { stream, held: Vec::new() }
    }

    /// Takes bytes of output that were read at `now`.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: SystemTime, log: &mut Log) {
        let at = rfc3339(now);
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            self.piece(line, &at, log);
        }
        log.write();
    }

    /// Writes the beginning of a line that is held back.
    pub(crate) fn flush(&mut self, now: SystemTime, log: &mut Log) {
        if !self.held.is_empty() {
            log.entry(&rfc3339(now), self.stream, Tag::Partial, &[&self.held]);
            log.write();
        }
        self.held = Vec::new();
    }

    /// Takes a line, or the beginning of one.
    fn piece(&mut self, line: &[u8], at: &str, log: &mut Log) {
        let (mut rest, tag) = match line.strip_suffix(b"\n") {
            Some(rest) => (rest, Tag::Full),
            None => (line, Tag::Partial),
        };
        while self.held.len() + rest.len() > MAX_CONTENT {
            let (now, later) = rest.split_at(MAX_CONTENT - self.held.len());
            log.entry(at, self.stream, Tag::Partial, &[&self.held, now]);
            self.held.clear();
            rest = later;
        }
        match tag {
            Tag::Full => {
                log.entry(at, self.stream, Tag::Full, &[&self.held, rest]);
                self.held.clear();
            }
            Tag::Partial => self.held.extend_from_slice(rest),
        }
    }
}

/// `at` in UTC as RFC 3339 with nine digits of a second; times before 1970 are 1970.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:09}Z", since.subsec_nanos())
}

/// Year, month and day of the `days`th day after 1970-01-01, in the Gregorian
/// calendar. Years are counted from March, so that a leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097; // days of 400 years
    let days = days + 719_468; // from 0000-03-01
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_civil() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (951_868_800, "2000-03-01T00:00:00.000000007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000007Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(seconds, 7)), expected);
        }
    }

    #[test]
    fn output_comes_back_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let counters = Arc::new(Counters::default());
        let mut log = Log::open(&path, Arc::clone(&counters)).unwrap();
        let mut lines = Lines::new("stdout");
        let mut output = Vec::new();
        for size in [0, 1, MAX_CONTENT - 1, MAX_CONTENT, MAX_CONTENT + 1, 3 * MAX_CONTENT, 100_000] {
            output.extend(std::iter::repeat_n(b'x', size));
            output.push(b'\n');
        }
        output.extend(b"no end");
        for chunk in output.chunks(7001) {
            lines.feed(chunk, UNIX_EPOCH, &mut log);
        }
        lines.flush(UNIX_EPOCH, &mut log);
        let text = std::fs::read(&path).unwrap();
        assert_eq!(counters.written.load(Ordering::Relaxed), u64::try_from(text.len()).unwrap());
        let mut back = Vec::new();
        for entry in text.split_inclusive(|b| *b == b'\n') {
            let content = &entry["1970-01-01T00:00:00.000000000Z stdout F ".len()..entry.len() - 1];
            assert!(content.len() <= MAX_CONTENT);
            back.extend_from_slice(content);
            if entry.starts_with(b"1970-01-01T00:00:00.000000000Z stdout F ") {
                back.push(b'\n');
            }
        }
        assert!(back == output);
    }

    #[test]
    fn a_torn_last_entry_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let length = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let counters = Arc::new(Counters::default());
            drop(Log::open(&path, Arc::clone(&counters)).unwrap());
            let length = std::fs::metadata(&path).unwrap().len();
            assert_eq!(counters.written.load(Ordering::Relaxed), length);
            length
        };
        assert_eq!(length(b""), 0);
        assert_eq!(length(b"torn"), 0);
        assert_eq!(length(b"one\ntwo\n"), 8);
        assert_eq!(length(b"one\ntw"), 4);
        assert_eq!(length(&[b"one\n".to_vec(), vec![b'x'; 50_000]].concat()), 4);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let counters = Arc::new(Counters::default());
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut log = Log { file, counters: Arc::clone(&counters), batch: Vec::new(), pending: 0 };
        Lines::new("stderr").feed(b"four\n", UNIX_EPOCH, &mut log);
        assert_eq!(counters.dropped.load(Ordering::Relaxed), 5);
        assert_eq!(counters.written.load(Ordering::Relaxed), 0);
    }
}
