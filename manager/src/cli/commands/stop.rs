//! `stop`: asks containers to end, and kills them after a grace period.

use super::each::each;
use crate::cli::args::StopArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use prost_types::Duration;
use sextant_proto::v1::StopRequest;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: StopArgs) -> Result<ExitCode, Error> {
    let grace = args.time.map(wire);
    let signal = args.signal.unwrap_or_default();
    let request = |mut client: Client, id| async move {
        client.containers.stop(StopRequest { id, grace, signal, ..Default::default() }).await.map(drop)
    };
    each(client, args.which, "stop", request, |id, ()| output::print(&format!("{id}\n"))).await
}

/// A duration as the wire has it; one that is too long becomes the longest.
pub(super) fn wire(time: std::time::Duration) -> Duration {
    Duration::try_from(time).unwrap_or(Duration { seconds: i64::MAX, nanos: 0 })
}
