//! What is shown of one container in place of the list: a text that is scrolled, and may grow.

/// Lines that are kept of one that grows.
const MOST: usize = 10_000;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the commands")]
pub enum Kind {
    Processes,
    Logs,
    Namespaces,
    Trace,
    Events,
}

impl Kind {
    /// All of them, in the order of the tabs.
    pub const ALL: [Self; 5] = [Self::Processes, Self::Logs, Self::Namespaces, Self::Trace, Self::Events];

    /// The one that a letter opens.
    pub fn of(letter: char) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name().starts_with(letter)).unwrap_or(Self::Processes)
    }

    /// The one behind.
    pub fn next(self) -> Self {
        let kinds = || Self::ALL.into_iter().cycle();
        kinds().skip_while(|kind| *kind != self).nth(1).unwrap_or(self)
    }

    /// Its name; the first letter opens it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Logs => "logs",
            Self::Namespaces => "namespaces",
            Self::Trace => "trace",
            Self::Events => "events",
        }
    }

    /// Whether it grows, and its end is what one wants to see.
    pub fn grows(self) -> bool {
        matches!(self, Self::Logs | Self::Events)
    }
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Which.
    pub kind: Kind,
    /// Of which container.
    pub id: String,
    /// What comes for another page is not for this one.
    pub serial: u64,
    /// Its lines, safe to print.
    pub lines: Vec<String>,
    /// Why it cannot be had.
    pub failed: Option<String>,
    /// Something has come.
    pub loaded: bool,
    /// When it came last.
    pub at: f64,
    /// First line that is shown; `None`: the last ones are.
    first: Option<usize>,
    /// First column that is shown.
    pub column: usize,
}

impl Page {
    /// An empty one.
    pub fn new(kind: Kind, id: String, serial: u64) -> Self {
        let first = if kind.grows() { None } else { Some(0) };
        Self { kind, id, serial, lines: Vec::new(), failed: None, loaded: false, at: 0.0, first, column: 0 }
    }

    /// It is this text now, or cannot be had any more; then the text before stays.
    pub fn replace(&mut self, text: Result<Vec<String>, String>, now: f64) {
        match text {
            Ok(lines) => (self.lines, self.failed, self.at) = (lines, None, now),
            Err(because) => self.failed = Some(because),
        }
        self.loaded = true;
    }

    /// Further lines.
    pub fn append(&mut self, lines: Vec<String>) {
        self.loaded = true;
        self.failed = None;
        self.lines.extend(lines);
        let over = self.lines.len().saturating_sub(MOST);
        self.lines.drain(..over);
        self.first = self.first.map(|first| first.saturating_sub(over));
    }

    /// The first line that is shown, where there is room for so many.
    pub fn first(&self, room: usize) -> usize {
        let last = self.lines.len().saturating_sub(room);
        self.first.map_or(last, |first| first.min(last))
    }

    /// Whether it stays at its end.
    pub fn follows(&self) -> bool {
        self.first.is_none()
    }

    /// So many lines down. One that grows is followed again from its end on.
    pub fn scroll(&mut self, by: i64, room: usize) {
        let last = self.lines.len().saturating_sub(room);
        let first = i64::try_from(self.first(room)).unwrap_or(0).saturating_add(by).max(0);
        let first = usize::try_from(first).unwrap_or(usize::MAX).min(last);
        self.first = if self.kind.grows() && first == last && by > 0 { None } else { Some(first) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_followed_until_it_is_scrolled() {
        let mut page = Page::new(Kind::Logs, "a".into(), 1);
        page.append((0..30).map(|n| n.to_string()).collect());
        assert_eq!(page.first(10), 20);
        page.append(vec!["30".into()]);
        assert_eq!(page.first(10), 21);
        page.scroll(-1, 10);
        page.append(vec!["31".into()]);
        assert_eq!((page.first(10), page.follows()), (20, false));
        page.scroll(i64::MAX, 10);
        assert_eq!((page.first(10), page.follows()), (22, true));
        page.scroll(i64::MIN, 10);
        assert_eq!(page.first(10), 0);
        page.append((0..MOST).map(|n| n.to_string()).collect());
        assert_eq!((page.lines.len(), page.first(10)), (MOST, 0));
    }

    #[test]
    fn letters_and_tabs() {
        assert_eq!(Kind::of('t'), Kind::Trace);
        assert_eq!((Kind::Processes.next(), Kind::Events.next()), (Kind::Logs, Kind::Processes));
        let mut page = Page::new(Kind::Trace, "a".into(), 1);
        page.replace(Ok(vec!["x".into(); 5]), 1.0);
        page.replace(Err("gone".into()), 2.0);
        assert_eq!((page.lines.len(), page.failed.as_deref(), page.first(2)), (5, Some("gone"), 0));
    }
}
