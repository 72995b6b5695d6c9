//! The state of `top`, without a terminal and without a daemon: what was heard and which keys were pressed
//! change it, and say what is to be done.

use super::filter::Filter;
use super::keys::Key;
use super::page::{Kind, Page};
use super::row::{Column, Row, State};
use sextant_proto::v1;
use sextant_proto::v1::event::Kind as Happened;
use std::collections::{BTreeMap, VecDeque};

/// How long a container stays as a row after it was removed, in seconds.
const STAYS: f64 = 10.0;
/// Seconds of which events a second are counted.
const EVENTS: f64 = 10.0;
/// Seconds of which exits are counted.
const EXITS: f64 = 60.0;
/// Times of events that are kept at most.
const TIMES: usize = 100_000;

/// Columns that a text is moved sideways at once.
const SIDEWAYS: usize = 20;

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// The daemon answers, and has this version.
    Daemon(String),
    /// It does not, because of this.
    Lost(String),
    /// All containers; what is not among them is gone.
    List(Vec<v1::Container>),
    /// One container.
    Container(Box<v1::Container>),
    /// Figures of all that live.
    Stats(Vec<v1::Sample>),
    /// Something happened.
    Event(Box<v1::Event>),
    /// A page is this text: it replaces the one before.
    Page(u64, Result<Vec<String>, String>),
    /// A page goes on with these lines.
    More(u64, Vec<String>),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing but to draw.
    None,
    /// To end.
    Quit,
    /// To stop this process, until the shell lets it go on.
    Suspend,
    /// To draw everything anew.
    Redraw,
    /// To ask for the page that is open now.
    Open,
    /// No page is asked for any more.
    Close,
}

/// What keys are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Commands.
    #[default]
    Commands,
    /// A filter is typed; what it was before.
    Filter(String),
    /// A column is chosen.
    Sort,
    /// Help is shown.
    Help,
}

/// The state.
#[derive(Debug)]
pub struct Model {
    rows: BTreeMap<String, Row>,
    /// Those of the moment at which the display was stopped.
    frozen: Option<BTreeMap<String, Row>>,
    /// Seconds between two figures.
    pub interval: f64,
    /// Width and height of the terminal.
    pub size: (usize, usize),
    /// What keys are for.
    pub mode: Mode,
    /// By which column, and whether against its direction.
    pub sort: (Column, bool),
    /// Which rows.
    pub filter: Filter,
    /// The selected container.
    pub selected: Option<String>,
    /// First row that is shown.
    pub top: usize,
    /// What is shown in place of the rows.
    pub page: Option<Page>,
    /// Version of the daemon.
    pub version: String,
    /// Since when, and because of what, it does not answer.
    pub lost: Option<(f64, String)>,
    /// When figures came.
    pub figures_at: Option<f64>,
    events: VecDeque<f64>,
    exits: VecDeque<f64>,
    pages: u64,
}

impl Model {
    /// Nothing is known yet. `interval` is in seconds.
    pub fn new(interval: f64, size: (usize, usize)) -> Self {
        Self {
            rows: BTreeMap::new(),
            frozen: None,
            interval,
            size,
            mode: Mode::default(),
            sort: (Column::Cpu, false),
            filter: Filter::default(),
            selected: None,
            top: 0,
            page: None,
            version: String::new(),
            lost: None,
            figures_at: None,
            events: VecDeque::new(),
            exits: VecDeque::new(),
            pages: 0,
        }
    }

    /// The rows that are shown, in their order.
    pub fn shown(&self) -> Vec<&Row> {
        let (column, reverse) = self.sort;
        let mut rows: Vec<&Row> = self.known().values().filter(|row| self.filter.takes(row)).collect();
        rows.sort_by(|one, two| {
            let order = one.compare(two, column);
            (if reverse { order.reverse() } else { order }).then_with(|| one.id.cmp(&two.id))
        });
        rows
    }

    /// All that are known, shown or not.
    pub fn known(&self) -> &BTreeMap<String, Row> {
        self.frozen.as_ref().unwrap_or(&self.rows)
    }

    /// Whether the display is stopped.
    pub fn paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// Events a second, and exits of the last minute.
    pub fn rates(&self, now: f64) -> (f64, usize) {
        let since = |times: &VecDeque<f64>, span: f64| times.iter().filter(|at| **at > now - span).count();
        (since(&self.events, EVENTS) as f64 / EVENTS, since(&self.exits, EXITS))
    }

    /// Takes what was heard at `now`, in seconds of a clock that never goes back. Says whether a container
    /// is new, of which more is to be asked for.
    pub fn hear(&mut self, heard: Heard, now: f64) -> Option<String> {
        match heard {
            Heard::Daemon(version) => {
                self.version = version;
                self.lost = None;
            }
            Heard::Lost(because) => {
                let since = self.lost.as_ref().map_or(now, |(since, _)| *since);
                self.lost = Some((since, because));
            }
            Heard::List(containers) => self.list(containers, now),
            Heard::Container(container) => {
                if let Some(row) = self.rows.get_mut(&container.id) {
                    row.name(*container);
                }
            }
            Heard::Stats(samples) => {
                self.lost = None;
                self.figures_at = Some(now);
                for sample in samples {
                    // Of one that is not known yet, its event comes in a moment.
                    if let Some(row) = self.rows.get_mut(&sample.id).filter(|row| row.lives()) {
                        row.measure(&sample);
                    }
                }
            }
            Heard::Event(event) => return self.event(*event, now),
            Heard::Page(serial, text) => {
                if let Some(page) = self.page.as_mut().filter(|page| page.serial == serial) {
                    page.replace(text, now);
                }
            }
            Heard::More(serial, lines) => {
                if let Some(page) = self.page.as_mut().filter(|page| page.serial == serial) {
                    page.append(lines);
                }
            }
        }
        None
    }

    /// Time has gone by: what was removed long ago goes.
    pub fn tick(&mut self, now: f64) {
        self.rows.retain(|_, row| row.removed.is_none_or(|at| now - at < STAYS));
        for (times, span) in [(&mut self.events, EVENTS), (&mut self.exits, EXITS)] {
            while times.front().is_some_and(|at| *at < now - span) || times.len() > TIMES {
                times.pop_front();
            }
        }
    }

    fn describe(&mut self, container: v1::Container) {
        let id = container.id.clone();
        self.rows.entry(id).or_insert_with_key(|id| Row::unknown(id)).describe(container);
    }

    fn list(&mut self, containers: Vec<v1::Container>, now: f64) {
        let ids: std::collections::BTreeSet<String> = containers.iter().map(|c| c.id.clone()).collect();
        for row in self.rows.values_mut().filter(|row| !ids.contains(&row.id)) {
            row.state = State::Removed;
            row.removed.get_or_insert(now);
            row.rest();
        }
        containers.into_iter().for_each(|container| self.describe(container));
    }

    fn event(&mut self, event: v1::Event, now: f64) -> Option<String> {
        self.events.push_back(now);
        let kind = event.kind();
        if matches!(kind, Happened::Gap | Happened::Unspecified) || event.container.is_empty() {
            return None;
        }
        let new = !self.rows.contains_key(&event.container);
        // Nobody wants a row for what is gone.
        if new && kind == Happened::Deleted {
            return None;
        }
        let row = self.rows.entry(event.container.clone()).or_insert_with_key(|id| Row::unknown(id));
        let at = event.at.map(|at| at.seconds);
        let note = |row: &mut Row, gone: &[&str], here: Option<&str>| {
            row.notes.retain(|note| !gone.contains(&note.as_str()));
            row.notes.extend(here.map(str::to_owned));
        };
        match kind {
            Happened::Created => (row.state, row.since, row.removed) = (State::Created, at, None),
            Happened::Started => {
                (row.state, row.since, row.exit) = (State::Running, at, None);
                row.rest();
            }
            Happened::CreateFailed | Happened::StartFailed => row.state = State::Failed,
            Happened::Exited => {
                (row.state, row.since) = (State::Stopped, at);
                row.exit = event.exit.map(crate::cli::view::Exit::from);
                row.notes.clear();
                row.rest();
                self.exits.push_back(now);
            }
            Happened::Restarting => row.state = State::Restarting,
            Happened::Deleted => {
                (row.state, row.removed) = (State::Removed, Some(now));
                row.rest();
            }
            Happened::Paused => row.state = State::Paused,
            Happened::Resumed => row.state = State::Running,
            Happened::Healthy => note(row, &["unhealthy", "healthy", "starting"], Some("healthy")),
            Happened::Unhealthy => note(row, &["unhealthy", "healthy", "starting"], Some("unhealthy")),
            Happened::Degraded => note(row, &["degraded"], Some("degraded")),
            Happened::Recovered | Happened::Adopted => note(row, &["degraded"], None),
            _ => {}
        }
        // A further life may be of another start; the words of a new one are not known yet.
        (new || kind == Happened::Created).then_some(event.container)
    }

    /// What a key means.
    pub fn key(&mut self, key: Key) -> Action {
        match (key, &self.mode) {
            (Key::Ctrl('c'), _) => return Action::Quit,
            (Key::Ctrl('z'), _) => return Action::Suspend,
            (Key::Ctrl('l'), _) => return Action::Redraw,
            (_, Mode::Filter(before)) => {
                let before = before.clone();
                self.type_filter(key, &before);
                return Action::None;
            }
            (_, Mode::Sort) => {
                self.mode = Mode::Commands;
                if let Key::Char(letter) = key {
                    let chosen = Column::ALL.into_iter().find(|column| column.heading().1 == letter);
                    self.sort = chosen.map_or(self.sort, |column| (column, false));
                }
                return Action::None;
            }
            (_, Mode::Help) => {
                self.mode = Mode::Commands;
                return Action::None;
            }
            (_, Mode::Commands) => {}
        }
        match key {
            Key::Char('q') if self.page.is_none() => Action::Quit,
            Key::Char('?' | 'h') => {
                self.mode = Mode::Help;
                Action::None
            }
            Key::Char(letter @ ('p' | 'l' | 'n' | 't' | 'e')) => self.open(Kind::of(letter)),
            _ if self.page.is_some() => self.page_key(key),
            _ => self.list_key(key),
        }
    }

    fn type_filter(&mut self, key: Key, before: &str) {
        let mut text = self.filter.text.clone();
        match key {
            Key::Enter => self.mode = Mode::Commands,
            Key::Escape => {
                self.mode = Mode::Commands;
                before.clone_into(&mut text);
            }
            Key::Backspace => drop(text.pop()),
            Key::Ctrl('u') => text.clear(),
            Key::Char(letter) => text.push(letter),
            _ => {}
        }
        if text != self.filter.text {
            self.filter = Filter::new(&text);
            self.top = 0;
        }
    }

    fn list_key(&mut self, key: Key) -> Action {
        let page = i64::try_from(self.room()).unwrap_or(1).max(1);
        match key {
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp => self.step(-page),
            Key::PageDown => self.step(page),
            Key::Home | Key::Char('g') => self.step(i64::MIN),
            Key::End | Key::Char('G') => self.step(i64::MAX),
            Key::Enter => return self.open(Kind::Processes),
            Key::Char('s') => self.mode = Mode::Sort,
            Key::Char('<') => self.turn(-1),
            Key::Char('>') => self.turn(1),
            Key::Char('r') => self.sort.1 = !self.sort.1,
            Key::Char('/') => self.mode = Mode::Filter(self.filter.text.clone()),
            Key::Escape if !self.filter.text.is_empty() => self.filter = Filter::default(),
            Key::Char(' ') => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => Some(self.rows.clone()),
                };
            }
            _ => {}
        }
        Action::None
    }

    fn page_key(&mut self, key: Key) -> Action {
        let room = self.room();
        let Some(page) = &mut self.page else { return Action::None };
        match key {
            Key::Escape | Key::Backspace | Key::Char('q') => {
                self.page = None;
                return Action::Close;
            }
            Key::Tab => {
                let next = page.kind.next();
                return self.open(next);
            }
            Key::Right => page.column += SIDEWAYS,
            Key::Left => page.column = page.column.saturating_sub(SIDEWAYS),
            Key::Up | Key::Char('k') => page.scroll(-1, room),
            Key::Down | Key::Char('j') => page.scroll(1, room),
            Key::PageUp => page.scroll(-i64::try_from(room).unwrap_or(1), room),
            Key::PageDown | Key::Char(' ') => page.scroll(i64::try_from(room).unwrap_or(1), room),
            Key::Home | Key::Char('g') => page.scroll(i64::MIN, room),
            Key::End | Key::Char('G') => page.scroll(i64::MAX, room),
            _ => {}
        }
        Action::None
    }

    /// Opens a page of the container that is selected, or of the page that is open.
    fn open(&mut self, kind: Kind) -> Action {
        let id = match &self.page {
            Some(page) => Some(page.id.clone()),
            None => self.selection().map(|(_, id)| id),
        };
        let Some(id) = id else { return Action::None };
        self.pages += 1;
        self.selected = Some(id.clone());
        self.page = Some(Page::new(kind, id, self.pages));
        Action::Open
    }

    /// Place and id of the row that is selected: where that has gone, the first.
    pub fn selection(&self) -> Option<(usize, String)> {
        let shown = self.shown();
        let place = shown.iter().position(|row| Some(&row.id) == self.selected.as_ref()).unwrap_or(0);
        shown.get(place).map(|row| (place, row.id.clone()))
    }

    fn step(&mut self, by: i64) {
        let shown: Vec<String> = self.shown().iter().map(|row| row.id.clone()).collect();
        let last = i64::try_from(shown.len()).unwrap_or(i64::MAX) - 1;
        let place = self.selection().map_or(0, |(place, _)| i64::try_from(place).unwrap_or(0));
        let place = usize::try_from(place.saturating_add(by).clamp(0, last.max(0))).unwrap_or(0);
        self.selected = shown.get(place).cloned();
        self.follow();
    }

    /// The next column, or the one before.
    fn turn(&mut self, by: i64) {
        let count = i64::try_from(Column::ALL.len()).unwrap_or(1);
        let place = Column::ALL.iter().position(|column| *column == self.sort.0).unwrap_or(0);
        let place = (i64::try_from(place).unwrap_or(0) + by).rem_euclid(count);
        let column = usize::try_from(place).ok().and_then(|place| Column::ALL.get(place));
        self.sort = (column.copied().unwrap_or(Column::Cpu), false);
    }

    /// Rows, or lines of a page, that the screen has room for.
    pub fn room(&self) -> usize {
        self.size.1.saturating_sub(super::draw::AROUND).max(1)
    }

    /// Keeps the selected row among those that are shown.
    pub fn follow(&mut self) {
        let room = self.room();
        let count = self.shown().len();
        if let Some((place, _)) = self.selection() {
            self.top = self.top.clamp((place + 1).saturating_sub(room), place);
        }
        self.top = self.top.min(count.saturating_sub(room));
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub(super) mod tests;
