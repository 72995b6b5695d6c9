//! Opening the journal of events after a crash or a damage.
//!
//! A record that was cut off at the end of the file was never seen by anybody,
//! since events are published after they are synced: it is dropped. Damage in
//! the middle is different: what lay there was published. Whole records behind
//! it are found again, and an event of kind *gap* stands where the rest was, so
//! that a reader knows. The damaged file is kept beside.

use super::Codec;
use super::reader::whole_at;
use crate::model::{Event, EventKind};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

/// No record is shorter: its framing, a number, a kind.
const SHORTEST: usize = 12;

/// What is in a journal that was opened.
#[derive(Debug)]
pub(super) struct Found {
    /// Number of the last event; 0 when there is none.
    pub(super) seq: u64,
    /// Bytes of all.
    pub(super) bytes: u64,
    /// Number and offset of a record here and there.
    pub(super) index: Vec<(u64, u64)>,
}

/// Leaves only whole records in the file, and looks through them. While all are whole, a part of it is read at a time.
pub(super) fn mend(file: &File, path: &Path, codec: Codec) -> io::Result<Found> {
    let found = look_through(file, codec)?;
    if found.bytes == file.metadata()?.len() {
        return Ok(found);
    }
    repair(file, path, codec)?;
    look_through(file, codec)
}

/// The whole records up to the end or to the first one that is not.
fn look_through(file: &File, codec: Codec) -> io::Result<Found> {
    let end = file.metadata()?.len();
    let mut found = Found { seq: 0, bytes: 0, index: Vec::new() };
    while found.bytes < end {
        let whole = whole_at(file, codec, found.bytes, end)?;
        let (Some(first), Some(last)) = (whole.events.first(), whole.events.last()) else { break };
        found.index.push((first.seq, found.bytes));
        found.seq = last.seq;
        found.bytes += u64::try_from(whole.bytes).map_err(io::Error::other)?;
    }
    Ok(found)
}

/// Drops what is not whole of a file that has such.
fn repair(file: &File, path: &Path, codec: Codec) -> io::Result<()> {
    let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, 0)?;
    let (events, verdict) = sift(&bytes, codec);
    match verdict {
        Verdict::Whole => Ok(()),
        Verdict::Torn { valid } => {
            tracing::info!(torn = bytes.len() - valid, "the last event was not written to its end");
            file.set_len(u64::try_from(valid).map_err(io::Error::other)?)?;
            file.sync_data()
        }
        Verdict::Damaged => {
            tracing::error!(file = %path.display(), "events are lost: the file is damaged; it is kept as .damaged");
            std::fs::write(path.with_extension("damaged"), &bytes)?;
            rewrite(file, &events, codec)
        }
    }
}

fn rewrite(file: &File, events: &[Event], codec: Codec) -> io::Result<()> {
    let mut bytes = Vec::new();
    for event in events {
        bytes.extend((codec.encode)(event).map_err(io::Error::other)?);
    }
    file.set_len(0)?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()
}

enum Verdict {
    Whole,
    Torn { valid: usize },
    Damaged,
}

/// The whole records of the bytes, with a gap wherever something is missing.
fn sift(bytes: &[u8], codec: Codec) -> (Vec<Event>, Verdict) {
    let mut whole = (codec.decode)(bytes);
    let mut at = whole.bytes;
    if at == bytes.len() {
        return (whole.events, Verdict::Whole);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    if announces_more(rest) && resume(rest, codec).is_none() {
        return (whole.events, Verdict::Torn { valid: at });
    }
    let mut events = std::mem::take(&mut whole.events);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let last = events.last().map_or(0, |e| e.seq);
        let Some((skipped, found)) = resume(rest, codec) else {
            // Nobody knows how many there were; so many at most.
            let most = u64::try_from(rest.len() / SHORTEST).unwrap_or(u64::MAX);
            events.push(gap(last.saturating_add(most).saturating_add(1)));
            break;
        };
        let next = found.events.first().map_or(last + 2, |e| e.seq);
        if next > last + 1 {
            events.push(gap(next - 1));
        }
        events.extend(found.events);
        at += skipped + found.bytes;
    }
    (events, Verdict::Damaged)
}

/// Whether the record at the beginning would be longer than what is there, as
/// when its writing was cut off.
fn announces_more(rest: &[u8]) -> bool {
    match rest.first_chunk::<4>() {
        Some(length) => {
            usize::try_from(u32::from_le_bytes(*length)).is_ok_and(|l| l > rest.len().saturating_sub(8))
        }
        None => true,
    }
}

/// The first place behind the beginning where records are whole again. A
/// checksum makes a chance hit as good as impossible.
fn resume(rest: &[u8], codec: Codec) -> Option<(usize, super::Whole)> {
    (1..rest.len()).find_map(|skipped| {
        let found = (codec.decode)(rest.get(skipped..)?);
        // Eight zero bytes are a record without content; an event has a number.
        (found.bytes > 0 && found.events.first().is_some_and(|e| e.seq > 0)).then_some((skipped, found))
    })
}

/// An event that says that those up to this number are lost.
pub(super) fn gap(seq: u64) -> Event {
    Event {
        seq,
        container: String::new(),
        kind: EventKind::Gap,
        at: SystemTime::now(),
        pid: None,
        exit: None,
        failure: None,
        container_seq: 0,
        output_lost: None,
        oom_kills: 0,
        exec: None,
        life: 0,
        restarting: None,
        probe: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::convert::CODEC;
    use crate::engine::events::Whole;

    fn records(seqs: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
        let of = |seq| Event { kind: EventKind::Started, container: "a".into(), ..gap(seq) };
        seqs.into_iter().map(|seq| (CODEC.encode)(&of(seq)).unwrap()).collect()
    }

    /// Mends a file of these bytes; numbers and kinds, and the file opened again.
    fn mended(bytes: &[u8]) -> (Vec<(u64, EventKind)>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        std::fs::write(&path, bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let found = mend(&file, &path, CODEC).unwrap();
        let again = std::fs::read(&path).unwrap();
        let Whole { events, bytes } = (CODEC.decode)(&again);
        assert_eq!((again.len(), found.bytes), (bytes, u64::try_from(bytes).unwrap()), "all is whole");
        assert_eq!(found.seq, events.last().unwrap().seq);
        (events.iter().map(|e| (e.seq, e.kind)).collect(), dir.path().read_dir().unwrap().count())
    }

    #[test]
    fn a_torn_last_record_was_never_published() {
        let bytes = records(1..=3).concat();
        let two = records(1..=2).concat().len();
        for cut in two + 1..bytes.len() {
            let started = EventKind::Started;
            assert_eq!(mended(&bytes[..cut]), (vec![(1, started), (2, started)], 1), "cut at {cut}");
        }
        assert_eq!(mended(&bytes).0.len(), 3);
    }

    #[test]
    fn damage_in_the_middle_leaves_a_gap_and_what_follows() {
        let all = records(1..=5);
        let mut bytes = all.concat();
        let third = all[0].len() + all[1].len();
        bytes[third + 10] ^= 0x40;
        let (events, files) = mended(&bytes);
        let started = EventKind::Started;
        assert_eq!(events, [(1, started), (2, started), (3, EventKind::Gap), (4, started), (5, started)]);
        assert_eq!(files, 2, "the damaged file is kept");
    }

    #[test]
    fn damage_of_the_end_never_gives_a_number_twice() {
        let mut bytes = records(1..=4).concat();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let (events, _) = mended(&bytes);
        let (seq, kind) = events[3];
        assert_eq!(kind, EventKind::Gap);
        assert!(seq >= 4, "{seq} may have been given before");
    }

    #[test]
    fn a_long_file_is_looked_through_piece_by_piece_whatever_is_damaged() {
        let all = records(1..=20_000);
        let bytes = all.concat();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let found = mend(&file, &path, CODEC).unwrap();
        assert_eq!((found.seq, found.bytes), (20_000, u64::try_from(bytes.len()).unwrap()));
        assert!(found.index.len() > 2, "{:?}", found.index);
        for (seq, offset) in found.index {
            let offset = usize::try_from(offset).unwrap();
            assert_eq!((CODEC.decode)(&bytes[offset..offset + all[0].len() * 2]).events[0].seq, seq);
        }
        // Behind the first pieces.
        let place = all[..15_000].concat().len() + 9;
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x40;
        let (events, files) = mended(&damaged);
        assert_eq!((events.len(), events[15_000], files), (20_000, (15_001, EventKind::Gap), 2));
        assert_eq!(mended(&bytes[..bytes.len() - 1]).0.len(), 19_999);
    }
}
