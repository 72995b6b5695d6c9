//! Between the parent and the container's init: a socket pair that carries one
//! typed message per packet (`SOCK_SEQPACKET`), so that a death on either side
//! is an event, never a hang. What each side may say is in the type.
//!
//! ```text
//! parent                         init
//!   ── Mapped ─────────────────▶   id maps are written (a created user namespace only)
//!   ◀───────────────── Entered ──  (`exec`) it has joined the cgroups that it joins itself
//!   ── Joined ─────────────────▶   it is in its cgroup, but for those that it joins itself
//!   ◀──────────── MountsReady ──   (only when there are hooks for the parent)
//!   ── HooksDone ──────────────▶
//!   ◀─────────────────── Ready ──  all is set up
//!   ── Stored ─────────────────▶   (`create`) the container is remembered: init outlives the parent
//!   ── Start ──────────────────▶   (`run`; after `create` it comes by the start socket)
//!   ◀─────────────── Executing ──  the next thing is execve; the end of the stream is its success
//!   ◀───────────── Failed(why) ──  at any time, the last message
//! ```

use crate::contract::report::Failure;
use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};

/// What the parent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToInit {
    /// The id maps are written.
    Mapped,
    /// Init is in its cgroup, as far as it does not join that itself.
    Joined,
    /// The parent's hooks have run.
    HooksDone,
    /// The state directory knows the container; the parent ends.
    Stored,
    /// Execute the user's process.
    Start,
}

/// What init says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToParent {
    /// The process has joined the cgroups that it joins itself.
    Entered,
    /// Everything is mounted; the parent's hooks may run.
    MountsReady,
    /// All is set up.
    Ready,
    /// execve(2) comes next.
    Executing,
    /// A stage failed; init ends.
    Failed(Box<Failure>),
}

/// A message's form on the wire: one byte, then what it carries.
pub trait Message: Sized {
    /// Longest packet, in bytes. Who hears sets this much aside: in init, that is
    /// memory copied from the parent page by page.
    const MAX: usize;
    /// The packet.
    fn encode(&self) -> Vec<u8>;
    /// The message of a packet, if it is one.
    fn decode(packet: &[u8]) -> Option<Self>;
}

impl Message for ToInit {
    const MAX: usize = 8;

    fn encode(&self) -> Vec<u8> {
        let tag = match self {
            Self::Mapped => b'm',
            Self::Joined => b'j',
            Self::HooksDone => b'h',
            Self::Stored => b'd',
            Self::Start => b's',
        };
        vec![tag]
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        match packet {
            b"m" => Some(Self::Mapped),
            b"j" => Some(Self::Joined),
            b"h" => Some(Self::HooksDone),
            b"d" => Some(Self::Stored),
            b"s" => Some(Self::Start),
            _ => None,
        }
    }
}

impl Message for ToParent {
    /// A failure whose texts are longer loses their ends.
    const MAX: usize = 64 << 10;

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Entered => vec![b'E'],
            Self::MountsReady => vec![b'M'],
            Self::Ready => vec![b'R'],
            Self::Executing => vec![b'X'],
            Self::Failed(failure) => encode_failure(failure.clone()),
        }
    }

    fn decode(packet: &[u8]) -> Option<Self> {
        match packet.split_first()? {
            (b'E', []) => Some(Self::Entered),
            (b'M', []) => Some(Self::MountsReady),
            (b'R', []) => Some(Self::Ready),
            (b'X', []) => Some(Self::Executing),
            (b'F', json) => serde_json::from_slice(json).ok().map(Self::Failed),
            _ => None,
        }
    }
}

/// A packet that is heard whole: one beyond the limit would be cut, and be no message.
fn encode_failure(mut failure: Box<Failure>) -> Vec<u8> {
    // In JSON a byte of the texts has six at most.
    for limit in [usize::MAX, 1024] {
        failure.truncate(limit);
        let mut packet = vec![b'F'];
        packet.extend(serde_json::to_vec(&failure).unwrap_or_default());
        if packet.len() <= ToParent::MAX {
            return packet;
        }
    }
    vec![b'F']
}

/// One side of the channel: it says `Out` and hears `In`.
#[derive(Debug)]
pub struct Channel<Out, In> {
    fd: OwnedFd,
    says: PhantomData<(Out, In)>,
}

/// The parent's side.
pub type ParentSide = Channel<ToInit, ToParent>;
/// Init's side.
pub type InitSide = Channel<ToParent, ToInit>;

/// Makes both sides.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> Outcome<(ParentSide, InitSide)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (a, b) = sys::named(pair, || "socketpair(AF_UNIX, SOCK_SEQPACKET)".into())
        .attempt(|| "make the channel to the container's init".into())?;
    Ok((Channel::from(a), Channel::from(b)))
}

impl<Out, In> From<OwnedFd> for Channel<Out, In> {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, says: PhantomData }
    }
}

impl<Out: Message, In: Message> Channel<Out, In> {
    /// The number of the descriptor, to be kept open.
    pub fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// The same side once more.
    ///
    /// # Errors
    /// As dup(2).
    pub fn duplicate(&self) -> std::io::Result<Self> {
        self.fd.try_clone().map(Self::from)
    }

    /// Says one thing.
    ///
    /// # Errors
    /// `EPIPE` when the other side has died.
    pub fn say(&self, message: &Out) -> Outcome<()> {
        let sent = send(self.fd.as_raw_fd(), &message.encode(), MsgFlags::MSG_NOSIGNAL);
        sys::named(sent, || "send(handshake)".into()).attempt(|| "talk to the other side".into()).map(drop)
    }

    /// recv(2), until it is about a packet or the end.
    fn receive(&self, into: &mut [u8], flags: MsgFlags) -> Outcome<usize> {
        loop {
            match recv(self.fd.as_raw_fd(), into, flags) {
                // ECONNRESET: the other side died with something unread. It is told once, and
                // ahead of what that side had said before; the next call gives that, or the end.
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::ECONNRESET) => {}
                other => {
                    return sys::named(other, || "recv(handshake)".into())
                        .attempt(|| "hear the other side".into());
                }
            }
        }
    }

    /// Hears one thing; `None` when the other side is gone.
    ///
    /// # Errors
    /// When what came is no message.
    pub fn hear(&self) -> Outcome<Option<In>> {
        // Its length first: room for the longest would be zeroed for messages of one byte.
        let length = self.receive(&mut [], MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)?;
        let mut packet = vec![0; length.min(In::MAX)];
        let length = if packet.is_empty() { 0 } else { self.receive(&mut packet, MsgFlags::empty())? };
        match packet.get(..length) {
            None | Some([]) => Ok(None),
            Some(bytes) => match In::decode(bytes) {
                Some(message) => Ok(Some(message)),
                None => Err(refuse("hear the other side", "it sent something that is no message")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_cross_and_a_death_is_an_event() {
        let (parent, init) = pair().unwrap();
        for message in [ToInit::Mapped, ToInit::Joined, ToInit::HooksDone, ToInit::Stored, ToInit::Start] {
            parent.say(&message).unwrap();
            assert_eq!(init.hear().unwrap(), Some(message));
        }
        let failure = Failure { errno: 2, pointer: "/mounts/0".into(), ..Failure::default() };
        for message in
            [ToParent::Entered, ToParent::MountsReady, ToParent::Ready, ToParent::Failed(Box::new(failure))]
        {
            init.say(&message).unwrap();
            assert_eq!(parent.hear().unwrap(), Some(message));
        }
        drop(init);
        assert_eq!(parent.hear().unwrap(), None);
        assert!(parent.say(&ToInit::Start).is_err());
    }

    #[test]
    fn last_words_are_heard_although_something_was_left_unread() {
        let (parent, init) = pair().unwrap();
        parent.say(&ToInit::Joined).unwrap();
        init.say(&ToParent::Ready).unwrap();
        drop(init);
        assert_eq!(parent.hear().unwrap(), Some(ToParent::Ready));
        assert_eq!(parent.hear().unwrap(), None);
    }

    #[test]
    fn a_failure_with_long_texts_is_heard() {
        let (parent, init) = pair().unwrap();
        let failure = Failure { errno: 22, syscall: "\u{1}".repeat(70_000), ..Failure::default() };
        init.say(&ToParent::Failed(Box::new(failure))).unwrap();
        let Some(ToParent::Failed(heard)) = parent.hear().unwrap() else { panic!("no failure was heard") };
        assert!(heard.errno == 22 && heard.syscall.len() >= 1024, "{heard:?}");
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"z", b"mm", b"Rx", b"F{"] {
            assert_eq!(ToInit::decode(garbage), None);
            assert_eq!(ToParent::decode(garbage), None);
        }
    }
}
