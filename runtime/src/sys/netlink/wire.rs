//! The form of netlink messages (netlink(7)): a header, a fixed part, then
//! attributes of a type and a length each, all aligned to four bytes. Nothing of
//! a message is trusted: what is too short is not there.

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

/// A request under construction.
pub(super) struct Request {
    flags: u16,
    kind: u16,
    body: Vec<u8>,
}

impl Request {
    /// One of this type, that the kernel acknowledges.
    pub(super) fn new(kind: u16) -> Self {
        Self { flags: NLM_F_REQUEST | NLM_F_ACK, kind, body: Vec::new() }
    }

    /// Asks for all instead of one.
    pub(super) fn dump(self) -> Self {
        Self { flags: NLM_F_REQUEST | NLM_F_DUMP, ..self }
    }

    /// With these flags as well.
    pub(super) fn with(self, flags: u16) -> Self {
        Self { flags: self.flags | flags, ..self }
    }

    /// The fixed part of a message about an interface: `struct ifinfomsg`.
    pub(super) fn link(mut self, index: u32, flags: u32, change: u32) -> Self {
        for word in [0, index, flags, change] {
            self.body.extend(word.to_ne_bytes());
        }
        self
    }

    /// That of one about an address: `struct ifaddrmsg`.
    pub(super) fn address(mut self, family: u8, prefix: u8, scope: u8, index: u32) -> Self {
        self.body.extend([family, prefix, 0, scope]);
        self.body.extend(index.to_ne_bytes());
        self
    }

    /// An attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.body.extend(length.to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    /// An attribute with a text, which ends with a NUL byte.
    pub(super) fn text(self, kind: u16, text: &str) -> Self {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat())
    }

    /// The packet.
    pub(super) fn finish(self) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        let mut packet = length.to_ne_bytes().to_vec();
        packet.extend(self.kind.to_ne_bytes());
        packet.extend(self.flags.to_ne_bytes());
        packet.extend([0; 8]);
        packet.extend(self.body);
        packet
    }
}

/// A message of the kernel.
pub(super) struct Message {
    /// Its type.
    pub(super) kind: u16,
    body: Vec<u8>,
}

impl Message {
    /// The number at this place of the fixed part.
    pub(super) fn number(&self, at: usize) -> Option<u32> {
        number(&self.body, at)
    }

    /// The attributes behind a fixed part of this length.
    pub(super) fn attributes(&self, fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
        let mut rest = self.body.get(fixed..).unwrap_or_default();
        std::iter::from_fn(move || {
            let [a, b, c, d] = number(rest, 0)?.to_ne_bytes();
            let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            // The two highest bits say how the value is to be read (`NLA_TYPE_MASK`).
            Some((kind & 0x3fff, value))
        })
    }

    /// For the last message of an answer: its errno, 0 for success.
    pub(super) fn end(&self) -> Option<i32> {
        match self.kind {
            NLMSG_ERROR | NLMSG_DONE => {
                Some(self.number(0).unwrap_or(0).cast_signed().checked_neg().unwrap_or(0))
            }
            _ => None,
        }
    }
}

/// The messages of a packet.
pub(super) fn messages(packet: &[u8]) -> impl Iterator<Item = Message> {
    let mut rest = packet;
    std::iter::from_fn(move || {
        let length = usize::try_from(number(rest, 0)?).ok()?;
        let [a, b, ..] = number(rest, 4)?.to_ne_bytes();
        let body = rest.get(HEADER..length)?.to_vec();
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind: u16::from_ne_bytes([a, b]), body })
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    <[u8; 4]>::try_from(four).ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let packet = Request::new(19).link(7, 1, 1).text(3, "eth0").attribute(28, &[9, 0, 0, 0]).finish();
        let all: Vec<Message> = messages(&[packet.clone(), packet].concat()).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].kind, all[1].number(4), all[1].end()), (19, Some(7), None));
        let attributes: Vec<_> = all[1].attributes(16).collect();
        assert_eq!(attributes, [(3, &b"eth0\0"[..]), (28, &[9, 0, 0, 0][..])]);
    }

    #[test]
    fn what_is_cut_short_is_not_there() {
        let packet = Request::new(2).link(0, 0, 0).text(3, "eth0").finish();
        for length in 0..packet.len() - 1 {
            assert_eq!(messages(&packet[..length]).count(), 0, "{length}");
        }
        let odd = Message { kind: 0, body: vec![0xff; 7] };
        assert_eq!(odd.attributes(0).count() + odd.attributes(9).count(), 0);
        let zero = Message { kind: 0, body: vec![0; 8] };
        assert_eq!(zero.attributes(0).count(), 0);
    }
}
