//! The state as lines for a terminal of any size. Pure; none is wider than the terminal, and nothing that a
//! container says of itself can steer it.

use super::model::{Mode, Model};
use super::page::Kind;
use super::row::{Column, Row, State};
use crate::cli::output::{Colour, Paint};
use crate::cli::usage::bytes;
use crate::cli::{time, width};
use std::collections::BTreeMap;

/// Lines above and below the rows: two of totals, one of what is shown, the headings, the keys.
pub(super) const AROUND: usize = 5;
/// Narrowest column of names, and of commands.
const NAME: usize = 10;
const COMMAND: usize = 12;
/// Narrowest column of states.
const STATE: usize = 11;

const HELP: &[&str] = &[
    "j k, arrows, PgUp PgDn, Home End   move",
    "enter, p       processes of the selected container",
    "l              its log, followed; End follows again after scrolling",
    "n t e          its namespaces, the trace of its start, its events",
    "tab            the next of these; esc, backspace: back to the list",
    "s, < >         choose the column to sort by, or take the next one",
    "r              reverse the order",
    "/              filter: a part of name, state or command; label=KEY[=VALUE];",
    "               or a selector such as app=web or tier in (a,b); esc ends it",
    "space          stop the display, and let it go on",
    "left, right    move a text sideways",
    "ctrl-l         draw everything anew; ctrl-z: stop, fg goes on; q: quit",
    "",
    "CPU% is of one CPU, since the figures before. PSI: percent of the last 10 s",
    "in which something waited for CPU, memory and I/O (cgroup v2).",
];

/// The clocks that a picture is of.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Seconds of a clock that never goes back: the one that the model is told.
    pub now: f64,
    /// Seconds since the epoch.
    pub epoch: i64,
}

/// What one sees: as many lines as the terminal has.
pub fn lines(model: &Model, clocks: Clocks, paint: Paint) -> Vec<String> {
    let (columns, height) = model.size;
    let columns = columns.max(1);
    let mut lines = vec![
        paint.colour(Colour::Bold, &fit(&heading(model, clocks), columns)),
        fit(&totals(model, clocks.now), columns),
        told(model, clocks.now, columns, paint),
    ];
    let room = model.room();
    match (&model.mode, &model.page) {
        (Mode::Help, _) => {
            lines.push(String::new());
            lines.extend(HELP.iter().take(room).map(|line| fit(line, columns)));
        }
        (_, Some(page)) => {
            lines.push(tabs(page.kind, columns, paint));
            let first = page.first(room);
            let text = page.lines.iter().skip(first).take(room);
            let text =
                text.map(|line| width::cut(width::skip(&width::printable(line), page.column), columns));
            lines.extend(text);
            if page.lines.is_empty() && page.failed.is_none() {
                let word = if page.loaded { "nothing" } else { "…" };
                lines.push(paint.colour(Colour::Dim, word));
            }
        }
        (_, None) => lines.extend(list(model, clocks.epoch, room, paint)),
    }
    lines.resize(height.saturating_sub(1), String::new());
    lines.push(keys(model, columns, paint));
    lines.truncate(height);
    lines
}

/// All rows as a table, for standard output.
pub fn table(model: &Model, epoch: i64, columns: usize, paint: Paint) -> String {
    let shown = model.shown();
    let layout = Layout::of(&shown, columns.saturating_sub(1));
    let heading = layout.heading(model.sort);
    let line = |row: &&Row| layout.row(row, epoch, paint) + "\n";
    paint.colour(Colour::Bold, heading.trim_end()) + "\n" + &shown.iter().map(line).collect::<String>()
}

/// A text that is safe to print, cut to the columns.
fn fit(text: &str, columns: usize) -> String {
    width::cut(&width::printable(text), columns)
}

fn heading(model: &Model, clocks: Clocks) -> String {
    let known = model.known();
    let mut states: BTreeMap<State, usize> = BTreeMap::new();
    known.values().for_each(|row| *states.entry(row.state).or_default() += 1);
    let states: Vec<String> =
        states.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
    let noun = if known.len() == 1 { "container" } else { "containers" };
    let colon = if states.is_empty() { "" } else { ": " };
    let clock = prost_types::Timestamp { seconds: clocks.epoch, nanos: 0 }.to_string();
    let clock = clock.split_once('T').map_or("", |(_, clock)| clock);
    format!("sextantd {}  {clock}  {} {noun}{colon}{}", model.version, known.len(), states.join(", "))
}

fn totals(model: &Model, now: f64) -> String {
    let figures = || model.known().values().map(|row| &row.figures);
    let cpu: f64 = figures().filter_map(|f| f.cpu).sum();
    let memory: u64 = figures().filter_map(|f| f.memory).sum();
    let pids: u64 = figures().filter_map(|f| f.pids).sum();
    let read: f64 = figures().filter_map(|f| f.read).sum();
    let written: f64 = figures().filter_map(|f| f.written).sum();
    let (events, exits) = model.rates(now);
    format!(
        "CPU {cpu:.1}%  mem {}  pids {pids}  events {events:.1}/s  exits {exits}/min  read {}/s  write {}/s",
        bytes(memory),
        bytes(whole(read)),
        bytes(whole(written)),
    )
}

/// A rate without its fraction; rates are never below 0.
fn whole(rate: f64) -> u64 {
    // Of what is larger than any disk writes there are no more digits.
    format!("{:.0}", rate.max(0.0)).parse().unwrap_or(u64::MAX)
}

/// What is shown, and whether it is old.
fn told(model: &Model, now: f64, columns: usize, paint: Paint) -> String {
    let age = model.figures_at.map(|at| now - at);
    let old = age.filter(|age| *age > 3.0 * model.interval + 1.0);
    let figures =
        age.map_or_else(|| "there are no figures".to_owned(), |age| format!("figures are {age:.0} s old"));
    if let Some((since, because)) = &model.lost {
        let text = format!("sextantd does not answer since {:.0} s; {figures}: {because}", now - since);
        return paint.colour(Colour::Red, &fit(&text, columns));
    }
    if old.is_some() && model.known().values().any(Row::lives) {
        return paint.colour(Colour::Red, &fit(&figures, columns));
    }
    let page = model.page.as_ref();
    if let Some((page, because)) = page.and_then(|page| Some((page, page.failed.as_ref()?))) {
        return paint
            .colour(Colour::Red, &fit(&format!("{} of {}: {because}", page.kind.name(), page.id), columns));
    }
    let mut words = Vec::new();
    match page {
        Some(page) => {
            let end = (page.first(model.room()) + model.room()).min(page.lines.len());
            words.push(format!("{} of {}", page.kind.name(), page.id));
            words.push(format!("line {end} of {}", page.lines.len()));
            if page.kind.grows() {
                words.push(if page.follows() { "followed" } else { "not followed (End)" }.to_owned());
            }
        }
        None => {
            let direction = if model.sort.1 { ", reversed" } else { "" };
            words.push(format!("by {}{direction}", model.sort.0.heading().0));
            if !model.filter.text.is_empty() {
                words.push(format!(
                    "filter {:?}: {} of {}",
                    model.filter.text,
                    model.shown().len(),
                    model.known().len()
                ));
            }
            words.extend(model.filter.wrong.as_ref().map(|wrong| format!("not understood: {wrong}")));
        }
    }
    if model.paused() {
        words.push("DISPLAY STOPPED (space)".to_owned());
    }
    paint.colour(Colour::Dim, &fit(&words.join("  "), columns))
}

fn tabs(open: Kind, columns: usize, paint: Paint) -> String {
    let word =
        |kind: Kind| if kind == open { format!("[{}]", kind.name()) } else { format!(" {} ", kind.name()) };
    let text: String = Kind::ALL.map(word).join(" ");
    paint.colour(Colour::Bold, &fit(&text, columns))
}

fn keys(model: &Model, columns: usize, paint: Paint) -> String {
    let text = match (&model.mode, &model.page) {
        (Mode::Filter(_), _) => {
            return fit(&format!("filter: {}_   enter: keep  esc: as before", model.filter.text), columns);
        }
        (Mode::Sort, _) => "sort by: n name  s state  c cpu  m memory  p pids  r read  w written  a age",
        (Mode::Help, _) => "any key: back",
        (_, Some(_)) => "esc back  tab next  p l n t e  arrows move  ? help  ctrl-c quit",
        _ => "p processes l logs n namespaces t trace e events  s sort / filter ? help q quit",
    };
    paint.colour(Colour::Dim, &fit(text, columns))
}

fn list(model: &Model, epoch: i64, room: usize, paint: Paint) -> Vec<String> {
    let shown = model.shown();
    let columns = model.size.0;
    let layout = Layout::of(&shown, columns.saturating_sub(1));
    let mut lines =
        vec![paint.colour(Colour::Bold, &fit(&format!(" {}", layout.heading(model.sort)), columns))];
    if shown.is_empty() {
        let word = match model.known().is_empty() {
            true => " there are no containers",
            false => " no container is as the filter says; esc ends it",
        };
        lines.push(paint.colour(Colour::Dim, &fit(word, columns)));
    }
    let selected = model.selection().map(|(place, _)| place);
    for (place, row) in shown.iter().enumerate().skip(model.top).take(room) {
        let is_selected = selected == Some(place);
        let text = layout.row(row, epoch, if is_selected { Paint::Plain } else { paint });
        lines.push(match (is_selected, paint) {
            (false, _) => format!(" {text}"),
            (true, Paint::Plain) => format!(">{text}"),
            (true, Paint::Colours) => {
                let gap = " ".repeat(columns.saturating_sub(1 + width::of(&text)));
                format!("\x1b[7m>{text}{gap}\x1b[0m")
            }
        });
    }
    lines
}

/// A column beside the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Of(Column),
    Limit,
    Pressure,
    Command,
}

/// Which columns there is room for, and how wide each is.
struct Layout {
    name: usize,
    cells: Vec<(Cell, usize)>,
}

impl Layout {
    fn of(rows: &[&Row], columns: usize) -> Self {
        let pressure = rows.iter().any(|row| row.figures.pressure.iter().any(Option::is_some));
        // By how much one misses them; then in the order in which they stand.
        let wanted = [
            (Cell::Of(Column::Cpu), 6, 1),
            (Cell::Of(Column::State), STATE, 0),
            (Cell::Of(Column::Memory), 9, 2),
            (Cell::Of(Column::Pids), 5, 4),
            (Cell::Of(Column::Read), 9, 5),
            (Cell::Of(Column::Written), 9, 6),
            (Cell::Pressure, 12, 7),
            (Cell::Of(Column::Age), 5, 8),
            (Cell::Limit, 9, 3),
        ];
        let mut left = columns.saturating_sub(NAME);
        let mut cells = Vec::new();
        for (cell, width, place) in wanted {
            if left > width && (cell != Cell::Pressure || pressure) {
                left -= width + 1;
                cells.push((place, cell, width));
            }
        }
        cells.sort_by_key(|(place, _, _)| *place);
        let longest =
            |of: &dyn Fn(&Row) -> String| rows.iter().map(|row| width::of(&of(row))).max().unwrap_or(0);
        let name = longest(&|row| width::printable(&row.id)).clamp(NAME, NAME + left).min(columns.max(1));
        left = (NAME + left).saturating_sub(name);
        // What is left is first for those that have more to say of how they ended.
        let more = longest(&|row| value(row, Cell::Of(Column::State), 0)).saturating_sub(STATE).min(left);
        let widen = |(_, cell, width): (_, Cell, usize)| match cell {
            Cell::Of(Column::State) => (cell, width + more),
            _ => (cell, width),
        };
        let stated = cells.iter().any(|(_, cell, _)| *cell == Cell::Of(Column::State));
        let mut cells: Vec<(Cell, usize)> = cells.into_iter().map(widen).collect();
        left -= if stated { more } else { 0 };
        if left > COMMAND {
            cells.push((Cell::Command, left - 1));
        }
        Self { name, cells }
    }

    fn heading(&self, (by, reverse): (Column, bool)) -> String {
        let marked = |column: Column| {
            let mark = match (column == by, column.descends() != reverse) {
                (false, _) => "",
                (true, true) => "▼",
                (true, false) => "▲",
            };
            format!("{}{mark}", column.heading().0)
        };
        let mut text = left(&marked(Column::Name), self.name);
        for (cell, width) in &self.cells {
            text.push(' ');
            text += &match cell {
                Cell::Of(Column::State) => left(&marked(Column::State), *width),
                Cell::Of(column) => right(&marked(*column), *width),
                Cell::Limit => right("LIMIT", *width),
                Cell::Pressure => right("PSI c  m  io", *width),
                Cell::Command => left("COMMAND", *width),
            };
        }
        text
    }

    fn row(&self, row: &Row, epoch: i64, paint: Paint) -> String {
        let colour = match row.state {
            _ if row.notes.iter().any(|note| note == "unhealthy" || note == "degraded") => Colour::Red,
            State::Running => Colour::Green,
            State::Failed => Colour::Red,
            State::Stopped | State::Removed
                if row.exit.as_ref().is_some_and(|exit| exit.shell_code() != Some(0)) =>
            {
                Colour::Yellow
            }
            State::Stopped | State::Removed => Colour::Dim,
            _ => Colour::Yellow,
        };
        let mut text = left(&width::printable(&row.id), self.name);
        for (cell, width) in &self.cells {
            text.push(' ');
            let shown = value(row, *cell, epoch);
            text += &match cell {
                Cell::Of(Column::State) => paint.colour(colour, &left(&shown, *width)),
                Cell::Command => width::cut(&shown, *width),
                _ => right(&shown, *width),
            };
        }
        text.trim_end().to_owned()
    }
}

fn value(row: &Row, cell: Cell, epoch: i64) -> String {
    let figures = &row.figures;
    let size = |size: Option<u64>| size.map(bytes).unwrap_or_default();
    let rate = |rate: Option<f64>| rate.map(|rate| bytes(whole(rate))).unwrap_or_default();
    match cell {
        Cell::Of(Column::Name) => row.id.clone(),
        Cell::Of(Column::State) => {
            let old = if figures.stale.is_empty() { "" } else { " (old figures)" };
            width::printable(&(row.status() + old))
        }
        Cell::Of(Column::Cpu) => figures.cpu.map(|cpu| format!("{cpu:.1}")).unwrap_or_default(),
        Cell::Of(Column::Memory) => size(figures.memory),
        Cell::Of(Column::Pids) => figures.pids.map(|pids| pids.to_string()).unwrap_or_default(),
        Cell::Of(Column::Read) => rate(figures.read),
        Cell::Of(Column::Written) => rate(figures.written),
        Cell::Of(Column::Age) => {
            row.since.map(|since| time::seconds(epoch.saturating_sub(since).max(0))).unwrap_or_default()
        }
        Cell::Limit => size(figures.limit),
        Cell::Pressure => {
            let of = |percent: Option<f64>| percent.map_or_else(|| "-".to_owned(), |p| format!("{p:.0}"));
            let [cpu, memory, io] = figures.pressure.map(of);
            format!("{cpu:>4}{memory:>4}{io:>4}")
        }
        Cell::Command => width::printable(&row.command),
    }
}

/// A text in so many columns, cut or with blanks behind it.
fn left(text: &str, columns: usize) -> String {
    let text = width::cut(text, columns);
    let gap = columns.saturating_sub(width::of(&text));
    text + &" ".repeat(gap)
}

/// The same with blanks before it.
fn right(text: &str, columns: usize) -> String {
    let text = width::cut(text, columns);
    " ".repeat(columns.saturating_sub(width::of(&text))) + &text
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
