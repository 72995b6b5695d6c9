//! The manager's entry: arguments, log, and [`sextant_manager::daemon::run`].

use clap::Parser;
use sextant_manager::daemon::config::{Args, Config, LogFormat};
use sextant_manager::daemon::{run, share_heaps};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    share_heaps();
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| vec![format!("start threads: {e}")])?;
    let entered = runtime.enter();
    let told = log(&config).map_err(|e| vec![e])?;
    let result = runtime.block_on(run(config)).map_err(|e| vec![e.chain()]);
    // The last spans are sent by the runtime.
    drop((told, entered));
    // Actors that wait for a shim are not waited for: disk is the truth.
    runtime.shutdown_background();
    result
}

/// Begins the log, and, where that is built in, the export of spans, which ends with what is given back.
fn log(config: &Config) -> Result<Told, String> {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // By eprintln, which panics where the log cannot be written either: on a full disk.
        .log_internal_errors(false);
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(EnvFilter::new(&config.log)));
    #[cfg(feature = "otel")]
    {
        let endpoint = config.telemetry_endpoint.as_deref();
        let telemetry = endpoint.map(sextant_manager::telemetry::Telemetry::start).transpose()?;
        subscriber.with(telemetry.as_ref().map(sextant_manager::telemetry::Telemetry::layer)).init();
        Ok(Told { _telemetry: telemetry })
    }
    #[cfg(not(feature = "otel"))]
    {
        subscriber.init();
        Ok(Told {})
    }
}

/// What has to live as long as something is told.
struct Told {
    #[cfg(feature = "otel")]
    _telemetry: Option<sextant_manager::telemetry::Telemetry>,
}
