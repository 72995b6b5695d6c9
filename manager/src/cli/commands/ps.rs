//! `ps`: the list of containers, oldest first.

use crate::cli::args::PsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output::{self, Colour, Paint};
use crate::cli::table::{self, Cell};
use crate::cli::view::Container;
use crate::cli::{time, width};
use sextant_proto::v1;
use std::process::ExitCode;

/// Widest command that is shown.
const MAX_COMMAND: usize = 40;

pub(super) async fn run(client: &Client, args: &PsArgs) -> Result<ExitCode, Error> {
    let labels = args.filters.iter().map(|label| (label.key.clone(), label.value.clone())).collect();
    let selector = args.selector.clone().unwrap_or_default();
    let request = v1::ListRequest { labels, selector, ..Default::default() };
    let answer = client.clone().containers.list(request).await;
    let mut containers = answer.map_err(Error::request("list the containers"))?.into_inner().containers;
    if !args.all {
        let runs = |c: &v1::Container| matches!(c.status(), v1::Status::Running | v1::Status::Paused);
        containers.retain(|c| runs(c) || c.next_restart_at.is_some());
    }
    containers.sort_by_key(|c| (c.created_at.map(|at| (at.seconds, at.nanos)), c.id.clone()));
    if args.json {
        let views: Vec<Container> = containers.into_iter().map(Container::from).collect();
        output::print_json(&views)?;
    } else if args.quiet {
        let ids: String = containers.iter().map(|c| width::printable(&c.id) + "\n").collect();
        output::print(&ids)?;
    } else {
        output::print(&render(Paint::stdout(), containers, time::now()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(paint: Paint, containers: Vec<v1::Container>, now: i64) -> String {
    let row = |container: v1::Container| {
        let created = time::ago(container.created_at.as_ref(), now);
        let view = Container::from(container);
        [
            Cell::from(view.id.as_str()),
            status(&view),
            view.pid.map(|pid| pid.to_string()).unwrap_or_default().into(),
            width::cut(&width::printable(&view.command.join(" ")), MAX_COMMAND).into(),
            created.into(),
            view.exit.map(|exit| exit.summary()).unwrap_or_default().into(),
        ]
    };
    let rows: Vec<_> = containers.into_iter().map(row).collect();
    table::render(paint, ["ID", "STATUS", "PID", "COMMAND", "CREATED", "EXIT"], &rows)
}

fn status(view: &Container) -> Cell {
    let health = view.health.as_ref().map(|health| health.state.as_str());
    let status = match &view.next_restart_at {
        Some(_) => "restarting",
        None => view.status.as_str(),
    };
    let colour = match status {
        _ if view.degraded.is_some() => Colour::Red,
        _ if health == Some("unhealthy") => Colour::Red,
        "running" => Colour::Green,
        "failed" => Colour::Red,
        "stopped" => Colour::Dim,
        _ => Colour::Yellow,
    };
    let notes = [health, view.degraded.as_ref().map(|_| "degraded")];
    let notes: Vec<&str> = notes.into_iter().flatten().collect();
    let text = if notes.is_empty() { status.to_owned() } else { format!("{status} ({})", notes.join(", ")) };
    Cell::coloured(text, colour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Timestamp;
    use v1::exit::How;

    #[test]
    fn the_list_names_what_matters() {
        let running = v1::Container {
            id: "web".into(),
            status: v1::Status::Running.into(),
            degraded: "the shim is silent".into(),
            pid: 42,
            command: vec!["sh".into(), "-c".into(), "echo\n".into()],
            created_at: Some(Timestamp { seconds: 70, nanos: 0 }),
            ..v1::Container::default()
        };
        let stopped = v1::Container {
            id: "db".into(),
            status: v1::Status::Stopped.into(),
            exit: Some(v1::Exit { how: Some(How::Signal(9)), at: None, oom_killed: false }),
            ..v1::Container::default()
        };
        assert_eq!(
            render(Paint::Plain, vec![running, stopped.clone()], 100),
            "ID   STATUS              PID  COMMAND       CREATED  EXIT\n\
             web  running (degraded)  42   sh -c echo\\n  30s ago\n\
             db   stopped                                         137 (SIGKILL)\n"
        );
        let restarting = v1::Container { next_restart_at: Some(Timestamp::default()), ..stopped };
        let health = v1::Health { state: v1::health::State::Healthy.into(), ..v1::Health::default() };
        let healthy = v1::Container {
            id: "web".into(),
            status: v1::Status::Running.into(),
            health: Some(health),
            ..v1::Container::default()
        };
        assert_eq!(
            render(Paint::Plain, vec![healthy, restarting], 100),
            "ID   STATUS             PID  COMMAND  CREATED  EXIT\n\
             web  running (healthy)\n\
             db   restarting                                137 (SIGKILL)\n"
        );
    }
}
