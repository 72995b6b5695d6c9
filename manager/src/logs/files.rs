//! The files of a log, found by offset while a shim writes and rotates them.
//! How they are named is [`sextant_proto::logfile`]'s.

use sextant_proto::logfile::{self, Rotated};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Bytes read at once.
pub(super) const CHUNK: usize = 64 << 10;

/// How far the time of a file may be behind the clock: the kernel keeps it in ticks.
const COARSE: Duration = Duration::from_secs(2);

/// An open file of a log.
#[derive(Clone, Debug)]
pub(super) struct Open {
    file: Arc<File>,
    /// Device and inode.
    identity: (u64, u64),
    /// Offset of its first byte.
    pub(super) begin: u64,
    /// Nothing more is written to it.
    pub(super) rotated: bool,
}

impl Open {
    fn new(file: File, begin: u64, rotated: bool) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { file: Arc::new(file), identity: (metadata.dev(), metadata.ino()), begin, rotated })
    }

    /// Whether both are the same file.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// Offset behind its last byte now.
    pub(super) fn end(&self) -> io::Result<u64> {
        Ok(self.begin + self.file.metadata()?.len())
    }

    /// At most [`CHUNK`] bytes from an offset of the log on.
    pub(super) fn read(&self, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; CHUNK];
        let read = self.file.read_at(&mut bytes, offset.saturating_sub(self.begin))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// The bytes between two offsets.
    pub(super) fn read_between(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, from.saturating_sub(self.begin))?;
        Ok(bytes)
    }
}

/// Where an offset is.
#[derive(Debug)]
pub(super) enum Place {
    /// In this file, or at its end.
    In(Open),
    /// In a file that is there no more; the next one begins here.
    Gone(u64),
    /// Nowhere yet.
    Nowhere,
}

/// Finds the file with this offset.
pub(super) fn locate(dir: &Path, offset: u64) -> io::Result<Place> {
    loop {
        let old = rotated(dir)?;
        match old.iter().find(|file| file.end() > offset) {
            Some(file) if file.begin > offset => return Ok(Place::Gone(file.begin)),
            Some(file) => match File::open(dir.join(logfile::name(file.begin))) {
                Ok(opened) => return Open::new(opened, file.begin, true).map(Place::In),
                // Removed meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            },
            None if logfile::current_begin(&old) > offset => {
                return Ok(Place::Gone(logfile::current_begin(&old)));
            }
            None => match current(dir, &old)? {
                Current::Open(open) => return Ok(Place::In(open)),
                Current::Absent => return Ok(Place::Nowhere),
                Current::Rotated => {}
            },
        }
    }
}

enum Current {
    Open(Open),
    Absent,
    /// A rotation came in between: look again.
    Rotated,
}

/// The file that is written to, where these are the others.
fn current(dir: &Path, old: &[Rotated]) -> io::Result<Current> {
    let file = match File::open(dir.join(logfile::CURRENT)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Current::Absent),
        Err(e) => return Err(e),
    };
    // Each rotation adds one: without a new one, the name meant the file behind these.
    match rotated(dir)?.last() == old.last() {
        true => Open::new(file, logfile::current_begin(old), false).map(Current::Open),
        false => Ok(Current::Rotated),
    }
}

/// All files, newest first; each is opened when it is asked for.
pub(super) fn newest_first(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<Open>>> {
    let (old, current) = loop {
        let old = rotated(dir)?;
        match current(dir, &old)? {
            Current::Open(open) => break (old, Some(open)),
            Current::Absent => break (old, None),
            Current::Rotated => {}
        }
    };
    let dir = dir.to_owned();
    let older =
        old.into_iter().rev().filter_map(move |file| match File::open(dir.join(logfile::name(file.begin))) {
            Ok(opened) => Some(Open::new(opened, file.begin, true)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => Some(Err(e)),
        });
    Ok(current.into_iter().map(Ok).chain(older))
}

/// Offset of the first file that can have something of this time or later.
pub(super) fn begin_since(dir: &Path, since: SystemTime) -> io::Result<u64> {
    let mut begin = 0;
    for file in rotated(dir)? {
        let written = std::fs::metadata(dir.join(logfile::name(file.begin))).and_then(|m| m.modified());
        if written.is_ok_and(|at| at + COARSE >= since) {
            break;
        }
        begin = file.end();
    }
    Ok(begin)
}

/// A container that is deleted has no files.
fn rotated(dir: &Path) -> io::Result<Vec<Rotated>> {
    match logfile::rotated(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}
