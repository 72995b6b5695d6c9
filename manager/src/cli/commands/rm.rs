//! `rm`: removes containers and everything that was made for them.

use super::each::each;
use crate::cli::args::RmArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::DeleteRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: RmArgs) -> Result<ExitCode, Error> {
    let force = args.force;
    let request = |mut client: Client, id| async move {
        client.containers.delete(DeleteRequest { id, force, ..Default::default() }).await.map(drop)
    };
    each(client, args.which, "delete", request, |id, ()| output::print(&format!("{id}\n"))).await
}
