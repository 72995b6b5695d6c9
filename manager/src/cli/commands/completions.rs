//! `completions`: a completion script. Needs no daemon.

use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::error::Error;
use crate::cli::output;
use clap::CommandFactory;
use std::process::ExitCode;

pub(super) fn run(args: &CompletionsArgs) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sextant", &mut script);
    output::write_all(std::io::stdout().lock(), &script)?;
    Ok(ExitCode::SUCCESS)
}
