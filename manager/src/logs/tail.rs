//! Where the last lines of a log begin, read from its end on: the work is that
//! of the lines which are wanted, however long the log is.

use super::Query;
use super::entry::{Entry, Stream, What, parse};
use super::files::{CHUNK, Open, newest_first};
use std::io;
use std::path::Path;

/// Counts lines backwards.
struct Count<'a> {
    query: &'a Query,
    /// Lines that are wanted.
    wanted: u64,
    found: u64,
    /// Streams of which an entry was seen: the last one of each ends a line, whatever its tag.
    seen: [bool; 2],
}

impl Count<'_> {
    /// Whether the wanted ones begin behind this entry.
    fn is_enough(&mut self, entry: &Entry) -> bool {
        let What::Output { stream, data } = &entry.what else { return false };
        if self.query.since.is_some_and(|since| entry.at < since) {
            return true;
        }
        if !self.query.wants(*stream) || self.query.until.is_some_and(|until| entry.at >= until) {
            return false;
        }
        let seen = match stream {
            Stream::Stdout => self.seen.first_mut(),
            Stream::Stderr => self.seen.last_mut(),
        };
        let is_last = seen.is_some_and(|seen| !std::mem::replace(seen, true));
        self.found += u64::from(is_last || data.ends_with(b"\n"));
        self.found > self.wanted
    }
}

/// Offset of the last `lines` lines that `query` asks for, not before its own offset.
pub(super) fn begin(dir: &Path, query: &Query, lines: u64) -> io::Result<u64> {
    let mut count = Count { query, wanted: lines, found: 0, seen: [false; 2] };
    let mut begin = query.offset;
    for file in newest_first(dir)? {
        let file = file?;
        if let Some(found) = within(&file, &mut count)? {
            return Ok(found.max(query.offset));
        }
        begin = file.begin.max(query.offset);
        if file.begin <= query.offset {
            break;
        }
    }
    Ok(begin)
}

/// The same in one file; `None` when it has not enough of them.
fn within(file: &Open, count: &mut Count<'_>) -> io::Result<Option<u64>> {
    let chunk = u64::try_from(CHUNK).unwrap_or(u64::MAX);
    let mut from = file.end()?;
    // The beginning of the line that the chunk before (behind) this one began within.
    let mut rest: Vec<u8> = Vec::new();
    while from > file.begin {
        let to = from;
        from = to.saturating_sub(chunk).max(file.begin);
        let mut bytes = file.read_between(from, to)?;
        bytes.append(&mut rest);
        let whole = match bytes.iter().position(|b| *b == b'\n') {
            _ if from == file.begin => 0,
            Some(at) => at + 1,
            // No line is so long: nonsense, which is skipped.
            None if bytes.len() > CHUNK => continue,
            None => bytes.len(),
        };
        let mut end = bytes.len();
        for line in bytes.get(whole..).unwrap_or_default().split_inclusive(|b| *b == b'\n').rev() {
            let next = from + u64::try_from(end).unwrap_or(u64::MAX);
            if let Some(entry) = parse(line, next).filter(|_| line.ends_with(b"\n"))
                && count.is_enough(&entry)
            {
                return Ok(Some(next));
            }
            end -= line.len();
        }
        bytes.truncate(whole);
        rest = bytes;
    }
    Ok(None)
}
