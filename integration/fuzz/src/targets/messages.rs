//! What crosses between processes: the handshake of parent and init, stages,
//! records and failures of the report. What decodes encodes to the same; what is
//! encoded fits, and keeps its form.

use crate::choices::Choices;
use sextant_runtime::contract::report::{Failure, MAX_LINE, Record, Stage};
use sextant_runtime::handshake::{Message, ToInit, ToParent};
use std::fmt::Debug;

pub(super) fn target(input: &[u8]) {
    same::<ToInit>(input);
    same::<ToParent>(input);
    if let Ok(text) = std::str::from_utf8(input)
        && let Ok(stage) = text.parse::<Stage>()
    {
        assert_eq!(stage.to_string().parse(), Ok(stage), "{text:?}");
    }
    if let Ok(record) = serde_json::from_slice::<Record>(input) {
        line(&record);
    }
    made(&mut Choices::of(input));
}

fn same<M: Message + PartialEq + Debug>(packet: &[u8]) {
    if let Some(message) = M::decode(packet) {
        let again = message.encode();
        assert!(again.len() <= M::MAX, "{} bytes", again.len());
        assert_eq!(M::decode(&again), Some(message));
    }
}

/// Any failure crosses, if need be with shorter texts.
fn made(choices: &mut Choices<'_>) {
    let stage = [Stage::nth(sextant_runtime::contract::report::StageKind::Mount, choices.below(9))][0];
    let failure = Failure {
        stage: stage.to_string(),
        attempted: long(choices),
        because: long(choices),
        syscall: long(choices),
        errno: i32::from(choices.byte()),
        object: long(choices),
        pointer: long(choices),
        hint: long(choices),
    };
    let packet = ToParent::Failed(Box::new(failure.clone())).encode();
    assert!(packet.len() <= ToParent::MAX, "a packet of {} bytes", packet.len());
    match ToParent::decode(&packet) {
        Some(ToParent::Failed(heard)) => {
            assert_eq!((&heard.stage, heard.errno), (&failure.stage, failure.errno));
            let starts =
                |short: &str, long: &str| long.starts_with(short.trim_end_matches('…')) || short == long;
            assert!(starts(&heard.attempted, &failure.attempted) && starts(&heard.hint, &failure.hint));
        }
        other => panic!("{other:?}"),
    }
    let (start_ns, end_ns) = (choices.number(), choices.number());
    line(&Record { stage, start_ns, end_ns, pid: 1, object: long(choices), failure: Some(failure) });
}

/// A line that a reader finds whole, about the same.
fn line(record: &Record) {
    let line = record.to_line();
    assert!(line.len() <= MAX_LINE && line.ends_with(b"\n"), "{} bytes", line.len());
    assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
    let read: Record = serde_json::from_slice(&line).expect("a line is a record");
    assert_eq!(
        (read.stage, read.start_ns, read.end_ns, read.pid),
        (record.stage, record.start_ns, record.end_ns, record.pid)
    );
    let errno = |r: &Record| r.failure.as_ref().map(|f| f.errno);
    assert_eq!(errno(&read), errno(record));
}

fn long(choices: &mut Choices<'_>) -> String {
    let piece = match choices.below(5) {
        0 => return String::new(),
        1 => "/".into(),
        2 => "\u{1}".into(),
        3 => "ä\"".into(),
        _ => choices.text(),
    };
    let times = match choices.below(4) {
        0 => 1,
        1 => 100,
        2 => 5000,
        _ => 40_000,
    };
    piece.repeat(if piece.len() > 4 { 1 } else { times })
}
