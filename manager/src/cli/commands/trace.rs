//! `trace`: where the time of a start-up went, as a chart for each command of
//! the runtime.

use crate::cli::args::TraceArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::gantt::{self, Outcome, Row};
use crate::cli::output::{self, Paint};
use crate::cli::view::Failure;
use serde::Serialize;
use serde_json::{Value, json};
use sextant_proto::v1::{StageRecord, TraceRequest};
use std::process::ExitCode;
use std::time::Duration;

/// Columns of the longest bar.
const COLUMNS: usize = 40;

/// One stage, in the form that `--json` prints.
#[derive(Debug, Serialize)]
struct Stage {
    command: String,
    stage: String,
    start_ns: u64,
    end_ns: u64,
    object: String,
    pid: i32,
    failure: Option<Failure>,
}

pub(super) async fn run(client: &Client, args: TraceArgs) -> Result<ExitCode, Error> {
    let stages = ask(client, args.id).await?;
    if args.json {
        output::print_json(&stages)?;
    } else if args.chrome {
        output::print_json(&chrome(&stages))?;
    } else {
        output::print(&render(Paint::stdout(), &stages))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The charts as a text without colours.
///
/// # Errors
/// What the daemon says.
pub(in crate::cli) async fn text(client: &Client, id: &str) -> Result<String, Error> {
    Ok(render(Paint::Plain, &ask(client, id.to_owned()).await?))
}

async fn ask(client: &Client, id: String) -> Result<Vec<Stage>, Error> {
    let attempted = format!("trace {id}");
    let answer = client.clone().containers.trace(TraceRequest { id }).await;
    let records = answer.map_err(Error::request(attempted))?.into_inner().stages;
    let mut stages: Vec<Stage> = records.into_iter().map(stage).collect();
    stages.sort_by_key(|stage| (stage.start_ns, stage.end_ns));
    Ok(stages)
}

/// The Trace Event Format: complete events ("X"), microseconds, a row for each command.
fn chrome(stages: &[Stage]) -> Value {
    let event = |stage: &Stage| {
        json!({
            "name": stage.stage,
            "cat": stage.command,
            "ph": "X",
            "ts": micros(stage.start_ns),
            "dur": micros(stage.end_ns.saturating_sub(stage.start_ns)),
            "pid": 1,
            "tid": stage.command,
            "args": {"object": stage.object, "pid": stage.pid, "failure": stage.failure},
        })
    };
    json!({"displayTimeUnit": "ns", "traceEvents": stages.iter().map(event).collect::<Vec<_>>()})
}

/// Microseconds with three decimals, which are exact for a year of uptime.
fn micros(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64() * 1e6
}

fn stage(record: StageRecord) -> Stage {
    Stage {
        command: record.command,
        stage: record.stage,
        start_ns: record.start_ns,
        end_ns: record.end_ns,
        object: record.object,
        pid: record.pid,
        failure: record.failure.map(Failure::from),
    }
}

/// A chart for each command, in the order in which they began: between
/// `create` and `start` lies as much time as the caller took.
fn render(paint: Paint, stages: &[Stage]) -> String {
    let mut commands: Vec<&str> = Vec::new();
    for stage in stages {
        if !commands.contains(&stage.command.as_str()) {
            commands.push(&stage.command);
        }
    }
    let chart = |command: &&str| {
        let rows: Vec<Row> = stages.iter().filter(|stage| stage.command == *command).map(row).collect();
        gantt::render(paint, command, &rows, COLUMNS)
    };
    commands.iter().map(chart).collect::<Vec<_>>().join("\n")
}

fn row(stage: &Stage) -> Row {
    let label = match stage.object.as_str() {
        "" => stage.stage.clone(),
        object => format!("{} {object}", stage.stage),
    };
    let outcome = stage.failure.as_ref().map_or(Outcome::Done, |f| Outcome::Failed(f.message.clone()));
    Row { label, start_ns: stage.start_ns, end_ns: stage.end_ns, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chrome_gets_complete_events_in_microseconds() {
        let record = StageRecord {
            command: "create".into(),
            stage: "load".into(),
            start_ns: 1_500,
            end_ns: 4_000,
            ..StageRecord::default()
        };
        let event = chrome(&[stage(record)])["traceEvents"][0].clone();
        assert_eq!(
            (&event["ph"], &event["name"], &event["cat"]),
            (&json!("X"), &json!("load"), &json!("create"))
        );
        assert_eq!((event["ts"].as_f64(), event["dur"].as_f64()), (Some(1.5), Some(2.5)));
    }

    #[test]
    fn each_command_has_a_chart_of_its_own() {
        let record = |command: &str, name: &str, start_ns, end_ns| {
            let record = StageRecord {
                command: command.into(),
                stage: name.into(),
                start_ns,
                end_ns,
                ..StageRecord::default()
            };
            stage(record)
        };
        let stages = [
            record("create", "load", 0, 1000),
            record("create", "plan", 1000, 2000),
            record("start", "exec", 9_000_000, 9_003_000),
        ];
        let text = render(Paint::Plain, &stages);
        assert!(text.starts_with("create: 2 µs\n  load        0 +1 "), "{text}");
        assert!(text.contains("\n\nstart: 3 µs\n  exec        0 +3 "), "{text}");
    }
}
