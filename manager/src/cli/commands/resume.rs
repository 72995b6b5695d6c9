//! `resume`: lets paused containers go on.

use super::each::each;
use crate::cli::args::IdsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::ResumeRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, which: IdsArgs) -> Result<ExitCode, Error> {
    let request = |mut client: Client, id| async move {
        client.containers.resume(ResumeRequest { id, ..Default::default() }).await.map(drop)
    };
    each(client, which, "resume", request, |id, ()| output::print(&format!("{id}\n"))).await
}
