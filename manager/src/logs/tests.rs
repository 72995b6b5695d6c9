use super::*;
use crate::engine::record::tests::record;
use crate::engine::snapshot_for_tests;
use crate::model::{Ending, Exit};
use sextant_proto::logfile;
use std::fs::File;
use std::io::Write;
use std::time::UNIX_EPOCH;

const TWO: &[u8] = b"2026-01-02T03:04:05.123456789Z stdout F one\n2026-01-02T03:04:06Z stderr P tw\n";

const ALL: Query =
    Query { offset: 0, follow: Follow::No, since: None, until: None, tail: None, stream: None };

/// A log as a shim writes it: line `n` at `n` seconds, every third one on stderr.
struct Shim {
    dir: tempfile::TempDir,
    lines: u64,
    sender: watch::Sender<Snapshot>,
}

impl Shim {
    fn new() -> Self {
        let sender = watch::channel(snapshot_for_tests(&record("a"))).0;
        Self { dir: tempfile::tempdir().unwrap(), lines: 0, sender }
    }

    fn write(&mut self, bytes: &[u8]) {
        let log = self.dir.path().join("log");
        File::options().append(true).create(true).open(log).unwrap().write_all(bytes).unwrap();
    }

    fn write_lines(&mut self, n: u64) {
        for _ in 0..n {
            let at = prost_types::Timestamp { seconds: i64::try_from(self.lines).unwrap(), nanos: 0 };
            let stream = if self.lines.is_multiple_of(3) { "stderr" } else { "stdout" };
            self.write(format!("{at} {stream} F line {}\n", self.lines).as_bytes());
            self.lines += 1;
        }
    }

    fn rotate(&mut self) {
        let begin = logfile::current_begin(&logfile::rotated(self.dir.path()).unwrap());
        std::fs::rename(self.dir.path().join("log"), self.dir.path().join(logfile::name(begin))).ok();
    }

    /// Removes the oldest file; how many bytes it had.
    fn prune(&mut self) -> u64 {
        let oldest = logfile::rotated(self.dir.path()).unwrap()[0];
        std::fs::remove_file(self.dir.path().join(logfile::name(oldest.begin))).unwrap();
        oldest.length
    }

    fn exit(&self) {
        let exit = Exit { how: Ending::Code(0), at: UNIX_EPOCH, oom_killed: false };
        self.sender.send_modify(|s| s.exit = Some(exit));
    }

    fn reader(&self, query: Query) -> Reader {
        Reader::new(self.dir.path(), query, self.sender.subscribe())
    }

    async fn read(&self, query: Query) -> Vec<Entry> {
        all(self.reader(query)).await
    }

    /// Numbers of the lines that a query gives.
    async fn numbers(&self, query: Query) -> Vec<u64> {
        self.read(query).await.iter().filter_map(number).collect()
    }
}

async fn all(mut reader: Reader) -> Vec<Entry> {
    let mut all = Vec::new();
    while let Some(entries) = reader.next().await.unwrap() {
        all.extend(entries);
    }
    all
}

fn number(entry: &Entry) -> Option<u64> {
    match &entry.what {
        What::Output { data, .. } => {
            std::str::from_utf8(data).unwrap().trim().rsplit(' ').next().unwrap().parse().ok()
        }
        What::Missing(_) => None,
    }
}

fn missing(entry: &Entry) -> Option<Missing> {
    match entry.what {
        What::Missing(missing) => Some(missing),
        What::Output { .. } => None,
    }
}

#[test]
fn lines_become_entries_with_offsets() {
    let (entries, used) = parse(TWO, 100);
    assert_eq!(used, u64::try_from(TWO.len()).unwrap());
    assert_eq!(entries[0].what, What::Output { stream: Stream::Stdout, data: b"one\n".to_vec() });
    assert_eq!(entries[0].next_offset, 144);
    assert_eq!(entries[1].what, What::Output { stream: Stream::Stderr, data: b"tw".to_vec() });
    assert_eq!(entries[0].at.duration_since(UNIX_EPOCH).unwrap().subsec_nanos(), 123_456_789);
    // From the offset of the second entry, only that one.
    assert_eq!(parse(&TWO[44..], 144).0, entries[1..]);
}

#[test]
fn a_line_that_is_being_written_waits_and_nonsense_is_skipped() {
    let (entries, used) = parse(&TWO[..TWO.len() - 1], 0);
    assert_eq!((entries.len(), used), (1, 44));
    let (entries, used) = parse(b"dout F one\n2026-01-02T03:04:06Z stderr F x y\n", 0);
    assert_eq!(entries[0].what, What::Output { stream: Stream::Stderr, data: b"x y\n".to_vec() });
    assert_eq!((entries.len(), used), (1, 45));
    assert_eq!(parse(&[b'x'; CHUNK], 0), (vec![], u64::try_from(CHUNK).unwrap()));
}

#[tokio::test]
async fn following_ends_after_the_exit_and_the_last_line() {
    let mut shim = Shim::new();
    let task = tokio::spawn(all(shim.reader(Query { follow: Follow::Yes, ..ALL })));
    shim.write(&TWO[..20]);
    tokio::task::yield_now().await;
    shim.write(&TWO[20..]);
    shim.exit();
    assert_eq!(task.await.unwrap().len(), 2);
}

#[tokio::test]
async fn offsets_hold_over_rotations_and_what_was_removed_is_told() {
    let mut shim = Shim::new();
    for _ in 0..4 {
        shim.write_lines(5);
        shim.rotate();
    }
    shim.write_lines(5);
    let entries = shim.read(ALL).await;
    assert!(entries.iter().filter_map(number).eq(0..25));
    let from = entries[11].next_offset;
    assert_eq!(shim.numbers(Query { offset: from, ..ALL }).await, (12..25).collect::<Vec<_>>());
    let removed = shim.prune() + shim.prune();
    let after = shim.read(ALL).await;
    let expected = Missing { because: Because::Rotated, lines: 0, bytes: removed };
    assert_eq!((missing(&after[0]), after[0].next_offset), (Some(expected), removed));
    assert_eq!(after[1..], entries[10..]);
    // From where nothing is missing, nothing is said.
    assert_eq!(shim.read(Query { offset: from, ..ALL }).await, entries[12..]);
    // The new file is not made yet.
    shim.rotate();
    assert_eq!(shim.read(Query { offset: from, ..ALL }).await, entries[12..]);
}

#[tokio::test]
async fn tail_time_and_stream() {
    let mut shim = Shim::new();
    for _ in 0..3 {
        shim.write_lines(10);
        shim.rotate();
    }
    shim.write_lines(5);
    for tail in [0, 1, 4, 5, 6, 17, 34, 35, 36, 1000] {
        let expected: Vec<u64> = (35_u64.saturating_sub(tail)..35).collect();
        assert_eq!(shim.numbers(Query { tail: Some(tail), ..ALL }).await, expected, "{tail}");
    }
    let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    let window = Query { since: at(7), until: at(21), ..ALL };
    assert_eq!(shim.numbers(window.clone()).await, (7..21).collect::<Vec<_>>());
    assert_eq!(shim.numbers(Query { tail: Some(3), ..window.clone() }).await, [18, 19, 20]);
    assert_eq!(shim.numbers(Query { tail: Some(30), ..window }).await, (7..21).collect::<Vec<_>>());
    let stderr = Query { stream: Some(Stream::Stderr), ..ALL };
    assert_eq!(shim.numbers(Query { tail: Some(3), ..stderr.clone() }).await, [27, 30, 33]);
    assert_eq!(shim.numbers(Query { tail: Some(2), until: at(27), ..stderr }).await, [21, 24]);
    let stdout = Query { stream: Some(Stream::Stdout), tail: Some(3), ..ALL };
    assert_eq!(shim.numbers(stdout).await, [31, 32, 34]);
    // A last line without an end is a line, and one in pieces is one.
    shim.write(b"1970-01-01T00:00:50Z stdout P ab\n1970-01-01T00:00:50Z stdout F line 35\n");
    shim.write(b"1970-01-01T00:00:51Z stdout P line 36\n");
    assert_eq!(shim.read(Query { tail: Some(2), ..ALL }).await.len(), 3);
    assert_eq!(shim.numbers(Query { tail: Some(1), ..ALL }).await, [36]);
    // What is older than was asked for is not missing.
    shim.prune();
    let since = Query { since: at(25), ..ALL };
    assert!(shim.read(since).await.iter().all(|entry| missing(entry).is_none()));
    assert!(shim.read(Query { tail: Some(1000), ..ALL }).await.iter().all(|entry| missing(entry).is_none()));
}

#[tokio::test]
async fn lines_of_any_length_are_found_from_the_end() {
    let mut shim = Shim::new();
    for n in 0..40_u64 {
        let text = "x".repeat(usize::try_from(n * 997 % 16_384).unwrap());
        shim.write(format!("1970-01-01T00:00:00Z stdout F {text} {n}\n").as_bytes());
        if n % 9 == 8 {
            shim.rotate();
        }
    }
    for tail in 0..42 {
        let expected: Vec<u64> = (40_u64.saturating_sub(tail)..40).collect();
        assert_eq!(shim.numbers(Query { tail: Some(tail), ..ALL }).await, expected, "{tail}");
    }
}

#[tokio::test]
async fn a_line_that_was_never_finished_does_not_hold_up_what_follows() {
    let mut shim = Shim::new();
    shim.write_lines(2);
    shim.write(b"1970-01-01T00:00:00Z stdout F torn");
    shim.rotate();
    shim.write_lines(2);
    let entries = shim.read(ALL).await;
    assert!(entries.iter().filter_map(number).eq(0..4));
    assert_eq!(entries.iter().filter_map(missing).count(), 1);
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_read_to_its_end() {
    let mut shim = Shim::new();
    shim.write_lines(2);
    let mut reader = shim.reader(Query { follow: Follow::Yes, ..ALL });
    assert_eq!(reader.next().await.unwrap().unwrap().len(), 2);
    let (log, moved) = (shim.dir.path().join("log"), shim.dir.path().join("moved"));
    std::fs::rename(&log, &moved).unwrap();
    // The shim has not heard of it yet.
    std::fs::rename(&moved, &log).unwrap();
    shim.write_lines(1);
    std::fs::rename(&log, &moved).unwrap();
    let end = std::fs::metadata(&moved).unwrap().len();
    File::create(shim.dir.path().join(logfile::name(end))).unwrap();
    shim.write_lines(2);
    shim.exit();
    assert!(all(reader).await.iter().filter_map(number).eq(2..5));
    // Who comes later is told.
    let late = shim.read(ALL).await;
    assert_eq!(missing(&late[0]).unwrap().bytes, end);
    assert!(late.iter().filter_map(number).eq(3..5));
}

/// A small generator; the sequences are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[tokio::test]
async fn followers_miss_nothing_and_read_nothing_twice_whatever_is_rotated_when() {
    for seed in 0..30 {
        let (mut random, mut shim) = (Random(seed), Shim::new());
        let mut reader = shim.reader(Query { follow: Follow::Yes, ..ALL });
        let (mut seen, mut lost) = (Vec::new(), 0);
        let mut take = |entries: Vec<Entry>, seen: &mut Vec<u64>| {
            for entry in entries {
                lost += missing(&entry).map_or(0, |m| m.bytes);
                seen.extend(number(&entry));
            }
        };
        for _ in 0..80 {
            match random.below(5) {
                0 | 1 => shim.write_lines(random.below(4)),
                2 => shim.rotate(),
                // The newest of those that were rotated always stays.
                3 if seed % 2 == 0 && random.below(4) == 0 => {
                    if logfile::rotated(shim.dir.path()).unwrap().len() > 1 {
                        shim.prune();
                    }
                }
                _ => {
                    // One look, which may find nothing.
                    let look = tokio::time::timeout(Duration::from_millis(2), reader.next()).await;
                    if let Ok(entries) = look {
                        take(entries.unwrap().unwrap_or_default(), &mut seen);
                    }
                }
            }
        }
        shim.exit();
        take(all(reader).await, &mut seen);
        assert!(seen.windows(2).all(|two| two[0] < two[1]), "{seed}: {seen:?}");
        if lost == 0 {
            assert!(seen.iter().copied().eq(0..shim.lines), "{seed}: {seen:?} of {}", shim.lines);
        } else {
            assert_eq!(seed % 2, 0);
        }
    }
}
