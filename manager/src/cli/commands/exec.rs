//! `exec`: one more process in a container that runs; attached to it, unless it
//! is to be left running.

use crate::cli::args::ExecArgs;
use crate::cli::attached::{self, Plan, attach};
use crate::cli::client::Client;
use crate::cli::error::{EXIT_RUN_FAILED, Error};
use crate::cli::signals::{Caught, Target};
use crate::cli::{output, source};
use sextant_proto::v1::{CreateExecRequest, SlowClient};
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: ExecArgs) -> Result<ExitCode, Error> {
    attached::check_terminal(args.stdio.interactive, args.stdio.tty)?;
    let failed = |error: Error| error.exits(EXIT_RUN_FAILED);
    let (detach, stdio, how) = (args.detach, args.stdio, args.attached.clone());
    let request = request(args)?;
    let container = request.container.clone();
    // A signal that comes while it is started is its own.
    let mut caught = Caught::new()?;
    let attempted = format!("execute {} in {container}", request.command.first().map_or("", String::as_str));
    let answer = client.clone().execs.create(request).await;
    let answer = answer.map_err(|status| Error::request(attempted)(status).of_process())?;
    let exec = answer.into_inner().exec.unwrap_or_default().id;
    if detach {
        output::print(&format!("{exec}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan {
        target: Target { container, exec: Some(exec) },
        stdin: stdio.interactive,
        tty: stdio.tty,
        sig_proxy: how.sig_proxy,
        detach_keys: how.detach_keys,
        // It is ours, and its output is to be whole.
        slow: SlowClient::Block,
        replay: None,
    };
    let ended = attach(client, &plan, &mut caught, async || Ok(())).await.map_err(failed)?;
    ended.code(&plan.target.to_string()).map_err(failed)
}

fn request(args: ExecArgs) -> Result<CreateExecRequest, Error> {
    let capability = |name: String| match name.starts_with("CAP_") {
        true => name,
        false => format!("CAP_{}", name.to_uppercase()),
    };
    Ok(CreateExecRequest {
        container: args.id,
        command: args.command,
        env: source::variables(&args.env),
        cwd: args.workdir.unwrap_or_default(),
        user: args.user.unwrap_or_default(),
        additional_gids: args.group_add,
        capabilities: args.cap_add.into_iter().map(capability).collect(),
        terminal: args.stdio.tty,
        stdin: args.stdio.interactive,
        size: args.stdio.tty.then(attached::size).flatten(),
        timeout: args.timeout.map(super::stop::wire),
        hold_output: !args.detach,
        output_limit: 0,
        idempotency_key: String::new(),
    })
}
