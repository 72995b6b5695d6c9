//! `restart`: ends containers as `stop` does, and begins their next life.

use super::each::each;
use super::stop::wire;
use crate::cli::args::StopArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::RestartRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: StopArgs) -> Result<ExitCode, Error> {
    let grace = args.time.map(wire);
    let signal = args.signal.unwrap_or_default();
    let request = |mut client: Client, id| async move {
        client.containers.restart(RestartRequest { id, grace, signal, ..Default::default() }).await.map(drop)
    };
    each(client, args.which, "restart", request, |id, ()| output::print(&format!("{id}\n"))).await
}
