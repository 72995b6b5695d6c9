//! Reading the journal file of a shim directly: after its death, and right
//! after an answer whose record is on disk already. Never writes to it.

use super::{ShimEvent, wire};
use crate::model::StageRecord;
use sextant_proto::{journal, shim};
use std::io;
use std::path::Path;

fn read(path: &Path) -> io::Result<Vec<shim::Event>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(journal::decode(&bytes).records),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The whole records numbered above `after`; none when there is no file yet.
///
/// # Errors
/// When the file cannot be read.
pub fn events(path: &Path, after: u64) -> io::Result<Vec<ShimEvent>> {
    Ok(read(path)?.into_iter().filter(|e| e.seq > after).map(wire::event).collect())
}

/// The stage records of all invocations of the runtime for the current life, in order.
///
/// # Errors
/// When the file cannot be read.
pub fn trace(path: &Path) -> io::Result<Vec<StageRecord>> {
    let mut events = read(path)?;
    let is_begin = |e: &shim::Event| matches!(e.what, Some(shim::event::What::Created(_)));
    let begin = events.iter().rposition(is_begin).unwrap_or(0);
    Ok(events.drain(begin..).flat_map(|event| wire::event(event).stages).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::shims::{Fact, Init};

    pub(crate) fn write(path: &Path, facts: Vec<shim::event::What>) {
        let bytes: Vec<u8> = facts
            .into_iter()
            .zip(1..)
            .flat_map(|(what, seq)| {
                let event = shim::Event { seq, what: Some(what), ..Default::default() };
                journal::encode(&event).unwrap()
            })
            .collect();
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn only_later_records_and_no_file_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(events(&path, 0).unwrap().is_empty());
        let trace_of_one = vec![shim::StageRecord { stage: "clone".into(), ..Default::default() }];
        write(
            &path,
            vec![
                shim::event::What::Created(shim::Created {
                    pid: 7,
                    trace: trace_of_one,
                    ..Default::default()
                }),
                shim::event::What::Started(shim::Started::default()),
            ],
        );
        let all = events(&path, 0).unwrap();
        assert_eq!(
            all.iter().map(|e| &e.fact).collect::<Vec<_>>(),
            [&Fact::Created(Init { life: 1, pid: 7, ..Init::default() }), &Fact::Started]
        );
        assert_eq!(events(&path, 1).unwrap().len(), 1);
        assert_eq!(trace(&path).unwrap()[0].stage, "clone");
        let next = vec![shim::StageRecord { stage: "mount/0".into(), ..Default::default() }];
        let lives = [Vec::new(), next]
            .map(|trace| shim::event::What::Created(shim::Created { trace, ..Default::default() }));
        write(&path, lives.into());
        let stages: Vec<String> = trace(&path).unwrap().into_iter().map(|stage| stage.stage).collect();
        assert_eq!(stages, ["mount/0"]);
    }
}
