//! `start`: lets created containers execute their processes.

use super::each::each;
use crate::cli::args::IdsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::StartRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: IdsArgs) -> Result<ExitCode, Error> {
    let request = |mut client: Client, id| async move {
        client.containers.start(StartRequest { id, ..Default::default() }).await.map(drop)
    };
    each(client, args, "start", request, |id, ()| output::print(&format!("{id}\n"))).await
}
