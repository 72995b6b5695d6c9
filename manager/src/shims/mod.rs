//! The manager's side of the shims: starting one ([`spawn`]), calling it with a
//! deadline ([`client`], [`exec`], [`probe`]) over a connection that is given up when it is not used
//! ([`link`]), following its journal ([`watch`], [`changes`], [`journal`]), and
//! what is kept for the case that it is killed ([`hold`], packed in a [`parcel`]), and the runtime itself
//! for what a dead shim has left ([`runtime`]). Knows the
//! wire of `sextant.shim.v1` ([`wire`]) and decides nothing about containers:
//! that is [`crate::engine`].

pub mod changes;
pub mod client;
pub mod exec;
pub mod hold;
pub mod journal;
mod link;
pub(crate) mod parcel;
pub mod probe;
pub mod runtime;
pub mod spawn;
pub mod watch;
mod wire;

use crate::model::{Exit, Failure, OutputLost, StageRecord};
use std::time::SystemTime;

/// One record of a shim's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShimEvent {
    /// From 1 on; some are missing where the journal was made shorter.
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
    /// Which life of the container it is, from 1 on.
    pub life: u32,
    /// Its pid.
    pub pid: i32,
    /// When it began, in clock ticks since boot; 0 when that is not known.
    pub start_time: u64,
    /// Which boot of the machine that was in.
    pub boot_id: String,
    /// What its output passes through in the shim.
    pub ends: Ends,
}

/// What the output of a container passes through in its shim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Where its stdout and stderr are read.
    pub pipes: [Option<Pipe>; 2],
    /// What was read of either, and is not in the log.
    pub hands: [Option<Pipe>; 2],
    /// The master of its terminal.
    pub terminal: Option<Terminal>,
}

/// The reading end of a pipe, or a file in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// Its number in the shim.
    pub fd: i32,
    /// Number of the pipe itself, which no other pipe has (`st_ino`); likewise of the file.
    pub inode: u64,
}

/// The master of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its number in the shim.
    pub fd: i32,
    /// Which terminal of its devpts.
    pub number: u32,
}

/// What a shim witnessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The runtime made the container.
    Created(Init),
    /// Another shim took over; what output passes through now, and what the log lacks.
    Adopted(Ends, Option<OutputLost>),
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
