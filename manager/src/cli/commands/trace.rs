//! `trace`: where the time of a start-up went, as a chart for each command of
//! the runtime.

use crate::cli::args::OneArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::gantt::{self, Outcome, Row};
use crate::cli::output::{self, Paint};
use crate::cli::view::Failure;
use serde::Serialize;
use sextant_proto::v1::{StageRecord, TraceRequest};
use std::process::ExitCode;

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

pub(super) async fn run(client: &Client, args: OneArgs) -> Result<ExitCode, Error> {
    let attempted = format!("trace {}", args.id);
    let answer = client.clone().containers.trace(TraceRequest { id: args.id }).await;
    let records = answer.map_err(Error::request(attempted))?.into_inner().stages;
    let mut stages: Vec<Stage> = records.into_iter().map(stage).collect();
    stages.sort_by_key(|stage| (stage.start_ns, stage.end_ns));
    if args.json {
        output::print_json(&stages)?;
    } else {
        output::print(&render(Paint::stdout(), &stages))?;
    }
    Ok(ExitCode::SUCCESS)
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
