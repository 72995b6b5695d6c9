//! The heap of a program that has one thread, ends soon, and clones itself in the
//! middle. The kernel takes some microseconds for each page that is touched for
//! the first time, or written to by both sides of a clone: more than a command
//! spends on all its allocations. So blocks lie close together, what was freed last
//! is given next, and past a clone nothing that is older is written to.
//!
//! A block has one of a few sizes, and each size a list of the free ones. What is
//! larger than [`LARGEST`] or wants more than [`GRAIN`] of alignment is malloc(3)'s.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;

/// Bytes that every block begins at a multiple of.
const GRAIN: usize = 16;
/// Up to so many bytes a block is a multiple of [`GRAIN`], beyond it a power of two.
const FINE: usize = 1 << 10;
/// Bytes of the largest block.
const LARGEST: usize = 64 << 10;
/// Sizes that blocks have.
const SIZES: usize = FINE / GRAIN + (LARGEST / FINE).ilog2() as usize;
/// Bytes that are taken from the kernel at once. Only those that are written to cost anything.
const CHUNK: usize = 512 << 10;
const PAGE: usize = 4096;

/// The global allocator of a program with one thread; [`entry!`](crate::entry) makes it that.
#[derive(Debug)]
pub struct Heap;

static ARENA: Arena = Arena::new(FIRST.0.get().cast());
static FIRST: Chunk = Chunk(UnsafeCell::new([0; CHUNK]));

/// To be called on both sides of a clone: from now on pages of before stay as they are,
/// and so common to both.
pub fn part() {
    // SAFETY: it is a program of one thread, or one that does not allocate here: then nothing is written.
    unsafe { (*ARENA.0.get()).part() }
}

#[repr(align(4096))]
struct Chunk(UnsafeCell<[u8; CHUNK]>);

// SAFETY: `ARENA` alone gives it away, a block to one owner.
unsafe impl Sync for Chunk {}

struct Arena(UnsafeCell<State>);

// SAFETY: it is used by programs of one thread only (see `entry!`). The thread of `deliver` allocates nothing.
unsafe impl Sync for Arena {}

struct State {
    /// Where the next block begins, in a chunk that ends at `end`; null before the first.
    next: *mut u8,
    end: *mut u8,
    /// From here to `end` the chunk was given away after the last clone.
    young: *mut u8,
    /// The chunk to begin with, where there is one: it needs no system call.
    first: *mut u8,
    free: [*mut u8; SIZES],
}

/// The size of a block, and its place among all sizes.
#[derive(Clone, Copy)]
struct Size {
    bytes: usize,
    place: usize,
}

impl Size {
    /// `None` for what is malloc's.
    fn of(bytes: usize, alignment: usize) -> Option<Self> {
        if alignment > GRAIN || bytes > LARGEST {
            return None;
        }
        if bytes <= FINE {
            let grains = bytes.div_ceil(GRAIN).max(1);
            return Some(Self { bytes: grains * GRAIN, place: grains - 1 });
        }
        let bytes = bytes.next_power_of_two();
        let doubled = (bytes / FINE).trailing_zeros() as usize;
        Some(Self { bytes, place: FINE / GRAIN + doubled - 1 })
    }
}

impl State {
    fn part(&mut self) {
        if self.end.is_null() {
            return;
        }
        let unused = self.end.addr() - self.next.addr();
        let to_page = self.next.addr().next_multiple_of(PAGE) - self.next.addr();
        self.next = self.next.wrapping_add(to_page.min(unused));
        self.young = self.next;
        self.free = [ptr::null_mut(); SIZES];
    }

    /// Whether the block may be written to when nobody uses it.
    fn is_young(&self, block: *mut u8) -> bool {
        (self.young..self.end).contains(&block)
    }

    /// Whether `block`, of `size`, is the last that was cut off the chunk, and could have `wanted` bytes.
    fn can_become(&self, block: *mut u8, size: Size, wanted: usize) -> bool {
        self.is_young(block)
            && block.wrapping_add(size.bytes) == self.next
            && wanted <= self.end.addr() - block.addr()
    }

    fn give(&mut self, size: Size) -> *mut u8 {
        let Some(first) = self.free.get_mut(size.place) else { return ptr::null_mut() };
        if !first.is_null() {
            let block = *first;
            // SAFETY: a block in the list is nobody's, has room for a pointer, and was written to by `take`.
            *first = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        if self.end.addr() - self.next.addr() < size.bytes && !self.begin_chunk() {
            return ptr::null_mut();
        }
        let block = self.next;
        self.next = block.wrapping_add(size.bytes);
        block
    }

    fn take(&mut self, block: *mut u8, size: Size) {
        if self.can_become(block, size, 0) {
            self.next = block;
        } else if self.is_young(block)
            && let Some(first) = self.free.get_mut(size.place)
        {
            // SAFETY: the caller has given the block back, which has room for a pointer.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }

    /// What is left of the old chunk is given up, and what of it is freed later.
    fn begin_chunk(&mut self) -> bool {
        let mut chunk = std::mem::replace(&mut self.first, ptr::null_mut());
        if chunk.is_null() {
            // SAFETY: the layout has a size.
            chunk = unsafe { System.alloc(Layout::new::<Chunk>()) };
        }
        if chunk.is_null() {
            return false;
        }
        (self.next, self.young, self.end) = (chunk, chunk, chunk.wrapping_add(CHUNK));
        true
    }
}

impl Arena {
    const fn new(first: *mut u8) -> Self {
        let nothing = ptr::null_mut();
        Self(UnsafeCell::new(State {
            next: nothing,
            end: nothing,
            young: nothing,
            first,
            free: [nothing; SIZES],
        }))
    }

    fn alloc(&self, layout: Layout) -> *mut u8 {
        match Size::of(layout.size(), layout.align()) {
            // SAFETY: one thread, and nothing below calls back.
            Some(size) => unsafe { (*self.0.get()).give(size) },
            // SAFETY: the caller's layout has a size.
            None => unsafe { System.alloc(layout) },
        }
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`].
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Size::of(layout.size(), layout.align()) {
            // SAFETY: as in `alloc`.
            Some(size) => unsafe { (*self.0.get()).take(block, size) },
            // SAFETY: a block of this layout came from there.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let (old, new) = (Size::of(layout.size(), layout.align()), Size::of(bytes, layout.align()));
        match (old, new) {
            // SAFETY: as in `dealloc`; the caller vouches for the new size.
            (None, None) => return unsafe { System.realloc(block, layout, bytes) },
            (Some(old), Some(new)) if old.bytes == new.bytes => return block,
            (Some(old), Some(new)) => {
                // SAFETY: as in `alloc`.
                let state = unsafe { &mut *self.0.get() };
                if state.can_become(block, old, new.bytes) {
                    state.next = block.wrapping_add(new.bytes);
                    return block;
                }
            }
            _ => {}
        }
        // SAFETY: the caller vouches for the size, the alignment is that of a layout.
        let moved = self.alloc(unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) });
        if !moved.is_null() {
            // SAFETY: both blocks have so many bytes, and are not the same.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size().min(bytes)) };
            // SAFETY: the caller's block, which is not used any more.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

// SAFETY: a block is given to one owner until it comes back, has at least the size of the layout and
// the alignment of `GRAIN`, and stays where it is; no function of these unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ARENA.alloc(layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Size::of(layout.size(), layout.align()).is_none() {
            // SAFETY: the caller's layout has a size.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let block = ARENA.alloc(layout);
        if !block.is_null() {
            // SAFETY: the block has so many bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { ARENA.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { ARENA.realloc(block, layout, bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block that has been given, and what was written to all of it.
    struct Block {
        at: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Block {
        fn assert_whole(&self) {
            // SAFETY: the arena has given so many bytes, and `write` has set them.
            let bytes = unsafe { std::slice::from_raw_parts(self.at, self.layout.size()) };
            assert!(bytes.iter().all(|b| *b == self.mark), "{} bytes at {:?}", self.layout.size(), self.at);
        }

        fn write(&self) {
            // SAFETY: as above.
            unsafe { self.at.write_bytes(self.mark, self.layout.size()) };
        }
    }

    /// Numbers that look random, and are the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(self.0 >> 33).unwrap() % limit
        }
    }

    fn layout(numbers: &mut Numbers) -> Layout {
        let bytes = match numbers.below(8) {
            0..=5 => 1 + numbers.below(600),
            6 => 1 + numbers.below(20_000),
            _ => 1 + numbers.below(2 * LARGEST),
        };
        Layout::from_size_align(bytes, 1 << numbers.below(7)).unwrap()
    }

    #[test]
    fn nobody_writes_to_the_block_of_another() {
        let (arena, mut numbers) = (Arena::new(ptr::null_mut()), Numbers(7));
        let mut blocks: Vec<Block> = Vec::new();
        for round in 0..40_000 {
            let mark = u8::try_from(round % 251).unwrap();
            match numbers.below(10) {
                0..=4 if blocks.len() < 400 => {
                    let layout = layout(&mut numbers);
                    let at = arena.alloc(layout);
                    assert!(!at.is_null() && at.addr().is_multiple_of(layout.align()));
                    blocks.push(Block { at, layout, mark });
                    blocks.last().unwrap().write();
                }
                5..=6 if !blocks.is_empty() => {
                    let number = numbers.below(blocks.len());
                    let mut block = blocks.swap_remove(number);
                    block.assert_whole();
                    let bytes = layout(&mut numbers).size();
                    // SAFETY: the block is the arena's, of this layout.
                    block.at = unsafe { arena.realloc(block.at, block.layout, bytes) };
                    let kept = Layout::from_size_align(block.layout.size().min(bytes), 1).unwrap();
                    Block { layout: kept, ..block }.assert_whole();
                    block.layout = Layout::from_size_align(bytes, block.layout.align()).unwrap();
                    block.mark = mark;
                    block.write();
                    blocks.push(block);
                }
                _ if round % 5000 == 4999 => {
                    // SAFETY: nobody else has the arena.
                    unsafe { (*arena.0.get()).part() };
                }
                _ if !blocks.is_empty() => {
                    let number = numbers.below(blocks.len());
                    let block = blocks.swap_remove(number);
                    block.assert_whole();
                    // SAFETY: the block is the arena's, of this layout.
                    unsafe { arena.dealloc(block.at, block.layout) };
                }
                _ => {}
            }
        }
        blocks.iter().for_each(Block::assert_whole);
    }

    #[test]
    fn what_is_freed_is_given_again_and_the_last_block_grows_in_place() {
        let arena = Arena::new(ptr::null_mut());
        let layout = Layout::from_size_align(100, 8).unwrap();
        let (first, second) = (arena.alloc(layout), arena.alloc(layout));
        // SAFETY: blocks of the arena, of these layouts.
        unsafe {
            arena.dealloc(first, layout);
            assert_eq!(arena.alloc(layout), first, "out of the list");
            assert_eq!(arena.realloc(second, layout, 5000), second, "nothing is behind it");
            arena.dealloc(second, Layout::from_size_align(5000, 8).unwrap());
            assert_eq!(arena.alloc(layout), second, "as if it had not been");
        }
    }

    #[test]
    fn past_a_clone_older_pages_are_not_written_to() {
        let arena = Arena::new(ptr::null_mut());
        let layout = Layout::from_size_align(64, 8).unwrap();
        let (old, last) = (arena.alloc(layout), arena.alloc(layout));
        // SAFETY: blocks of the arena, of this layout; nobody else has it.
        unsafe {
            old.write_bytes(3, 64);
            arena.dealloc(last, layout);
            (*arena.0.get()).part();
            arena.dealloc(old, layout);
            assert!(std::slice::from_raw_parts(old, 64).iter().all(|b| *b == 3));
        }
        let new = arena.alloc(layout);
        assert!(new.addr().is_multiple_of(PAGE), "on a page of its own: {new:?} after {old:?}");
    }

    #[test]
    fn sizes_are_in_order_and_none_is_too_small() {
        let sizes: Vec<Size> = (1..=LARGEST).filter_map(|bytes| Size::of(bytes, GRAIN)).collect();
        assert_eq!(sizes.len(), LARGEST);
        assert!(sizes.iter().enumerate().all(|(n, size)| size.bytes > n && size.place < SIZES));
        assert!(sizes.windows(2).all(|w| w[0].place == w[1].place || w[0].place + 1 == w[1].place));
        assert!(Size::of(LARGEST + 1, 1).is_none() && Size::of(1, 2 * GRAIN).is_none());
    }
}
