//! `sextant`, the command line that talks to `sextantd`.
//!
//! A command line becomes an [`args::Cli`]; [`commands`] has one verb a file,
//! each of which asks the daemon through [`client`], turns the answer into
//! [`view`] structs, and prints them as JSON or as a [`table`]. What fails
//! comes back as an [`error::Error`] and is printed here, once.
//!
//! Nothing in here reads the state of the daemon or touches a container except
//! through the API, so whatever a person can do here a gRPC client can do too;
//! but `doctor` looks at the host itself where no daemon answers.

pub mod args;
pub mod attached;
pub mod client;
pub mod commands;
pub mod detach;
pub mod diagnosis;
pub mod error;
pub mod gantt;
pub mod graph;
pub mod output;
pub mod parse;
pub mod signals;
pub mod source;
pub mod table;
pub mod time;
pub mod top;
pub mod usage;
pub mod view;
pub mod width;

use clap::Parser;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Does what the command line `args` (its first is the program's name) says.
///
/// The exit code is 0; 1 when a request failed; 2 for a command line that makes
/// no sense; and for `run` the container's own, or 125 when there is none.
pub async fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match args::Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match commands::run(cli).await {
        Ok(code) => code,
        Err(error) => {
            let paint = output::Paint::detect(std::io::stderr().is_terminal());
            eprint!("{}", error.render(paint));
            error.exit_code()
        }
    }
}

/// Prints clap's own answer: help and version on stdout, mistakes on stderr.
fn usage(error: &clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(error::EXIT_USAGE);
    match error.print() {
        Ok(()) => ExitCode::from(code),
        // Nobody is left to read it; the code still says what happened.
        Err(_) => ExitCode::from(code),
    }
}
