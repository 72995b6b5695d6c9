//! Keys, out of the bytes that a terminal sends (ECMA-48, xterm's control sequences).

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those on the keys")]
pub enum Key {
    Char(char),
    /// With ctrl, by its letter.
    Ctrl(char),
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Tab,
}

/// Bytes that are kept of a sequence that does not end.
const LONGEST: usize = 16;

/// Takes bytes apart. A sequence may come in pieces.
#[derive(Debug, Default)]
pub struct Keys {
    rest: Vec<u8>,
}

/// What the first bytes are.
enum First {
    /// A key, or nothing that is known, of so many bytes.
    Whole(Option<Key>, usize),
    /// The beginning of something.
    Part,
}

impl Keys {
    /// The keys that are complete with `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.rest.extend_from_slice(bytes);
        let mut keys = Vec::new();
        loop {
            match first(&self.rest) {
                First::Whole(key, length) if length > 0 => {
                    keys.extend(key);
                    self.rest.drain(..length.min(self.rest.len()));
                }
                _ => break,
            }
        }
        if self.rest.len() > LONGEST {
            self.rest.clear();
        }
        keys
    }

    /// Whether something has begun that may have been the escape key alone.
    pub fn waits(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Nothing more has come for a while: what has begun was the escape key.
    pub fn flush(&mut self) -> Option<Key> {
        let escape = self.rest.first() == Some(&0x1b);
        self.rest.clear();
        escape.then_some(Key::Escape)
    }
}

fn first(bytes: &[u8]) -> First {
    match bytes {
        [] | [0x1b] => First::Part,
        [0x1b, b'[' | b'O', rest @ ..] => sequence(rest),
        // A second escape, or a key with alt: the first stands alone.
        [0x1b, ..] => First::Whole(Some(Key::Escape), 1),
        [b'\r' | b'\n', ..] => First::Whole(Some(Key::Enter), 1),
        [b'\t', ..] => First::Whole(Some(Key::Tab), 1),
        [0x7f | 0x08, ..] => First::Whole(Some(Key::Backspace), 1),
        [byte @ 1..=0x1a, ..] => First::Whole(Some(Key::Ctrl(char::from(byte + b'a' - 1))), 1),
        [0..=0x1f, ..] => First::Whole(None, 1),
        [byte, ..] => character(bytes, *byte),
    }
}

/// A character of UTF-8.
fn character(bytes: &[u8], first: u8) -> First {
    let length = match first {
        0..=0x7f => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => return First::Whole(None, 1),
    };
    match bytes.get(..length).map(std::str::from_utf8) {
        None => First::Part,
        Some(Ok(text)) => First::Whole(text.chars().next().map(Key::Char), length),
        Some(Err(_)) => First::Whole(None, 1),
    }
}

/// What follows `ESC [` or `ESC O`: parameters, and a final byte.
fn sequence(rest: &[u8]) -> First {
    let Some(end) = rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) else { return First::Part };
    let parameter = rest.get(..end).unwrap_or_default();
    let key = match (rest.get(end), parameter) {
        (Some(b'A'), _) => Some(Key::Up),
        (Some(b'B'), _) => Some(Key::Down),
        (Some(b'C'), _) => Some(Key::Right),
        (Some(b'D'), _) => Some(Key::Left),
        (Some(b'H'), _) | (Some(b'~'), b"1" | b"7") => Some(Key::Home),
        (Some(b'F'), _) | (Some(b'~'), b"4" | b"8") => Some(Key::End),
        (Some(b'~'), b"5") => Some(Key::PageUp),
        (Some(b'~'), b"6") => Some(Key::PageDown),
        _ => None,
    };
    First::Whole(key, end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_sequences() {
        let mut keys = Keys::default();
        assert_eq!(
            keys.push(b"j\x1b[A\x1bOB\x1b[5~\x1b[1;5C\x1b[H\x1b[4~"),
            [Key::Char('j'), Key::Up, Key::Down, Key::PageUp, Key::Right, Key::Home, Key::End]
        );
        assert_eq!(
            keys.push("ü\r\t\x7f\x03".as_bytes()),
            [Key::Char('ü'), Key::Enter, Key::Tab, Key::Backspace, Key::Ctrl('c')]
        );
        assert_eq!(keys.push(b"\x1b[99~\x1b[?1;2c"), []);
        assert!(!keys.waits());
    }

    #[test]
    fn pieces_and_a_lone_escape() {
        let mut keys = Keys::default();
        assert_eq!(keys.push(b"\x1b"), []);
        assert!(keys.waits());
        assert_eq!(keys.push(b"[B"), [Key::Down]);
        assert_eq!(keys.push(&[0xc3]), []);
        assert_eq!(keys.push(&[0xbc, 0xff]), [Key::Char('ü')]);
        assert_eq!(keys.push(b"\x1b"), []);
        assert_eq!((keys.flush(), keys.flush()), (Some(Key::Escape), None));
        assert_eq!(keys.push(b"\x1b\x1bq"), [Key::Escape, Key::Escape, Key::Char('q')]);
        assert_eq!(keys.push(b"\x1b[1111111111111111111111"), []);
        assert!(!keys.waits());
    }
}
