//! The manager's entry: arguments, log, and [`sextant_manager::daemon::run`].

use clap::Parser;
use sextant_manager::daemon::config::{Args, Config, LogFormat};
use sextant_manager::daemon::run;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(mistakes) => {
            for mistake in mistakes {
                eprintln!("sextantd: {mistake}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<(), Vec<String>> {
    let own = std::env::current_exe().map_err(|e| vec![format!("find the directory of sextantd: {e}")])?;
    let check = args.check;
    let config = args.decide(&own)?;
    if check {
        print!("{config}");
        return Ok(());
    }
    log(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| vec![format!("start threads: {e}")])?;
    let result = runtime.block_on(run(config)).map_err(|e| vec![e.chain()]);
    // Actors that wait for a shim are not waited for: disk is the truth.
    runtime.shutdown_background();
    result
}

fn log(config: &Config) {
    let text = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // By eprintln, which panics where the log cannot be written either: on a full disk.
        .log_internal_errors(false);
    match config.log_format {
        LogFormat::Text => text.init(),
        LogFormat::Json => text.json().flatten_event(true).init(),
    }
}
