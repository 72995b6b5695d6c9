//! The points of the shim at which a build with the feature `faults` fails, hesitates or dies, as the
//! plan in `SEXTANT_FAULTS` says (`sextant_proto::faults`). In any other build these
//! functions do nothing. docs/reliability.md says of each point what the system makes of it.

use std::io;

/// A place in the shim's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Writing a record of the journal.
    JournalAppend,
    /// Bringing the journal to the disk.
    JournalSync,
    /// Writing the journal anew, shorter.
    JournalCompact,
    /// Writing entries of the log.
    LogWrite,
    /// Beginning a new file of the log.
    LogRotate,
    /// Taking note of output that was read, or that is in the log now.
    HandStore,
    /// Executing the runtime.
    RuntimeSpawn,
    /// Hearing how the runtime has ended.
    RuntimeReport,
    /// Taking over the init that `create` has left.
    InitClaim,
    /// Waiting for children that have ended.
    ExitReap,
    /// Between the end of the init and its record.
    ExitRecord,
    /// Before the runtime executes a process in the container.
    ExecSpawn,
    /// Between the start of such a process and its record.
    ExecRecord,
    /// Between its end and the record of that.
    ExecEnd,
    /// Taking the container over from a shim that was killed.
    AdoptTakeover,
    /// Making the socket.
    SocketBind,
}

/// Passes a point that can fail.
///
/// # Errors
/// EIO, where the plan says so.
#[cfg(feature = "faults")]
pub(crate) fn reach(point: Point) -> io::Result<()> {
    with::faults().reach(point.name())
}

/// Passes a point that cannot fail.
#[cfg(feature = "faults")]
pub(crate) fn moment(point: Point) {
    // Its kind has no fault that is an error.
    reach(point).unwrap_or_default();
}

/// Passes a point that writes `bytes` with `work`.
///
/// # Errors
/// As `work`, or EIO where the plan says so.
#[cfg(feature = "faults")]
pub(crate) fn write(point: Point, bytes: &[u8], work: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    with::faults().write(point.name(), bytes, work)
}

/// Reads the plan, for the shim of `container`.
///
/// # Errors
/// A sentence that names the entry that is none.
#[cfg(feature = "faults")]
pub(crate) fn read_plan(container: &str) -> Result<(), String> {
    with::read(container)
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn reach(_: Point) -> io::Result<()> {
    Ok(())
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn moment(_: Point) {}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn write(_: Point, bytes: &[u8], work: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
    work(bytes)
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn read_plan(_: &str) -> Result<(), String> {
    Ok(())
}

#[cfg(feature = "faults")]
mod with {
    use super::Point;
    use sextant_proto::faults::{Faults, Kind};
    use std::sync::OnceLock;

    static FAULTS: OnceLock<Faults> = OnceLock::new();

    /// The plan; without faults until it is read.
    pub(super) fn faults() -> &'static Faults {
        static NONE: OnceLock<Faults> = OnceLock::new();
        FAULTS.get().unwrap_or_else(|| NONE.get_or_init(Faults::default))
    }

    pub(super) fn read(container: &str) -> Result<(), String> {
        let points = ALL.map(|point| (point.name(), point.kind()));
        let faults = Faults::of_environment("shim", container, &points)?;
        FAULTS.set(faults).map_err(|_| "the plan of faults is read twice".into())
    }

    const ALL: [Point; 16] = [
        Point::JournalAppend,
        Point::JournalSync,
        Point::JournalCompact,
        Point::LogWrite,
        Point::LogRotate,
        Point::HandStore,
        Point::RuntimeSpawn,
        Point::RuntimeReport,
        Point::InitClaim,
        Point::ExitReap,
        Point::ExitRecord,
        Point::ExecSpawn,
        Point::ExecRecord,
        Point::ExecEnd,
        Point::AdoptTakeover,
        Point::SocketBind,
    ];

    impl Point {
        /// As plans name it.
        pub(super) const fn name(self) -> &'static str {
            match self {
                Self::JournalAppend => "journal.append",
                Self::JournalSync => "journal.sync",
                Self::JournalCompact => "journal.compact",
                Self::LogWrite => "log.write",
                Self::LogRotate => "log.rotate",
                Self::HandStore => "hand.store",
                Self::RuntimeSpawn => "runtime.spawn",
                Self::RuntimeReport => "runtime.report",
                Self::InitClaim => "init.claim",
                Self::ExitReap => "exit.reap",
                Self::ExitRecord => "exit.record",
                Self::ExecSpawn => "exec.spawn",
                Self::ExecRecord => "exec.record",
                Self::ExecEnd => "exec.end",
                Self::AdoptTakeover => "adopt.takeover",
                Self::SocketBind => "socket.bind",
            }
        }

        const fn kind(self) -> Kind {
            match self {
                Self::JournalAppend | Self::LogWrite => Kind::Write,
                Self::HandStore | Self::ExitRecord | Self::ExecRecord | Self::ExecEnd => Kind::Moment,
                _ => Kind::Step,
            }
        }
    }
}
