//! Reading a container's output, which its shim writes in the CRI log format
//! and rotates: from an offset, a time or a number of lines on, at the reader's
//! own pace. An offset counts all bytes that were ever written, so that it keeps
//! its meaning over rotations; what was rotated away is told as missing.
//! Following ends when the container has exited and the log is read to its end.
//! Nothing is read unless somebody asks, and no more than one chunk is held.

mod entry;
mod files;
mod tail;

use crate::engine::blocking;
use crate::engine::error::Error;
use crate::model::{Phase, Snapshot};
pub use entry::{Because, Entry, Missing, Stream, What};
use files::{CHUNK, Open, Place, locate};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(25);

/// Whether to wait for what is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Until the container has exited.
    Yes,
    /// What is there now.
    No,
}

/// What is asked of a log; all that is given has to hold.
#[derive(Clone, Debug)]
pub struct Query {
    /// Not before this offset. One inside an entry gives the rest of that line up.
    pub offset: u64,
    /// Whether to wait for more.
    pub follow: Follow,
    /// Not before this time.
    pub since: Option<SystemTime>,
    /// Before this time; the first entry of it or later is the end, as is that time itself.
    pub until: Option<SystemTime>,
    /// Only so many of the last lines there are now, and what comes after them.
    pub tail: Option<u64>,
    /// Only this stream.
    pub stream: Option<Stream>,
}

impl Query {
    fn wants(&self, stream: Stream) -> bool {
        self.stream.is_none_or(|wanted| wanted == stream)
    }
}

/// Reads one log.
#[derive(Debug)]
pub struct Reader {
    dir: Arc<Path>,
    query: Query,
    snapshots: watch::Receiver<Snapshot>,
    open: Option<Open>,
    /// `None` until it was found out where to begin.
    offset: Option<u64>,
    /// What is missing before the next entry, and up to which offset.
    missing: Option<(Missing, u64)>,
    over: bool,
}

impl Reader {
    /// Of the log whose files are in `dir`, and need not be there yet.
    pub fn new(dir: &Path, query: Query, snapshots: watch::Receiver<Snapshot>) -> Self {
        let (open, offset, missing, over) = (None, None, None, false);
        Self { dir: dir.into(), query, snapshots, open, offset, missing, over }
    }

    /// The next entries; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        while !self.over {
            // Asked before reading: what is written before the exit is read then.
            let last = self.query.follow == Follow::No || self.is_over();
            match self.step().await? {
                Step::Bytes(bytes, offset) => {
                    let (entries, used) = parse(&bytes, offset);
                    self.offset = Some(offset + used);
                    let entries = self.choose(entries);
                    if !entries.is_empty() {
                        return Ok(Some(entries));
                    }
                }
                Step::Gone { from, to } => {
                    self.offset = Some(to);
                    let known = self.missing.map_or(0, |(missing, _)| missing.bytes);
                    let bytes = known.saturating_add(to - from);
                    self.missing = Some((Missing { because: Because::Rotated, lines: 0, bytes }, to));
                }
                Step::End if last => {
                    self.over = true;
                    return Ok(self.told_missing().map(|entry| vec![entry]));
                }
                // A change of the container, its exit above all, is looked at once.
                Step::End => drop(tokio::time::timeout(POLL, self.snapshots.changed()).await),
            }
        }
        Ok(None)
    }

    /// Whether nothing more will be written, or wanted.
    fn is_over(&self) -> bool {
        let removed = self.snapshots.has_changed().is_err();
        let snapshot = self.snapshots.borrow();
        let late = self.query.until.is_some_and(|until| SystemTime::now() >= until);
        removed || late || snapshot.is_settled() || snapshot.phase == Phase::Failed
    }

    /// Those that are asked for, and before them what is missing.
    fn choose(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut chosen = Vec::new();
        for entry in entries {
            if self.query.until.is_some_and(|until| entry.at >= until) {
                self.over = true;
                break;
            }
            if self.query.since.is_some_and(|since| entry.at < since) {
                // What is missing is older still.
                self.missing = None;
                continue;
            }
            chosen.extend(self.told_missing().map(|missing| Entry { at: entry.at, ..missing }));
            if !matches!(entry.what, What::Output { stream, .. } if !self.query.wants(stream)) {
                chosen.push(entry);
            }
        }
        chosen
    }

    /// What is missing as an entry, once.
    fn told_missing(&mut self) -> Option<Entry> {
        let (missing, next_offset) = self.missing.take()?;
        Some(Entry { what: What::Missing(missing), at: SystemTime::now(), next_offset })
    }

    async fn step(&mut self) -> Result<Step, Error> {
        let (dir, query, offset) = (Arc::clone(&self.dir), self.query.clone(), self.offset);
        // A copy: nothing is lost when the future is dropped.
        let mut open = self.open.clone();
        let attempted = format!("read the log in {}", self.dir.display());
        let work = move || {
            let offset = match offset {
                Some(offset) => offset,
                None => first_offset(&dir, &query)?,
            };
            let step = step(&dir, &mut open, offset)?;
            Ok((step, open, offset))
        };
        let (step, open, offset) = blocking(move || work().map_err(Error::io(attempted))).await?;
        (self.open, self.offset) = (open, Some(offset));
        Ok(step)
    }
}

/// Where to begin. What is older than was asked for is not missing.
fn first_offset(dir: &Path, query: &Query) -> io::Result<u64> {
    let mut offset = query.offset;
    if let Some(since) = query.since {
        offset = offset.max(files::begin_since(dir, since)?);
    }
    if let Some(lines) = query.tail {
        offset = offset.max(tail::begin(dir, query, lines)?);
    }
    Ok(offset)
}

/// What comes at an offset.
#[derive(Debug)]
enum Step {
    /// Whole lines, and perhaps a part of another, from this offset on.
    Bytes(Vec<u8>, u64),
    /// What was there is there no more.
    Gone { from: u64, to: u64 },
    /// Nothing now.
    End,
}

/// Reads on in `open`, or in the file that follows. A file is left only when there is another
/// that goes on, and after it was read once more: until then a shim may have written to it.
fn step(dir: &Path, open: &mut Option<Open>, offset: u64) -> io::Result<Step> {
    loop {
        if let Some(bytes) = whole(open.as_ref(), offset)? {
            return Ok(Step::Bytes(bytes, offset));
        }
        let found = match locate(dir, offset)? {
            Place::Nowhere => return Ok(Step::End),
            Place::Gone(to) => {
                return Ok(match whole(open.as_ref(), offset)? {
                    Some(bytes) => Step::Bytes(bytes, offset),
                    None => Step::Gone { from: offset, to },
                });
            }
            Place::In(found) => found,
        };
        if let Some(bytes) = whole(open.as_ref(), offset)? {
            return Ok(Step::Bytes(bytes, offset));
        }
        if open.as_ref().is_none_or(|open| !open.is(&found)) {
            *open = Some(found);
            continue;
        }
        // Where nothing more is written, a line without an end has none.
        let end = found.end()?;
        *open = Some(found.clone());
        return Ok(match found.rotated && end > offset {
            true => Step::Gone { from: offset, to: end },
            false => Step::End,
        });
    }
}

/// Bytes with the end of a line at least.
fn whole(open: Option<&Open>, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(open) = open.filter(|open| open.begin <= offset) else { return Ok(None) };
    let bytes = open.read(offset)?;
    Ok(Some(bytes).filter(|bytes| bytes.contains(&b'\n') || bytes.len() == CHUNK))
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
        entries.extend(entry::parse(line, next_offset));
    }
    (entries, u64::try_from(used).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
