//! The files of a container's log, which its shim writes and the manager reads.
//!
//! Lines are those of the CRI log format, `TIME STREAM TAGS CONTENT`. The file
//! that is written to is [`CURRENT`]. Each offset in a log counts every byte
//! that was ever written to it, so it keeps its meaning when files are rotated:
//! a file that is full is renamed to [`name`], which has the offset of its first
//! byte in it. That is one rename(2); whenever it is interrupted, every line is
//! in exactly one file. What is written to begins where the newest of the others
//! ends, or at 0.
//!
//! An empty file of that form is a mark: what was written before it has been
//! moved away by somebody else.

use std::io;
use std::path::Path;

/// Name of the file that is written to.
pub const CURRENT: &str = "log";

/// First part of the tags of a line that stands for output that was dropped. It is followed by
/// [`RATE_LIMIT`] or [`NOT_WRITTEN`], `:LINES:BYTES`. A reader of CRI logs knows the first tag,
/// and shows the line.
pub const DROPPED: &str = "F:dropped:";

/// It was above the rate limit.
pub const RATE_LIMIT: &str = "rate-limit";

/// It could not be written.
pub const NOT_WRITTEN: &str = "not-written";

/// A file that was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Offset of its first byte.
    pub begin: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl Rotated {
    /// Offset behind its last byte.
    pub fn end(self) -> u64 {
        self.begin.saturating_add(self.length)
    }
}

/// Name of a rotated file whose first byte has this offset.
pub fn name(begin: u64) -> String {
    format!("{CURRENT}.{begin:020}")
}

/// The offset in the name of a rotated file.
pub fn begin(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(CURRENT)?.strip_prefix('.')?;
    let all = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| all)
}

/// The rotated files of `dir`, oldest first.
///
/// # Errors
/// Of opendir(3) and stat(2); a file that is removed meanwhile is not there.
pub fn rotated(dir: &Path) -> io::Result<Vec<Rotated>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Some(begin) = entry.file_name().to_str().and_then(begin) else { continue };
        match entry.metadata() {
            Ok(metadata) => found.push(Rotated { begin, length: metadata.len() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    found.sort_unstable_by_key(|file| file.begin);
    Ok(found)
}

/// Offset of the first byte of the file that is written to.
pub fn current_begin(rotated: &[Rotated]) -> u64 {
    rotated.last().map_or(0, |file| file.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_offsets_and_nothing_else_is_one() {
        for offset in [0, 7, 1 << 40, u64::MAX] {
            assert_eq!(begin(&name(offset)), Some(offset));
        }
        assert!(name(9) < name(10));
        for other in
            ["log", "log.", "log.1", "log.00000000000000000001.gz", "shim.log", "log.+0000000000000000001"]
        {
            assert_eq!(begin(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_written_to_begins_behind_the_newest() {
        assert_eq!(current_begin(&[]), 0);
        let files = [Rotated { begin: 0, length: 5 }, Rotated { begin: 5, length: 7 }];
        assert_eq!(current_begin(&files), 12);
        // A mark: 88 bytes were moved away.
        assert_eq!(current_begin(&[files[0], files[1], Rotated { begin: 100, length: 0 }]), 100);
    }
}
