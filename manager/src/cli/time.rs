//! Times and durations as text: RFC 3339 in UTC for machines and logs, short
//! forms for people.

use prost_types::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// RFC 3339, UTC, with as many decimals as the time has (0, 3, 6 or 9).
pub fn rfc3339(at: &Timestamp) -> String {
    at.to_string()
}

/// RFC 3339, UTC, always with `decimals` (at most nine), so that lines align.
pub fn rfc3339_fixed(at: &Timestamp, decimals: usize) -> String {
    let whole = Timestamp { seconds: at.seconds, nanos: 0 }.to_string();
    let nanos = format!("{:09}", at.nanos.clamp(0, 999_999_999));
    let fraction: String = nanos.chars().take(decimals).collect();
    format!("{}.{fraction}Z", whole.trim_end_matches('Z'))
}

/// Seconds since the epoch now; 0 on a clock that was set before it.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// How long before `now` (seconds since the epoch) `at` was, as a person says
/// it; nothing for a time that is not known.
pub fn ago(at: Option<&Timestamp>, now: i64) -> String {
    match at {
        Some(at) => format!("{} ago", seconds(now.saturating_sub(at.seconds))),
        None => String::new(),
    }
}

/// A length of time in its largest unit: 45s, 12m, 3h, 9d.
pub fn seconds(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 2 * HOUR => format!("{}m", s / MINUTE),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s => format!("{}d", s / DAY),
    }
}

/// Nanoseconds as microseconds, rounded.
pub fn micros(nanos: u64) -> u64 {
    nanos.saturating_add(500) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339() {
        let at = Timestamp { seconds: 951_827_696, nanos: 120_000_000 };
        assert_eq!(rfc3339(&at), "2000-02-29T12:34:56.120Z");
        assert_eq!(rfc3339(&Timestamp { seconds: 0, nanos: 0 }), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339_fixed(&at, 9), "2000-02-29T12:34:56.120000000Z");
        assert_eq!(rfc3339_fixed(&at, 3), "2000-02-29T12:34:56.120Z");
    }

    #[test]
    fn durations_have_one_unit() {
        for (length, text) in
            [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (3 * DAY, "3d")]
        {
            assert_eq!(seconds(length), text);
        }
        assert_eq!(ago(Some(&Timestamp { seconds: 100, nanos: 0 }), 130), "30s ago");
        assert_eq!(ago(None, 130), "");
        assert_eq!((micros(499), micros(500), micros(1_234_567)), (0, 1, 1235));
    }
}
