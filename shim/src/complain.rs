//! Words on stderr. They go to a file in the container's directory, which may lie on a disk that is
//! full: then they are lost, and nothing else (`eprintln!` would panic).

use std::fmt::Arguments;
use std::io::{self, Write};

/// As `eprintln!`, for what nobody can be answered.
macro_rules! complain {
    ($($words:tt)*) => { $crate::complain::complain(format_args!($($words)*)) };
}

/// One line.
pub(crate) fn complain(words: Arguments<'_>) {
    writeln!(io::stderr(), "sextant-shim: {words}").unwrap_or_default();
}
