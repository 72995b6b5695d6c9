//! Failures on purpose, so that tests can prove what a failure leaves. Only builds with the
//! cargo feature `faults` have them. There, a *plan* says what happens at which named point of
//! which program: the environment variable `SEXTANT_FAULTS` has it, or `@FILE`. Entries are
//! separated by newlines or `;`:
//!
//! ```text
//! PROGRAM:ACTION:POINT[#N][%P/Q]   PROGRAM is runtime, shim or manager; at the Nth time
//!                                  (from 1) that a process of it reaches the point, or, with
//!                                  %P/Q, at P of Q times (from the Nth on, where that is given)
//!   fail                           the point fails: EIO
//!   short                          only a part is written, and then it fails
//!   delay=MS                       it takes so many milliseconds longer
//!   die                            the process kills itself there (SIGKILL)
//! seed=N                           of the numbers that decide about %P/Q
//! log=FILE                         each fault that comes about is a line of it
//! ```
//!
//! Each process draws numbers of its own: of the seed, the program, the container and its own pid,
//! so that one that is started again does not meet the same fault for ever.
//! The runtime reads the same plan (`runtime/src/faults.rs`), and its points are its stages.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The environment variable with the plan.
pub const VARIABLE: &str = "SEXTANT_FAULTS";

/// Who has points.
const PROGRAMS: [&str; 3] = ["runtime", "shim", "manager"];

/// What can happen at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It can fail.
    Step,
    /// It writes: it can also fail having written a part.
    Write,
    /// It cannot fail, but the process can end there.
    Moment,
}

impl Kind {
    /// What a plan may say of it.
    pub const fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Step => &["fail", "delay", "die"],
            Self::Write => &["fail", "short", "delay", "die"],
            Self::Moment => &["delay", "die"],
        }
    }
}

/// A fault, where a plan has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails.
    Fail,
    /// It does a part of its work, and fails.
    Short,
    /// It takes longer.
    Delay(Duration),
    /// The process ends.
    Die,
}

/// The points of a program: names and kinds.
pub type Points = [(&'static str, Kind)];

/// What a plan says about this process.
#[derive(Debug, Default)]
pub struct Faults {
    program: &'static str,
    entries: Vec<Entry>,
    random: Mutex<u64>,
    log: Option<PathBuf>,
}

#[derive(Debug)]
struct Entry {
    fault: Fault,
    point: &'static str,
    nth: u64,
    odds: Option<(u64, u64)>,
    reached: AtomicU64,
}

impl Faults {
    /// The plan of the environment, for a process of `program` that is about `container` (empty: none
    /// or all); without faults where the environment has none.
    ///
    /// # Errors
    /// A sentence that names the entry that is no entry, or says why there is no plan.
    pub fn of_environment(program: &'static str, container: &str, points: &Points) -> Result<Self, String> {
        let Some(plan) = std::env::var_os(VARIABLE) else { return Ok(Self::default()) };
        Self::of(&text(plan)?, program, container, points)
    }

    fn of(plan: &str, program: &'static str, container: &str, points: &Points) -> Result<Self, String> {
        let (mut entries, mut seed, mut log) = (Vec::new(), 0, None);
        for entry in plan.split(['\n', ';']).map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong = |why: String| format!("{VARIABLE}: the entry {entry:?}: {why}");
            if let Some(number) = entry.strip_prefix("seed=") {
                seed = number.parse().map_err(|e| wrong(format!("{e}")))?;
            } else if let Some(path) = entry.strip_prefix("log=") {
                log = Some(PathBuf::from(path));
            } else {
                entries.extend(parse(entry, program, points).map_err(wrong)?);
            }
        }
        let own = format!("{seed} {program} {container} {}", std::process::id());
        Ok(Self { program, entries, random: Mutex::new(hash(own.as_bytes())), log })
    }

    /// What happens now at this point, if anything; it is written down.
    pub fn at(&self, point: &str) -> Option<Fault> {
        let here = self.entries.iter().filter(|entry| entry.point == point);
        // All of them count, whichever comes about.
        let due: Vec<Fault> = here.filter(|entry| self.is_due(entry)).map(|entry| entry.fault).collect();
        let fault = *due.first()?;
        self.tell(point, fault);
        Some(fault)
    }

    fn is_due(&self, entry: &Entry) -> bool {
        let time = entry.reached.fetch_add(1, Ordering::Relaxed) + 1;
        match entry.odds {
            None => time == entry.nth,
            Some((of, all)) => time >= entry.nth && self.next() % all < of,
        }
    }

    /// The next number (xorshift64).
    fn next(&self) -> u64 {
        let mut state = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// One write(2): lines of several processes do not mix. A log that cannot be written is no fault of its own.
    fn tell(&self, point: &str, fault: Fault) {
        let Some(path) = &self.log else { return };
        let line = format!("{} {fault:?} {point}\n", self.program);
        let file = std::fs::File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap_or_default();
    }

    /// Passes a point that can fail.
    ///
    /// # Errors
    /// EIO, where the plan says so.
    pub fn reach(&self, point: &str) -> io::Result<()> {
        carry_out(self.at(point))
    }

    /// Passes a point that writes `bytes` with `work`.
    ///
    /// # Errors
    /// As `work`, or EIO where the plan says so: half of the bytes may be written then.
    pub fn write(
        &self,
        point: &str,
        bytes: &[u8],
        mut work: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let fault = self.at(point);
        if fault == Some(Fault::Short) {
            work(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
        }
        carry_out(fault).and_then(|()| work(bytes))
    }
}

/// Does what a fault says, on this thread.
///
/// # Errors
/// EIO for one that fails.
pub fn carry_out(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(Fault::Delay(time)) => {
            std::thread::sleep(time);
            Ok(())
        }
        Some(Fault::Fail | Fault::Short) => Err(nix::errno::Errno::EIO.into()),
        Some(Fault::Die) => {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
            // The signal is for the whole process, and ends this thread at the latest here.
            loop {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

/// The plan itself.
fn text(plan: OsString) -> Result<String, String> {
    let plan = plan.into_string().map_err(|_| format!("{VARIABLE}: the plan is not UTF-8"))?;
    match plan.strip_prefix('@') {
        None => Ok(plan),
        Some(file) => std::fs::read_to_string(file).map_err(|e| format!("{VARIABLE}: read {file}: {e}")),
    }
}

/// One entry; `None` when it is about another program, which knows its own points.
fn parse(entry: &str, program: &str, points: &Points) -> Result<Option<Entry>, String> {
    let parts: Vec<&str> = entry.splitn(3, ':').collect();
    let [of, action, place] = parts.as_slice() else {
        return Err("it is not PROGRAM:ACTION:POINT[#N][%P/Q], seed=N or log=FILE".into());
    };
    if !PROGRAMS.contains(of) {
        return Err(format!("no program is called {of:?}: there are {}", PROGRAMS.join(", ")));
    }
    let (place, odds) = match place.split_once('%') {
        None => (*place, None),
        Some((place, odds)) => (place, Some(fraction(odds)?)),
    };
    let (name, nth) = match place.split_once('#') {
        None => (place, 1),
        Some((name, nth)) => match nth.parse() {
            Ok(nth) if nth > 0 => (name, nth),
            _ => return Err(format!("#{nth} is no number from 1 on")),
        },
    };
    if *of != program {
        return Ok(None);
    }
    let known = points.iter().find(|(point, _)| *point == name);
    let Some((point, kind)) = known else {
        return Err(format!("{program} has no point {name:?}: there are {}", list(points)));
    };
    let fault = fault(action)?;
    if !kind.actions().contains(&action.split('=').next().unwrap_or_default()) {
        return Err(format!("{action} is nothing that {point} can do: it can {}", kind.actions().join(", ")));
    }
    Ok(Some(Entry { fault, point, nth, odds, reached: AtomicU64::new(0) }))
}

fn fault(action: &str) -> Result<Fault, String> {
    match (action, action.strip_prefix("delay=")) {
        ("fail", _) => Ok(Fault::Fail),
        ("short", _) => Ok(Fault::Short),
        ("die", _) => Ok(Fault::Die),
        (_, Some(time)) => match time.parse() {
            Ok(time) => Ok(Fault::Delay(Duration::from_millis(time))),
            Err(e) => Err(format!("the milliseconds {time:?}: {e}")),
        },
        _ => Err(format!("{action:?} is no action: there are fail, short, delay=MS, die")),
    }
}

fn fraction(odds: &str) -> Result<(u64, u64), String> {
    let parsed = odds.split_once('/').and_then(|(of, all)| Some((of.parse().ok()?, all.parse().ok()?)));
    parsed.filter(|(_, all)| *all > 0).ok_or_else(|| format!("%{odds} is not %P/Q with Q above 0"))
}

fn list(points: &Points) -> String {
    let mut list = String::new();
    for (n, (point, _)) in points.iter().enumerate() {
        // Writing into a string does not fail.
        write!(list, "{}{point}", if n == 0 { "" } else { ", " }).unwrap_or_default();
    }
    list
}

/// FNV-1a, mixed once more, so that texts that differ in little have nothing in common; and no zero, from
/// which xorshift does not come away.
fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: &Points = &[("a.write", Kind::Write), ("a.step", Kind::Step), ("a.moment", Kind::Moment)];

    fn plan(text: &str) -> Result<Faults, String> {
        Faults::of(text, "shim", "c", POINTS)
    }

    fn times(faults: &Faults, point: &str, count: usize) -> Vec<usize> {
        (1..=count).filter(|_| faults.at(point).is_some()).collect()
    }

    #[test]
    fn an_entry_comes_about_at_its_time_and_no_other() {
        let faults = plan("shim:fail:a.step#3\n shim:delay=5:a.write ; manager:die:whatever;\n\n").unwrap();
        assert_eq!((1..=5).filter(|_| faults.at("a.step").is_some()).count(), 1);
        assert_eq!(faults.at("a.write"), Some(Fault::Delay(Duration::from_millis(5))));
        assert_eq!((faults.at("a.write"), faults.at("a.moment")), (None, None));
        let third = plan("shim:fail:a.step#3").unwrap();
        assert_eq!([1, 2, 3, 4].map(|_| third.at("a.step").is_some()), [false, false, true, false]);
    }

    #[test]
    fn odds_are_met_roughly_and_from_the_nth_time_on() {
        let faults = plan("seed=7;shim:fail:a.step%1/10").unwrap();
        let met = times(&faults, "a.step", 10_000).len();
        assert!((700..1300).contains(&met), "{met}");
        let later = plan("shim:die:a.moment#3%1/1").unwrap();
        assert_eq!([1, 2, 3, 4].map(|_| later.at("a.moment").is_some()), [false, false, true, true]);
    }

    #[test]
    fn a_short_write_writes_half_and_fails() {
        let faults = plan("shim:short:a.write").unwrap();
        let mut written = Vec::new();
        let error = faults.write("a.write", b"abcd", |bytes| {
            written.extend_from_slice(bytes);
            Ok(())
        });
        assert_eq!(error.unwrap_err().raw_os_error(), Some(5));
        assert_eq!(written, b"ab");
        assert_eq!(faults.reach("a.step").ok(), Some(()));
    }

    #[test]
    fn what_comes_about_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let faults = plan(&format!("log={};shim:fail:a.step", log.display())).unwrap();
        faults.reach("a.step").unwrap_err();
        faults.reach("a.step").unwrap();
        assert_eq!(std::fs::read_to_string(log).unwrap(), "shim Fail a.step\n");
    }

    #[test]
    fn a_mistake_names_its_entry_and_what_there_is() {
        for (text, words) in [
            ("shim:fail", "PROGRAM:ACTION:POINT"),
            ("ship:fail:a.step", "runtime, shim, manager"),
            ("shim:fail:b", "a.write, a.step, a.moment"),
            ("shim:explode:a.step", "no action"),
            ("shim:delay=x:a.step", "milliseconds"),
            ("shim:fail:a.moment", "can delay, die"),
            ("shim:short:a.step", "can fail, delay, die"),
            ("shim:fail:a.step#0", "no number from 1 on"),
            ("shim:fail:a.step%1", "%P/Q"),
            ("manager:fail:x%1/0", "above 0"),
            ("seed=x", "invalid digit"),
        ] {
            let error = plan(&format!("shim:die:a.step;{text}")).unwrap_err();
            assert!(error.contains(words) && error.contains(&format!("{text:?}")), "{text}: {error}");
        }
        assert!(super::text("@/no/such/file".into()).unwrap_err().contains("/no/such/file"));
    }
}
