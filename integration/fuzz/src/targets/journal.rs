//! The framing of a journal: whatever the bytes are, what is whole is read, the
//! rest is cut off, and nothing is read that was not written.

use crate::choices::Choices;
use sextant_proto::journal::{self, Decoded, HEADER};
use sextant_proto::{shim, v1};

pub(super) fn target(input: &[u8]) {
    any(input);
    written(&mut Choices::of(input));
}

fn any(bytes: &[u8]) {
    let decoded: Decoded<shim::Event> = journal::decode(bytes);
    assert_eq!(decoded.valid + decoded.torn, bytes.len());
    let whole: Decoded<shim::Event> = journal::decode(&bytes[..decoded.valid]);
    assert_eq!((whole.records.len(), whole.torn), (decoded.records.len(), 0));
    // What was read can be written and read again.
    let again: Vec<u8> =
        decoded.records.iter().flat_map(|r| journal::encode(r).expect("it was small")).collect();
    assert_eq!(journal::decode::<shim::Event>(&again).records, decoded.records);
    let of_manager: Decoded<v1::Event> = journal::decode(bytes);
    assert_eq!(of_manager.valid + of_manager.torn, bytes.len());
    if let Some(header) = bytes.first_chunk::<HEADER>()
        && let Some(size) = journal::record_size(header)
    {
        assert!((HEADER..=HEADER + journal::MAX_RECORD).contains(&size));
        if let Some((_, used)) = journal::next::<shim::Event>(bytes) {
            assert_eq!(used, size);
        }
    }
}

/// Records, then a crash: the file is cut, or a byte of it is another one.
fn written(choices: &mut Choices<'_>) {
    let events: Vec<shim::Event> = (0..1 + choices.below(5))
        .map(|_| shim::Event {
            seq: choices.number(),
            monotonic_ns: choices.number(),
            ..shim::Event::default()
        })
        .collect();
    let mut ends = vec![0];
    let mut bytes = Vec::new();
    for event in &events {
        bytes.extend(journal::encode(event).expect("it is small"));
        ends.push(bytes.len());
    }
    let at = choices.below(bytes.len());
    let whole = ends.iter().filter(|end| **end <= at).count() - 1;
    if choices.once_in(2) {
        bytes.truncate(at);
    } else {
        bytes[at] ^= 1 << choices.below(8);
    }
    let decoded: Decoded<shim::Event> = journal::decode(&bytes);
    assert_eq!(decoded.records, events[..whole], "at {at}");
    assert_eq!(decoded.valid, ends[whole]);
}
