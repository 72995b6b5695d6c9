//! Writes the man pages of `sextantd`, `sextant` and its verbs into a directory, from the
//! definitions of the command lines: `cargo run --example man -- DIR`.

use clap::CommandFactory;
use sextant_manager::cli::args::Cli;
use sextant_manager::daemon::config::Args;
use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: man DIR"));
    };
    std::fs::create_dir_all(&dir)?;
    clap_mangen::generate_to(Args::command(), &dir)?;
    clap_mangen::generate_to(Cli::command(), &dir)
}
