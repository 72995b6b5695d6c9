//! D-Bus messages that came, as values ([`super::wire`] is the way out). They
//! are judged before they are believed: length, byte order, ends of strings.

use super::wire::{ERROR_NAME, MEMBER, ORDER, REPLY_SERIAL, VERSION};

/// Longest message that is taken.
const LONGEST: usize = 1 << 20;

/// Length of the fixed part of a header.
pub(super) const FIXED: usize = 16;

/// What kind of message came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    Return,
    Error,
    Signal,
    #[default]
    Other,
}

/// A message that came.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) reply_to: Option<u32>,
    pub(super) member: String,
    pub(super) error: String,
    body: Vec<u8>,
}

impl Message {
    /// How many bytes follow the fixed part; `None` when it is not of this protocol,
    /// or too long.
    pub(super) fn rest_of(fixed: &[u8; FIXED]) -> Option<usize> {
        let mut reader = Reader { bytes: fixed, at: 0 };
        let (order, _kind, _flags, version) = (reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?);
        let (body, _serial, fields) = (reader.size()?, reader.u32()?, reader.size()?);
        if (order, version) != (ORDER, VERSION) || body > LONGEST || fields > LONGEST {
            return None;
        }
        let rest = fields.next_multiple_of(8) + body;
        (rest <= LONGEST).then_some(rest)
    }

    /// The message of a fixed part and all that follows it.
    pub(super) fn parse(fixed: &[u8; FIXED], rest: &[u8]) -> Option<Self> {
        let bytes = [fixed.as_slice(), rest].concat();
        let mut reader = Reader { bytes: &bytes, at: 1 };
        let kind = match reader.u8()? {
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Other,
        };
        reader.at = 12;
        let end = reader.size()?.checked_add(FIXED)?;
        let mut message = Self { kind, ..Self::default() };
        while reader.at < end {
            reader.align(8);
            let code = reader.u8()?;
            match (code, reader.signature()?.as_str()) {
                (REPLY_SERIAL, "u") => message.reply_to = Some(reader.u32()?),
                (MEMBER, "s") => message.member = reader.text()?,
                (ERROR_NAME, "s") => message.error = reader.text()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                _ => return None,
            }
        }
        reader.align(8);
        message.body = bytes.get(reader.at..)?.to_vec();
        Some(message)
    }

    /// Reads its body.
    pub(super) fn body(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// Reads values from bytes; `None` past their end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let size = self.size()?;
        let text = String::from_utf8(self.take(size)?.to_vec()).ok()?;
        (self.u8()? == 0).then_some(text)
    }

    pub(super) fn signature(&mut self) -> Option<String> {
        let size = usize::from(self.u8()?);
        let text = String::from_utf8(self.take(size)?.to_vec()).ok()?;
        (self.u8()? == 0).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Target, Writer, call};
    use super::*;

    fn parsed(bytes: &[u8]) -> Option<Message> {
        let fixed = bytes.first_chunk()?;
        let rest = Message::rest_of(fixed)?;
        Message::parse(fixed, bytes.get(FIXED..FIXED + rest)?)
    }

    #[test]
    fn what_is_sent_can_be_read() {
        let mut body = Writer::default();
        body.u32(9);
        body.text("/job");
        let target = Target { destination: "d.e", path: "/o", interface: "i.f", member: "Get" };
        let message = parsed(&call(1, target, "uo", body)).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (Kind::Other, "Get"));
        let mut reader = message.body();
        assert_eq!((reader.u32(), reader.text().as_deref(), reader.u32()), (Some(9), Some("/job"), None));
    }

    #[test]
    fn broken_and_endless_messages_are_refused() {
        let whole = call(
            1,
            Target { destination: "d", path: "/", interface: "i", member: "m" },
            "",
            Writer::default(),
        );
        for cut in FIXED..whole.len() {
            let fixed = whole.first_chunk().unwrap();
            assert!(Message::parse(fixed, &whole[FIXED..cut]).is_none_or(|m| m.body.is_empty()), "{cut}");
        }
        let mut endless = whole.clone();
        endless[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(Message::rest_of(endless.first_chunk().unwrap()).is_none());
        let mut other = whole;
        other[0] = b'?';
        assert!(Message::rest_of(other.first_chunk().unwrap()).is_none());
    }
}
