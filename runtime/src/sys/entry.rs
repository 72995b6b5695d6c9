//! The entry of a program that leaves out what the standard library does ahead of
//! `main` and behind it: a handler for an overflow of the stack, for which it reads
//! `/proc/self/maps`, and destructors of what the kernel frees by itself. What a
//! program relies on is done here.

use crate::contract::ExitCode;

/// Defines the C function `main` of a program with `#![no_main]`, which is `$story`,
/// and its heap. The program must start no thread, and flush what it has written.
#[macro_export]
macro_rules! entry {
    ($story:path) => {
        #[global_allocator]
        static HEAP: $crate::sys::heap::Heap = $crate::sys::heap::Heap;

        /// Called by the C library.
        // SAFETY: this is the one function of that name in the program, with the type that the C library wants.
        #[unsafe(no_mangle)]
        pub extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
            $crate::sys::entry::run($story)
        }
    };
}

/// Runs `story`, and ends the process with what it gives.
pub fn run(story: fn() -> ExitCode) -> ! {
    // Descriptors 0 to 2 that are closed would be given to the next file that is opened.
    if !stdio_is_open() {
        super::process::exit_now(i32::from(crate::contract::EXIT_FAILURE));
    }
    // Writing to a pipe that nobody reads is an error, and not the end. It cannot fail: the signal exists.
    super::process::catch_broken_pipes().ok();
    super::process::exit_now(i32::from(story().number()))
}

/// Opens `/dev/null` in place of each that is closed.
fn stdio_is_open() -> bool {
    let mut all = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: `all` is an array of three.
    unsafe { libc::poll(all.as_mut_ptr(), 3, 0) };
    all.iter().filter(|one| one.revents & libc::POLLNVAL != 0).all(|one| {
        // SAFETY: the path is a C string. The lowest number that is free is given (open(2)), and they come in order.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        fd == one.fd
    })
}
