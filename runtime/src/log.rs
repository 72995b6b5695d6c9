//! `--log` and `--log-format`, as runc has them: one line for an error or a
//! warning, as text or as JSON with `level`, `msg` and `time`, and beside these
//! the failure's own fields. Errors go to stderr as well.

use crate::contract::report::Failure;
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `time=… level=… msg=…`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged besides errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Warnings, and without a file not even these: stderr belongs to the container.
    Warning,
    /// Everything, without a file on stderr.
    Debug,
}

/// Where lines go.
#[derive(Debug)]
struct Log {
    file: Option<File>,
    format: Format,
    level: Level,
}

/// Set once, in main.
static LOG: OnceLock<Log> = OnceLock::new();

/// Opens the log for the rest of the process.
///
/// # Errors
/// As open(2).
pub fn init(path: Option<&std::path::Path>, format: Format, level: Level) -> std::io::Result<()> {
    let file = path.map(|path| File::options().append(true).create(true).open(path)).transpose()?;
    // A second call cannot happen in one run of main; the first log stays.
    drop(LOG.set(Log { file, format, level }));
    Ok(())
}

/// What only somebody who looks for a mistake wants to know (`--debug`).
pub fn debug(message: &str) {
    write("debug", message, None);
}

/// A thing that will have no effect, or did not work and does not matter enough.
/// To the log; with `--debug` and without a log, to stderr.
pub fn warn(message: &str) {
    write("warning", message, None);
}

/// Why the command failed: to the log, and to stderr for whoever started it;
/// there in the log's form when that was asked for and there is no file.
pub fn error(failure: &Failure) {
    let only_stderr = LOG.get().is_some_and(|log| log.file.is_none() && log.format == Format::Json);
    if !only_stderr {
        eprintln!("sextant-runtime: {failure}");
    }
    write("error", &failure.to_string(), Some(failure));
}

fn write(level: &str, message: &str, failure: Option<&Failure>) {
    let Some(log) = LOG.get() else { return };
    if level == "debug" && log.level != Level::Debug {
        return;
    }
    let line = line(log.format, level, message, failure);
    match &log.file {
        // The log is an observer: a full disk must not change what the command does.
        Some(file) => drop((&mut &*file).write_all(line.as_bytes())),
        None if level == "error" && log.format == Format::Json => eprint!("{line}"),
        None if level != "error" && log.level == Level::Debug => {
            eprintln!("sextant-runtime: {level}: {message}");
        }
        None => {}
    }
}

fn line(format: Format, level: &str, message: &str, failure: Option<&Failure>) -> String {
    let time = crate::clock::now();
    match format {
        Format::Json => {
            let mut entry = serde_json::json!({"level": level, "msg": message, "time": time});
            if let (Some(map), Some(failure)) = (entry.as_object_mut(), failure)
                && let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(failure)
            {
                map.extend(fields);
            }
            format!("{entry}\n")
        }
        Format::Text => format!("time={time:?} level={level} msg={message:?}\n"),
    }
}
