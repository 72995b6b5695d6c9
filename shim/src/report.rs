//! The records that the runtime and the container's init send down a report
//! pipe, one JSON text a line (`sextant_runtime::contract::report`).

use crate::event::Stage;
use crate::pipe::{Flow, Pipe};
use sextant_runtime::contract::report::{MAX_LINE, Record};

/// Records that are kept of one invocation; so many, each of [`MAX_LINE`], fit
/// into a record of the journal and into a message of gRPC (4 MiB each).
const MAX_RECORDS: usize = 512;

/// The records that come down a report pipe.
#[derive(Debug)]
pub(crate) struct Report {
    /// `None` when it was lost with the shim that had it.
    pipe: Option<Pipe>,
    partial: Vec<u8>,
    records: Vec<Record>,
}

impl Report {
    /// Of the pipe whose writing end the runtime has as `--report-fd`.
    pub(crate) fn new(pipe: Pipe) -> Self {
        Self { pipe: Some(pipe), partial: Vec::new(), records: Vec::new() }
    }

    /// One that nothing will come down any more.
    pub(crate) fn lost() -> Self {
        Self { pipe: None, partial: Vec::new(), records: Vec::new() }
    }

    /// Reads what is in the pipe now.
    pub(crate) fn drain(&mut self) {
        let Self { pipe, partial, records } = self;
        if let Some(pipe) = pipe {
            pipe.drain(|bytes| feed(partial, records, bytes));
        }
    }

    /// The records so far, as stages of `command`; they are told once.
    pub(crate) fn take(&mut self, command: &'static str) -> Vec<Stage> {
        std::mem::take(&mut self.records).into_iter().map(|record| Stage { command, record }).collect()
    }

    /// Waits for bytes and takes them. Nothing is lost when the future is dropped.
    pub(crate) async fn read(&mut self) -> Flow {
        let Some(pipe) = &self.pipe else { return Flow::Ended };
        // A pipe that cannot be read has ended as well.
        let bytes = pipe.read().await.unwrap_or_default();
        feed(&mut self.partial, &mut self.records, &bytes)
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
