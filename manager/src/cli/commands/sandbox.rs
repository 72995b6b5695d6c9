//! `sandbox`: makes, lists and removes what containers share namespaces in.

use super::each::each;
use crate::cli::args::{IdsArgs, RmArgs, SandboxArgs, SandboxCommand, SandboxCreateArgs, SandboxLsArgs};
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output::{self, Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::view::sandbox::Sandbox;
use crate::cli::{time, width};
use sextant_proto::v1;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: SandboxArgs) -> Result<ExitCode, Error> {
    match args.command {
        SandboxCommand::Create(args) => create(client, args).await,
        SandboxCommand::Ls(args) => list(client, args).await,
        SandboxCommand::Inspect(args) => inspect(client, args).await,
        SandboxCommand::Rm(args) => remove(client, args).await,
    }
}

async fn create(client: &Client, args: SandboxCreateArgs) -> Result<ExitCode, Error> {
    let request = v1::CreateSandboxRequest {
        id: args.name.unwrap_or_default(),
        labels: args.labels.into_iter().map(|label| (label.key, label.value)).collect(),
        hostname: args.hostname.unwrap_or_default(),
        shared: Some(args.share.0),
        ..Default::default()
    };
    let answer =
        client.clone().sandboxes.create(request).await.map_err(Error::request("create a sandbox"))?;
    output::print(&(answer.into_inner().sandbox.unwrap_or_default().id + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, args: SandboxLsArgs) -> Result<ExitCode, Error> {
    let labels = args.filters.into_iter().map(|label| (label.key, label.value)).collect();
    let request = v1::ListSandboxesRequest { labels, ..Default::default() };
    let answer =
        client.clone().sandboxes.list(request).await.map_err(Error::request("list the sandboxes"))?;
    let sandboxes = answer.into_inner().sandboxes;
    if args.json {
        let views: Vec<Sandbox> = sandboxes.into_iter().map(Sandbox::from).collect();
        output::print_json(&views)?;
    } else if args.quiet {
        let ids: String = sandboxes.iter().map(|s| width::printable(&s.id) + "\n").collect();
        output::print(&ids)?;
    } else {
        output::print(&render(Paint::stdout(), sandboxes, time::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(paint: Paint, sandboxes: Vec<v1::Sandbox>, now: i64) -> String {
    let row = |sandbox: v1::Sandbox| {
        let created = time::ago(sandbox.created_at.as_ref(), now);
        let view = Sandbox::from(sandbox);
        let status = match &view.because {
            None => Cell::coloured(view.status, Colour::Green),
            Some(because) => Cell::coloured(format!("{}: {because}", view.status), Colour::Red),
        };
        [
            Cell::from(view.id),
            view.shared.join(",").into(),
            created.into(),
            view.containers.join(",").into(),
            status,
        ]
    };
    let rows: Vec<_> = sandboxes.into_iter().map(row).collect();
    table::render(paint, ["ID", "SHARES", "CREATED", "CONTAINERS", "STATUS"], &rows)
}

async fn inspect(client: &Client, args: IdsArgs) -> Result<ExitCode, Error> {
    let request = |mut client: Client, id| async move {
        client.sandboxes.get(v1::GetSandboxRequest { id }).await.map(tonic::Response::into_inner)
    };
    let mut found: Vec<Sandbox> = Vec::new();
    let outcome = each(client, args, "inspect sandbox", request, |_, answer: v1::GetSandboxResponse| {
        found.extend(answer.sandbox.map(Sandbox::from));
        Ok(())
    })
    .await;
    // What was found is printed even when one of several is missing.
    output::print_json(&found)?;
    outcome
}

async fn remove(client: &Client, args: RmArgs) -> Result<ExitCode, Error> {
    let force = args.force;
    let request = |mut client: Client, id| async move {
        client.sandboxes.delete(v1::DeleteSandboxRequest { id, force, ..Default::default() }).await.map(drop)
    };
    each(client, args.which, "delete sandbox", request, |id, ()| output::print(&format!("{id}\n"))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_is_shared_and_what_is_wrong() {
        let shared = Some(v1::SharedNamespaces { network: true, user: true, ..Default::default() });
        let pod = v1::Sandbox {
            id: "pod".into(),
            status: v1::SandboxStatus::Ready.into(),
            shared,
            containers: vec!["a".into(), "b".into()],
            created_at: Some(prost_types::Timestamp { seconds: 70, nanos: 0 }),
            ..Default::default()
        };
        let dead = v1::Sandbox {
            id: "dead".into(),
            status: v1::SandboxStatus::NotReady.into(),
            because: "its init has ended".into(),
            containers: vec![],
            ..pod.clone()
        };
        assert_eq!(
            render(Paint::Plain, vec![pod, dead], 100),
            "ID    SHARES        CREATED  CONTAINERS  STATUS\n\
             pod   user,network  30s ago  a,b         ready\n\
             dead  user,network  30s ago              not-ready: its init has ended\n"
        );
    }
}
