//! Amounts and times as people type them, against plain arithmetic in wide
//! numbers: exact, cut to a whole number, refused where it does not fit.

use sextant_runtime::commands::quantity::{bytes, duration};

pub(super) fn target(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let found = bytes("--memory", &text).ok();
    assert_eq!(found, amount(&text), "{text:?}");
    if let Some(number) = found {
        assert_eq!(bytes("--memory", &number.to_string()).ok(), Some(number));
    }
    let found = duration(&text).ok().map(|d| d.as_nanos());
    assert_eq!(found, time(&text), "{text:?}");
    if let Some(nanoseconds) = found {
        let printed = format!("{nanoseconds}ns");
        assert_eq!(duration(&printed).ok().map(|d| d.as_nanos()), Some(nanoseconds));
    }
}

/// A decimal number as a fraction of powers of ten: digits, and how many are behind the point.
fn decimal(text: &str) -> Option<(u128, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 19 || fraction.len() > 18 || !digits(whole) || !digits(fraction) {
        return None;
    }
    Some((format!("{whole}{fraction}").parse().ok()?, fraction.len() as u32))
}

fn scaled(text: &str, scale: u128) -> Option<u128> {
    let (digits, behind) = decimal(text)?;
    // Below 10^37 times 2^50 does not fit; the whole part and the rest do, each for itself.
    let one = 10_u128.pow(behind);
    let product = (digits / one).checked_mul(scale)? + (digits % one) * scale / one;
    (product <= i64::MAX as u128).then_some(product)
}

fn amount(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let unit = text[end..].trim_start().to_lowercase();
    let powers = ["", "k", "m", "g", "t", "p"];
    let power = powers.iter().position(|p| {
        let names = [p.to_string(), format!("{p}b"), format!("{p}i"), format!("{p}ib")];
        names.contains(&unit)
    })?;
    i64::try_from(scaled(&text[..end], 1 << (10 * power))?).ok()
}

fn time(text: &str) -> Option<u128> {
    let units: [(&str, u128); 8] = [
        ("ns", 1),
        ("us", 1000),
        ("µs", 1000),
        ("μs", 1000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (mut sum, mut rest) = (0_u128, text);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let behind = &rest[number..];
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (_, scale) = units.iter().find(|(name, _)| *name == &behind[..unit])?;
        sum += scaled(&rest[..number], *scale)?;
        rest = &behind[unit..];
    }
    (sum > 0 && sum <= i64::MAX as u128).then_some(sum)
}
