//! The files of the log: one that is appended to, and those that it was before,
//! each of a bounded size. How they are named is [`sextant_proto::logfile`]'s.

use crate::error::{Attempted, Result};
use crate::faults::{self, Point};
use sextant_proto::logfile;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No entry is longer: the content, and time, stream and tags before it.
const LONGEST: u64 = 17 << 10;

/// How large files get, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Largest file, in bytes.
    pub(crate) size: u64,
    /// Files in all.
    pub(crate) count: usize,
}

/// The files of one log.
#[derive(Debug)]
pub(crate) struct Files {
    /// The one that is written to.
    path: PathBuf,
    bounds: Bounds,
    /// It; `None` while it cannot be made.
    file: Option<File>,
    /// Offset of its first byte.
    begin: u64,
    /// Its length.
    length: u64,
    /// First offsets of the others, oldest first.
    rotated: VecDeque<u64>,
}

impl Files {
    /// Opens the log for appending, mode 0600, whatever a killed shim has left: a last entry that
    /// was not written to its end is cut off, and files that are too many are removed.
    ///
    /// # Errors
    /// Of readdir(3), open(2), pread(2) and ftruncate(2).
    pub(crate) fn open(path: &Path, bounds: Bounds) -> Result<Self> {
        let attempted = || format!("open the log {}", path.display());
        let rotated = logfile::rotated(directory(path)).attempted(attempted)?;
        let mut files = Self {
            path: path.to_owned(),
            bounds,
            file: None,
            begin: logfile::current_begin(&rotated),
            length: 0,
            rotated: rotated.iter().map(|file| file.begin).collect(),
        };
        let file = files.make().attempted(attempted)?;
        files.length = whole_entries(&file).attempted(attempted)?;
        if file.metadata().attempted(attempted)?.len() > files.length {
            file.set_len(files.length).attempted(attempted)?;
        }
        files.file = Some(file);
        files.prune();
        Ok(files)
    }

    /// Offset behind the last byte: how many were ever written.
    pub(crate) fn end(&self) -> u64 {
        self.begin + self.length
    }

    /// What was written from the offset `from` on.
    ///
    /// # Errors
    /// Of open(2) and pread(2); when it is more than `most` bytes, or not there any more.
    pub(crate) fn read(&self, from: u64, most: u64) -> io::Result<Vec<u8>> {
        let length = self.end().checked_sub(from).filter(|length| *length <= most);
        let length =
            length.ok_or_else(|| io::Error::other("that is not where the log was written to last"))?;
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let mut done = 0;
        let begins = || self.rotated.iter().copied().chain([self.begin]);
        for (begin, end) in begins().zip(begins().skip(1).chain([self.end()])) {
            let at = from + u64::try_from(done).map_err(io::Error::other)?;
            if at < begin || at >= end {
                continue;
            }
            let path = if begin == self.begin {
                self.path.clone()
            } else {
                self.path.with_file_name(logfile::name(begin))
            };
            let count = usize::try_from(end - at).map_err(io::Error::other)?;
            let part = bytes.get_mut(done..done + count).ok_or(io::ErrorKind::InvalidData)?;
            File::open(path)?.read_exact_at(part, at - begin)?;
            done += count;
        }
        if done == bytes.len() { Ok(bytes) } else { Err(io::Error::other("a part of it was removed")) }
    }

    /// Whether so many bytes more make the file larger than it shall be. One that is empty takes anything.
    pub(crate) fn overflows(&self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.length > 0 && self.length.saturating_add(bytes) > self.bounds.size
    }

    /// Appends whole entries.
    ///
    /// # Errors
    /// Of open(2) and write(2); the file is as before then.
    pub(crate) fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.make()?,
        };
        let written = faults::write(Point::LogWrite, entries, |bytes| file.write_all(bytes));
        match &written {
            Ok(()) => self.length += u64::try_from(entries.len()).unwrap_or(u64::MAX),
            Err(_) if file.set_len(self.length).is_err() => {
                self.length = file.metadata().map_or(self.length, |m| m.len());
            }
            Err(_) => {}
        }
        self.file = Some(file);
        written
    }

    /// Begins a new file. One that cannot be renamed is written to further, beyond its size.
    pub(crate) fn rotate(&mut self) {
        if !self.is_there() {
            return self.leave();
        }
        let name = self.path.with_file_name(logfile::name(self.begin));
        match faults::reach(Point::LogRotate).and_then(|()| std::fs::rename(&self.path, name)) {
            Ok(()) => {
                if self.rotated.back() != Some(&self.begin) {
                    self.rotated.push_back(self.begin);
                }
                self.begin_anew();
                self.prune();
            }
            Err(e) => complain!("rotate the log {}: {e}", self.path.display()),
        }
    }

    /// Goes on in the file that has the name of the log now, which is made if need be.
    ///
    /// # Errors
    /// When that cannot be opened.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        if !self.is_there() {
            self.leave();
        }
        if self.file.is_none() {
            let file = self.make().attempted(|| format!("open the log {}", self.path.display()))?;
            self.length = file.metadata().map_or(0, |m| m.len());
            self.file = Some(file);
        }
        Ok(())
    }

    /// Whether the file that is written to still has its name.
    fn is_there(&self) -> bool {
        let identity = |m: std::fs::Metadata| (m.dev(), m.ino());
        let ours = self.file.as_ref().and_then(|f| f.metadata().ok()).map(identity);
        ours.is_some() && std::fs::symlink_metadata(&self.path).ok().map(identity) == ours
    }

    /// Somebody has moved the file away: a mark tells up to where it went.
    fn leave(&mut self) {
        let mark = self.path.with_file_name(logfile::name(self.end()));
        if self.length > 0 {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&mark) {
                Ok(_) => self.rotated.push_back(self.end()),
                Err(e) => complain!("mark the end of the log that was moved away: {e}"),
            }
        }
        self.begin_anew();
        self.prune();
    }

    fn begin_anew(&mut self) {
        (self.begin, self.length, self.file) = (self.end(), 0, None);
    }

    fn make(&self) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)
    }

    /// Removes the oldest files while there are too many.
    fn prune(&mut self) {
        while self.rotated.len() + 1 > self.bounds.count {
            let Some(oldest) = self.rotated.pop_front() else { return };
            match std::fs::remove_file(self.path.with_file_name(logfile::name(oldest))) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    complain!("remove an old log file: {e}");
                }
                _ => {}
            }
        }
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Up to where a log has whole entries; there is no newline within one.
fn whole_entries(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut begin = length;
    while begin > 0 {
        let size = begin.min(LONGEST);
        begin -= size;
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, begin)?;
        if let Some(at) = bytes.iter().rposition(|b| *b == b'\n') {
            return Ok(begin + u64::try_from(at).map_err(io::Error::other)? + 1);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use logfile::{name, rotated};

    const BOUNDS: Bounds = Bounds { size: 30, count: 3 };

    /// Writes `n` lines of ten bytes as a shim does, the first with number `from`.
    fn write(files: &mut Files, from: u64, n: u64) {
        for number in from..from + n {
            if files.overflows(10) {
                files.rotate();
            }
            files.append(format!("line {number:04}\n").as_bytes()).unwrap();
        }
    }

    /// All lines with their offsets, as the names of the files give them.
    fn lines(dir: &Path) -> Vec<(u64, String)> {
        let old = rotated(dir).unwrap();
        let mut all = Vec::new();
        for (begin, file) in
            old.iter().map(|f| (f.begin, name(f.begin))).chain([(logfile::current_begin(&old), "log".into())])
        {
            let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
            let mut at = begin;
            for line in text.split_inclusive('\n') {
                all.push((at, line.trim_end().to_owned()));
                at += u64::try_from(line.len()).unwrap();
            }
        }
        all
    }

    fn expected(numbers: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
        numbers.map(|n| (n * 10, format!("line {n:04}"))).collect()
    }

    #[test]
    fn files_are_full_and_no_more_than_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(&dir.path().join("log"), BOUNDS).unwrap();
        write(&mut files, 0, 8);
        assert_eq!(lines(dir.path()), expected(0..8));
        assert_eq!(rotated(dir.path()).unwrap().iter().map(|f| f.length).collect::<Vec<_>>(), [30, 30]);
        write(&mut files, 8, 100);
        assert_eq!(files.end(), 1080);
        assert_eq!(lines(dir.path()), expected(99..108), "the newest three files");
        assert_eq!(dir.path().read_dir().unwrap().count(), 3);
    }

    #[test]
    fn a_kill_at_any_moment_of_a_rotation_loses_no_line_and_doubles_none() {
        // What the directory looks like: before the rename; after it; when a new file is made;
        // when the oldest was not removed yet.
        for (moment, keep) in [("before", 0), ("renamed", 0), ("made", 0), ("not pruned", 0)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut files = Files::open(&path, BOUNDS).unwrap();
            write(&mut files, keep, 9);
            drop(files);
            let begin = logfile::current_begin(&rotated(dir.path()).unwrap());
            let first = match moment {
                "before" => 0,
                "renamed" => {
                    std::fs::rename(&path, dir.path().join(name(begin))).unwrap();
                    3
                }
                "made" => {
                    std::fs::rename(&path, dir.path().join(name(begin))).unwrap();
                    File::create(&path).unwrap();
                    3
                }
                _ => {
                    std::fs::rename(&path, dir.path().join(name(begin))).unwrap();
                    std::fs::write(&path, "line 0009\n").unwrap();
                    3
                }
            };
            let written = if moment == "not pruned" { 10 } else { 9 };
            assert_eq!(lines(dir.path()), expected(0..written), "{moment}");
            let mut files = Files::open(&path, BOUNDS).unwrap();
            assert_eq!(files.end(), written * 10, "{moment}");
            assert_eq!(lines(dir.path()), expected(first..written), "{moment}");
            write(&mut files, written, 1);
            let last = written + 1;
            let first = if moment == "before" { 3 } else { first };
            assert_eq!(lines(dir.path()), expected(first..last), "{moment}");
        }
    }

    #[test]
    fn a_torn_last_entry_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let length = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let end = Files::open(&path, BOUNDS).unwrap().end();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), end);
            end
        };
        assert_eq!(length(b""), 0);
        assert_eq!(length(b"torn"), 0);
        assert_eq!(length(b"one\ntwo\n"), 8);
        assert_eq!(length(b"one\ntw"), 4);
        assert_eq!(length(&[b"one\n".to_vec(), vec![b'x'; 50_000]].concat()), 4);
    }

    #[test]
    fn offsets_go_on_when_somebody_else_moves_the_file_away() {
        for by_call in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut files = Files::open(&path, BOUNDS).unwrap();
            write(&mut files, 0, 2);
            std::fs::rename(&path, dir.path().join("moved")).unwrap();
            // Up to then the moved file is written to.
            write(&mut files, 2, 1);
            if by_call {
                files.reopen().unwrap();
            }
            write(&mut files, 3, 4);
            assert_eq!(lines(dir.path()), expected(3..7));
            assert_eq!(std::fs::read_to_string(dir.path().join("moved")).unwrap().lines().count(), 3);
            drop(files);
            assert_eq!(Files::open(&path, BOUNDS).unwrap().end(), 70);
            assert!(rotated(dir.path()).unwrap().iter().all(|f| f.begin >= 30));
        }
    }

    #[test]
    fn reopening_a_file_that_is_there_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(&dir.path().join("log"), BOUNDS).unwrap();
        write(&mut files, 0, 1);
        files.reopen().unwrap();
        write(&mut files, 1, 1);
        assert_eq!(lines(dir.path()), expected(0..2));
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }
}
