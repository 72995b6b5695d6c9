//! `pause`: stops all processes of running containers where they are.

use super::each::each;
use crate::cli::args::IdsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::PauseRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, which: IdsArgs) -> Result<ExitCode, Error> {
    let request = |mut client: Client, id| async move {
        client.containers.pause(PauseRequest { id, ..Default::default() }).await.map(drop)
    };
    each(client, which, "pause", request, |id, ()| output::print(&format!("{id}\n"))).await
}
