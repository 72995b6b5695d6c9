//! The running program's own image: mapping it anew from another file, and
//! telling the kernel that this file is what the process executes (prctl(2),
//! `PR_SET_MM`). What execve(2) of that file would do, without starting anew.

use super::{Error, Result, named};
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// Replaces every mapping of the program's file by one of `file`, which has the
/// same bytes, and makes `file` the process's `/proc/self/exe`. Nothing else of the
/// memory changes; the caller goes on where it was.
///
/// # Errors
/// `EPERM` without `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN` (before Linux 5.9:
/// `CAP_SYS_RESOURCE`), `EINVAL` of a kernel without `CONFIG_CHECKPOINT_RESTORE`.
/// The process goes on as before then.
pub fn take_on(file: BorrowedFd<'_>) -> Result<()> {
    let mut map = MemoryMap::of_this_process()?;
    for segment in segments()? {
        if segment.protection & libc::PROT_WRITE == 0 {
            segment.map_over(file)?;
        } else {
            segment.move_over(file)?;
        }
    }
    map.exe_fd = file.as_raw_fd().cast_unsigned();
    map.put_in_force()
}

/// What a segment of the program's file is in memory, in whole pages.
struct Segment {
    start: usize,
    length: usize,
    offset: libc::off_t,
    protection: libc::c_int,
    /// Where pages begin that are writable only while the program starts (`PT_GNU_RELRO`), and how many bytes.
    relro: Option<(usize, usize)>,
}

fn segments() -> Result<Vec<Segment>> {
    let headers = program_headers()?;
    let page = page_size();
    let down = |address: usize| address & !(page - 1);
    let up = |address: usize| down(address + page - 1);
    let this = headers.as_ptr().expose_provenance();
    // Where the linker wanted the headers tells how far the kernel has moved the image.
    let wanted = headers.iter().find(|h| h.p_type == libc::PT_PHDR).map(|h| usize_of(h.p_vaddr));
    let base = wanted.map_or(0, |address| this.wrapping_sub(address));
    let relro = headers.iter().find(|h| h.p_type == libc::PT_GNU_RELRO).map(|h| {
        let start = down(base + usize_of(h.p_vaddr));
        (start, down(base + usize_of(h.p_vaddr) + usize_of(h.p_memsz)).saturating_sub(start))
    });
    let loaded = headers.iter().filter(|h| h.p_type == libc::PT_LOAD && h.p_filesz > 0);
    loaded
        .map(|h| {
            let address = base + usize_of(h.p_vaddr);
            let start = down(address);
            let length = up(address + usize_of(h.p_filesz)) - start;
            let offset = libc::off_t::try_from(down(usize_of(h.p_offset))).map_err(|_| unknown())?;
            let is_in = |(at, _): &(usize, usize)| (start..start + length).contains(at);
            Ok(Segment {
                start,
                length,
                offset,
                protection: protection(h.p_flags),
                relro: relro.filter(is_in),
            })
        })
        .collect()
}

/// The ELF program headers that the kernel has told this process (getauxval(3)).
fn program_headers() -> Result<&'static [libc::Elf64_Phdr]> {
    // SAFETY: getauxval(3) takes an integer.
    let (at, size) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHENT)) };
    // SAFETY: as above.
    let count = unsafe { libc::getauxval(libc::AT_PHNUM) };
    if usize_of(size) != size_of::<libc::Elf64_Phdr>() || at == 0 {
        return Err(unknown());
    }
    let first = ptr::with_exposed_provenance::<libc::Elf64_Phdr>(usize_of(at));
    // SAFETY: the kernel has mapped so many headers of this size there (getauxval(3)), read-only and
    // as long as the process lives: `take_on` maps the same bytes over them.
    Ok(unsafe { std::slice::from_raw_parts(first, usize_of(count)) })
}

impl Segment {
    fn map(&self, file: BorrowedFd<'_>, at: *mut libc::c_void, flags: libc::c_int) -> Result<NonNull<u8>> {
        let flags = libc::MAP_PRIVATE | flags;
        // SAFETY: without MAP_FIXED the kernel chooses a free place; with it, `map_over` says why.
        let value =
            unsafe { libc::mmap(at, self.length, self.protection, flags, file.as_raw_fd(), self.offset) };
        mapped(value, || format!("mmap({:#x}, {}, [{}])", self.start, self.length, file.as_raw_fd()))
    }

    /// Nobody writes to it: the file's bytes are the memory's.
    fn map_over(&self, file: BorrowedFd<'_>) -> Result<()> {
        // The caller has to see to it that the bytes are the same: then neither code nor constants change,
        // although this very function is among them.
        self.map(file, ptr::with_exposed_provenance_mut(self.start), libc::MAP_FIXED).map(drop)
    }

    /// What the program has written to goes over first, page by page.
    fn move_over(&self, file: BorrowedFd<'_>) -> Result<()> {
        let new = self.map(file, ptr::null_mut(), 0)?.as_ptr();
        let old: *mut u8 = ptr::with_exposed_provenance_mut(self.start);
        let page = page_size();
        for at in (0..self.length).step_by(page) {
            // SAFETY: both mappings have `length` bytes, and `at` with a whole page behind it is below that.
            let (from, to) = unsafe { (old.add(at), new.add(at)) };
            // SAFETY: both pages are mapped and readable.
            if unsafe { libc::memcmp(from.cast(), to.cast(), page) } != 0 {
                // SAFETY: as above; `new` is writable, and the mappings do not overlap.
                unsafe { ptr::copy_nonoverlapping(from, to, page) };
            }
        }
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: the place is the segment's own, and has the same content afterwards: nothing runs between the
        // copy and this call that writes to static memory.
        let value =
            unsafe { libc::mremap(new.cast(), self.length, self.length, flags, old.cast::<libc::c_void>()) };
        mapped(value, || format!("mremap({:#x}, {})", self.start, self.length))?;
        let Some((start, length)) = self.relro else { return Ok(()) };
        let start: *mut libc::c_void = ptr::with_exposed_provenance_mut(start);
        // SAFETY: these pages of the segment were read-only before, by the same right (PT_GNU_RELRO).
        let value = unsafe { libc::mprotect(start, length, libc::PROT_READ) };
        named(Errno::result(value).map(drop), || format!("mprotect({start:?}, {length}, PROT_READ)"))
    }
}

/// `struct prctl_mm_map` of linux/prctl.h, Linux 3.18.
#[repr(C)]
#[derive(Default)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

impl MemoryMap {
    /// As it is, from `/proc/self/stat` (proc_pid_stat(5)): all of it is set at once, so it has to be known.
    fn of_this_process() -> Result<Self> {
        let text = super::file::read_kernel_text("/proc/self/stat").map_err(|_| unknown())?;
        let (_, rest) = text.rsplit_once(')').ok_or_else(unknown)?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The first behind the name is field 3 of the manual page.
        let field = |number: usize| {
            fields.get(number - 3).and_then(|text| text.parse::<u64>().ok()).ok_or_else(unknown)
        };
        // SAFETY: sbrk(0) only asks.
        let brk = unsafe { libc::sbrk(0) }.expose_provenance();
        Ok(Self {
            start_code: field(26)?,
            end_code: field(27)?,
            start_data: field(45)?,
            end_data: field(46)?,
            start_brk: field(47)?,
            brk: u64::try_from(brk).map_err(|_| unknown())?,
            start_stack: field(28)?,
            arg_start: field(48)?,
            arg_end: field(49)?,
            env_start: field(50)?,
            env_end: field(51)?,
            ..Self::default()
        })
    }

    fn put_in_force(&self) -> Result<()> {
        let at = ptr::from_ref(self);
        // SAFETY: `at` is a struct prctl_mm_map of the size given; every address in it but the file is as it was.
        let value =
            unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, at, size_of::<Self>(), 0_usize) };
        named(Errno::result(value).map(drop), || {
            format!("prctl(PR_SET_MM, PR_SET_MM_MAP, {{exe_fd={}}})", self.exe_fd)
        })
    }
}

fn mapped(value: *mut libc::c_void, call: impl FnOnce() -> String) -> Result<NonNull<u8>> {
    match NonNull::new(value) {
        Some(place) if value != libc::MAP_FAILED => Ok(place.cast()),
        _ => Err(Error { call: call(), errno: Errno::last() }),
    }
}

fn protection(flags: u32) -> libc::c_int {
    [(libc::PF_R, libc::PROT_READ), (libc::PF_W, libc::PROT_WRITE), (libc::PF_X, libc::PROT_EXEC)]
        .into_iter()
        .filter(|(flag, _)| flags & flag != 0)
        .fold(0, |all, (_, protection)| all | protection)
}

fn page_size() -> usize {
    // SAFETY: sysconf(3) takes an integer.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// An address of this process: it fits.
fn usize_of(address: u64) -> usize {
    usize::try_from(address).unwrap_or(0)
}

/// The process cannot be described.
fn unknown() -> Error {
    Error { call: "describe the program's image".into(), errno: Errno::ENOTSUP }
}
