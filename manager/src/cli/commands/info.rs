//! `info`: the daemon, its host and its directories.

use crate::cli::args::InfoArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output::{self, Paint};
use crate::cli::table;
use crate::cli::view::Info;
use sextant_proto::v1::InfoRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: &InfoArgs) -> Result<ExitCode, Error> {
    let answer = client.clone().system.info(InfoRequest {}).await;
    let info = Info::from(answer.map_err(Error::request("ask for the daemon's info"))?.into_inner());
    if args.json {
        output::print_json(&info)?;
    } else {
        output::print(&render(Paint::stdout(), info))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(paint: Paint, info: Info) -> String {
    let pairs = [
        ("client", env!("CARGO_PKG_VERSION").to_owned()),
        ("daemon", info.version),
        ("pid", info.pid.to_string()),
        ("started", info.started_at.unwrap_or_default()),
        ("kernel", info.kernel),
        ("cgroup", info.cgroup),
        ("root", info.root),
        ("state", info.state),
        ("runtime", info.runtime),
        ("shim", info.shim),
        ("containers", format!("{}, {} of them running", info.containers, info.running)),
        ("last event", info.last_event_seq.to_string()),
    ];
    table::pairs(paint, &pairs)
}
