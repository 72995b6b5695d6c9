//! `run`: create and start a container; in the foreground, show its output,
//! hand signals on to it, and exit as it does.

use super::create::create;
use super::logs::show_all;
use super::stop::wire;
use crate::cli::args::{AttachedArgs, RunArgs, StdioArgs};
use crate::cli::attached::{self, Ended, Plan, attach};
use crate::cli::client::Client;
use crate::cli::error::{EXIT_RUN_FAILED, Error, Report};
use crate::cli::output;
use crate::cli::signals::{Caught, Target};
use crate::cli::view::Exit;
use sextant_proto::v1::wait_request::Condition;
use sextant_proto::v1::{DeleteRequest, LogsRequest, SlowClient, StartRequest, StopRequest};
use std::convert::identity;
use std::process::ExitCode;
use std::time::Duration;

/// Exit code of a program whose reader went away: 128 + SIGPIPE.
const EXIT_BROKEN_PIPE: u8 = 141;

/// How long a container may take to end when nobody reads its output any more.
const PIPE_GRACE: Duration = Duration::from_secs(1);

pub(super) async fn run(client: &Client, args: RunArgs) -> Result<ExitCode, Error> {
    let RunArgs { detach, rm, attached: how, create: source } = args;
    let stdio = source.stdio;
    if !detach {
        attached::check_terminal(stdio.interactive, stdio.tty)?;
    }
    let id = create(client, source).await.map_err(Error::of_process)?;
    if detach {
        return start(client, &id).await;
    }
    // From here on a signal is the container's, so that none gets lost between
    // its start and ours of listening.
    let mut caught = Caught::new()?;
    let mut left_running = false;
    let outcome = if stdio.interactive || stdio.tty {
        let ended = interactive(client, &id, stdio, how, &mut caught).await;
        left_running = matches!(ended, Ok(Ended::Detached));
        ended.and_then(|ended| ended.code(&id).map_err(|error| error.exits(EXIT_RUN_FAILED)))
    } else {
        foreground(client, &id, how.sig_proxy, &mut caught).await
    };
    if rm && !left_running {
        // An error of the run itself is the one to tell.
        let removed = caught.unless_caught(&format!("delete {id}"), remove(client, &id)).await;
        return outcome.and_then(|code| removed.map(|()| code));
    }
    outcome
}

/// Starts it and prints its id.
async fn start(client: &Client, id: &str) -> Result<ExitCode, Error> {
    request_start(client, id).await?;
    output::print(&format!("{id}\n"))?;
    Ok(ExitCode::SUCCESS)
}

async fn request_start(client: &Client, id: &str) -> Result<(), Error> {
    let request = StartRequest { id: id.to_owned(), ..Default::default() };
    let answer = client.clone().containers.start(request).await;
    answer.map(drop).map_err(|status| Error::request(format!("start {id}"))(status).of_process())
}

/// Attaches to it, starts it, and stays until it has exited or the keys that detach were typed.
async fn interactive(
    client: &Client,
    id: &str,
    stdio: StdioArgs,
    how: AttachedArgs,
    caught: &mut Caught,
) -> Result<Ended, Error> {
    let plan = Plan {
        target: Target { container: id.to_owned(), exec: None },
        stdin: stdio.interactive,
        tty: stdio.tty,
        sig_proxy: how.sig_proxy,
        detach_keys: how.detach_keys,
        // It is ours, and its output is to be whole.
        slow: SlowClient::Block,
        replay: None,
    };
    attach(client, &plan, caught, async || request_start(client, id).await).await
}

/// Starts it and stays until it has exited.
async fn foreground(
    client: &Client,
    id: &str,
    sig_proxy: bool,
    caught: &mut Caught,
) -> Result<ExitCode, Error> {
    request_start(client, id).await?;
    let target = Target { container: id.to_owned(), exec: None };
    let exit = tokio::select! {
        exit = until_exit(client, id) => exit,
        error = caught.hand_on(client, &target, sig_proxy) => Err(error),
    };
    match exit {
        Ok(exit) => exit_code(id, &exit),
        Err(Error::OutputClosed) => {
            caught.unless_caught(&format!("stop {id}"), stop(client, id)).await?;
            Ok(ExitCode::from(EXIT_BROKEN_PIPE))
        }
        Err(error) => Err(error),
    }
}

/// Ends it when nobody reads its output any more.
async fn stop(client: &Client, id: &str) -> Result<(), Error> {
    let request =
        StopRequest { id: id.to_owned(), grace: Some(wire(PIPE_GRACE)), signal: 0, ..Default::default() };
    let answer = client.clone().containers.stop(request).await;
    answer.map(drop).map_err(Error::request(format!("stop {id}, whose output nobody reads any more")))
}

/// Copies its output until it has exited and is not restarted.
async fn until_exit(client: &Client, id: &str) -> Result<Exit, Error> {
    let logs = |offset, follow| LogsRequest { id: id.to_owned(), offset, follow, ..Default::default() };
    let offset = show_all(client, logs(0, true), identity).await?;
    let exit = client.wait_for(id, Condition::Settled).await;
    let exit = exit.map_err(|error| Error::client(format!("wait for {id}"))(error).exits(EXIT_RUN_FAILED))?;
    // A daemon that was told to end closes the stream early; there may be more.
    show_all(client, logs(offset, false), identity).await?;
    Ok(exit.into())
}

/// Its own code; 128 + N after signal N.
fn exit_code(id: &str, exit: &Exit) -> Result<ExitCode, Error> {
    match exit.shell_code().map(u8::try_from) {
        Some(Ok(code)) => Ok(ExitCode::from(code)),
        _ => {
            let because =
                exit.unknown.clone().unwrap_or_else(|| format!("{} is no exit code", exit.summary()));
            let report = Report::other(format!("tell the exit code of {id}"), because, "");
            Err(Error::from(report).exits(EXIT_RUN_FAILED))
        }
    }
}

/// Removes it, and kills it first if it should still run.
async fn remove(client: &Client, id: &str) -> Result<(), Error> {
    let request = DeleteRequest { id: id.to_owned(), force: true, ..Default::default() };
    let answer = client.clone().containers.delete(request).await;
    answer.map(drop).map_err(Error::request(format!("delete {id}")))
}
