//! `wait`: prints for each container how it ended, in the order of the command
//! line: its code, 128 + N after signal N, or `unknown`.

use super::each::each;
use crate::cli::args::{Condition, WaitArgs};
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use crate::cli::view::Exit;
use sextant_proto::client;
use sextant_proto::v1::wait_request;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: WaitArgs) -> Result<ExitCode, Error> {
    let condition = match args.condition {
        Condition::Exited => wait_request::Condition::Exited,
        Condition::NextExit => wait_request::Condition::NextExit,
        Condition::Settled => wait_request::Condition::Settled,
    };
    let request = |client: Client, id: String| async move {
        client.wait_for(&id, condition).await.map(Exit::from).map_err(client::Error::into_status)
    };
    let print = |_: &str, exit: Exit| {
        let code = exit.shell_code().map_or_else(|| "unknown".to_owned(), |code| code.to_string());
        output::print(&(code + "\n"))
    };
    each(client, args.which, "wait for", request, print).await
}
