//! The keys that detach: a sequence that is looked for in what is typed, and that
//! the process never sees. Pure; where the bytes come from is not known here.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

/// A sequence of keys, as Docker writes them: `ctrl-p,ctrl-q`. Empty: there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

impl DetachKeys {
    /// What Docker has.
    pub const DEFAULT: &str = "ctrl-p,ctrl-q";
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Keys with commas between: a character of ASCII, or `ctrl-` with a letter or one of `@[\]^_`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

fn key(word: &str) -> Result<u8, String> {
    let control = word.strip_prefix("ctrl-");
    match control.unwrap_or(word).as_bytes() {
        [byte] if control.is_none() && byte.is_ascii() => Ok(*byte),
        [byte @ b'a'..=b'z'] if control.is_some() => Ok(byte - b'a' + 1),
        [byte @ (b'@' | b'['..=b'_')] if control.is_some() => Ok(byte - b'@'),
        _ => Err(format!("{word:?} is no key: a character, or ctrl- with a letter or one of @[\\]^_")),
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match byte {
                1..=26 => write!(f, "{comma}ctrl-{}", char::from(byte + b'a' - 1))?,
                0 | 27..=31 => write!(f, "{comma}ctrl-{}", char::from(byte + b'@'))?,
                _ => write!(f, "{comma}{}", char::from(*byte))?,
            }
        }
        Ok(())
    }
}

/// Looks for the keys in input that comes in pieces.
#[derive(Debug)]
pub struct Matcher {
    keys: Vec<u8>,
    /// The beginning of the keys, held back until it is known whether they go on.
    held: VecDeque<u8>,
}

/// What a piece of input is.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// For the process.
    pub pass: Vec<u8>,
    /// The keys came behind that; what came behind them is nobody's.
    pub detached: bool,
}

impl Matcher {
    /// For these keys.
    pub fn new(keys: &DetachKeys) -> Self {
        Self { keys: keys.0.clone(), held: VecDeque::new() }
    }

    /// Takes a piece of input.
    pub fn feed(&mut self, input: &[u8]) -> Typed {
        if self.keys.is_empty() {
            return Typed { pass: input.to_vec(), detached: false };
        }
        let mut pass = Vec::with_capacity(input.len());
        for byte in input {
            self.held.push_back(*byte);
            while !self.keys.iter().take(self.held.len()).eq(self.held.iter()) {
                pass.extend(self.held.pop_front());
            }
            if self.held.len() == self.keys.len() {
                return Typed { pass, detached: true };
            }
        }
        Typed { pass, detached: false }
    }

    /// What is held back, when nothing more comes.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> DetachKeys {
        text.parse().unwrap()
    }

    #[test]
    fn keys_are_written_as_docker_does() {
        assert_eq!(keys("ctrl-p,ctrl-q").0, [16, 17]);
        assert_eq!(
            keys("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_,a,Z,~").0,
            [0, 27, 28, 29, 30, 31, b'a', b'Z', b'~']
        );
        assert!(keys("").0.is_empty());
        for text in ["ctrl-p,ctrl-q", "ctrl-@,x,ctrl-_", ""] {
            assert_eq!(keys(text).to_string(), text);
        }
        for bad in [",", "ctrl-", "ctrl-P", "ctrl-1", "ab", "ä", "a,,b", "ctrl-p,"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
    }

    /// Input in every way to cut it into three pieces gives the same.
    fn fed(keys: &DetachKeys, input: &[u8]) -> (Vec<u8>, bool) {
        let mut answers = Vec::new();
        for first in 0..=input.len() {
            for second in first..=input.len() {
                let mut matcher = Matcher::new(keys);
                let mut all = (Vec::new(), false);
                for piece in [&input[..first], &input[first..second], &input[second..]] {
                    let typed = matcher.feed(piece);
                    all.0.extend(typed.pass);
                    if typed.detached {
                        all.1 = true;
                        break;
                    }
                }
                if !all.1 {
                    all.0.extend(matcher.rest());
                }
                answers.push(all);
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        answers.swap_remove(0)
    }

    #[test]
    fn the_keys_are_found_wherever_the_input_is_cut() {
        let default = keys(DetachKeys::DEFAULT);
        assert_eq!(fed(&default, b"ls\x10\x11rm"), (b"ls".to_vec(), true));
        assert_eq!(fed(&default, b"\x10ls\x10"), (b"\x10ls\x10".to_vec(), false));
        assert_eq!(fed(&default, b"\x10\x10\x11"), (b"\x10".to_vec(), true));
        assert_eq!(fed(&default, b"\x11\x10"), (b"\x11\x10".to_vec(), false));
        assert_eq!(fed(&keys("a,a,b"), b"aaab"), (b"a".to_vec(), true));
        assert_eq!(fed(&keys("a,b,a,c"), b"ababac"), (b"ab".to_vec(), true));
        assert_eq!(fed(&keys(""), b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
