//! `kill`: sends a signal to containers.

use super::each::each;
use crate::cli::args::KillArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::KillRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: KillArgs) -> Result<ExitCode, Error> {
    let KillArgs { signal, all, which } = args;
    let request = |mut client: Client, id| async move {
        client.containers.kill(KillRequest { id, signal, all }).await.map(drop)
    };
    each(client, which, "kill", request, |id, ()| output::print(&format!("{id}\n"))).await
}
