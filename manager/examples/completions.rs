//! Writes completion scripts of `sextant` and `sextantd` for bash, zsh and fish into a
//! directory, each under the name that its shell looks for:
//! `cargo run --example completions -- DIR`.

use clap::CommandFactory;
use clap_complete::Shell;
use sextant_manager::cli::args::Cli;
use sextant_manager::daemon::config::Args;
use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: completions DIR"));
    };
    std::fs::create_dir_all(&dir)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "sextant", &dir)?;
        clap_complete::generate_to(shell, &mut Args::command(), "sextantd", &dir)?;
    }
    Ok(())
}
