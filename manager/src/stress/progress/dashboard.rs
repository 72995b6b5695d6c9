//! The picture: at most 23 lines of the terminal's width, drawn over the one before. Only the cursor is
//! moved and lines are erased (ECMA-48), so that there is nothing to restore, however it ends.

use super::{Now, spark};
use crate::cli::output::{Colour, Paint};
use crate::cli::width::{cut, printable};
use crate::stress::sampler::Sample;
use crate::stress::text::{kib, time};
use std::sync::atomic::Ordering;

/// Operations and kinds of errors that are shown.
const OPERATIONS: usize = 11;
const ERRORS: usize = 3;
/// Where the terminal does not tell its size.
const SIZE: (u16, u16) = (24, 80);

/// What is on the screen.
#[derive(Debug, Default)]
pub(super) struct Picture {
    lines: usize,
}

impl Picture {
    /// What draws `lines` in place of those before.
    pub(super) fn redraw(&mut self, lines: &[String]) -> String {
        let (rows, _) = crate::sys::terminal_size().unwrap_or(SIZE);
        let room = usize::from(rows).saturating_sub(1).max(1);
        let mut text = String::new();
        if self.lines > 0 {
            // Up to the first line, and everything below is erased.
            text = format!("\x1b[{}A\r\x1b[J", self.lines);
        }
        let shown = lines.get(..room.min(lines.len())).unwrap_or_default();
        self.lines = shown.len();
        for line in shown {
            text += line;
            text.push('\n');
        }
        text
    }
}

/// The lines of the picture, none wider than the terminal.
pub(super) fn lines(paint: Paint, now: &Now<'_>) -> Vec<String> {
    let (_, columns) = crate::sys::terminal_size().unwrap_or(SIZE);
    let width = usize::from(columns).max(20);
    let fit = |text: String| cut(&printable(&text), width - 1);
    let mut lines = vec![paint.colour(Colour::Bold, &fit(heading(now)))];
    lines.push(fit(format!(
        "{} units, {}/s now, {:.1}/s on average; {} containers, {} errors",
        now.units(),
        now.rates.last().unwrap_or(&0),
        now.units() as f64 / now.seconds().max(1e-3),
        now.ground.alive.load(Ordering::Relaxed),
        now.errors(),
    )));
    let bars = spark::line(now.rates, width.saturating_sub(22));
    lines.push(fit(format!("units/s  {bars} most {}", now.rates.iter().max().unwrap_or(&0))));
    lines.push(String::new());
    let heading = format!(
        "{:<14} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "OPERATION", "COUNT", "P50", "P90", "P99", "P99.9", "MAX", "ERRORS"
    );
    lines.push(paint.colour(Colour::Dim, &fit(heading)));
    lines.extend(operations(now).into_iter().map(fit));
    lines.push(String::new());
    lines.extend(memory(now).into_iter().map(fit));
    lines.extend(errors(now).into_iter().map(|line| paint.colour(Colour::Red, &fit(line))));
    lines.push(paint.colour(Colour::Dim, &fit("ctrl-c ends it, and everything is removed".into())));
    lines
}

fn heading(now: &Now<'_>) -> String {
    let of = match (now.title.duration, now.title.count) {
        (Some(duration), _) => format!(" of {:.0} s", duration.as_secs_f64()),
        (None, Some(count)) => format!(", {} of {count} units", now.units()),
        (None, None) => String::new(),
    };
    format!("{}   {:.0} s{of}", now.title.what, now.seconds())
}

fn operations(now: &Now<'_>) -> Vec<String> {
    now.ground.book.read(|entries| {
        let row = |(name, op): (&&str, &crate::stress::book::Op)| {
            let at = |quantile| time(op.latency.value_at_quantile(quantile));
            format!(
                "{name:<14} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}",
                op.latency.len(),
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                time(op.latency.max()),
                op.errors
            )
        };
        entries.ops.iter().take(OPERATIONS).map(row).collect()
    })
}

fn memory(now: &Now<'_>) -> Vec<String> {
    let last = now.samples.last();
    let each = |ms: u64| ms as f64 / last.units.max(1) as f64;
    let all: Vec<u64> = now.samples.all().iter().filter_map(|sample| sample.manager_pss_kib).collect();
    vec![
        pss(&last, &all),
        format!(
            "CPU/unit target {:.1} ms  host {:.1} ms  generator {:.1} ms",
            each(last.target_cpu_ms),
            each(last.host_cpu_ms.saturating_sub(last.own_cpu_ms)),
            each(last.own_cpu_ms)
        ),
    ]
}

/// PSS of the manager, now and over time, and of a shim and a process on average.
fn pss(last: &Sample, manager: &[u64]) -> String {
    let size = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), kib);
    format!(
        "PSS      manager {} {}  {} shims of {}, processes {}",
        size(last.manager_pss_kib),
        spark::line(manager, 8),
        last.shims,
        size(last.shim_pss_kib),
        size(last.process_pss_kib)
    )
}

fn errors(now: &Now<'_>) -> Vec<String> {
    now.ground.book.read(|entries| {
        let mut all: Vec<_> = entries.faults.iter().collect();
        all.sort_by_key(|(_, faults)| std::cmp::Reverse(faults.count));
        let line = |((name, cause), faults): (&(&str, String), &crate::stress::book::Faults)| {
            format!("{} × {name} {cause}: {}", faults.count, faults.example)
        };
        all.into_iter().take(ERRORS).map(line).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_over_the_one_before() {
        let mut picture = Picture::default();
        assert_eq!(picture.redraw(&["a".into(), "b".into()]), "a\nb\n");
        assert_eq!(picture.redraw(&["c".into()]), "\x1b[2A\r\x1b[Jc\n");
        assert_eq!(picture.redraw(&["d".into()]), "\x1b[1A\r\x1b[Jd\n");
    }

    #[test]
    fn memory_of_thousands_fits_into_a_line() {
        let sizes = Some(1000);
        let last = Sample {
            manager_pss_kib: Some(100_000),
            shims: 4000,
            shim_pss_kib: sizes,
            process_pss_kib: sizes,
            ..Sample::default()
        };
        let line = pss(&last, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(line.chars().count() < 80 && line.ends_with("processes 1000.0KiB"), "{line}");
    }
}
