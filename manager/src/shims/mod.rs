//! The manager's side of the shims: starting one ([`spawn`]), calling it with a
//! deadline ([`client`]), following its journal ([`watch`], [`journal`]), and
//! the runtime itself for what a dead shim has left ([`runtime`]). Knows the
//! wire of `sextant.shim.v1` ([`wire`]) and decides nothing about containers:
//! that is [`crate::engine`].

pub mod client;
pub mod journal;
pub mod runtime;
pub mod spawn;
pub mod watch;
mod wire;

use crate::model::{Exit, Failure};
use std::time::SystemTime;

/// One record of a shim's journal, without its stage records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShimEvent {
    /// From 1 on, without a gap.
    pub seq: u64,
    /// When it was written.
    pub at: SystemTime,
    /// What happened.
    pub fact: Fact,
}

/// What a shim witnessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The runtime made the container; the pid of its init.
    Created(i32),
    /// The runtime could not make it.
    CreateFailed(Failure),
    /// The process was executed.
    Started,
    /// The process could not be executed.
    StartFailed(Failure),
    /// The process ended.
    Exited(Exit),
    /// The runtime removed the container.
    Deleted,
    /// A record of a newer shim that this manager does not know.
    Unknown,
}
