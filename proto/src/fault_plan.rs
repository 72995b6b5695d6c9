//! What a plan of failures says, and the lines that tell which came about. Builds with the feature `faults` act on
//! it ([`crate::faults`], `runtime/src/faults.rs`); whoever writes plans for them needs the words alone.
//!
//! Entries are separated by newlines or `;`:
//!
//! ```text
//! PROGRAM:ACTION:POINT[#N][%P/Q]   PROGRAM is runtime, shim or manager; at the Nth time
//!                                  (from 1) that a process of it reaches the point, or, with
//!                                  %P/Q, at P of Q times (from the Nth on, where that is given)
//!   fail                           the point fails: EIO
//!   short                          only a part is written, and then it fails (not the runtime)
//!   fail-after                     it does its work, and fails (the runtime alone)
//!   delay=MS                       it takes so many milliseconds longer
//!   die                            the process kills itself there (SIGKILL)
//! seed=N                           of the numbers that decide about %P/Q
//! log=FILE                         each fault that comes about is a line of it
//! ```

use std::path::PathBuf;
use std::time::Duration;

/// The environment variable with the plan, or with `@` and the path of its file.
pub const VARIABLE: &str = "SEXTANT_FAULTS";

/// Who has points.
const PROGRAMS: [&str; 3] = ["runtime", "shim", "manager"];

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// What happens where.
    Entry(Entry),
    /// Of the numbers that are drawn.
    Seed(u64),
    /// Where it is told.
    Log(PathBuf),
}

/// What happens at which point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `runtime`, `shim` or `manager`.
    pub program: &'static str,
    /// As it is written; it is one that this program has.
    pub action: String,
    /// The point's name; whether there is such a one, its program knows.
    pub point: String,
    /// From which time on, counted from 1.
    pub nth: u64,
    /// In so many of so many times; every time is due that is not before `nth`.
    pub odds: Option<(u64, u64)>,
}

/// The lines of a plan that say something.
pub fn lines(plan: &str) -> impl Iterator<Item = &str> {
    plan.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty())
}

/// Reads one line.
///
/// # Errors
/// What is wrong with it, and what there is in its place.
pub fn parse(line: &str) -> Result<Line, String> {
    if let Some(number) = line.strip_prefix("seed=") {
        return number.parse().map(Line::Seed).map_err(|e| format!("{e}"));
    }
    if let Some(path) = line.strip_prefix("log=") {
        return Ok(Line::Log(PathBuf::from(path)));
    }
    let parts: Vec<&str> = line.splitn(3, ':').collect();
    let [program, action, place] = parts.as_slice() else {
        return Err("it is not PROGRAM:ACTION:POINT[#N][%P/Q], seed=N or log=FILE".into());
    };
    let Some(program) = PROGRAMS.into_iter().find(|known| known == program) else {
        return Err(format!("no program is called {program:?}: there are {}", PROGRAMS.join(", ")));
    };
    let (place, odds) = match place.split_once('%') {
        None => (*place, None),
        Some((place, odds)) => (place, Some(fraction(odds)?)),
    };
    let (point, nth) = match place.split_once('#') {
        None => (place, 1),
        Some((point, nth)) => match nth.parse() {
            Ok(nth) if nth > 0 => (point, nth),
            _ => return Err(format!("#{nth} is no number from 1 on")),
        },
    };
    let other = if program == "runtime" { "fail-after" } else { "short" };
    if let Some(time) = action.strip_prefix("delay=") {
        time.parse::<u64>().map_err(|e| format!("the milliseconds {time:?}: {e}"))?;
    } else if !["fail", "die", other].contains(action) {
        return Err(format!("{action:?} is no action: there are fail, {other}, delay=MS, die"));
    }
    Ok(Line::Entry(Entry { program, action: (*action).to_owned(), point: point.to_owned(), nth, odds }))
}

/// The time of `delay=MS`.
pub fn delay(action: &str) -> Option<Duration> {
    action.strip_prefix("delay=")?.parse().ok().map(Duration::from_millis)
}

fn fraction(odds: &str) -> Result<(u64, u64), String> {
    let parsed = odds.split_once('/').and_then(|(of, all)| Some((of.parse().ok()?, all.parse().ok()?)));
    parsed.filter(|(_, all)| *all > 0).ok_or_else(|| format!("%{odds} is not %P/Q with Q above 0"))
}

/// A fault that came about, as a line of the log says: `PROGRAM ACTION POINT TIME [WORD…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Program, action and point.
    pub what: &'a str,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Among these is the container, where it is about one: a runtime has its whole command line here.
    pub about: Vec<&'a str>,
}

/// Reads a line of the log; `None` when it is none.
pub fn told(line: &str) -> Option<Told<'_>> {
    let (third, _) = line.match_indices(' ').nth(2)?;
    let (what, rest) = line.split_at_checked(third)?;
    let mut words = rest.split_whitespace();
    Some(Told { what, at_ns: words.next()?.parse().ok()?, about: words.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_kinds_are_read() {
        let read: Vec<Line> =
            lines("seed=7; log=/tmp/x\n\nshim:delay=5:runtime.spawn#2%1/50; runtime:fail-after:mount/0")
                .map(|line| parse(line).unwrap())
                .collect();
        let [Line::Seed(7), Line::Log(_), Line::Entry(shim), Line::Entry(runtime)] = read.as_slice() else {
            panic!("{read:?}")
        };
        assert_eq!((shim.nth, shim.odds, shim.point.as_str()), (2, Some((1, 50)), "runtime.spawn"));
        assert_eq!(delay(&shim.action), Some(Duration::from_millis(5)));
        assert_eq!((runtime.program, runtime.action.as_str(), runtime.nth), ("runtime", "fail-after", 1));
        assert!(parse("runtime:short:load").is_err() && parse("shim:fail-after:log.write").is_err());
    }

    #[test]
    fn what_came_about_is_read_back() {
        let told = told("runtime fail mount/0 12 sextant-runtime create c-1").unwrap();
        assert_eq!((told.what, told.at_ns), ("runtime fail mount/0", 12));
        assert!(told.about.contains(&"c-1"));
        assert_eq!(super::told("manager die events.sync 5").unwrap().about, Vec::<&str>::new());
        assert!(super::told("shim die").is_none() && super::told("").is_none());
    }
}
