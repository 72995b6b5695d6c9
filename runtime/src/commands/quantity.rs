//! Amounts and times as people type them: `64M` of memory, `1m30s`.

use crate::report::{Outcome, refuse};
use std::time::Duration;

/// A number of bytes: digits, with a unit of powers of 1024 such as `k`, `MB`
/// or `GiB` behind them; -1 is no limit.
///
/// # Errors
/// Refused when it is none, or more than 2^63 - 1; `flag` is named as the place.
pub fn bytes(flag: &str, text: &str) -> Outcome<i64> {
    if text == "-1" {
        return Ok(-1);
    }
    parse_bytes(text).ok_or_else(|| {
        let mut failure = refuse("update the limits", format!("{text:?} is not a number of bytes"));
        failure.pointer = flag.into();
        failure.hint = "such as 67108864, 64M or 1.5GiB; -1 is no limit".into();
        failure
    })
}

fn parse_bytes(text: &str) -> Option<i64> {
    let (number, unit) = split(text);
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let shift = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    scaled(number, 1_i128 << shift)
}

/// A time as Go prints and reads it, such as `5s`, `1.5s`, `100ms`, `1m30s`.
///
/// # Errors
/// What is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a time such as 5s, 500ms or 1m30s");
    let mut rest = text;
    let mut nanoseconds = 0_i64;
    while !rest.is_empty() {
        let (number, behind) = split(rest);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at_checked(end).ok_or_else(bad)?;
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            _ => return Err(bad()),
        };
        nanoseconds = scaled(number, scale).and_then(|part| nanoseconds.checked_add(part)).ok_or_else(bad)?;
        rest = next;
    }
    match u64::try_from(nanoseconds) {
        Ok(0) | Err(_) => Err(format!("{text:?}: it must be greater than 0")),
        Ok(number) => Ok(Duration::from_nanos(number)),
    }
}

/// Digits and points in front, and what is behind them.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (text.get(..end).unwrap_or_default(), text.get(end..).unwrap_or_default())
}

/// A decimal number times `scale`, cut to a whole number, exactly.
fn scaled(number: &str, scale: i128) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || whole.len() > 19 || fraction.len() > 18 || fraction.contains('.') {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let digits = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    i64::try_from(whole.checked_mul(scale)?.checked_add(part.checked_mul(scale)? / digits)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{duration, parse_bytes};
    use std::time::Duration;

    #[test]
    fn amounts() {
        for (text, number) in [
            ("0", 0),
            ("1024", 1024),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("1.5GiB", 3 << 29),
            ("2 k", 2048),
            ("1P", 1 << 50),
        ] {
            assert_eq!(parse_bytes(text), Some(number), "{text}");
        }
        for bad in ["", "M", "-2", "1x", "1.2.3k", ".5k", "99999999999999999999", "9000P", "1 0"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        for bad in ["", "0s", "5", "-1s", "1d", "s", "1s5"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
