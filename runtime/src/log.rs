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

/// Where lines go besides stderr; set once, in main.
static LOG: OnceLock<(File, Format)> = OnceLock::new();

/// Set by `--debug`: without a log, warnings go to stderr.
static VERBOSE: OnceLock<()> = OnceLock::new();

/// Shows warnings on stderr, which else belongs to the container.
pub fn show_warnings() {
    VERBOSE.get_or_init(|| ());
}

/// Opens the log for the rest of the process.
///
/// # Errors
/// As open(2).
pub fn init(path: &std::path::Path, format: Format) -> std::io::Result<()> {
    let file = File::options().append(true).create(true).open(path)?;
    // A second call cannot happen in one run of main; the first log stays.
    drop(LOG.set((file, format)));
    Ok(())
}

/// A thing that will have no effect, or did not work and does not matter enough.
/// To the log; with `--debug` and without a log, to stderr.
pub fn warn(message: &str) {
    if LOG.get().is_none() && VERBOSE.get().is_some() {
        eprintln!("sextant-runtime: warning: {message}");
    }
    write("warning", message, None);
}

/// Why the command failed: to stderr, and to the log.
pub fn error(failure: &Failure) {
    eprintln!("sextant-runtime: {failure}");
    write("error", &failure.to_string(), Some(failure));
}

fn write(level: &str, message: &str, failure: Option<&Failure>) {
    let Some((file, format)) = LOG.get() else { return };
    let time = crate::clock::now();
    let mut line = match format {
        Format::Json => {
            let mut entry = serde_json::json!({"level": level, "msg": message, "time": time});
            if let (Some(map), Some(failure)) = (entry.as_object_mut(), failure)
                && let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(failure)
            {
                map.extend(fields);
            }
            entry.to_string()
        }
        Format::Text => format!("time={time:?} level={level} msg={message:?}"),
    };
    line.push('\n');
    let mut file = file;
    // The log is an observer: a full disk must not change what the command does.
    drop(file.write_all(line.as_bytes()));
}
