//! `top`: all containers in the terminal.

use crate::cli::args::TopArgs;
use crate::cli::client::Client;
use crate::cli::error::{Error, Report};
use crate::cli::top::{self, Options};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// The daemon takes no shorter one.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) async fn run(client: &Client, args: TopArgs) -> Result<ExitCode, Error> {
    let options = Options { interval: args.interval.max(SHORTEST), filter: args.filter };
    if args.once {
        top::once(client, &options).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let missing = match (std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), dumb) {
        (_, false, _) => "standard output is no terminal",
        (false, _, _) => "standard input is no terminal, and keys come from there",
        (_, _, true) => "this terminal cannot move its cursor (TERM)",
        _ => return top::watch(client, &options).await,
    };
    let hint =
        "sextant top --once prints one table; sextant stats --stream --json and sextant ps are for programs";
    Err(Report::other("show the containers", missing, hint).into())
}
