//! Failures on purpose, so that tests can prove what a failure leaves. Only builds with the
//! cargo feature `faults` have them. There, a *plan* says what happens at which named point of
//! which program ([`crate::fault_plan`]): the environment variable [`VARIABLE`] has it, or `@FILE`.
//!
//! Each process draws numbers of its own: of the seed, the program, the container and its own pid,
//! so that one that is started again does not meet the same fault for ever.
//! The runtime reads the same plan (`runtime/src/faults.rs`), and its points are its stages.

use crate::fault_plan::{self, Line, VARIABLE};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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

impl Fault {
    /// As plans and their logs name it.
    fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Short => "short",
            Self::Delay(_) => "delay",
            Self::Die => "die",
        }
    }
}

/// The points of a program: names and kinds.
pub type Points = [(&'static str, Kind)];

/// What a plan says about this process.
#[derive(Debug, Default)]
pub struct Faults {
    program: &'static str,
    /// Empty: none or all.
    container: String,
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

    /// The same, of a `plan` that is written as the variable's value is.
    ///
    /// # Errors
    /// As [`Faults::of_environment`].
    pub fn of_value(
        plan: &OsStr,
        program: &'static str,
        container: &str,
        points: &Points,
    ) -> Result<Self, String> {
        Self::of(&text(plan.to_owned())?, program, container, points)
    }

    fn of(plan: &str, program: &'static str, container: &str, points: &Points) -> Result<Self, String> {
        let (mut entries, mut seed, mut log) = (Vec::new(), 0, None);
        for line in fault_plan::lines(plan) {
            let wrong = |why: String| format!("{VARIABLE}: the entry {line:?}: {why}");
            match fault_plan::parse(line).map_err(wrong)? {
                Line::Seed(number) => seed = number,
                Line::Log(path) => log = Some(path),
                // Another program knows its own points.
                Line::Entry(entry) if entry.program != program => {}
                Line::Entry(entry) => entries.push(Entry::of(&entry, points).map_err(wrong)?),
            }
        }
        let own = format!("{seed} {program} {container} {}", std::process::id());
        let container = container.to_owned();
        Ok(Self { program, container, entries, random: Mutex::new(hash(own.as_bytes())), log })
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
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
            u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000
                + u64::try_from(now.tv_nsec()).unwrap_or(0)
        });
        let line = format!("{} {} {point} {now} {}", self.program, fault.name(), self.container);
        let file = std::fs::File::options().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all((line.trim_end().to_owned() + "\n").as_bytes()))
            .unwrap_or_default();
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

/// The plan of a process that lives long: one in a file is read anew whenever the file has become another.
#[derive(Debug)]
pub struct Live {
    value: OsString,
    program: &'static str,
    points: Vec<(&'static str, Kind)>,
    now: Mutex<(Option<Version>, Arc<Faults>)>,
}

/// By which a file is known to be another: device, inode, size and time of change.
type Version = (u64, u64, u64, i64, i64);

impl Live {
    /// The plan that the variable's `value` is or names, for `program`.
    ///
    /// # Errors
    /// As [`Faults::of_environment`].
    pub fn of(
        value: OsString,
        program: &'static str,
        points: Vec<(&'static str, Kind)>,
    ) -> Result<Self, String> {
        let this = Self { value, program, points, now: Mutex::default() };
        let read = this.read()?;
        *this.now.lock().unwrap_or_else(PoisonError::into_inner) = (this.version(), Arc::new(read));
        Ok(this)
    }

    /// As the variable has it, for further programs.
    pub fn value(&self) -> &OsStr {
        &self.value
    }

    /// The file with the plan, where it is in one.
    pub fn file(&self) -> Option<&Path> {
        let bytes = self.value.as_encoded_bytes().strip_prefix(b"@")?;
        Some(Path::new(OsStr::from_bytes(bytes)))
    }

    /// The plan as it is. One that cannot be read, or has a mistake, leaves the one before.
    pub fn now(&self) -> Arc<Faults> {
        let version = self.version();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if version != now.0 {
            now.0 = version;
            if let Ok(read) = self.read() {
                now.1 = Arc::new(read);
            }
        }
        now.1.clone()
    }

    fn read(&self) -> Result<Faults, String> {
        Faults::of_value(&self.value, self.program, "", &self.points)
    }

    fn version(&self) -> Option<Version> {
        let m = std::fs::metadata(self.file()?).ok()?;
        Some((m.dev(), m.ino(), m.size(), m.ctime(), m.ctime_nsec()))
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

impl Entry {
    /// What an entry of the plan is for this program, which has these points.
    fn of(entry: &fault_plan::Entry, points: &Points) -> Result<Self, String> {
        let known = points.iter().find(|(point, _)| *point == entry.point);
        let Some((point, kind)) = known else {
            let (program, name) = (entry.program, &entry.point);
            return Err(format!("{program} has no point {name:?}: there are {}", list(points)));
        };
        let action = entry.action.as_str();
        if !kind.actions().contains(&action.split('=').next().unwrap_or_default()) {
            return Err(format!(
                "{action} is nothing that {point} can do: it can {}",
                kind.actions().join(", ")
            ));
        }
        let fault = match action {
            "fail" => Fault::Fail,
            "short" => Fault::Short,
            "die" => Fault::Die,
            _ => Fault::Delay(fault_plan::delay(action).unwrap_or_default()),
        };
        Ok(Self { fault, point, nth: entry.nth, odds: entry.odds, reached: AtomicU64::new(0) })
    }
}

fn list(points: &Points) -> String {
    points.iter().map(|(point, _)| *point).collect::<Vec<_>>().join(", ")
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
        let text = std::fs::read_to_string(log).unwrap();
        let told = fault_plan::told(text.trim_end()).unwrap();
        assert_eq!((told.what, told.about), ("shim fail a.step", vec!["c"]));
        assert!(text.ends_with('\n') && told.at_ns > 0, "{text}");
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

    #[test]
    fn a_plan_in_a_file_is_read_anew_when_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plan");
        let mut value = OsString::from("@");
        value.push(&file);
        assert!(Live::of(value.clone(), "shim", POINTS.to_vec()).is_err(), "there is no file");
        std::fs::write(&file, "").unwrap();
        let live = Live::of(value, "shim", POINTS.to_vec()).unwrap();
        assert_eq!((live.now().at("a.step"), live.file()), (None, Some(file.as_path())));
        std::fs::write(&file, "shim:fail:a.step#2").unwrap();
        assert_eq!((live.now().at("a.step"), live.now().at("a.step")), (None, Some(Fault::Fail)));
        std::fs::write(&file, "a mistake").unwrap();
        assert_eq!(live.now().at("a.step"), None, "its third time");
        std::fs::write(&file, "shim:die:a.step").unwrap();
        assert_eq!(live.now().at("a.step"), Some(Fault::Die));
    }
}
