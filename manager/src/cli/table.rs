//! Columns of text, aligned by what they take on a terminal.

use super::output::{Colour, Paint};
use super::width::{self, printable};

/// A cell: its text, and the colour it gets where there are colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: printable(&text.into()), colour: None }
    }
}

impl Cell {
    /// A cell in a colour.
    pub fn coloured(text: impl Into<String>, colour: Colour) -> Self {
        Self { colour: Some(colour), ..Self::from(text) }
    }

    fn paint(&self, paint: Paint) -> String {
        match self.colour {
            Some(colour) => paint.colour(colour, &self.text),
            None => self.text.clone(),
        }
    }
}

/// The table as text: `heading` first, two blanks between columns, no blanks
/// at the ends of lines. A row may have fewer cells than the heading.
pub fn render<const N: usize>(paint: Paint, heading: [&str; N], rows: &[[Cell; N]]) -> String {
    let heading = heading.map(|text| Cell::coloured(text, Colour::Bold));
    let lines = || std::iter::once(&heading).chain(rows);
    let widths: Vec<usize> = (0..N)
        .map(|column| lines().filter_map(|line| line.get(column)).map(|cell| width::of(&cell.text)).max())
        .map(Option::unwrap_or_default)
        .collect();
    lines().map(|line| render_line(paint, &widths, line)).collect()
}

fn render_line(paint: Paint, widths: &[usize], line: &[Cell]) -> String {
    let last = line.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
    let mut text = String::new();
    for (column, (cell, width)) in line.iter().zip(widths).enumerate().take(last + 1) {
        text += &cell.paint(paint);
        if column < last {
            text += &" ".repeat(width.saturating_sub(width::of(&cell.text)) + 2);
        }
    }
    text + "\n"
}

/// Keys and values, the values below each other.
pub fn pairs(paint: Paint, pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(key, _)| width::of(key)).max().unwrap_or_default();
    let line = |(key, value): &(&str, String)| {
        let gap = " ".repeat(width.saturating_sub(width::of(key)) + 2);
        format!("{}{gap}{}\n", paint.colour(Colour::Bold, key), printable(value))
    };
    pairs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_display_width() {
        let rows = [["容器".into(), "1".into()], ["abcdef".into(), "".into()], ["a".into(), "22".into()]];
        let text = render(Paint::Plain, ["ID", "PID"], &rows);
        assert_eq!(text, "ID      PID\n容器    1\nabcdef\na       22\n");
    }

    #[test]
    fn colours_do_not_count() {
        let rows = [[Cell::coloured("ok", Colour::Green), "x".into()]];
        let text = render(Paint::Colours, ["STATE", "Y"], &rows);
        assert!(text.ends_with("\x1b[32mok\x1b[0m     x\n"), "{text:?}");
    }

    #[test]
    fn a_cell_cannot_steer_the_terminal() {
        assert_eq!(render(Paint::Plain, ["A"], &[["\x1b]0;x\x07".into()]]), "A\n\\u{1b}]0;x\\u{7}\n");
    }

    #[test]
    fn pairs_line_up() {
        assert_eq!(pairs(Paint::Plain, &[("a", "1".into()), ("long", "2".into())]), "a     1\nlong  2\n");
    }
}
