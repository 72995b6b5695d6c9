//! `processes`: those of a container.

use crate::cli::args::OneArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output::{self, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::usage::{self, Process};
use crate::cli::width::printable;
use sextant_proto::v1::ProcessesRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: OneArgs) -> Result<ExitCode, Error> {
    let attempted = format!("list the processes of {}", args.id);
    let answer = client.clone().containers.processes(ProcessesRequest { id: args.id }).await;
    let found = answer.map_err(Error::request(attempted))?.into_inner().processes;
    let processes: Vec<Process> = found.into_iter().map(Process::from).collect();
    if args.json {
        output::print_json(&processes)?;
    } else {
        output::print(&render(Paint::stdout(), &processes))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The processes of a container as a text without colours.
///
/// # Errors
/// What the daemon says.
pub(in crate::cli) async fn text(client: &Client, id: &str) -> Result<String, Error> {
    let answer = client.clone().containers.processes(ProcessesRequest { id: id.to_owned() }).await;
    let found = answer.map_err(Error::request(format!("list the processes of {id}")))?.into_inner().processes;
    Ok(render(Paint::Plain, &found.into_iter().map(Process::from).collect::<Vec<_>>()))
}

fn render(paint: Paint, processes: &[Process]) -> String {
    let row = |process: &Process| {
        [
            Cell::from(process.pid.to_string()),
            process.container_pid.to_string().into(),
            process.uid.to_string().into(),
            process.state.clone().into(),
            process.threads.to_string().into(),
            usage::bytes(process.rss_bytes).into(),
            format!("{:.2}s", usage::seconds(process.cpu_ns)).into(),
            printable(&process.command.join(" ")).into(),
        ]
    };
    let rows: Vec<_> = processes.iter().map(row).collect();
    table::render(paint, ["PID", "INSIDE", "UID", "STATE", "THREADS", "RSS", "CPU", "COMMAND"], &rows)
}
