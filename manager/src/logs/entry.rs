//! A line of a log as an entry: `RFC3339Nano stdout|stderr TAGS CONTENT`.

use sextant_proto::logfile::{DROPPED, NOT_WRITTEN, RATE_LIMIT};
use std::time::SystemTime;

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
    /// What it is.
    pub what: What,
    /// When it was read by the shim, or dropped.
    pub at: SystemTime,
    /// Offset of the next entry.
    pub next_offset: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A piece of output.
    Output {
        /// Where it was written to.
        stream: Stream,
        /// The bytes, with the newline where there was one.
        data: Vec<u8>,
    },
    /// Output that is not there.
    Missing(Missing),
}

/// Output that a log does not have (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Why.
    pub because: Because,
    /// Lines of output, where they are known.
    pub lines: u64,
    /// Bytes: of output, or of the log where its files were removed.
    pub bytes: u64,
}

/// Why output is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its file was removed, since newer ones have taken its place, or moved away by somebody.
    Rotated,
    /// It was above the rate limit.
    RateLimit,
    /// It could not be written.
    NotWritten,
}

/// One line; `None` when it is not an entry.
pub(super) fn parse(line: &[u8], next_offset: u64) -> Option<Entry> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let at = std::str::from_utf8(parts.next()?).ok()?.parse::<prost_types::Timestamp>().ok()?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let tags = parts.next()?;
    let content = parts.next()?;
    // The line's own newline stands for the one that was written, if one was.
    let what = match tags {
        b"F" => What::Output { stream, data: content.into() },
        b"P" => What::Output { stream, data: content.strip_suffix(b"\n").unwrap_or(content).into() },
        tags => What::Missing(dropped(std::str::from_utf8(tags).ok()?)?),
    };
    Some(Entry { what, at: SystemTime::try_from(at).ok()?, next_offset })
}

/// What the tags of a line say that stands for dropped output.
fn dropped(tags: &str) -> Option<Missing> {
    let mut fields = tags.strip_prefix(DROPPED)?.split(':');
    let because = match fields.next()? {
        RATE_LIMIT => Because::RateLimit,
        NOT_WRITTEN => Because::NotWritten,
        _ => return None,
    };
    let mut number = || fields.next()?.parse().ok();
    Some(Missing { because, lines: number()?, bytes: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_dropped_cannot_be_forged_by_output() {
        let line = b"2026-01-02T03:04:06Z stderr F:dropped:rate-limit:3:45 [words]\n";
        let missing = Missing { because: Because::RateLimit, lines: 3, bytes: 45 };
        assert_eq!(parse(line, 9).unwrap().what, What::Missing(missing));
        let line = b"2026-01-02T03:04:06Z stderr F F:dropped:rate-limit:3:45 [words]\n";
        assert!(matches!(parse(line, 9).unwrap().what, What::Output { .. }));
        for bad in ["F:dropped:other:3:45", "F:dropped:rate-limit:3", "F:dropped:rate-limit:x:1", "X", ""] {
            assert_eq!(parse(format!("2026-01-02T03:04:06Z stderr {bad} w\n").as_bytes(), 9), None, "{bad}");
        }
    }
}
