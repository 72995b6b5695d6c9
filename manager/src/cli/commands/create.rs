//! `create`: makes a container whose process waits for `start`, and prints its id.

use crate::cli::args::CreateArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::{output, source};
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: CreateArgs) -> Result<ExitCode, Error> {
    let id = create(client, args).await?;
    output::print(&(id + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the container and gives its id.
pub(super) async fn create(client: &Client, args: CreateArgs) -> Result<String, Error> {
    let request = source::request(args)?;
    let attempted = match request.id.as_str() {
        "" => "create a container".to_owned(),
        id => format!("create {id}"),
    };
    let answer = client.clone().containers.create(request).await.map_err(Error::request(attempted))?;
    Ok(answer.into_inner().container.unwrap_or_default().id)
}
