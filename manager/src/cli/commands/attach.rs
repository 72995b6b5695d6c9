//! `attach`: our stdin, stdout and stderr become those of a process that runs.

use crate::cli::args::AttachArgs;
use crate::cli::attached::{self, Plan, attach};
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::signals::{Caught, Target};
use sextant_proto::v1::{GetExecRequest, GetRequest, SlowClient};
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: AttachArgs) -> Result<ExitCode, Error> {
    let target = Target { container: args.id, exec: args.exec };
    let tty = has_terminal(client, &target).await?;
    let stdin = !args.no_stdin && (!tty || attached::stdin_is_terminal());
    let plan = Plan {
        stdin,
        tty,
        sig_proxy: args.attached.sig_proxy,
        detach_keys: args.attached.detach_keys,
        // The process is not ours: it does not wait for us.
        slow: SlowClient::Drop,
        replay: args.replay,
        target,
    };
    let mut caught = Caught::new()?;
    let ended = attach(client, &plan, &mut caught, async || Ok(())).await?;
    ended.code(&plan.target.to_string())
}

async fn has_terminal(client: &Client, target: &Target) -> Result<bool, Error> {
    let attempted = format!("attach to {target}");
    let id = target.container.clone();
    match target.exec.clone() {
        Some(exec) => {
            let request = GetExecRequest { container: id, exec };
            let answer = client.clone().execs.get(request).await.map_err(Error::request(attempted))?;
            Ok(answer.into_inner().exec.is_some_and(|exec| exec.terminal))
        }
        None => {
            let answer = client.clone().containers.get(GetRequest { id, ..Default::default() }).await;
            let answer = answer.map_err(Error::request(attempted))?;
            Ok(answer.into_inner().container.is_some_and(|container| container.terminal))
        }
    }
}
