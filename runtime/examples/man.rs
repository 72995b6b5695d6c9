//! Writes the man pages of `sextant-runtime` and its commands into a directory,
//! from the definition of its command line: `cargo run --example man -- DIR`.

use clap::CommandFactory;
use sextant_runtime::cli::Cli;
use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: man DIR"));
    };
    std::fs::create_dir_all(&dir)?;
    clap_mangen::generate_to(Cli::command(), &dir)
}
