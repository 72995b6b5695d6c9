//! `inspect`: all that is known of containers, as a JSON array.

use super::each::each;
use crate::cli::args::IdsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use crate::cli::view::Container;
use sextant_proto::v1::{GetRequest, GetResponse};
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: IdsArgs) -> Result<ExitCode, Error> {
    let request = |mut client: Client, id| async move {
        client.containers.get(GetRequest { id, ..Default::default() }).await.map(tonic::Response::into_inner)
    };
    let mut found: Vec<Container> = Vec::new();
    let outcome = each(client, args, "inspect", request, |_, answer: GetResponse| {
        found.extend(answer.container.map(Container::from));
        Ok(())
    })
    .await;
    // What was found is printed even when one of several is missing.
    output::print_json(&found)?;
    outcome
}
