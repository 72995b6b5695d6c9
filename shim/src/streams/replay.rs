//! The last bytes of a process's output, for whoever attaches later. Takes no
//! memory before there is output.

use super::{Chunk, Stream};
use std::collections::VecDeque;

/// Small pieces of one stream are put together up to this size.
pub(super) const PIECE: usize = 4 << 10;

/// As many are kept, and wait for a client: a process that writes a byte to each of its streams in turn
/// makes a piece of each.
pub(super) const PIECES: usize = 1024;

/// The last bytes, oldest first.
#[derive(Debug)]
pub(super) struct Replay {
    pieces: VecDeque<Piece>,
    bytes: usize,
    bound: usize,
}

/// A piece of output that can grow.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) stream: Stream,
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

impl Piece {
    pub(super) fn of(chunk: &Chunk) -> Self {
        Self { stream: chunk.stream, offset: chunk.offset, bytes: chunk.bytes.to_vec() }
    }

    /// Whether `chunk` follows it, and makes it no larger than such pieces are to be.
    pub(super) fn takes(&self, chunk: &Chunk) -> bool {
        self.stream == chunk.stream
            && self.offset + size(self.bytes.len()) == chunk.offset
            && self.bytes.len() + chunk.bytes.len() <= PIECE
    }
}

impl Replay {
    /// Of at most `bound` bytes, of all streams together.
    pub(super) fn new(bound: usize) -> Self {
        Self { pieces: VecDeque::new(), bytes: 0, bound }
    }

    /// Keeps a chunk, and forgets what is too old for it.
    pub(super) fn keep(&mut self, chunk: &Chunk) {
        self.bytes += chunk.bytes.len();
        match self.pieces.back_mut() {
            Some(last) if last.takes(chunk) => last.bytes.extend_from_slice(&chunk.bytes),
            _ => self.pieces.push_back(Piece::of(chunk)),
        }
        if self.pieces.len() > PIECES
            && let Some(first) = self.pieces.pop_front()
        {
            self.bytes -= first.bytes.len();
        }
        while self.bytes > self.bound {
            let Some(first) = self.pieces.front_mut() else { return };
            let over = self.bytes - self.bound;
            if over >= first.bytes.len() {
                self.bytes -= first.bytes.len();
                self.pieces.pop_front();
            } else {
                first.bytes.drain(..over);
                first.offset += size(over);
                self.bytes -= over;
            }
        }
    }

    /// The offset of the first byte that is kept; `None` when none is.
    pub(super) fn begin(&self) -> Option<u64> {
        self.pieces.front().map(|piece| piece.offset)
    }

    /// What is kept from `offset` on.
    pub(super) fn from(&self, offset: u64) -> impl Iterator<Item = Chunk> {
        self.pieces.iter().filter_map(move |piece| {
            let skip = usize::try_from(offset.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
            let bytes = piece.bytes.get(skip..).filter(|bytes| !bytes.is_empty())?;
            Some(Chunk { stream: piece.stream, offset: piece.offset + size(skip), bytes: bytes.into() })
        })
    }

    /// Gives the memory back.
    pub(super) fn forget(&mut self) {
        self.pieces = VecDeque::new();
        self.bytes = 0;
    }
}

/// A number of bytes, for an offset.
pub(super) fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_come_back_in_order_from_any_offset() {
        let mut replay = Replay::new(10);
        assert_eq!(replay.begin(), None);
        let mut offset = 0;
        for (stream, text) in [
            (Stream::Stdout, "abc"),
            (Stream::Stdout, "def"),
            (Stream::Stderr, "ghi"),
            (Stream::Stdout, "jklm"),
        ] {
            replay.keep(&Chunk { stream, offset, bytes: text.as_bytes().into() });
            offset += size(text.len());
        }
        assert_eq!(replay.begin(), Some(3));
        let text = |from| {
            let all: Vec<u8> = replay.from(from).flat_map(|chunk| chunk.bytes.to_vec()).collect();
            String::from_utf8(all).unwrap()
        };
        assert_eq!((text(0), text(7), text(13)), ("defghijklm".into(), "hijklm".into(), String::new()));
        assert_eq!(replay.from(7).next().unwrap().offset, 7);
        let streams: Vec<Stream> = replay.from(0).map(|chunk| chunk.stream).collect();
        assert_eq!(streams, [Stream::Stdout, Stream::Stderr, Stream::Stdout]);
    }

    #[test]
    fn memory_has_a_bound_and_is_given_back() {
        let mut replay = Replay::new(1000);
        for n in 0..10_000 {
            replay.keep(&Chunk { stream: Stream::Stdout, offset: n, bytes: [b'x'].into() });
        }
        assert_eq!((replay.begin(), replay.bytes), (Some(9000), 1000));
        assert!(replay.pieces.len() <= 2);
        replay.forget();
        assert_eq!(replay.begin(), None);
    }
}
