//! What waits for one attached client: bounded in bytes and in pieces, whatever the client does and however
//! little the process writes at once.

use super::Chunk;
use super::replay::{PIECE, PIECES, Piece, size};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes that may wait for a client.
pub(super) const BOUND: usize = 256 << 10;

/// What becomes of output while a client does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    /// It is dropped for this client, and counted.
    Drop,
    /// The process waits.
    Block,
}

/// What a client is told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Output.
    Output(Chunk),
    /// So many bytes are missing here.
    Dropped(u64),
}

/// One client's queue.
#[derive(Debug)]
pub(super) struct Queue {
    slow: Slow,
    inner: Mutex<Inner>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    told: VecDeque<Told>,
    /// Follows what is in `told`, and takes in what comes until it is large enough.
    open: Option<Piece>,
    bytes: usize,
    /// Dropped since the last chunk that was taken.
    dropped: u64,
    over: bool,
}

impl Queue {
    pub(super) fn new(slow: Slow) -> Self {
        Self { slow, inner: Mutex::default(), more: Notify::new() }
    }

    /// Adds output, or counts it where the client is too slow. For a client that blocks the
    /// caller has asked [`Queue::has_room`] before; what the end of the process leaves in its
    /// pipes comes all the same, and is bounded by them.
    pub(super) fn push(&self, chunk: &Chunk) {
        let mut inner = self.inner();
        let full = inner.bytes + chunk.bytes.len() > BOUND || inner.told.len() >= PIECES;
        if self.slow == Slow::Drop && full {
            inner.dropped += size(chunk.bytes.len());
        } else {
            inner.tell_dropped();
            inner.tell(chunk);
        }
        drop(inner);
        self.more.notify_one();
    }

    /// Tells of bytes that this client cannot have.
    pub(super) fn miss(&self, bytes: u64) {
        self.inner().dropped += bytes;
        self.more.notify_one();
    }

    /// Nothing more will come.
    pub(super) fn end(&self) {
        self.inner().over = true;
        self.more.notify_one();
    }

    /// Whether the process need not wait for this client.
    pub(super) fn has_room(&self) -> bool {
        let inner = self.inner();
        self.slow == Slow::Drop || (inner.bytes < BOUND && inner.told.len() < PIECES)
    }

    /// The next that the client is told; `None` when all was told.
    pub(super) async fn next(&self) -> Option<Told> {
        loop {
            {
                let mut inner = self.inner();
                if inner.told.is_empty() {
                    inner.close();
                }
                if inner.told.is_empty() {
                    inner.tell_dropped();
                }
                if let Some(told) = inner.told.pop_front() {
                    if let Told::Output(chunk) = &told {
                        inner.bytes -= chunk.bytes.len();
                    }
                    return Some(told);
                }
                if inner.over {
                    return None;
                }
            }
            self.more.notified().await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell(&mut self, chunk: &Chunk) {
        self.bytes += chunk.bytes.len();
        if let Some(open) = &mut self.open
            && open.takes(chunk)
        {
            open.bytes.extend_from_slice(&chunk.bytes);
            return;
        }
        self.close();
        if chunk.bytes.len() < PIECE {
            self.open = Some(Piece::of(chunk));
        } else {
            // All clients have it in common.
            self.told.push_back(Told::Output(chunk.clone()));
        }
    }

    /// What is open takes in no more.
    fn close(&mut self) {
        if let Some(Piece { stream, offset, bytes }) = self.open.take() {
            self.told.push_back(Told::Output(Chunk { stream, offset, bytes: bytes.into() }));
        }
    }

    fn tell_dropped(&mut self) {
        if self.dropped > 0 {
            self.close();
            self.told.push_back(Told::Dropped(std::mem::take(&mut self.dropped)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::Stream;

    fn chunk(offset: u64, len: usize) -> Chunk {
        Chunk { stream: Stream::Stdout, offset, bytes: vec![b'x'; len].into() }
    }

    #[tokio::test]
    async fn what_a_slow_client_misses_is_counted_where_it_is_missing() {
        let queue = Queue::new(Slow::Drop);
        queue.push(&chunk(0, BOUND));
        queue.push(&chunk(1, 7));
        queue.push(&chunk(2, 8));
        assert!(queue.has_room(), "nobody waits for it");
        assert_eq!(queue.next().await, Some(Told::Output(chunk(0, BOUND))));
        queue.push(&chunk(3, 1));
        assert_eq!(queue.next().await, Some(Told::Dropped(15)));
        assert_eq!(queue.next().await, Some(Told::Output(chunk(3, 1))));
        queue.miss(4);
        queue.end();
        assert_eq!(queue.next().await, Some(Told::Dropped(4)));
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn small_writes_wait_together() {
        let queue = Queue::new(Slow::Drop);
        let small = size(PIECE) * 3 / 2;
        (0..small).for_each(|offset| queue.push(&chunk(offset, 1)));
        queue.push(&Chunk { stream: Stream::Stderr, ..chunk(small, 1) });
        queue.push(&chunk(small + 1, PIECE));
        assert_eq!(queue.next().await, Some(Told::Output(chunk(0, PIECE))));
        assert_eq!(queue.next().await, Some(Told::Output(chunk(size(PIECE), PIECE / 2))));
        let stderr = Chunk { stream: Stream::Stderr, ..chunk(small, 1) };
        assert_eq!(queue.next().await, Some(Told::Output(stderr)));
        queue.push(&chunk(small + 1 + size(PIECE), 1));
        assert_eq!(queue.next().await, Some(Told::Output(chunk(small + 1, PIECE))));
        assert_eq!(queue.next().await, Some(Told::Output(chunk(small + 1 + size(PIECE), 1))));
    }

    /// Of both streams in turn, so that no two can be put together.
    #[tokio::test]
    async fn pieces_have_a_bound() {
        let each = |offset| Chunk {
            stream: if offset % 2 == 0 { Stream::Stdout } else { Stream::Stderr },
            ..chunk(offset, 1)
        };
        let (dropping, blocking) = (Queue::new(Slow::Drop), Queue::new(Slow::Block));
        (0..size(PIECES) + 7).for_each(|offset| dropping.push(&each(offset)));
        (0..size(PIECES)).for_each(|offset| blocking.push(&each(offset)));
        assert!(blocking.has_room());
        blocking.push(&each(size(PIECES)));
        assert!(!blocking.has_room());
        for offset in 0..=size(PIECES) {
            assert_eq!(dropping.next().await, Some(Told::Output(each(offset))));
        }
        assert_eq!(dropping.next().await, Some(Told::Dropped(6)));
    }

    #[tokio::test]
    async fn a_client_that_blocks_misses_nothing() {
        let queue = Queue::new(Slow::Block);
        assert!(queue.has_room());
        queue.push(&chunk(0, BOUND));
        assert!(!queue.has_room());
        queue.push(&chunk(1, 7));
        assert_eq!(queue.next().await, Some(Told::Output(chunk(0, BOUND))));
        assert!(queue.has_room());
        assert_eq!(queue.next().await, Some(Told::Output(chunk(1, 7))));
    }
}
