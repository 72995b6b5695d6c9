//! The shim through its socket, with a runtime made of shell ([`fixture`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod adopt;
mod failure;
mod fixture;
mod journal;
mod life;
mod output;
