//! The container's log in CRI's format: each line of output becomes
//! `TIME STREAM TAG CONTENT`. TAG is `F` where the output had a newline, and
//! `P` for a piece without one: of a line longer than [`MAX_CONTENT`], or the
//! last words of a stream. Joining the contents, with a newline after each
//! `F`, gives the output back byte for byte.
//!
//! Output that is above the rate limit ([`limit`]), or cannot be written, is
//! dropped and counted, and nothing else comes of it. As soon as there is room,
//! a line of its own says how much it was ([`sextant_proto::logfile::DROPPED`]).
//! [`files`] rotates.

pub(crate) mod files;
mod limit;
mod time;

use crate::error::Result;
use files::{Bounds, Files};
use limit::Limit;
use sextant_proto::logfile::{DROPPED, NOT_WRITTEN, RATE_LIMIT};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};
use time::rfc3339;

/// Most bytes of output in one entry, as in CRI.
pub(crate) const MAX_CONTENT: usize = 16 << 10;

/// Entries are written in batches of about this many bytes at most.
const BATCH: usize = 64 << 10;

/// Bytes of log that are looked at for output which a killed shim has written, at most: what one read
/// of each stream becomes, and what is told between.
const REPLAYED: u64 = 1 << 20;

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Of its files.
    pub(crate) bounds: Bounds,
    /// Bytes of output a second; `None` is no limit.
    pub(crate) rate: Option<u64>,
}

/// What has become of the output so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Bytes of log that were ever written.
    pub(crate) written: AtomicU64,
    /// Bytes of output that could not be written.
    pub(crate) dropped: AtomicU64,
    /// Bytes of output that were above the rate limit.
    pub(crate) limited: AtomicU64,
}

/// Output that is not in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    lines: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}

/// What was dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dropped {
    limited: Tally,
    unwritten: Tally,
}

impl Dropped {
    const NONE: Self =
        Self { limited: Tally { lines: 0, bytes: 0 }, unwritten: Tally { lines: 0, bytes: 0 } };
}

/// The log, as it is written.
#[derive(Debug)]
pub(crate) struct Log {
    files: Files,
    limit: Option<Limit>,
    counters: Arc<Counters>,
    batch: Vec<u8>,
    /// Output in `batch`.
    pending: Tally,
    /// Dropped, and not told yet.
    owed: Dropped,
    /// Dropped, and told in `batch`.
    telling: Dropped,
}

impl Log {
    /// Bytes of log that were ever written.
    pub(crate) fn end(&self) -> u64 {
        self.files.end()
    }

    /// The output of `stream` that was written since there were `from` bytes of log: at most
    /// [`REPLAYED`] bytes of log are looked at.
    ///
    /// # Errors
    /// Of open(2) and pread(2); when it is more, or is not there any more.
    pub(crate) fn since(&self, stream: &str, from: u64) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        for entry in self.files.read(from, REPLAYED)?.split_inclusive(|b| *b == b'\n') {
            let mut parts = entry.strip_suffix(b"\n").unwrap_or(entry).splitn(4, |b| *b == b' ').skip(1);
            let (of, tag, content) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
            if of != Some(stream.as_bytes()) {
                continue;
            }
            match tag {
                Some(b"F") => output.extend(content.iter().chain(b"\n")),
                Some(b"P") => output.extend(content),
                // What was dropped is told, and not written.
                _ => {}
            }
        }
        Ok(output)
    }

    /// Opens the log for appending: see [`Files::open`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn open(path: &Path, settings: Settings, counters: Arc<Counters>) -> Result<Self> {
        let files = Files::open(path, settings.bounds)?;
        counters.written.store(files.end(), Ordering::Relaxed);
        let limit = settings.rate.map(|rate| Limit::new(rate, Instant::now()));
        let (batch, pending) = (Vec::new(), Tally::default());
        Ok(Self { files, limit, counters, batch, pending, owed: Dropped::NONE, telling: Dropped::NONE })
    }

    /// Goes on in a new file, if the old one was moved away.
    ///
    /// # Errors
    /// When that cannot be opened.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        self.write();
        self.files.reopen()
    }

    /// Whether there is something to tell with the next entry, or by [`Log::settle`].
    pub(crate) fn owes(&self) -> bool {
        self.owed != Dropped::NONE
    }

    /// Tells what was dropped.
    pub(crate) fn settle(&mut self, now: SystemTime) {
        if self.owes() {
            self.tell(&rfc3339(now));
            self.write();
        }
    }

    fn entry(&mut self, at: &str, stream: &str, tag: Tag, content: &[u8]) {
        if self.owes() {
            self.tell(at);
        }
        self.line(&format!("{at} {stream} {} ", tag.letter()), content);
        let tally = size(tag, content);
        self.pending.add(tally);
    }

    /// A line for each cause why output was dropped.
    fn tell(&mut self, at: &str) {
        let owed = std::mem::take(&mut self.owed);
        let told = [
            (RATE_LIMIT, "above the rate limit", owed.limited),
            (NOT_WRITTEN, "not written", owed.unwritten),
        ];
        for (cause, words, Tally { lines, bytes }) in told {
            if lines + bytes > 0 {
                let head = format!("{at} stderr {DROPPED}{cause}:{lines}:{bytes} ");
                let words = format!("[{lines} lines, {bytes} bytes of output were dropped: {words}]");
                self.line(&head, words.as_bytes());
            }
        }
        self.telling.limited.add(owed.limited);
        self.telling.unwritten.add(owed.unwritten);
    }

    fn line(&mut self, head: &str, content: &[u8]) {
        let length = head.len() + content.len() + 1;
        if self.files.overflows(self.batch.len() + length) {
            self.write();
            if self.files.overflows(length) {
                self.files.rotate();
            }
        }
        self.batch.extend_from_slice(head.as_bytes());
        self.batch.extend_from_slice(content);
        self.batch.push(b'\n');
        if self.batch.len() >= BATCH {
            self.write();
        }
    }

    /// Writes the batch, or counts what is lost.
    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let (pending, telling) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.telling));
        if self.files.append(&self.batch).is_err() {
            self.counters.dropped.fetch_add(pending.bytes, Ordering::Relaxed);
            self.owed.limited.add(telling.limited);
            self.owed.unwritten.add(telling.unwritten);
            self.owed.unwritten.add(pending);
        }
        self.counters.written.store(self.files.end(), Ordering::Release);
        self.batch.clear();
    }

    /// Whether an entry with so many bytes of output is within the rate limit.
    fn admits(&mut self, bytes: u64) -> bool {
        self.limit.as_mut().is_none_or(|limit| limit.admits(bytes, Instant::now()))
    }

    fn drop_limited(&mut self, dropped: Tally) {
        self.counters.limited.fetch_add(dropped.bytes, Ordering::Relaxed);
        self.owed.limited.add(dropped);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The output that an entry stands for.
fn size(tag: Tag, content: &[u8]) -> Tally {
    let newline = u64::from(tag == Tag::Full);
    Tally { lines: newline, bytes: u64::try_from(content.len()).unwrap_or(u64::MAX).saturating_add(newline) }
}

/// Cuts one stream into entries.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: &'static str,
    /// A piece of this line was dropped: so is the rest of it.
    cut: bool,
}

impl Lines {
    /// For `stream`: "stdout" or "stderr".
    pub(crate) fn new(stream: &'static str) -> Self {
        Self { stream, cut: false }
    }

    /// Takes output that is not in the log, of which the last was read at `now`: how many bytes of it are done.
    /// The rest is the beginning of a line, no longer than [`MAX_CONTENT`]; it comes again, with what follows it.
    pub(crate) fn feed(&mut self, output: &[u8], now: SystemTime, log: &mut Log) -> usize {
        let (at, mut done) = (rfc3339(now), 0);
        for line in output.split_inclusive(|b| *b == b'\n') {
            let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
            while let Some((piece, later)) = rest.split_at_checked(MAX_CONTENT).filter(|(_, l)| !l.is_empty())
            {
                self.entry(&at, Tag::Partial, piece, log);
                (rest, done) = (later, done + MAX_CONTENT);
            }
            if line.ends_with(b"\n") {
                self.entry(&at, Tag::Full, rest, log);
                done += rest.len() + 1;
            }
        }
        log.write();
        done
    }

    /// Writes the beginning of a line that was held back, and what there is to tell.
    pub(crate) fn flush(&mut self, held: &[u8], now: SystemTime, log: &mut Log) {
        if !held.is_empty() {
            self.entry(&rfc3339(now), Tag::Partial, held, log);
            log.write();
        }
        log.settle(now);
    }

    /// An entry, unless it is above the rate limit.
    fn entry(&mut self, at: &str, tag: Tag, content: &[u8], log: &mut Log) {
        let tally = size(tag, content);
        if self.cut || !log.admits(tally.bytes) {
            // A line counts once, with its first piece.
            log.drop_limited(Tally { lines: u64::from(!self.cut), ..tally });
            self.cut = tag == Tag::Partial;
        } else {
            log.entry(at, self.stream, tag, content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const HEAD: &str = "1970-01-01T00:00:00.000000000Z";

    fn open(dir: &Path) -> (Log, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let settings = Settings { bounds: Bounds { size: 1 << 20, count: 3 }, rate: None };
        (Log::open(&dir.join("log"), settings, Arc::clone(&counters)).unwrap(), counters)
    }

    #[test]
    fn output_comes_back_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, counters) = open(dir.path());
        let mut lines = Lines::new("stdout");
        let mut output = Vec::new();
        for size in [0, 1, MAX_CONTENT - 1, MAX_CONTENT, MAX_CONTENT + 1, 3 * MAX_CONTENT, 100_000] {
            output.extend(std::iter::repeat_n(b'x', size));
            output.push(b'\n');
        }
        output.extend(b"no end");
        let mut held = Vec::new();
        for chunk in output.chunks(7001) {
            held.extend(chunk);
            held.drain(..lines.feed(&held, UNIX_EPOCH, &mut log));
            assert!(held.len() <= MAX_CONTENT);
        }
        lines.flush(&held, UNIX_EPOCH, &mut log);
        let text = std::fs::read(dir.path().join("log")).unwrap();
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
    fn what_was_written_since_comes_back_by_stream_and_over_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, counters) = open(dir.path());
        let (mut out, mut err) = (Lines::new("stdout"), Lines::new("stderr"));
        out.feed(b"before\n", UNIX_EPOCH, &mut log);
        let from = log.end();
        out.feed(b"one\ntwo \n", UNIX_EPOCH, &mut log);
        err.feed(b"other\n", UNIX_EPOCH, &mut log);
        assert_eq!(log.since("stdout", from).unwrap(), b"one\ntwo \n", "before the first rotation");
        log.files.rotate();
        out.flush(b"thr", UNIX_EPOCH, &mut log);
        log.owed.limited.add(Tally { lines: 1, bytes: 1 });
        err.flush(b"", UNIX_EPOCH, &mut log);
        drop(log);
        let settings = Settings { bounds: Bounds { size: 1 << 20, count: 3 }, rate: None };
        let log = Log::open(&dir.path().join("log"), settings, counters).unwrap();
        assert_eq!(log.since("stdout", from).unwrap(), b"one\ntwo \nthr");
        assert_eq!(log.since("stderr", from).unwrap(), b"other\n");
        assert_eq!(log.since("stdout", log.end()).unwrap(), b"");
        assert!(log.since("stdout", log.end() + 1).is_err());
    }

    #[test]
    fn what_is_above_the_limit_is_counted_and_told_before_what_comes_next() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, counters) = open(dir.path());
        // One that is not filled up before tomorrow.
        let tomorrow = Instant::now() + std::time::Duration::from_secs(86_400);
        log.limit = Some(Limit::new(1024, tomorrow));
        let mut lines = Lines::new("stdout");
        assert_eq!(lines.feed(&[b'a'; 1023], UNIX_EPOCH, &mut log), 0);
        // A line that is cut is dropped to its end, whatever the bucket holds by then.
        lines.feed(&[&[b'a'; 1023][..], b"\nbb\n"].concat(), UNIX_EPOCH, &mut log);
        let done = lines.feed(&[b'c'; 40_000], UNIX_EPOCH, &mut log);
        lines.feed(&[&vec![b'c'; 40_000 - done][..], b"\n"].concat(), UNIX_EPOCH, &mut log);
        assert_eq!(counters.limited.load(Ordering::Relaxed), 3 + 40_001);
        log.limit = None;
        lines.feed(b"next\n", UNIX_EPOCH, &mut log);
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        let last: Vec<&str> = text.lines().skip(1).collect();
        let dropped = "[2 lines, 40004 bytes of output were dropped: above the rate limit]";
        let expected = [
            format!("{HEAD} stderr F:dropped:rate-limit:2:40004 {dropped}"),
            format!("{HEAD} stdout F next"),
        ];
        assert_eq!(last, expected);
        assert!(!log.owes());
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("log")).unwrap();
        let (mut log, counters) = open(dir.path());
        let mut lines = Lines::new("stderr");
        lines.feed(b"four\n", UNIX_EPOCH, &mut log);
        lines.feed(b"five\n", UNIX_EPOCH, &mut log);
        lines.flush(b"", UNIX_EPOCH, &mut log);
        assert_eq!(counters.dropped.load(Ordering::Relaxed), 10);
        assert_eq!(counters.written.load(Ordering::Relaxed), 0);
        assert!(log.owes());
        std::fs::remove_file(dir.path().join("log")).unwrap();
        log.reopen().unwrap();
        log.settle(UNIX_EPOCH);
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        let dropped = "[2 lines, 10 bytes of output were dropped: not written]";
        assert_eq!(text, format!("{HEAD} stderr F:dropped:not-written:2:10 {dropped}\n"));
        assert!(!log.owes());
    }

    #[test]
    fn no_file_is_larger_than_it_may_be_and_no_entry_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let settings = Settings { bounds: Bounds { size: 64 << 10, count: 4 }, rate: None };
        let mut log = Log::open(&dir.path().join("log"), settings, Arc::clone(&counters)).unwrap();
        let mut lines = Lines::new("stdout");
        for size in (0..60_000).step_by(977) {
            lines.feed(&[vec![b'x'; size], b"\n".to_vec()].concat(), UNIX_EPOCH, &mut log);
        }
        let files: Vec<_> = dir.path().read_dir().unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files.len(), 4);
        for file in &files {
            let bytes = std::fs::read(file).unwrap();
            assert!(bytes.len() <= 64 << 10 && bytes.starts_with(HEAD.as_bytes()) && bytes.ends_with(b"\n"));
        }
        let rotated = sextant_proto::logfile::rotated(dir.path()).unwrap();
        assert!(rotated.windows(2).all(|two| two[0].end() == two[1].begin));
        let last = std::fs::metadata(dir.path().join("log")).unwrap().len();
        assert_eq!(
            counters.written.load(Ordering::Relaxed),
            sextant_proto::logfile::current_begin(&rotated) + last
        );
    }
}
