//! Fuzz targets: functions from bytes that panic when a property does not hold,
//! and the plain models that they compare with. `src/bin/fuzz.rs` runs one under
//! libFuzzer, `tests/replay.rs` all of them on the corpora, docs/fuzzing.md says
//! what each asserts. No part of the product; it links the runtime's library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a property that does not hold is a panic"
)]

pub mod bpf;
pub mod check;
pub mod choices;
pub mod devices;
pub mod ebpf;
pub mod edits;
pub mod seccomp;
pub mod sys;
pub mod targets;
