//! `doctor`: what the host can do, as the daemon sees it, or else as this process does.

use crate::api;
use crate::cli::args::DoctorArgs;
use crate::cli::client::{Address, Credentials, connect};
use crate::cli::diagnosis::{Diagnosis, View, text};
use crate::cli::error::{EXIT_FAILURE, Error};
use crate::cli::output::{self, Paint};
use crate::doctor::files::Places;
use crate::doctor::{Settings, examine};
use crate::engine::ids::Pool;
use sextant_proto::v1;
use std::process::ExitCode;

/// Columns where the terminal does not say how many it has; at least, and at most.
const COLUMNS: usize = 80;
const FEWEST_COLUMNS: usize = 60;
const MOST_COLUMNS: usize = 100;

pub(super) async fn run(
    address: &Address,
    credentials: &Credentials,
    args: &DoctorArgs,
) -> Result<ExitCode, Error> {
    let process_bytes = args.memory.map_or(0, |memory| memory.0.unsigned_abs());
    let request = v1::DoctorRequest { process_bytes };
    let diagnosis = match args.local {
        true => local(request, "a daemon was not asked").await?,
        false => match ask(address, credentials, request).await {
            Ok(answer) => Diagnosis::new(View::Daemon, answer),
            Err(because) => local(request, &because).await?,
        },
    };
    if args.json {
        output::print_json(&diagnosis)?;
    } else {
        let columns = crate::sys::terminal_size().map_or(COLUMNS, |(_, columns)| usize::from(columns));
        output::print(&text::render(
            Paint::stdout(),
            &diagnosis,
            args.all,
            columns.clamp(FEWEST_COLUMNS, MOST_COLUMNS),
        ))?;
    }
    Ok(ExitCode::from(if diagnosis.able { 0 } else { EXIT_FAILURE }))
}

/// The daemon's view; else why there is none.
async fn ask(
    address: &Address,
    credentials: &Credentials,
    request: v1::DoctorRequest,
) -> Result<v1::DoctorResponse, String> {
    let connected = connect(address, credentials).await;
    let mut client = connected.map_err(|_| format!("sextantd does not answer at {address}"))?;
    let answer = client.system.doctor(request).await;
    // One that is older does not know the question.
    let answer =
        answer.map_err(|status| format!("sextantd at {address} does not say: {}", status.message()))?;
    Ok(answer.into_inner())
}

/// What a daemon that is started from here would see, with its default settings.
async fn local(request: v1::DoctorRequest, because: &str) -> Result<Diagnosis, Error> {
    let own = std::env::current_exe().map_err(Error::io("find this program"))?;
    let places = Places {
        root: "/var/lib/sextant".into(),
        state: "/run/sextant".into(),
        runtime: own.with_file_name("sextant-runtime"),
        shim: own.with_file_name("sextant-shim"),
    };
    let pool = Pool::default();
    let settings = Settings { places, pool: (pool.base.into(), pool.size.into(), pool.count.into()) };
    let ask = api::doctor::ask(&request, 0);
    let report = tokio::task::spawn_blocking(move || examine(&settings, ask)).await;
    let report = report.map_err(|e| Error::io("look at this host")(std::io::Error::other(e)))?;
    Ok(Diagnosis::new(View::Local { because: because.to_owned() }, api::doctor::to_wire(report)))
}
