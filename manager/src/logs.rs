//! Reading a container's output: lines `RFC3339Nano stdout|stderr P|F CONTENT`
//! of the CRI log format, which the shim writes. From a byte offset on, at the
//! reader's own pace; following ends when the container has exited and the file
//! is read to its end. Never holds more than one chunk in memory.

use crate::engine::blocking;
use crate::engine::error::Error;
use crate::model::{Phase, Snapshot};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Bytes read at once; a longer line is given in pieces.
const CHUNK: usize = 64 << 10;
/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(25);

/// Where an entry was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it was written to.
    pub stream: Stream,
    /// When it was read by the shim.
    pub at: SystemTime,
    /// The bytes, with the newline where there was one.
    pub data: Vec<u8>,
    /// Offset of the next entry.
    pub next_offset: u64,
}

/// Whether to wait for what is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Until the container has exited.
    Yes,
    /// What is there now.
    No,
}

/// Reads one log.
#[derive(Debug)]
pub struct Reader {
    file: Option<Arc<File>>,
    path: Arc<Path>,
    offset: u64,
    follow: Follow,
    snapshots: watch::Receiver<Snapshot>,
}

impl Reader {
    /// Of the file at `path`, which need not be there yet, from `offset` on.
    pub fn new(path: &Path, offset: u64, follow: Follow, snapshots: watch::Receiver<Snapshot>) -> Self {
        Self { file: None, path: path.into(), offset, follow, snapshots }
    }

    /// The next entries; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Refused`] never: an offset inside an entry gives
    /// the rest of that line up, and reads on from the next.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        loop {
            // Asked before reading: what is written before the exit is read then.
            let over = self.follow == Follow::No || self.ended();
            let (entries, used) = self.read().await?;
            self.offset += used;
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
            if used == 0 {
                if over {
                    return Ok(None);
                }
                // A change of the container, its exit above all, is looked at once.
                tokio::time::timeout(POLL, self.snapshots.changed()).await.ok();
            }
        }
    }

    fn ended(&self) -> bool {
        let removed = self.snapshots.has_changed().is_err();
        let snapshot = self.snapshots.borrow();
        removed || snapshot.exit.is_some() || snapshot.phase == Phase::Failed
    }

    async fn read(&mut self) -> Result<(Vec<Entry>, u64), Error> {
        let (path, offset) = (Arc::clone(&self.path), self.offset);
        let file = self.file.clone();
        let attempted = format!("read {}", self.path.display());
        let (file, bytes) =
            blocking(move || read_chunk(file, &path, offset).map_err(Error::io(attempted))).await?;
        self.file = file;
        Ok(parse(&bytes, self.offset))
    }
}

fn read_chunk(file: Option<Arc<File>>, path: &Path, offset: u64) -> io::Result<(Option<Arc<File>>, Vec<u8>)> {
    let file = match file.map_or_else(|| File::open(path).map(Arc::new), Ok) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((None, Vec::new())),
        Err(e) => return Err(e),
    };
    let mut bytes = vec![0; CHUNK];
    let read = file.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok((Some(file), bytes))
}

/// The entries of whole lines at the beginning of `bytes`, which begin at
/// `offset`, and how many bytes were used.
fn parse(bytes: &[u8], offset: u64) -> (Vec<Entry>, u64) {
    let mut entries = Vec::new();
    let mut used = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        // A chunk without any newline is a line that is no entry: skipped as one.
        let endless = used == 0 && line.len() >= CHUNK;
        if !line.ends_with(b"\n") && !endless {
            break;
        }
        used += line.len();
        let next_offset = offset + u64::try_from(used).unwrap_or(u64::MAX);
        entries.extend(entry(line, next_offset));
    }
    (entries, u64::try_from(used).unwrap_or(u64::MAX))
}

/// One line; `None` when it is not an entry.
fn entry(line: &[u8], next_offset: u64) -> Option<Entry> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let at = std::str::from_utf8(parts.next()?).ok()?.parse::<prost_types::Timestamp>().ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let whole = match parts.next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let content = parts.next()?;
    // The line's own newline stands for the one that was written, if one was.
    let data = if whole { content } else { content.strip_suffix(b"\n").unwrap_or(content) };
    Some(Entry { stream, at: SystemTime::try_from(at).ok()?, data: data.into(), next_offset })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::tests::record;
    use crate::engine::snapshot_for_tests;
    use crate::model::{Ending, Exit};
    use std::io::Write;

    const TWO: &[u8] = b"2026-01-02T03:04:05.123456789Z stdout F one\n2026-01-02T03:04:06Z stderr P tw\n";

    #[test]
    fn lines_become_entries_with_offsets() {
        let (entries, used) = parse(TWO, 100);
        assert_eq!(used, u64::try_from(TWO.len()).unwrap());
        assert_eq!(entries[0].data, b"one\n");
        assert_eq!((entries[0].stream, entries[0].next_offset), (Stream::Stdout, 144));
        assert_eq!((entries[1].data.as_slice(), entries[1].stream), (b"tw".as_slice(), Stream::Stderr));
        let since = entries[0].at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.subsec_nanos(), 123_456_789);
        // From the offset of the second entry, only that one.
        assert_eq!(parse(&TWO[44..], 144).0, entries[1..]);
    }

    #[test]
    fn a_line_that_is_being_written_waits_and_nonsense_is_skipped() {
        let (entries, used) = parse(&TWO[..TWO.len() - 1], 0);
        assert_eq!((entries.len(), used), (1, 44));
        let (entries, used) = parse(b"dout F one\n2026-01-02T03:04:06Z stderr F x y\n", 0);
        assert_eq!((entries[0].data.as_slice(), used), (b"x y\n".as_slice(), 45));
        assert_eq!(parse(&[b'x'; CHUNK], 0), (vec![], u64::try_from(CHUNK).unwrap()));
    }

    #[tokio::test]
    async fn following_ends_after_the_exit_and_the_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (sender, snapshots) = watch::channel(snapshot_for_tests(&record("a")));
        let mut reader = Reader::new(&path, 0, Follow::Yes, snapshots);
        let task = tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(entries) = reader.next().await.unwrap() {
                all.extend(entries);
            }
            all
        });
        let mut file = File::create(&path).unwrap();
        file.write_all(&TWO[..20]).unwrap();
        tokio::task::yield_now().await;
        file.write_all(&TWO[20..]).unwrap();
        let exit = Exit { how: Ending::Code(0), at: SystemTime::UNIX_EPOCH, oom_killed: false };
        sender.send_modify(|s| s.exit = Some(exit));
        assert_eq!(task.await.unwrap().len(), 2);
    }
}
