//! Reading the journal file of a shim directly: after its death, and right
//! after an answer whose record is on disk already. Never writes to it.

use super::{ShimEvent, wire};
use crate::model::StageRecord;
use sextant_proto::{journal, shim};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
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

/// How far a journal was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Device and inode of the file: it is replaced when it has become long.
    file: (u64, u64),
    /// Bytes of it.
    bytes: u64,
}

/// As [`events`], without those before `place`, and the place behind them.
///
/// # Errors
/// When the file cannot be read.
pub fn events_from(path: &Path, place: Place, after: u64) -> io::Result<(Place, Vec<ShimEvent>)> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Place::default(), Vec::new())),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    let identity = (found.dev(), found.ino());
    let is_same = place.file == identity && place.bytes <= found.len();
    let begin = if is_same { place.bytes } else { 0 };
    let mut bytes = vec![0; usize::try_from(found.len() - begin).map_err(io::Error::other)?];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, begin + size(read)?)? {
            0 => break,
            more => read += more,
        }
    }
    let decoded = journal::decode::<shim::Event>(bytes.get(..read).unwrap_or_default());
    let events = decoded.records.into_iter().filter(|e| e.seq > after).map(wire::event).collect();
    Ok((Place { file: identity, bytes: begin + size(decoded.valid)? }, events))
}

fn size(bytes: usize) -> io::Result<u64> {
    u64::try_from(bytes).map_err(io::Error::other)
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
    fn who_reads_on_comes_to_the_end_and_to_the_file_that_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let facts = |n| vec![shim::event::What::Paused(shim::Paused::default()); n];
        let read = |place, after| {
            let (place, events) = events_from(&path, place, after).unwrap();
            (place, events.into_iter().map(|event| event.seq).collect::<Vec<_>>())
        };
        assert_eq!(read(Place::default(), 0), (Place::default(), vec![]));
        write(&path, facts(2));
        let (place, seen) = read(Place::default(), 0);
        assert_eq!(seen, [1, 2]);
        assert_eq!(read(place, 2), (place, vec![]));
        // A record that is not whole yet is read when it is.
        let whole = std::fs::read(&path).unwrap();
        write(&path, facts(3));
        let three = std::fs::read(&path).unwrap();
        std::fs::write(&path, &three[..three.len() - 1]).unwrap();
        assert_eq!(read(place, 2), (place, vec![]));
        std::fs::write(&path, &three).unwrap();
        let (place, seen) = read(place, 2);
        assert_eq!(seen, [3]);
        // Torn, and cut.
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(read(place, 3).1, Vec::<u64>::new());
        let other = dir.path().join("journal.new");
        write(&other, facts(4));
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(read(place, 3).1, [4]);
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
