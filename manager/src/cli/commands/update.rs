//! `update`: changes limits of containers that live.

use super::each::each;
use crate::cli::args::{LimitArgs, UpdateArgs};
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use sextant_proto::v1::{LimitsUpdate, UpdateResourcesRequest};
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: UpdateArgs) -> Result<ExitCode, Error> {
    let limits = limits(args.limits);
    let request = move |mut client: Client, id| {
        let request = UpdateResourcesRequest { id, limits: Some(limits.clone()), ..Default::default() };
        async move { client.containers.update_resources(request).await.map(drop) }
    };
    each(client, args.which, "update", request, |id, ()| output::print(&format!("{id}\n"))).await
}

fn limits(args: LimitArgs) -> LimitsUpdate {
    LimitsUpdate {
        memory_bytes: args.memory,
        memory_swap_bytes: args.memory_swap,
        cpu_millis: args.cpus,
        cpu_shares: args.cpu_shares,
        cpuset_cpus: args.cpuset_cpus,
        pids: args.pids_limit,
    }
}
