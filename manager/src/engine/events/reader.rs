//! Reading the journal from a number on, as fast as the client.

use super::super::error::Error;
use super::{Codec, Committed, Part, Whole};
use crate::model::Event;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Reads on from one place; each reader is as fast as its client.
#[derive(Debug)]
pub struct Reader {
    part: Arc<Part>,
    offset: u64,
    after: u64,
    /// The last event that was in the file when the reader was made.
    upto: u64,
    committed: watch::Receiver<Committed>,
    codec: Codec,
}

impl Reader {
    /// From the first event above `after` on; up to `upto` they are waited for.
    pub(super) fn new(committed: watch::Receiver<Committed>, codec: Codec, after: u64, upto: u64) -> Self {
        let part = Arc::clone(&committed.borrow().part);
        Self { offset: part.offset(after), part, after, upto, committed, codec }
    }

    /// The next events, in order; empty when all that are on disk were read, and among them
    /// all that were added before the reader was made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        loop {
            let Committed { seq, bytes: end, part } = self.committed.borrow_and_update().clone();
            if !Arc::ptr_eq(&part, &self.part) {
                (self.offset, self.part) = (part.offset(self.after), part);
            }
            if self.offset >= end {
                if seq < self.upto {
                    self.more().await?;
                    continue;
                }
                return Ok(Vec::new());
            }
            let whole = self.chunk(end).await?;
            self.offset += u64::try_from(whole.bytes).unwrap_or(u64::MAX);
            let after = self.after;
            let events: Vec<Event> = whole.events.into_iter().filter(|e| e.seq > after).collect();
            if let Some(last) = events.last() {
                self.after = last.seq;
                return Ok(events);
            }
        }
    }

    /// Returns when there may be more, or with an error when there never will be.
    ///
    /// # Errors
    /// [`Error::Stopping`].
    pub async fn more(&mut self) -> Result<(), Error> {
        self.committed.changed().await.map_err(|_| Error::Stopping)
    }

    /// Whole records from the offset on.
    async fn chunk(&self, end: u64) -> Result<Whole, Error> {
        let (part, offset, codec) = (Arc::clone(&self.part), self.offset, self.codec);
        let read = tokio::task::spawn_blocking(move || whole_at(&part.file, codec, offset, end));
        let whole = read.await.map_err(|_| Error::Stopping)?.map_err(Error::io("read the events"))?;
        if whole.bytes == 0 {
            let damage = io::Error::new(io::ErrorKind::InvalidData, "the file was changed by somebody else");
            return Err(Error::io("read the events")(damage));
        }
        Ok(whole)
    }
}

/// Some whole records from `offset` on, of those before `end`: reads more while not even one is whole, so that none are
/// given only where none is.
pub(super) fn whole_at(file: &File, codec: Codec, offset: u64, end: u64) -> io::Result<Whole> {
    let left = usize::try_from(end - offset).map_err(io::Error::other)?;
    let mut size = CHUNK;
    loop {
        let mut bytes = vec![0; size.min(left)];
        file.read_exact_at(&mut bytes, offset)?;
        let whole = (codec.decode)(&bytes);
        if whole.bytes > 0 || size >= left {
            return Ok(whole);
        }
        size *= 4;
    }
}
