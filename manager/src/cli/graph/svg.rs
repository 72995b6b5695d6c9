//! The graph of namespaces as a picture: a row for everybody, a column for each
//! type, and a line from row to row along each namespace that is shared. Lines
//! have lanes of their own, so that none of them crosses or covers another.
//! Self-contained: no script, no font, nothing that is fetched.

use super::dot::frame_of;
use super::{Cell, KINDS, Row, telling};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Width of a character of the font, 13 px high and monospaced.
const CHARACTER: usize = 8;
/// Height of a row, and of what is above the first.
const LINE: usize = 36;
const HEAD: usize = 60;
const MARGIN: usize = 16;
/// Width of a lane: room for a word of four letters.
const LANE: usize = 46;
/// Half the height of a badge.
const HALF: usize = 10;
/// Colours of shared namespaces, by turns: dark enough for white letters.
const COLOURS: [&str; 8] =
    ["#1f6fb2", "#b3541e", "#2e7d32", "#8e3b97", "#a3792b", "#00798c", "#b0304b", "#5d4a9c"];
const OF_HOST: &str = "#667788";

/// A namespace in its column: from its first to its last row.
struct Line<'a> {
    cell: &'a Cell,
    rows: Vec<usize>,
    lane: usize,
}

/// The picture of these rows.
pub fn render(rows: &[Row]) -> String {
    let columns = telling(rows);
    let names =
        rows.iter().map(|row| title(row).chars().count() + indent(row) / CHARACTER).max().unwrap_or(0);
    let mut x = MARGIN * 2 + names * CHARACTER;
    let mut body = String::new();
    let mut heads = String::new();
    for column in columns {
        let lines = lines(rows, column);
        let lanes = lines.iter().map(|line| line.lane + 1).max().unwrap_or(0);
        let kind = KINDS.get(column).copied().unwrap_or_default();
        let width = ((lanes + 1) * LANE).max((kind.len() + 1) * CHARACTER);
        text(&mut heads, x + width / 2, HEAD - 14, "middle", "bold", kind);
        for line in &lines {
            draw(&mut body, x + line.lane * LANE + LANE / 2, line);
        }
        for (index, row) in rows.iter().enumerate() {
            if row.cells.get(column) == Some(&Cell::Own) {
                let (cx, cy) = (x + lanes * LANE + LANE / 2, centre(index));
                push(
                    &mut body,
                    format_args!(
                        "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"5\" fill=\"#fff\" stroke=\"#99a4ae\" stroke-width=\"2\"/>"
                    ),
                );
            }
        }
        x += width;
    }
    let (width, height) = (x + MARGIN, HEAD + rows.len() * LINE + LINE + MARGIN);
    let mut page = String::new();
    push(
        &mut page,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\" font-family=\"ui-monospace, monospace\" font-size=\"13\">\n\
         <title>Who shares which namespace with whom</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>"
        ),
    );
    frames(&mut page, rows, width);
    page += &heads;
    for (index, row) in rows.iter().enumerate() {
        let weight = if row.kind == "container" { "normal" } else { "bold" };
        text(&mut page, MARGIN + indent(row), centre(index) + 5, "start", weight, &title(row));
    }
    page += &body;
    let legend = "A line is one namespace, and who has a badge on it shares it. An empty circle: its own.";
    text(&mut page, MARGIN, height - MARGIN, "start", "normal", legend);
    page + "</svg>\n"
}

fn title(row: &Row) -> String {
    if row.kind == "sandbox" { format!("sandbox {}", row.name) } else { row.name.clone() }
}

/// Containers of a sandbox stand below it.
fn indent(row: &Row) -> usize {
    if row.kind == "container" && row.sandbox.is_some() { 2 * CHARACTER } else { 0 }
}

fn centre(row: usize) -> usize {
    HEAD + row * LINE + LINE / 2
}

/// The namespaces of a column that are drawn as lines; each in the first lane that is free where it is.
fn lines(rows: &[Row], column: usize) -> Vec<Line<'_>> {
    let mut found: Vec<Line<'_>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let Some(cell @ (Cell::Host | Cell::Shared(_))) = row.cells.get(column) else { continue };
        match found.iter_mut().find(|line| line.cell == cell) {
            Some(line) => line.rows.push(index),
            None => found.push(Line { cell, rows: vec![index], lane: 0 }),
        }
    }
    // By lane: the row behind the last line in it.
    let mut free: BTreeMap<usize, usize> = BTreeMap::new();
    for line in &mut found {
        let (first, last) = (line.rows.first().copied(), line.rows.last().copied());
        let is_free =
            |lane: &usize| free.get(lane).is_none_or(|from| first.is_some_and(|first| first >= *from));
        line.lane = (0..).find(is_free).unwrap_or(0);
        free.insert(line.lane, last.unwrap_or(0) + 1);
    }
    found
}

fn draw(page: &mut String, x: usize, line: &Line<'_>) {
    let colour = match line.cell {
        Cell::Shared(name) => {
            let number = name.bytes().fold(0, |sum: usize, b| sum * 26 + usize::from(b - b'A'));
            COLOURS.get(number % COLOURS.len()).copied().unwrap_or(OF_HOST)
        }
        _ => OF_HOST,
    };
    if let (Some(first), Some(last)) = (line.rows.first(), line.rows.last())
        && first != last
    {
        let (from, to) = (centre(*first), centre(*last));
        push(
            page,
            format_args!(
                "<line x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{to}\" stroke=\"{colour}\" stroke-width=\"3\"/>"
            ),
        );
    }
    for row in &line.rows {
        let (y, word) = (centre(*row), line.cell.word());
        let half = (word.chars().count() * CHARACTER + 10).max(2 * HALF) / 2;
        let (left, top, width, height) = (x - half, y - HALF, 2 * half, 2 * HALF);
        push(
            page,
            format_args!(
                "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"{HALF}\" fill=\"{colour}\"/>"
            ),
        );
        push(
            page,
            format_args!(
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#fff\">{}</text>",
                y + 5,
                escaped(word)
            ),
        );
    }
}

/// A frame around each sandbox with its containers, a line above every other row.
fn frames(page: &mut String, rows: &[Row], width: usize) {
    let mut index = 0;
    while let Some(row) = rows.get(index) {
        let frame = frame_of(row);
        let alike = |row: &&Row| frame.is_some() && frame_of(row) == frame;
        let count = rows.iter().skip(index).take_while(alike).count().max(1);
        let (top, height) = (HEAD + index * LINE + 2, count * LINE - 4);
        let (fill, stroke) = if frame.is_some() { ("#f3f6fa", "#c5d0db") } else { ("#fff", "#eceff2") };
        let (left, wide) = (MARGIN / 2, width.saturating_sub(MARGIN));
        push(
            page,
            format_args!(
                "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{height}\" rx=\"6\" fill=\"{fill}\" stroke=\"{stroke}\"/>"
            ),
        );
        index += count;
    }
}

fn text(page: &mut String, x: usize, y: usize, anchor: &str, weight: &str, text: &str) {
    push(
        page,
        format_args!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\" fill=\"#1c2733\">{}</text>",
            escaped(text)
        ),
    );
}

fn push(page: &mut String, element: std::fmt::Arguments<'_>) {
    // String's fmt::Write does not fail.
    page.write_fmt(element).unwrap_or_default();
    page.push('\n');
}

/// Text of XML: nothing of it is markup, and no character is forbidden there (XML 1.0, 2.2).
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '&' => safe += "&amp;",
            '"' => safe += "&quot;",
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_along_each_shared_namespace() {
        let page = render(&super::super::tests::sample());
        assert!(page.starts_with("<svg xmlns=") && page.ends_with("</svg>\n"));
        // user A, network B of the pod; network and ipc of the host. A user namespace of the host has one row.
        assert_eq!(page.matches("<line ").count(), 4, "{page}");
        assert_eq!(page.matches(">A</text>").count(), 3);
        assert_eq!(page.matches("<circle ").count(), 4);
        assert!(page.contains(">b&lt;</text>") && !page.contains("b<<"));
        assert!(page.contains("sandbox pod"));
    }

    #[test]
    fn lines_that_meet_have_lanes_of_their_own() {
        let rows = super::super::tests::sample();
        let network = lines(&rows, 2);
        // The host's is in the first and the last row, the pod's between them.
        assert_eq!(network.iter().map(|line| line.lane).collect::<Vec<_>>(), [0, 1]);
        let user = lines(&rows, 0);
        assert_eq!(user.iter().map(|line| line.lane).collect::<Vec<_>>(), [0, 0]);
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escaped("<a href=\"x\">&\u{1b}"), "&lt;a href=&quot;x&quot;&gt;&amp;\u{fffd}");
    }
}
