//! `metrics`: what the daemon counts and measures, as Prometheus reads it.

use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::MetricsRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client) -> Result<ExitCode, Error> {
    let answer = client.clone().system.metrics(MetricsRequest {}).await;
    let answer = answer.map_err(Error::request("ask for the daemon's metrics"))?;
    output::print(&answer.into_inner().text)?;
    Ok(ExitCode::SUCCESS)
}
