//! The records that the runtime and the container's init send down a report
//! pipe, one JSON text a line (`sextant_runtime::contract::report`). Nobody needs
//! them before the invocation has ended, and most have by the first beat: to be woken
//! for each would cost a creation some thirty changes of context.

use crate::event::Stage;
use crate::pipe::{Flow, Still};
use sextant_runtime::contract::report::{MAX_LINE, Record};
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Records that are kept of one invocation; so many, each of [`MAX_LINE`], fit
/// into a record of the journal and into a message of gRPC (4 MiB each).
const MAX_RECORDS: usize = 512;

/// How long records stay in the pipe. When it is full, who writes the next one waits as long.
const BEAT: Duration = Duration::from_millis(10);

/// The same while there are none, as in a hook that takes its time.
const SLOW_BEAT: Duration = Duration::from_millis(80);

/// The records that come down a report pipe.
#[derive(Debug)]
pub(crate) struct Report {
    /// `None` when it was lost with the shim that had it.
    pipe: Option<Still>,
    partial: Vec<u8>,
    records: Vec<Record>,
}

impl Report {
    /// A new one, and the end of its pipe that the runtime gets as `--report-fd`.
    ///
    /// # Errors
    /// As [`Still::new`].
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (pipe, end) = Still::new()?;
        Ok((Self { pipe: Some(pipe), partial: Vec::new(), records: Vec::new() }, end))
    }

    /// One that nothing will come down any more.
    pub(crate) fn lost() -> Self {
        Self { pipe: None, partial: Vec::new(), records: Vec::new() }
    }

    /// Reads what is in the pipe now.
    pub(crate) fn drain(&mut self) {
        self.look();
    }

    /// The same; whether there was anything.
    fn look(&mut self) -> bool {
        let Self { pipe, partial, records } = self;
        let mut found = false;
        if let Some(pipe) = pipe {
            pipe.drain(|bytes| {
                found |= !bytes.is_empty();
                feed(partial, records, bytes)
            });
        }
        found
    }

    /// The records so far, as stages of `command`; they are told once.
    pub(crate) fn take(&mut self, command: &'static str) -> Vec<Stage> {
        std::mem::take(&mut self.records).into_iter().map(|record| Stage { command, record }).collect()
    }

    /// Reads what comes, at a slow beat, so that a pipe that is full keeps nobody waiting for long.
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn keep_up(&mut self) -> Infallible {
        let mut beat = BEAT;
        loop {
            tokio::time::sleep(beat).await;
            beat = if self.look() { BEAT } else { SLOW_BEAT.min(beat * 2) };
        }
    }
}

/// Cuts bytes into lines and lines into records; whether more may come. A
/// line that is too long or no record is left out: it cannot be from the runtime.
fn feed(partial: &mut Vec<u8>, records: &mut Vec<Record>, bytes: &[u8]) -> Flow {
    for piece in bytes.split_inclusive(|b| *b == b'\n') {
        if partial.len() <= MAX_LINE {
            partial.extend_from_slice(piece);
        }
        if piece.ends_with(b"\n") {
            if records.len() < MAX_RECORDS {
                records.extend(serde_json::from_slice::<Record>(partial));
            }
            partial.clear();
        }
    }
    Flow::of(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sextant_runtime::contract::report::StageKind;

    fn line() -> Vec<u8> {
        let stage = StageKind::Load.into();
        Record { stage, start_ns: 1, end_ns: 2, pid: 3, object: String::new(), failure: None }.to_line()
    }

    #[test]
    fn records_come_in_pieces_and_noise_is_left_out() {
        let (mut partial, mut records) = (Vec::new(), Vec::new());
        let bytes = [line(), b"noise\n".to_vec(), vec![b'x'; 3 * MAX_LINE], b"\n".to_vec(), line()].concat();
        for chunk in bytes.chunks(13) {
            assert_eq!(feed(&mut partial, &mut records, chunk), Flow::Open);
        }
        assert_eq!(records.len(), 2);
        assert_eq!(feed(&mut partial, &mut records, b""), Flow::Ended);
    }
}
