//! The manager's side of the shims: starting one ([`spawn`]), calling it with a
//! deadline ([`client`], [`exec`]), following its journal ([`watch`], [`journal`]), and
//! what is kept for the case that it is killed ([`hold`]), and the runtime itself
//! for what a dead shim has left ([`runtime`]). Knows the
//! wire of `sextant.shim.v1` ([`wire`]) and decides nothing about containers:
//! that is [`crate::engine`].

pub mod client;
pub mod exec;
pub mod hold;
pub mod journal;
pub mod runtime;
pub mod spawn;
pub mod watch;
mod wire;

use crate::model::{Exit, Failure, OutputLost, StageRecord};
use std::time::SystemTime;

/// One record of a shim's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShimEvent {
    /// From 1 on, without a gap.
    pub seq: u64,
    /// When it was written.
    pub at: SystemTime,
    /// What happened.
    pub fact: Fact,
    /// The stages of the runtime that led to it.
    pub stages: Vec<StageRecord>,
}

/// A container's init, and what is needed to take hold of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Init {
    /// Its pid.
    pub pid: i32,
    /// When it began, in clock ticks since boot; 0 when that is not known.
    pub start_time: u64,
    /// Which boot of the machine that was in.
    pub boot_id: String,
    /// What the shim reads its stdout and stderr from.
    pub pipes: [Option<Pipe>; 2],
}

/// The reading end of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// Its number in the shim.
    pub fd: i32,
    /// Number of the pipe itself, which no other pipe has (`st_ino`).
    pub inode: u64,
}

/// What a shim witnessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The runtime made the container.
    Created(Init),
    /// Another shim took over; where it reads stdout and stderr, and what the log lacks.
    Adopted([Option<Pipe>; 2], Option<OutputLost>),
    /// The runtime could not make it.
    CreateFailed(Failure),
    /// The process was executed.
    Started,
    /// The process could not be executed.
    StartFailed(Failure),
    /// Its processes are stopped where they are.
    Paused,
    /// They go on.
    Resumed,
    /// Its limits were changed.
    Updated,
    /// The OOM killer has ended so many processes since the creation.
    Oom(u64),
    /// The process ended.
    Exited(Exit),
    /// A process was executed in it: its exec and its pid.
    ExecStarted(String, i32),
    /// The process of an exec has ended.
    ExecExited(String, Exit),
    /// The runtime removed the container.
    Deleted,
    /// A record of a newer shim that this manager does not know.
    Unknown,
}
