//! `events`: what happened, in one order for all containers.

use crate::cli::args::EventsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::view::Event;
use crate::cli::width::printable;
use crate::cli::{output, time};
use sextant_proto::v1::{self, EventsRequest};
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: &EventsArgs) -> Result<ExitCode, Error> {
    let request = EventsRequest {
        after_seq: args.after,
        follow: args.follow,
        containers: args.containers.clone(),
        selector: args.selector.clone().unwrap_or_default(),
        ..Default::default()
    };
    let json = args.json;
    let mut events = client.events(request);
    while let Some(event) = events.next().await.map_err(Error::client("read the events"))? {
        match json {
            true => output::print_json_line(&Event::from(event))?,
            false => output::print(&line(event))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How it ended, why it failed, what is missing, when it is restarted, what its health check
/// said, how many were killed, or its pid.
fn detail(event: &Event) -> String {
    if let Some(exit) = &event.exit {
        return format!("exit {}", exit.summary());
    }
    if let Some(failure) = &event.failure {
        return failure.message.clone();
    }
    if let Some(lost) = &event.output_lost {
        let from = lost.from.as_deref().unwrap_or("an unknown time");
        let until = lost.until.as_deref().unwrap_or("its end");
        let because = &lost.because;
        return format!("output from {from} to {until} is lost behind byte {}: {because}", lost.log_offset);
    }
    if let (Some(attempt), Some(delay)) = (event.attempt, event.delay) {
        return format!("attempt {attempt} in {delay} s");
    }
    if let Some(probe) = &event.probe {
        return probe.summary();
    }
    match (event.oom_kills, event.pid) {
        (Some(kills), _) => format!("{kills} killed so far"),
        (None, Some(pid)) => format!("pid {pid}"),
        (None, None) => String::new(),
    }
}

/// `TIME  SEQ  CONTAINER  KIND  DETAIL`.
pub(in crate::cli) fn line(event: v1::Event) -> String {
    let at = time::rfc3339_fixed(&event.at.unwrap_or_default(), 3);
    let view = Event::from(event);
    let detail = detail(&view);
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
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let lost = v1::OutputLost { log_offset: 9, from: at(1), until: at(2), because: "nobody read".into() };
        let adopted =
            v1::Event { kind: Kind::Adopted.into(), output_lost: Some(lost), ..v1::Event::default() };
        assert!(line(adopted.clone()).ends_with(
            "output from 1970-01-01T00:00:01Z to 1970-01-01T00:00:02Z is lost behind byte 9: nobody read\n"
        ));
        let json = serde_json::to_value(Event::from(adopted)).unwrap();
        assert_eq!(json["output_lost"]["log_offset"], 9);
        let oom = v1::Event { kind: Kind::Oom.into(), oom_kills: 2, pid: 7, ..v1::Event::default() };
        assert!(line(oom).ends_with("2 killed so far\n"));
        let delay = Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 });
        let restarting =
            v1::Event { kind: Kind::Restarting.into(), attempt: 3, delay, ..v1::Event::default() };
        assert!(line(restarting).ends_with("restarting     attempt 3 in 1.5 s\n"));
        let probe =
            Some(v1::Probe { timed_out: true, output: b"no\nanswer\n".into(), ..v1::Probe::default() });
        let unhealthy = v1::Event { kind: Kind::Unhealthy.into(), probe, ..v1::Event::default() };
        assert!(line(unhealthy).ends_with("unhealthy      timed out: answer\n"));
    }
}
