//! Every target on its corpus, which has a seed for each fault that was found,
//! and on a fixed number of mutations of it: the same in every run, whatever the
//! machine and the time. `SEXTANT_FUZZ_ROUNDS` asks for more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use sextant_fuzz::choices::Random;
use sextant_fuzz::targets::{TARGETS, by_name};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// Its inputs by name; a corpus is never empty.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = corpus(target);
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", dir.display());
    inputs
}

/// Another input, made of one or two.
fn mutated(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.number().to_be_bytes()[0]),
            2 => bytes.splice(at..at, random.bytes(8)).for_each(drop),
            3 if !other.is_empty() => {
                let from = random.below(other.len());
                let to = from + random.below((other.len() - from).min(64) + 1);
                bytes.splice(at..at, other[from..to].iter().copied()).for_each(drop);
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ => bytes.push(0),
        }
    }
    bytes
}

/// Says which input it was before the panic goes on.
fn run(target: &'static str, name: &str, input: &[u8]) {
    let function = by_name(target).unwrap();
    if let Err(panic) = catch_unwind(|| function(input)) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-failed"));
        std::fs::write(&file, input).unwrap();
        println!("{target}: {name}; the input is in {}", file.display());
        std::panic::resume_unwind(panic);
    }
}

fn replay(target: &'static str, mutations: usize) {
    let inputs = inputs(target);
    for (name, input) in &inputs {
        run(target, name, input);
    }
    let rounds = std::env::var("SEXTANT_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut random = Random::new(TARGETS.iter().position(|(name, _)| *name == target).unwrap() as u64);
    for round in 0..mutations * rounds {
        let (name, input) = &inputs[round % inputs.len()];
        let (_, other) = &inputs[random.below(inputs.len())];
        let input = mutated(input, other, &mut random);
        run(target, &format!("mutation {round}, of {name}"), &input);
    }
}

macro_rules! replays {
    ($($target:ident: $mutations:expr,)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target), $mutations);
        })*

        #[test]
        fn every_target_is_replayed() {
            let names = [$(stringify!($target)),*];
            assert_eq!(TARGETS.map(|(name, _)| name)[..], names[..]);
        }
    };
}

replays! {
    config: 1500,
    cpuset: 5000,
    devices: 1500,
    exec_process: 3000,
    idmaps: 3000,
    journal: 10_000,
    messages: 1500,
    mount_options: 3000,
    quantity: 20_000,
    resources: 3000,
    seccomp: 150,
}
