//! A chart of stages on a common time line, in characters. Pure: stages in,
//! text out; `trace` prints it.

use super::output::{Colour, Paint};
use super::time::micros;
use super::width::{self, printable};

/// Widest label; longer ones are cut.
const MAX_LABEL: usize = 40;

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was done.
    pub label: String,
    /// Its beginning and end, in nanoseconds of a common clock.
    pub start_ns: u64,
    /// See `start_ns`.
    pub end_ns: u64,
    /// Whether it went well.
    pub outcome: Outcome,
}

/// How a stage ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// Not, and because of what.
    Failed(String),
}

/// The chart under `title`: for each row its label, its beginning from the
/// first row's on and its length in microseconds, and a bar; bars have `columns`
/// columns for the whole time. No rows, no text.
pub fn render(paint: Paint, title: &str, rows: &[Row], columns: usize) -> String {
    let Some(zero) = rows.iter().map(|row| row.start_ns).min() else { return String::new() };
    let end = rows.iter().map(|row| row.end_ns).max().unwrap_or(zero);
    let total = end.saturating_sub(zero);
    let labels: Vec<String> = rows.iter().map(|row| width::cut(&printable(&row.label), MAX_LABEL)).collect();
    let label_width = labels.iter().map(|label| width::of(label)).max().unwrap_or(0);
    let heading = paint.colour(Colour::Bold, &format!("{title}: {} µs", micros(total)));
    let mut text = format!("{heading}\n");
    for (row, label) in rows.iter().zip(&labels) {
        let gap = " ".repeat(label_width.saturating_sub(width::of(label)));
        let offset = row.start_ns.saturating_sub(zero);
        let length = row.end_ns.saturating_sub(row.start_ns);
        let bar = bar(offset, length, total, columns);
        let (colour, note) = match &row.outcome {
            Outcome::Done => (Colour::Green, String::new()),
            Outcome::Failed(why) => (Colour::Red, format!("  failed: {}", printable(why))),
        };
        let bar = paint.colour(colour, bar.trim_end());
        text += &format!("  {label}{gap} {:>8} +{:<7} {bar}{note}\n", micros(offset), micros(length));
    }
    text
}

/// A bar for `length` at `offset` out of `total`, padded to `columns`; however
/// short, it can be seen.
fn bar(offset: u64, length: u64, total: u64, columns: usize) -> String {
    let eighths = u64::try_from(columns).unwrap_or(0).saturating_mul(8);
    let scale = |at: u64| {
        let at = u128::from(at) * u128::from(eighths) / u128::from(total.max(1));
        usize::try_from(at).unwrap_or(usize::MAX).min(columns.saturating_mul(8))
    };
    let first = (scale(offset) / 8).min(columns.saturating_sub(1));
    let filled = scale(offset.saturating_add(length)).saturating_sub(first * 8).max(1);
    let partial = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let tail = partial.get(filled % 8).copied().unwrap_or_default();
    let used = first + filled.div_ceil(8);
    [" ".repeat(first), "█".repeat(filled / 8), tail.to_owned(), " ".repeat(columns.saturating_sub(used))]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, start_ns: u64, end_ns: u64) -> Row {
        Row { label: label.into(), start_ns, end_ns, outcome: Outcome::Done }
    }

    #[test]
    fn bars_stand_where_their_time_is() {
        let rows = [row("load", 1_000_000, 1_500_000), row("clone", 1_500_000, 2_000_000)];
        assert_eq!(
            render(Paint::Plain, "create", &rows, 8),
            "create: 1000 µs\n  load         0 +500     ████\n  clone      500 +500         ████\n"
        );
    }

    #[test]
    fn every_stage_can_be_seen() {
        assert_eq!(bar(0, 0, 1000, 4), "▏   ");
        assert_eq!(bar(1000, 0, 1000, 4), "   █");
        assert_eq!(bar(0, 1000, 1000, 4), "████");
        assert_eq!(bar(0, 0, 0, 4), "▏   ");
        assert_eq!(bar(500, 125, 1000, 4), "  ▌ ");
    }

    #[test]
    fn bars_never_leave_the_chart() {
        for (offset, length) in [(0, u64::MAX), (u64::MAX, u64::MAX), (999, 999)] {
            assert!(width::of(&bar(offset, length, 1000, 10)) <= 10);
        }
        assert_eq!(bar(1, 1, 2, 0), "▏");
    }

    #[test]
    fn a_failed_stage_says_why() {
        let failed = Row { outcome: Outcome::Failed("ENOENT".into()), ..row("mount/3", 0, 1000) };
        assert!(render(Paint::Plain, "create", &[failed], 4).ends_with("████  failed: ENOENT\n"));
    }

    #[test]
    fn nothing_to_show() {
        assert_eq!(render(Paint::Plain, "create", &[], 4), "");
    }
}
