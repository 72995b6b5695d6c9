//! D-Bus messages as bytes (D-Bus specification, "Message Protocol"): method
//! calls, with the types that the systemd manager's methods take. What comes
//! back is read in [`super::message`]. Byte order is the machine's own: both
//! ends are on it.

pub(super) const VERSION: u8 = 1;
pub(super) const ORDER: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };

/// A value of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `au`
    Numbers(Vec<u32>),
    /// `a(st)`
    TextNumbers(Vec<(String, u64)>),
    /// `a(ss)`
    TextPairs(Vec<(String, String)>),
}

/// A name with its value, as systemd takes properties: `(sv)`.
pub type Property = (&'static str, Value);

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::U64(_) => "t",
            Self::Text(_) => "s",
            Self::Texts(_) => "as",
            Self::Bytes(_) => "ay",
            Self::Numbers(_) => "au",
            Self::TextNumbers(_) => "a(st)",
            Self::TextPairs(_) => "a(ss)",
        }
    }
}

/// Bytes under construction; alignment counts from their beginning.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn pad(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.pad(4);
        self.0.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.pad(8);
        self.0.extend(value.to_ne_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        // Signatures are our own, and short.
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    /// An array: its length does not count the padding before the first element.
    pub(super) fn array<T>(&mut self, align: usize, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.u32(0);
        let place = self.0.len();
        self.pad(align);
        let start = self.0.len();
        for item in items {
            self.pad(align);
            each(self, item);
        }
        let bytes = length(self.0.len() - start).to_ne_bytes();
        if let Some(slot) = self.0.get_mut(place.saturating_sub(4)..place) {
            slot.copy_from_slice(&bytes);
        }
    }

    pub(super) fn property(&mut self, (name, value): &Property) {
        self.pad(8);
        self.text(name);
        self.variant(value);
    }

    fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(on) => self.u32(u32::from(*on)),
            Value::U64(number) => self.u64(*number),
            Value::Text(text) => self.text(text),
            Value::Texts(texts) => self.array(4, texts, |w, text| w.text(text)),
            Value::Bytes(bytes) => self.array(1, bytes, |w, byte| w.0.push(*byte)),
            Value::Numbers(numbers) => self.array(4, numbers, |w, number| w.u32(*number)),
            Value::TextNumbers(pairs) => self.array(8, pairs, |w, (text, number)| {
                w.text(text);
                w.u64(*number);
            }),
            Value::TextPairs(pairs) => self.array(8, pairs, |w, (one, other)| {
                w.text(one);
                w.text(other);
            }),
        }
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// A method call.
pub(super) fn call(serial: u32, target: Target<'_>, signature: &str, body: Writer) -> Vec<u8> {
    const METHOD_CALL: u8 = 1;
    let body = body.finish();
    let mut header = Writer::default();
    header.0.extend([ORDER, METHOD_CALL, 0, VERSION]);
    header.u32(length(body.len()));
    header.u32(serial);
    let fields = [
        (PATH, "o", target.path),
        (DESTINATION, "s", target.destination),
        (INTERFACE, "s", target.interface),
        (MEMBER, "s", target.member),
        (SIGNATURE, "g", signature),
    ];
    let given = fields.iter().filter(|(_, _, text)| !text.is_empty()).copied().collect::<Vec<_>>();
    header.array(8, &given, |w, (code, kind, text)| {
        w.0.push(*code);
        w.signature(kind);
        if *kind == "g" { w.signature(text) } else { w.text(text) }
    });
    header.pad(8);
    header.0.extend(body);
    header.finish()
}

// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
pub(super) const MEMBER: u8 = 3;
pub(super) const ERROR_NAME: u8 = 4;
pub(super) const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of a call, byte by byte (little endian).
    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        if cfg!(target_endian = "big") {
            return;
        }
        let mut body = Writer::default();
        body.text("ab");
        let target = Target { destination: "", path: "/o", interface: "", member: "M" };
        let bytes = call(7, target, "s", body);
        let expected: Vec<u8> = [
            &b"l\x01\x00\x01\x07\x00\x00\x00\x07\x00\x00\x00\x27\x00\x00\x00"[..],
            b"\x01\x01o\x00\x02\x00\x00\x00/o\x00\x00\x00\x00\x00\x00",
            b"\x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x01s\x00\x00",
            b"\x02\x00\x00\x00ab\x00",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn arrays_and_variants_are_aligned() {
        let mut w = Writer::default();
        w.array(8, &[("A", Value::U64(5)), ("B", Value::Texts(vec!["x".into()]))], Writer::property);
        let bytes = w.finish();
        // length, padding, then (sv): "A", 't' at 8-byte alignment.
        assert_eq!(
            u32::from_ne_bytes(bytes[..4].try_into().unwrap()),
            u32::try_from(bytes.len() - 8).unwrap()
        );
        assert_eq!(bytes[8..14], [1, 0, 0, 0, b'A', 0]);
        assert_eq!(bytes[14..17], [1, b't', 0]);
        assert_eq!(bytes[24], 5);
        let empty = {
            let mut w = Writer::default();
            w.array(8, &[] as &[Property], Writer::property);
            w.finish()
        };
        assert_eq!(empty, [0; 8], "an empty array is padded as well");
    }
}
