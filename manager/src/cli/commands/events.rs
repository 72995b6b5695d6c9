//! `events`: what happened, in one order for all containers.

use crate::cli::args::EventsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::view::Event;
use crate::cli::width::printable;
use crate::cli::{follow, output, time};
use sextant_proto::v1::{self, EventsRequest};
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: &EventsArgs) -> Result<ExitCode, Error> {
    let request = EventsRequest { after_seq: args.after, follow: args.follow };
    let json = args.json;
    follow::events(client, request, |event| {
        if json { output::print_json_line(&Event::from(event)) } else { output::print(&line(event)) }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// `TIME  SEQ  CONTAINER  KIND  DETAIL`, which is how it ended, why it failed,
/// or its pid.
fn line(event: v1::Event) -> String {
    let at = time::rfc3339_fixed(&event.at.unwrap_or_default(), 3);
    let view = Event::from(event);
    let detail = match (&view.exit, &view.failure, view.pid) {
        (Some(exit), _, _) => format!("exit {}", exit.summary()),
        (None, Some(failure), _) => failure.message.clone(),
        (None, None, Some(pid)) => format!("pid {pid}"),
        (None, None, None) => String::new(),
    };
    let container = printable(&view.container);
    let line = format!("{at}  {:>6}  {container:<16}  {:<13}  {}", view.seq, view.kind, printable(&detail));
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::event::Kind;
    use v1::exit::How;

    #[test]
    fn a_line_for_each_event() {
        let exited = v1::Event {
            seq: 12,
            container: "web".into(),
            kind: Kind::Exited.into(),
            at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            exit: Some(v1::Exit { how: Some(How::Code(3)), at: None, oom_killed: false }),
            ..v1::Event::default()
        };
        let text = line(exited);
        assert_eq!(text, "1970-01-01T00:00:01.000Z      12  web               exited         exit 3\n");
        let started = v1::Event { kind: Kind::Started.into(), pid: 7, ..v1::Event::default() };
        assert!(line(started).ends_with("started        pid 7\n"));
    }
}
