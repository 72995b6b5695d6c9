//! Times commands against each other: every round runs each command once, in
//! turn, so that drift of the machine meets all of them; medians are printed as
//! a Markdown table. Called by scripts/bench, which knows what to compare.
//!
//! Reads commands from stdin, one a line: `NAME<TAB>TIMED<TAB>BEFORE<TAB>AFTER`,
//! of which the last two may be missing: what has to be there for the timed one,
//! and what takes it away. Each is words of a command, several with ` && `; `{n}`
//! becomes the number of the run, for ids. The first line is what the others are
//! measured by.

use sextant_integration::sys::{Usage, usage_of};
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
    timed: String,
    before: Vec<String>,
    after: Vec<String>,
    times: Vec<Duration>,
    usages: Vec<Usage>,
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
            let (time, usage) = round_of(subject, number)?;
            if round >= WARM_UP {
                subject.times.push(time);
                subject.usages.push(usage);
            }
        }
    }
    let calls: Vec<String> =
        subjects.iter().map(|s| system_calls(s, number + 1)).collect::<Result<_, _>>()?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", table(&mut subjects, &calls)).map_err(|e| format!("print the table: {e}"))
}

fn parse(line: &str) -> Result<Subject, String> {
    let mut fields = line.split('\t');
    let (Some(name), Some(timed)) = (fields.next(), fields.next()) else {
        return Err(format!("no tab in {line:?}"));
    };
    let mut commands = || -> Vec<String> {
        let text = fields.next().unwrap_or_default();
        text.split(" && ").filter(|c| !c.trim().is_empty()).map(ToOwned::to_owned).collect()
    };
    let (before, after) = (commands(), commands());
    Ok(Subject {
        name: name.to_owned(),
        timed: timed.to_owned(),
        before,
        after,
        times: Vec::new(),
        usages: Vec::new(),
    })
}

/// The timed command once, from spawn to exit, with what goes before and after it.
fn round_of(subject: &Subject, number: usize) -> Result<(Duration, Usage), String> {
    for command in &subject.before {
        run(subject, command, number)?;
    }
    let measured = run(subject, &subject.timed, number)?;
    for command in &subject.after {
        run(subject, command, number)?;
    }
    Ok(measured)
}

fn run(subject: &Subject, command: &str, number: usize) -> Result<(Duration, Usage), String> {
    let failed = |what: &str, e: &dyn std::fmt::Display| format!("{}: {what} {command:?}: {e}", subject.name);
    let mut words = command.split_whitespace().map(|word| word.replace("{n}", &number.to_string()));
    let program = words.next().ok_or_else(|| format!("{}: no command", subject.name))?;
    let errors = tempfile::tempfile().map_err(|e| failed("prepare", &e))?;
    let mut prepared = Command::new(program);
    prepared.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    prepared.stderr(errors.try_clone().map_err(|e| failed("prepare", &e))?);
    let begin = Instant::now();
    let child = prepared.spawn().map_err(|e| failed("start", &e))?;
    let (status, usage) = usage_of(child).map_err(|e| failed("wait for", &e))?;
    let time = begin.elapsed();
    if status.success() {
        return Ok((time, usage));
    }
    use std::io::Seek;
    let mut said = String::new();
    let mut errors = errors;
    drop(errors.rewind().and_then(|()| errors.read_to_string(&mut said)));
    Err(failed(&status.to_string(), &said.trim()))
}

/// How many the timed command and its children make, the user's program included.
fn system_calls(subject: &Subject, number: usize) -> Result<String, String> {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Ok("–".into());
    }
    let trace = tempfile::NamedTempFile::new().map_err(|e| format!("make a file: {e}"))?;
    for command in &subject.before {
        run(subject, command, number)?;
    }
    // A container that is created stays, and so strace must not wait for it.
    let traced = format!("strace -f -qq -D -o {} {}", trace.path().display(), subject.timed);
    let result = run(subject, &traced, number);
    for command in &subject.after {
        run(subject, command, number)?;
    }
    let text = std::fs::read_to_string(trace.path()).map_err(|e| format!("read the trace: {e}"))?;
    let calls = text.lines().filter(|line| !line.contains(" resumed>") && line.contains('(')).count();
    // Not everything can be traced.
    Ok(result.map_or_else(|_| "–".to_owned(), |_| calls.to_string()))
}

fn table(subjects: &mut [Subject], calls: &[String]) -> String {
    let mut base = None;
    let mut lines = vec![
        "| | median ms | fastest | p90 | × first | CPU ms | peak MiB | system calls |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for (subject, calls) in subjects.iter_mut().zip(calls) {
        subject.times.sort_unstable();
        let at = |percent: usize| {
            let index = subject.times.len().saturating_sub(1) * percent / 100;
            subject.times.get(index).map_or(0.0, |t| t.as_secs_f64() * 1e3)
        };
        let (fastest, median, p90) = (at(0), at(50), at(90));
        let first = *base.get_or_insert(median);
        let mut cpu: Vec<Duration> = subject.usages.iter().map(|u| u.cpu).collect();
        cpu.sort_unstable();
        let cpu = cpu.get(cpu.len() / 2).map_or(0.0, |t| t.as_secs_f64() * 1e3);
        let peak = subject.usages.iter().map(|u| u.peak_kib).max().unwrap_or(0);
        let (whole, tenths) = (peak / 1024, peak % 1024 * 10 / 1024);
        lines.push(format!(
            "| {} | {median:.2} | {fastest:.2} | {p90:.2} | {:.2} | {cpu:.1} | {whole}.{tenths} | {calls} |",
            subject.name,
            median / first
        ));
    }
    lines.join("\n")
}
