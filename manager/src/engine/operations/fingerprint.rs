//! What a request asked for, so far as another one can be told from it: for a manager that is started again,
//! and without keeping what a client may have meant for nobody else, as its environment.

use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// Whose words they are: another version may put the same request into other words.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Version, length and hash of the words of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    #[serde(deserialize_with = "known")]
    version: Cow<'static, str>,
    length: usize,
    hash: u64,
}

impl Fingerprint {
    /// Of a request in words that have all of it.
    pub(crate) fn of(words: &str) -> Self {
        Self { version: VERSION.into(), length: words.len(), hash: fnv(words.as_bytes()) }
    }

    /// Whether it is of the same request; `None` when that cannot be told.
    pub(crate) fn is(&self, other: &Self) -> Option<bool> {
        (self.version == other.version).then(|| self == other)
    }
}

/// Ours is there already.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'static, str>, D::Error> {
    let version = String::deserialize(from)?;
    Ok(if version == VERSION { Cow::Borrowed(VERSION) } else { Cow::Owned(version) })
}

/// FNV-1a, which gives the same in every build.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_same_version_are_compared() {
        let (one, other) = (Fingerprint::of("stop a 10"), Fingerprint::of("stop a 11"));
        assert_eq!((one.is(&one.clone()), one.is(&other)), (Some(true), Some(false)));
        let old = Fingerprint { version: "0.0.1".into(), ..other };
        assert_eq!(one.is(&old), None);
        // It is compared with what other builds have written.
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
