//! Restart policies and lengths of time, from text.

use super::decimal;
use sextant_proto::v1::restart_policy::When;
use std::str::FromStr;
use std::time::Duration;

/// `no`, `always`, `unless-stopped` or `on-failure[:N]` of `--restart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// After which exits.
    pub when: When,
    /// Restarts in a row, at most; 0: no limit.
    pub max_retries: u32,
}

impl FromStr for Restart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = |when| Ok(Self { when, max_retries: 0 });
        match text.split_once(':').map_or((text, None), |(when, retries)| (when, Some(retries))) {
            ("no", None) => all(When::Never),
            ("always", None) => all(When::Always),
            ("unless-stopped", None) => all(When::UnlessStopped),
            ("on-failure", None) => all(When::OnFailure),
            ("on-failure", Some(retries)) => match retries.parse() {
                Ok(max_retries) if max_retries > 0 => Ok(Self { when: When::OnFailure, max_retries }),
                _ => Err(format!("{retries:?} is not a number of retries from 1 on")),
            },
            _ => Err("a restart policy is no, on-failure, on-failure:N, always or unless-stopped".into()),
        }
    }
}

/// A length of time: a decimal fraction and one of the units `ms`, `s`, `m` and `h`; seconds without.
///
/// # Errors
/// A sentence, when it is no such length.
pub fn duration(text: &str) -> Result<Duration, String> {
    const SECOND: u128 = 1_000_000_000;
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = match unit {
        "ms" => Some(SECOND / 1000),
        "" | "s" => Some(SECOND),
        "m" => Some(60 * SECOND),
        "h" => Some(3600 * SECOND),
        _ => None,
    };
    let nanos = unit.and_then(|unit| decimal(digits, unit)).and_then(|nanos| u64::try_from(nanos).ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{text:?} is not a time such as 500ms, 1.5s, 2m or 1h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies() {
        for (text, when, max_retries) in [
            ("no", When::Never, 0),
            ("always", When::Always, 0),
            ("unless-stopped", When::UnlessStopped, 0),
            ("on-failure", When::OnFailure, 0),
            ("on-failure:5", When::OnFailure, 5),
        ] {
            assert_eq!(text.parse(), Ok(Restart { when, max_retries }), "{text}");
        }
        for text in ["", "never", "always:3", "on-failure:", "on-failure:0", "on-failure:x", "no:1"] {
            assert!(text.parse::<Restart>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in
            [("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("1h", 3_600_000), ("3", 3000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1 s", "1ss", "99999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
