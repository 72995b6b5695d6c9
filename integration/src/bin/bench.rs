//! Times commands against each other: every round runs each command once, in
//! turn, so that drift of the machine meets all of them; medians are printed as
//! a Markdown table. Called by scripts/bench, which knows what to compare.
//!
//! Reads commands from stdin, one a line: `NAME<TAB>SHELL WORDS`; `{n}` becomes
//! the number of the run, for ids. The first line is what the others are
//! measured by.

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Rounds that are run first and not counted.
const WARM_UP: usize = 3;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}

/// One thing that is timed.
struct Subject {
    name: String,
    words: Vec<String>,
    times: Vec<Duration>,
}

fn bench() -> Result<(), String> {
    let rounds = std::env::args().nth(1).map_or(Ok(20), |n| n.parse()).map_err(|e| format!("rounds: {e}"))?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| format!("read the commands: {e}"))?;
    let mut subjects = text.lines().map(parse).collect::<Result<Vec<_>, _>>()?;
    let mut number = 0_usize;
    for round in 0..WARM_UP + rounds {
        for subject in &mut subjects {
            number += 1;
            let time = time(subject, number)?;
            if round >= WARM_UP {
                subject.times.push(time);
            }
        }
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", table(&mut subjects)).map_err(|e| format!("print the table: {e}"))
}

fn parse(line: &str) -> Result<Subject, String> {
    let (name, command) = line.split_once('\t').ok_or_else(|| format!("no tab in {line:?}"))?;
    let words = command.split_whitespace().map(ToOwned::to_owned).collect();
    Ok(Subject { name: name.to_owned(), words, times: Vec::new() })
}

/// Runs it once, from spawn to exit.
fn time(subject: &Subject, number: usize) -> Result<Duration, String> {
    let mut words = subject.words.iter().map(|word| word.replace("{n}", &number.to_string()));
    let program = words.next().ok_or_else(|| format!("{}: no command", subject.name))?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let child = command.spawn().map_err(|e| format!("{}: start: {e}", subject.name))?;
    let output = child.wait_with_output().map_err(|e| format!("{}: wait: {e}", subject.name))?;
    let time = begin.elapsed();
    if output.status.success() {
        return Ok(time);
    }
    Err(format!("{}: {}: {}", subject.name, output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

fn table(subjects: &mut [Subject]) -> String {
    let mut base = None;
    let mut lines =
        vec!["| | median ms | fastest | p90 | × first |".to_owned(), "|---|---|---|---|---|".to_owned()];
    for subject in subjects {
        subject.times.sort_unstable();
        let at = |percent: usize| {
            let index = subject.times.len().saturating_sub(1) * percent / 100;
            subject.times.get(index).map_or(0.0, |t| t.as_secs_f64() * 1e3)
        };
        let (fastest, median, p90) = (at(0), at(50), at(90));
        let first = *base.get_or_insert(median);
        let name = &subject.name;
        lines.push(format!("| {name} | {median:.2} | {fastest:.2} | {p90:.2} | {:.2} |", median / first));
    }
    lines.join("\n")
}
