//! Memory that other processes may map as well (memfd_create(2), mmap(2)).

use nix::sys::memfd::{MFdFlags, memfd_create};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// A mapping, whose pages are there once they are written to, and outlive this process where
/// somebody else has the file.
#[derive(Debug)]
pub(crate) struct Memory {
    file: OwnedFd,
    begin: NonNull<u8>,
    size: usize,
}

// SAFETY: the mapping belongs to this value until it is dropped, and is reached through it only.
unsafe impl Send for Memory {}
// SAFETY: shared references give out atomics only.
unsafe impl Sync for Memory {}

impl Memory {
    /// New, of `size` bytes that are all 0.
    ///
    /// # Errors
    /// Of memfd_create(2), ftruncate(2) and mmap(2).
    pub(crate) fn new(name: &std::ffi::CStr, size: usize) -> io::Result<Self> {
        let file = memfd_create(name, MFdFlags::MFD_CLOEXEC)?;
        nix::unistd::ftruncate(&file, libc::off_t::try_from(size).map_err(io::Error::other)?)?;
        Self::of(file, size)
    }

    /// Of a file that another process has made by [`Memory::new`] of the same size.
    ///
    /// # Errors
    /// Of fstat(2) and mmap(2); when it has another size.
    pub(crate) fn of(file: OwnedFd, size: usize) -> io::Result<Self> {
        let has = nix::sys::stat::fstat(&file)?.st_size;
        if usize::try_from(has).ok() != Some(size) {
            return Err(io::Error::other(format!("the memory has {has} bytes and not {size}")));
        }
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so nothing that exists is replaced.
        let begin =
            unsafe { libc::mmap(ptr::null_mut(), size, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if begin == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let begin = NonNull::new(begin.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { file, begin, size })
    }

    /// The file, for whoever is to keep it.
    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// The number `index` of the words that the mapping begins with.
    ///
    /// # Panics
    /// When there are not so many.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.size / size_of::<u64>(), "word {index} of {} bytes", self.size);
        // SAFETY: within the mapping (see above), which begins at a page and so is aligned; it lives as long as
        // `self`. Words are reached as atomics only: `bytes` begins behind them by contract of its callers.
        unsafe { AtomicU64::from_ptr(self.begin.as_ptr().cast::<u64>().add(index)) }
    }

    /// Bytes of the mapping.
    ///
    /// # Panics
    /// When it ends before them.
    pub(crate) fn bytes(&self, from: usize, length: usize) -> &[u8] {
        assert!(from <= self.size && length <= self.size - from, "bytes {from}+{length} of {}", self.size);
        // SAFETY: within the mapping (see above), which lives as long as `self`. This process writes to it through
        // `bytes_mut` only, whose exclusive reference rules this one out; the process that had it before has ended.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr().add(from), length) }
    }

    /// The same, to be written to.
    ///
    /// # Panics
    /// As [`Memory::bytes`].
    pub(crate) fn bytes_mut(&mut self, from: usize, length: usize) -> &mut [u8] {
        assert!(from <= self.size && length <= self.size - from, "bytes {from}+{length} of {}", self.size);
        // SAFETY: as in `bytes`; `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.begin.as_ptr().add(from), length) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrows from it any more.
        if unsafe { libc::munmap(self.begin.as_ptr().cast(), self.size) } != 0 {
            complain!("munmap: {}", io::Error::last_os_error());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_is_written_is_there_for_whoever_has_the_file() {
        let mut memory = Memory::new(c"test", 8192).unwrap();
        memory.word(3).store(7, Ordering::Release);
        memory.bytes_mut(4096, 3).copy_from_slice(b"abc");
        let again = Memory::of(memory.file().try_clone().unwrap(), 8192).unwrap();
        drop(memory);
        assert_eq!((again.word(3).load(Ordering::Acquire), again.bytes(4096, 4)), (7, &b"abc\0"[..]));
        assert!(Memory::of(again.file().try_clone().unwrap(), 4096).is_err());
    }
}
