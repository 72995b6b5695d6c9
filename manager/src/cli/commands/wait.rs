//! `wait`: prints for each container how it ended, in the order of the command
//! line: its code, 128 + N after signal N, or `unknown`.

use super::each::each;
use crate::cli::args::IdsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output;
use crate::cli::view::Exit;
use sextant_proto::client;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: IdsArgs) -> Result<ExitCode, Error> {
    let request = |client: Client, id: String| async move {
        client.wait(&id).await.map(Exit::from).map_err(client::Error::into_status)
    };
    let print = |_: &str, exit: Exit| {
        let code = exit.shell_code().map_or_else(|| "unknown".to_owned(), |code| code.to_string());
        output::print(&(code + "\n"))
    };
    each(client, args, "wait for", request, print).await
}
