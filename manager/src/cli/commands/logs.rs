//! `logs`: what a container wrote, its stdout to ours and its stderr to ours.

use crate::cli::args::LogsArgs;
use crate::cli::client::Client;
use crate::cli::error::Error;
use crate::cli::output::{Colour, Paint};
use crate::cli::{output, time};
use sextant_proto::v1::log_entry::Stream;
use sextant_proto::v1::log_missing::Because;
use sextant_proto::v1::{LogEntry, LogMissing, LogsRequest};
use std::io::IsTerminal;
use std::process::ExitCode;

pub(super) async fn run(client: &Client, args: LogsArgs) -> Result<ExitCode, Error> {
    let request = LogsRequest {
        id: args.id,
        offset: args.offset,
        follow: args.follow,
        since: args.since.map(|at| at.0),
        until: args.until.map(|at| at.0),
        tail: args.tail,
        stream: match (args.stdout, args.stderr) {
            (true, false) => Stream::Stdout,
            (false, true) => Stream::Stderr,
            _ => Stream::Unspecified,
        }
        .into(),
    };
    let mut stamps = args.timestamps.then(Stamps::default);
    show_all(client, request, |mut entry| {
        if let Some(stamps) = &mut stamps {
            entry.data = stamps.stamp(&entry);
        }
        entry
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Shows every entry that `request` asks for, as `dress` makes it. Gives the offset behind the last one.
pub(super) async fn show_all(
    client: &Client,
    request: LogsRequest,
    mut dress: impl FnMut(LogEntry) -> LogEntry,
) -> Result<u64, Error> {
    let attempted = format!("read the log of {}", request.id);
    let mut log = client.logs(request);
    while let Some(entry) = log.next().await.map_err(Error::client(&attempted))? {
        show(&dress(entry))?;
    }
    Ok(log.request().offset)
}

/// Writes output to our stream of the same name. What is missing is said on stderr.
fn show(entry: &LogEntry) -> Result<(), Error> {
    if let Some(missing) = &entry.missing {
        let paint = Paint::detect(std::io::stderr().is_terminal());
        let note = paint.colour(Colour::Dim, &note(missing));
        return output::write_all(std::io::stderr().lock(), format!("{note}\n").as_bytes());
    }
    match entry.stream() {
        Stream::Stderr => output::write_all(std::io::stderr().lock(), &entry.data),
        Stream::Stdout | Stream::Unspecified => output::write_all(std::io::stdout().lock(), &entry.data),
    }
}

/// `sextant: 3 lines (40 bytes) are missing: above the rate limit`.
fn note(missing: &LogMissing) -> String {
    let why = match missing.because() {
        Because::Rotated => "their file was rotated away",
        Because::RateLimit => "above the rate limit",
        Because::NotWritten => "they could not be written",
        Because::Unspecified => "for a reason that is not known",
    };
    match missing.lines {
        0 => format!("sextant: {} bytes of the log are missing: {why}", missing.bytes),
        lines => format!("sextant: {lines} lines ({} bytes) are missing: {why}", missing.bytes),
    }
}

/// Puts times before lines. An entry without a newline at its end is part of
/// a line that the next entry of its stream goes on with.
#[derive(Default)]
struct Stamps {
    inside_stdout: bool,
    inside_stderr: bool,
}

impl Stamps {
    fn stamp(&mut self, entry: &LogEntry) -> Vec<u8> {
        let inside = match entry.stream() {
            Stream::Stderr => &mut self.inside_stderr,
            Stream::Stdout | Stream::Unspecified => &mut self.inside_stdout,
        };
        let at = time::rfc3339_fixed(&entry.at.unwrap_or_default(), 9);
        let mut stamped = Vec::new();
        for line in entry.data.split_inclusive(|byte| *byte == b'\n') {
            if !*inside {
                stamped.extend_from_slice(at.as_bytes());
                stamped.push(b' ');
            }
            stamped.extend_from_slice(line);
            *inside = !line.ends_with(b"\n");
        }
        stamped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_parts_has_one_time() {
        let mut stamps = Stamps::default();
        let mut stamp = |stream: Stream, data: &str| {
            let at = Some(prost_types::Timestamp { seconds: 1, nanos: 5 });
            let entry = LogEntry { stream: stream.into(), at, data: data.into(), ..LogEntry::default() };
            String::from_utf8(stamps.stamp(&entry)).unwrap()
        };
        let at = "1970-01-01T00:00:01.000000005Z";
        assert_eq!(stamp(Stream::Stdout, "half"), format!("{at} half"));
        assert_eq!(stamp(Stream::Stderr, "oh\n"), format!("{at} oh\n"));
        assert_eq!(stamp(Stream::Stdout, " whole\nnext\n"), format!(" whole\n{at} next\n"));
    }
}
