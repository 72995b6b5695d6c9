//! The wait point of `exec`: with `--start-fd N` the process is made and set
//! up, is in its cgroup, and waits before execve(2) until it is told to go on.
//!
//! Descriptor N is one end of a `socketpair(AF_UNIX, SOCK_SEQPACKET)`; the caller
//! keeps the other, and closes its copy of N once the runtime runs. One packet is
//! one message:
//!
//! ```text
//! caller                         process
//!   ◀─────────────────── Ready ──  it waits; the pid file is written by the time the runtime ends
//!   ── START ──────────────────▶
//!   ◀─────────────── Executing ──  execve comes next; the end of the stream is its success
//!   ◀───────────── Failed(why) ──  in place of that end, the last message
//! ```
//!
//! With `--detach` the runtime has ended with 0 by then, and the process is a child
//! of the nearest subreaper above it. When the caller closes its end or dies before
//! `START`, the process ends by itself.

use super::report::Failure;

/// Let the process go on.
pub const START: &[u8] = b"s";

/// The longest packet that comes.
pub const MAX_PACKET: usize = 64 << 10;

/// What the process says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is set up and waits.
    Ready,
    /// Its program is executed next.
    Executing,
    /// It could not be executed.
    Failed(Box<Failure>),
}

impl Heard {
    /// The message of a packet, if it is one.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.split_first()? {
            (b'R', []) => Some(Self::Ready),
            (b'X', []) => Some(Self::Executing),
            (b'F', json) => serde_json::from_slice(json).ok().map(Self::Failed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Message, ToInit, ToParent};

    #[test]
    fn it_speaks_as_the_handshake_does() {
        assert_eq!(ToInit::decode(START), Some(ToInit::Start));
        let failure = Box::new(Failure { errno: 2, ..Failure::default() });
        for (said, heard) in [
            (ToParent::Ready, Some(Heard::Ready)),
            (ToParent::Executing, Some(Heard::Executing)),
            (ToParent::Failed(failure.clone()), Some(Heard::Failed(failure))),
            (ToParent::MountsReady, None),
        ] {
            assert_eq!(Heard::parse(&said.encode()), heard, "{said:?}");
        }
        assert_eq!(Heard::parse(b""), None);
    }
}
