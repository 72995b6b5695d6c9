//! The same request for several containers: all are asked at once, answers are
//! handled in the order of the command line, and one that fails does not keep
//! the others from being done.

use crate::cli::args::IdsArgs;
use crate::cli::client::Client;
use crate::cli::error::{EXIT_FAILURE, Error, Report};
use std::process::ExitCode;
use tonic::Status;

/// Asks `request` for every container and hands the id and the answer to
/// `done`. `verb` is what is attempted: `stop`.
///
/// # Errors
/// The reports of all containers for which it failed; or what `done` says, at
/// once.
pub(super) async fn each<T, F>(
    client: &Client,
    which: IdsArgs,
    verb: &str,
    request: impl Fn(Client, String) -> F,
    mut done: impl FnMut(&str, T) -> Result<(), Error>,
) -> Result<ExitCode, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Status>> + Send + 'static,
{
    let asked: Vec<_> =
        which.ids.into_iter().map(|id| (id.clone(), tokio::spawn(request(client.clone(), id)))).collect();
    let mut reports = Vec::new();
    for (id, answer) in asked {
        match answer.await {
            Ok(Ok(answer)) => done(&id, answer)?,
            Ok(Err(status)) => reports.push(Report::request(format!("{verb} {id}"), status)),
            Err(error) => reports.push(Report::other(format!("{verb} {id}"), error.to_string(), "")),
        }
    }
    if reports.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Error::Failed { reports, code: EXIT_FAILURE })
    }
}
