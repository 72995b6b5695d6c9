//! How wide a text is on a terminal, and texts of others made safe to print.
//! An approximation of Unicode's East Asian Width (UAX #11) and of combining
//! marks, good enough to align columns; it never decides anything else.

/// First and last of the code points that take no column: combining marks,
/// joiners, variation selectors.
const NONE: &[(u32, u32)] = &[
    (0x0300, 0x036f),
    (0x0483, 0x0489),
    (0x0591, 0x05bd),
    (0x0610, 0x061a),
    (0x064b, 0x065f),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x2064),
    (0x20d0, 0x20ff),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xfeff, 0xfeff),
    (0xe0100, 0xe01ef),
];

/// First and last of the code points that take two columns: Hangul, kana, Han,
/// full-width forms, emoji.
const TWO: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x2e80, 0x303e),
    (0x3041, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff01, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f900, 0x1f9ff),
    (0x20000, 0x3fffd),
];

/// Columns that `text` takes.
pub fn of(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

fn of_char(c: char) -> usize {
    let c = u32::from(c);
    let within = |ranges: &[(u32, u32)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&c));
    match c {
        0x20..=0x7e => 1,
        _ if within(NONE) => 0,
        _ if within(TWO) => 2,
        _ => 1,
    }
}

/// `text` cut to `columns`, with an ellipsis where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if of(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += of_char(c);
        if used > columns {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

/// `text` from a column on; of a character of two columns that is cut through, nothing is left.
pub fn skip(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        if used >= columns {
            return text.get(at..).unwrap_or_default();
        }
        used += of_char(c);
    }
    ""
}

/// `text` with its control characters escaped, so that a container's name or
/// command cannot steer the terminal of whoever lists it.
pub fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        for (text, columns) in
            [("", 0), ("abc", 3), ("äöü", 3), ("a\u{0308}", 1), ("容器", 4), ("🚀", 2), ("µs", 2)]
        {
            assert_eq!(of(text), columns, "{text}");
        }
    }

    #[test]
    fn cutting_keeps_within_the_columns() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("容器容器", 6), "容器…");
        assert_eq!(cut("abc", 0), "…");
    }

    #[test]
    fn a_text_from_a_column_on() {
        for (columns, rest) in [(0, "a容b"), (1, "容b"), (2, "b"), (3, "b"), (4, ""), (9, "")] {
            assert_eq!(skip("a容b", columns), rest, "{columns}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\x1b[31m\r\n\u{9b}b\u{202e}ü"), "a\\u{1b}[31m\\r\\n\\u{9b}b\\u{202e}ü");
    }
}
