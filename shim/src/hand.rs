//! What a shim has in its hand: output that it has read and that is not in the log. It is in
//! memory which the manager keeps as well, so that the next shim finds it when this one is killed
//! at any instruction. One for each stream.
//!
//! The words before the bytes say which of them count: of two places, one is valid, and `CURRENT`
//! says which. So the change from "not in the log" to "in the log" is one store. A shim that is
//! killed between its write to the log and that store leaves bytes that are in the log already:
//! the place also says how long the log was, and what was written since is compared.
//!
//! A read is announced (`COMING`) with as many bytes as the kernel says are there, and the place for
//! them begins with a pattern: if that is not there any more, the read has come about. The announcement
//! says where that place is: once its bytes count, the valid place ends elsewhere, and it is void.

use crate::faults::{self, Point};
use crate::pipe::{CHUNK, Flow, Pipe};
use crate::sys::Memory;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// Size of the memory of one stream: a line that is not whole, a read, and the same once more, so
/// that what is kept is never moved onto itself.
const SIZE: usize = 64 << 10;

/// Where the bytes begin.
const BYTES: usize = 128;

/// Word: which of the two places is valid, 0 or 1.
const CURRENT: usize = 0;
/// Word: bytes that are being read ([`Coming`]).
const COMING: usize = 1;
/// Words: the two places.
const PLACES: [usize; 2] = [2, 5];
/// Words: what the place of a read begins with.
const PATTERN: [usize; 2] = [8, 9];
/// Bytes of it.
const PATTERN_SIZE: usize = 16;

/// Which bytes count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// The first one.
    begin: usize,
    /// Behind the last one.
    end: usize,
    /// Bytes of log there were when none of them was in it.
    log: u64,
}

/// Bytes that are being read, and from where in the memory on: half a word each.
#[derive(Clone, Copy, Debug)]
struct Coming {
    count: usize,
    from: usize,
}

impl Coming {
    fn word(self) -> u64 {
        size(self.from) << u32::BITS | size(self.count)
    }

    fn of(word: u64) -> Option<Self> {
        let count = usize::try_from(word & u64::from(u32::MAX)).ok().filter(|count| *count > 0)?;
        Some(Self { count, from: usize::try_from(word >> u32::BITS).ok()? })
    }
}

/// The memory of one stream.
#[derive(Debug)]
pub(crate) struct Hand {
    memory: Memory,
    place: Place,
}

impl Hand {
    /// An empty one.
    ///
    /// # Errors
    /// Of memfd_create(2), ftruncate(2), mmap(2) and getrandom(2).
    pub(crate) fn new() -> io::Result<Self> {
        let memory = Memory::new(c"output in hand", SIZE)?;
        let mut pattern = [0; PATTERN_SIZE];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut pattern)?;
        let (halves, _) = pattern.as_chunks::<{ size_of::<u64>() }>();
        for (word, half) in PATTERN.into_iter().zip(halves) {
            memory.word(word).store(u64::from_ne_bytes(*half), Ordering::Relaxed);
        }
        Ok(Self { memory, place: Place::default() })
    }

    /// What a shim that was killed had in its hand.
    ///
    /// # Errors
    /// Of fstat(2) and mmap(2); when it is something else.
    pub(crate) fn of(file: OwnedFd) -> io::Result<Self> {
        let memory = Memory::of(file, SIZE)?;
        let current = memory.word(CURRENT).load(Ordering::Acquire);
        let place =
            usize::try_from(current).ok().and_then(|n| PLACES.get(n)).map(|words| load(&memory, *words));
        let room = SIZE - BYTES;
        let place = place.flatten().filter(|p| p.begin <= p.end && p.end <= room);
        let place = place.ok_or_else(|| io::Error::other("what it says about its bytes cannot be"))?;
        let mut hand = Self { memory, place };
        if let Some(Coming { count, from }) = Coming::of(hand.memory.word(COMING).load(Ordering::Acquire))
            && from == place.end
            && count <= room - from
            && !hand.is_untouched(count)
        {
            hand.put(Place { end: place.end + count, ..place });
        }
        hand.memory.word(COMING).store(0, Ordering::Release);
        Ok(hand)
    }

    /// Its file and the number of that, for whoever is to keep it.
    ///
    /// # Errors
    /// Of fstat(2).
    pub(crate) fn end(&self) -> io::Result<crate::pipe::PipeEnd> {
        let file = self.memory.file();
        Ok(crate::pipe::PipeEnd { fd: file.as_raw_fd(), inode: nix::sys::stat::fstat(file)?.st_ino })
    }

    /// Output that is not in the log.
    pub(crate) fn held(&self) -> &[u8] {
        self.memory.bytes(BYTES + self.place.begin, self.place.end - self.place.begin)
    }

    /// The last bytes of it.
    pub(crate) fn last(&self, count: usize) -> &[u8] {
        let held = self.held();
        held.get(held.len().saturating_sub(count)..).unwrap_or_default()
    }

    /// Reads what is in the pipe now, at most [`CHUNK`] bytes: how many; none at its end, `None` when there
    /// is nothing yet.
    ///
    /// # Errors
    /// Of read(2).
    pub(crate) fn read(&mut self, pipe: &Pipe) -> io::Result<Option<usize>> {
        self.make_room();
        let room = (SIZE - BYTES - self.place.end).min(CHUNK);
        if room == 0 {
            return Err(io::Error::other("there is no room in the hand"));
        }
        // Nobody else reads it: the read gives what is there. Of a pipe at its end that is nothing.
        let there = pipe.readable_bytes().unwrap_or(room).clamp(1, room);
        let begin = BYTES + self.place.end;
        let pattern = self.pattern();
        let marked = there.min(PATTERN_SIZE);
        for (byte, mark) in self.memory.bytes_mut(begin, marked).iter_mut().zip(pattern) {
            *byte = mark;
        }
        self.announce(there);
        let read = pipe.read_into(self.memory.bytes_mut(begin, there));
        if let Ok(Some(count)) = read {
            self.put(Place { end: self.place.end + count, ..self.place });
        }
        self.memory.word(COMING).store(0, Ordering::Release);
        read
    }

    /// The first `count` bytes are in the log, or were dropped; the log has `log` bytes now.
    pub(crate) fn done(&mut self, count: usize, log: u64) {
        let (begin, end) = ((self.place.begin + count).min(self.place.end), self.place.end);
        let rest = if begin == end { Place { log, ..Place::default() } } else { Place { begin, end, log } };
        if rest != self.place {
            self.put(rest);
        }
    }

    /// Leaves out what is in the log already: `since` is what was written of this stream since the log had
    /// [`Hand::log`] bytes, and `log` its length now. Whether that fits.
    pub(crate) fn leave_out(&mut self, since: &[u8], log: u64) -> bool {
        if !self.held().starts_with(since) {
            return self.forget(log);
        }
        self.done(since.len(), log);
        true
    }

    /// Gives up what is held, the log having `log` bytes; whether there was nothing.
    pub(crate) fn forget(&mut self, log: u64) -> bool {
        let nothing = self.held().is_empty();
        self.done(self.held().len(), log);
        nothing
    }

    /// How long the log was when none of what is held was in it.
    pub(crate) fn log(&self) -> u64 {
        self.place.log
    }

    /// Moves what is held to the front, when there is no room for a read behind it.
    fn make_room(&mut self) {
        let Place { begin, end, log } = self.place;
        let held = end - begin;
        if SIZE - BYTES - end < CHUNK && held <= begin {
            let bytes = self.memory.bytes_mut(BYTES, end);
            // The bytes that count stay where they are until the place says otherwise.
            bytes.copy_within(begin..end, 0);
            self.put(Place { begin: 0, end: held, log });
        }
    }

    /// Bytes are read, as many as `count`, to behind the valid ones.
    fn announce(&self, count: usize) {
        let coming = Coming { count, from: self.place.end };
        self.memory.word(COMING).store(coming.word(), Ordering::Release);
    }

    /// Makes another place the valid one.
    fn put(&mut self, place: Place) {
        faults::moment(Point::HandStore);
        let other = 1 - self.memory.word(CURRENT).load(Ordering::Relaxed).min(1);
        let first = if other == 0 { PLACES[0] } else { PLACES[1] };
        let words = [size(place.begin), size(place.end), place.log];
        for (word, value) in (first..).zip(words) {
            self.memory.word(word).store(value, Ordering::Relaxed);
        }
        // Whoever maps the memory later sees the stores before this one: the process that made them has ended.
        self.memory.word(CURRENT).store(other, Ordering::Release);
        self.place = place;
    }

    fn pattern(&self) -> [u8; PATTERN_SIZE] {
        let mut pattern = [0; PATTERN_SIZE];
        let (halves, _) = pattern.as_chunks_mut::<{ size_of::<u64>() }>();
        for (half, word) in halves.iter_mut().zip(PATTERN) {
            *half = self.memory.word(word).load(Ordering::Relaxed).to_ne_bytes();
        }
        pattern
    }

    /// Whether nothing was read to the place of a read of so many bytes.
    fn is_untouched(&self, coming: usize) -> bool {
        let marked = coming.min(PATTERN_SIZE);
        self.pattern().starts_with(self.memory.bytes(BYTES + self.place.end, marked))
    }
}

fn load(memory: &Memory, first: usize) -> Option<Place> {
    let word = |n| memory.word(first + n).load(Ordering::Relaxed);
    Some(Place { begin: usize::try_from(word(0)).ok()?, end: usize::try_from(word(1)).ok()?, log: word(2) })
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Whether more may come, after a read of so many bytes.
pub(crate) fn flow(count: usize) -> Flow {
    if count == 0 { Flow::Ended } else { Flow::Open }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    fn pipe() -> (Pipe, File) {
        let (read, write) = Pipe::new().unwrap();
        (read, File::from(write))
    }

    fn next(hand: &Hand) -> Hand {
        Hand::of(hand.memory.file().try_clone().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_next_one_has_what_is_held_wherever_the_first_was_killed() {
        let (read, mut write) = pipe();
        let mut hand = Hand::new().unwrap();
        assert_eq!(hand.read(&read).unwrap(), None);
        write.write_all(b"one\ntwo").unwrap();
        assert_eq!(hand.read(&read).unwrap(), Some(7));
        assert_eq!((next(&hand).held(), next(&hand).log()), (&b"one\ntwo"[..], 0));
        hand.done(4, 40);
        assert_eq!((next(&hand).held(), next(&hand).log()), (&b"two"[..], 40));
        // Announced, and not read; then read, and not taken.
        hand.announce(5);
        let pattern = hand.pattern();
        hand.memory.bytes_mut(BYTES + 7, 5).copy_from_slice(&pattern[..5]);
        assert_eq!(next(&hand).held(), b"two");
        hand.announce(5);
        hand.memory.bytes_mut(BYTES + 7, 5).copy_from_slice(b"three");
        // Taken, and announced still: what happens to be behind it is nothing that was read.
        let announced = hand.memory.word(COMING).load(Ordering::Acquire);
        let taken = next(&hand);
        assert_eq!(taken.held(), b"twothree");
        hand.memory.word(COMING).store(announced, Ordering::Release);
        assert_eq!(next(&hand).held(), b"twothree");
        hand.place = taken.place;
        drop(write);
        assert_eq!(hand.read(&read).unwrap(), Some(0));
    }

    #[test]
    fn what_is_in_the_log_already_is_left_out() {
        let mut hand = Hand::new().unwrap();
        let hold = |hand: &mut Hand, bytes: &[u8]| {
            hand.memory.bytes_mut(BYTES, bytes.len()).copy_from_slice(bytes);
            hand.put(Place { begin: 0, end: bytes.len(), log: 10 });
        };
        hold(&mut hand, b"one\ntwo\nth");
        assert!(hand.leave_out(b"one\n", 50));
        assert_eq!((hand.held(), hand.log()), (&b"two\nth"[..], 50));
        hold(&mut hand, b"one\n");
        assert!(hand.leave_out(b"", 50));
        assert_eq!(hand.held(), b"one\n");
        assert!(!hand.leave_out(b"two\n", 50));
        assert_eq!(hand.held(), b"");
    }

    #[tokio::test]
    async fn reads_go_on_for_ever_and_nothing_is_mixed_up() {
        let (read, mut write) = pipe();
        let mut hand = Hand::new().unwrap();
        let (mut written, mut back) = (Vec::<u8>::new(), Vec::<u8>::new());
        for n in 0_u32..2000 {
            let piece: Vec<u8> = (0..(n * 37) % 16_000).map(|b| (b ^ n).to_le_bytes()[0]).collect();
            write.write_all(&piece).unwrap();
            written.extend(&piece);
            while let Some(count) = hand.read(&read).unwrap() {
                assert_eq!(hand.last(count), &written[written.len() - count..]);
            }
            // Of some that is held, a part is done.
            let done = hand.held().len().saturating_sub(usize::try_from(n % 9000).unwrap());
            back.extend(&hand.held()[..done]);
            hand.done(done, u64::from(n));
            assert_eq!(next(&hand).held(), hand.held());
        }
        back.extend(hand.held());
        assert!(back == written);
    }
}
