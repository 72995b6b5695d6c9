//! Carrying out the report (its form is in [`crate::contract::report`]): every
//! stage of the work goes through [`Reporter::stage`], in the parent and in the
//! container's init alike.

use crate::contract::report::{Failure, Record, Stage};
use crate::faults;
use crate::sys;
use crate::sys::process::Cloned;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// What a step of the runtime gives.
pub type Outcome<T> = Result<T, Box<Failure>>;

/// Writes records; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Reporter {
    fd: Option<Rc<OwnedFd>>,
}

impl Reporter {
    /// Writes to `fd`; without one the records are not made.
    pub fn new(fd: Option<OwnedFd>) -> Self {
        Self { fd: fd.map(Rc::new) }
    }

    /// Whether anybody reads the records.
    pub fn is_on(&self) -> bool {
        self.fd.is_some()
    }

    /// The number of the descriptor, to be kept open.
    pub fn fd(&self) -> Option<i32> {
        use std::os::fd::AsRawFd;
        self.fd.as_ref().map(|fd| fd.as_raw_fd())
    }

    /// The mode of the file of the records.
    #[cfg(feature = "faults")]
    pub(crate) fn mode(&self) -> Option<libc::mode_t> {
        self.fd.as_ref().and_then(|fd| Some(nix::sys::stat::fstat(fd.as_ref()).ok()?.st_mode))
    }

    /// Carries out one stage and records it, done or failed. The failure that
    /// comes back bears the stage's name.
    ///
    /// # Errors
    /// The work's own.
    pub fn stage<T>(
        &self,
        stage: impl Into<Stage>,
        object: impl AsRef<str>,
        work: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<T> {
        let start_ns = if self.is_on() { now_ns() } else { 0 };
        let stage = stage.into();
        self.stage_from(stage, object.as_ref(), start_ns, faults::around(stage, self, work))
    }

    /// Names a failure and records the stage that began at `start_ns`.
    fn stage_from<T>(&self, stage: Stage, object: &str, start_ns: u64, result: Outcome<T>) -> Outcome<T> {
        let result = result.map_err(|mut failure| {
            if failure.stage.is_empty() {
                failure.stage = stage.to_string();
            }
            if failure.object.is_empty() {
                failure.object = object.into();
            }
            failure
        });
        if self.is_on() {
            self.write(&Record {
                stage,
                start_ns,
                end_ns: now_ns(),
                pid: std::process::id().cast_signed(),
                object: object.into(),
                failure: result.as_ref().err().map(|f| (**f).clone()),
            });
        }
        result
    }

    /// Carries out a clone, which returns twice: the record is the parent's alone.
    ///
    /// # Errors
    /// The clone's own.
    pub fn stage_of_clone(&self, clone: impl FnOnce() -> Outcome<Cloned>) -> Outcome<Cloned> {
        let start_ns = if self.is_on() { now_ns() } else { 0 };
        let stage = crate::contract::report::StageKind::Clone.into();
        match faults::before(stage, self).and_then(|()| clone()) {
            Ok(Cloned::Child) => Ok(Cloned::Child),
            result => self.stage_from(stage, "", start_ns, result),
        }
    }

    /// Writes one record. A reader that has gone away costs the container nothing.
    pub fn write(&self, record: &Record) {
        if let Some(fd) = &self.fd {
            // The report is an observer: a full or closed pipe must not fail the work.
            nix::unistd::write(fd.as_fd(), &record.to_line()).ok();
        }
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
pub fn now_ns() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0)
    })
}

/// A failure without a system call.
pub fn refuse(attempted: impl Into<String>, because: impl Into<String>) -> Box<Failure> {
    Box::new(Failure { attempted: attempted.into(), because: because.into(), ..Failure::default() })
}

/// One failure that tells every problem; the first one's place is the failure's.
pub fn refuse_all(attempted: impl Into<String>, problems: &[crate::plan::Problem]) -> Box<Failure> {
    let mut failure = refuse(attempted, "");
    if let Some((first, rest)) = problems.split_first() {
        failure.pointer.clone_from(&first.pointer);
        failure.because.clone_from(&first.message);
        failure.hint.clone_from(&first.hint);
        failure.because.extend(rest.iter().map(|problem| format!("\n{problem}")));
    }
    failure
}

/// Tells with a failure what could not be taken back after it.
pub fn with_leftovers(mut failure: Box<Failure>, left: &[String]) -> Box<Failure> {
    if !left.is_empty() {
        failure.because.push_str(&format!(" (and left behind: {})", left.join("; ")));
    }
    failure
}

/// Says what was attempted when a system call failed.
pub trait Attempt<T> {
    /// Turns the error into a [`Failure`].
    ///
    /// # Errors
    /// The given one, with what was attempted.
    fn attempt(self, what: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T> Attempt<T> for sys::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|e| {
            #[allow(clippy::as_conversions, reason = "Errno is a C int by its repr")]
            let errno = e.errno as i32;
            Box::new(Failure { attempted: what(), syscall: e.call, errno, ..Failure::default() })
        })
    }
}

impl<T> Attempt<T> for std::io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|e| {
            let because = if e.raw_os_error().is_some() { String::new() } else { e.to_string() };
            let errno = e.raw_os_error().unwrap_or(0);
            Box::new(Failure { attempted: what(), errno, because, ..Failure::default() })
        })
    }
}

/// Adds what is known of the place.
pub trait Place {
    /// The JSON pointer into config.json.
    #[must_use]
    fn at(self, pointer: &str) -> Self;
    /// What to do about it, when `errno` is the given one.
    #[must_use]
    fn hint(self, errno: nix::errno::Errno, hint: &str) -> Self;
}

impl<T> Place for Outcome<T> {
    fn at(self, pointer: &str) -> Self {
        self.map_err(|mut f| {
            if f.pointer.is_empty() {
                f.pointer = pointer.into();
            }
            f
        })
    }

    fn hint(self, errno: nix::errno::Errno, hint: &str) -> Self {
        self.map_err(|mut f| {
            if f.hint.is_empty() && nix::errno::Errno::from_raw(f.errno) == errno {
                f.hint = hint.into();
            }
            f
        })
    }
}
