//! The verbs, one a file. Each takes the connection and its arguments, asks
//! the daemon, prints the answer, and gives the exit code or an error; none
//! prints an error itself.

mod attach;
mod audit;
mod compare;
mod completions;
mod create;
mod doctor;
mod each;
pub(super) mod events;
mod exec;
mod info;
mod inspect;
mod kill;
mod logs;
mod metrics;
pub(super) mod ns;
mod pause;
pub(super) mod processes;
mod ps;
mod restart;
mod resume;
mod rm;
mod run;
mod sandbox;
mod start;
mod stats;
mod stop;
mod stress;
mod top;
pub(super) mod trace;
mod update;
mod wait;

use super::args::{Cli, Command};
use super::client::connect;
use super::error::Error;
use std::process::ExitCode;

/// Does what `cli` says.
///
/// # Errors
/// Whatever went wrong, yet unprinted.
pub async fn run(cli: Cli) -> Result<ExitCode, Error> {
    if let Command::Completions(args) = cli.command {
        return completions::run(&args);
    }
    if let Command::Stress(args) = cli.command {
        return stress::run(&cli.address, &cli.credentials, *args).await;
    }
    if let Command::Doctor(args) = cli.command {
        return doctor::run(&cli.address, &cli.credentials, &args).await;
    }
    let client = match connect(&cli.address, &cli.credentials).await {
        Ok(client) => client,
        Err(error) if matches!(cli.command, Command::Run(_) | Command::Exec(_)) => {
            return Err(error.exits(super::error::EXIT_RUN_FAILED));
        }
        Err(error) => return Err(error),
    };
    match cli.command {
        Command::Run(args) => run::run(&client, args).await,
        Command::Create(args) => create::run(&client, args).await,
        Command::Exec(args) => exec::run(&client, args).await,
        Command::Attach(args) => attach::run(&client, args).await,
        Command::Start(args) => start::run(&client, args).await,
        Command::Restart(args) => restart::run(&client, args).await,
        Command::Stop(args) => stop::run(&client, args).await,
        Command::Kill(args) => kill::run(&client, args).await,
        Command::Rm(args) => rm::run(&client, args).await,
        Command::Ps(args) => ps::run(&client, &args).await,
        Command::Inspect(args) => inspect::run(&client, args).await,
        Command::Logs(args) => logs::run(&client, args).await,
        Command::Pause(args) => pause::run(&client, args).await,
        Command::Resume(args) => resume::run(&client, args).await,
        Command::Update(args) => update::run(&client, args).await,
        Command::Stats(args) => stats::run(&client, args).await,
        Command::Processes(args) => processes::run(&client, args).await,
        Command::Events(args) => events::run(&client, &args).await,
        Command::Wait(args) => wait::run(&client, args).await,
        Command::Ns(args) => ns::run(&client, args).await,
        Command::Sandbox(args) => sandbox::run(&client, args).await,
        Command::Trace(args) => trace::run(&client, args).await,
        Command::Info(args) => info::run(&client, &args).await,
        Command::Doctor(args) => doctor::run(&cli.address, &cli.credentials, &args).await,
        Command::Top(args) => top::run(&client, args).await,
        Command::Metrics => metrics::run(&client).await,
        Command::Audit(args) => audit::run(&client, args).await,
        Command::Completions(args) => completions::run(&args),
        Command::Stress(args) => stress::run(&cli.address, &cli.credentials, *args).await,
    }
}
