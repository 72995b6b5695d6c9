//! The points of the manager at which a build with the feature `faults` fails, hesitates or dies, as
//! the plan in `SEXTANT_FAULTS` says (`sextant_proto::faults`). In any other build these
//! functions do nothing. docs/reliability.md says of each point what the system makes of it.

use std::io;
use std::path::Path;

/// A place in the manager's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Writing a record: what is intended with a container or a sandbox.
    RecordWrite,
    /// Bringing a record to the disk.
    RecordSync,
    /// Writing events.
    EventsAppend,
    /// Bringing events to the disk.
    EventsSync,
    /// Writing the journal of events anew, shorter.
    EventsCompact,
    /// Writing down that an operation with a key begins or has ended.
    OperationsAppend,
    /// Starting a shim.
    ShimSpawn,
    /// Calling a shim.
    ShimCall,
    /// Giving a container another shim.
    ShimAdopt,
    /// Executing the runtime: for what a shim cannot do any more, and for sandboxes.
    RuntimeSpawn,
    /// Removing the files of a container that is gone.
    DeleteRemove,
    /// Making what a sandbox consists of.
    SandboxMake,
    /// Removing it.
    SandboxRemove,
    /// Finding out at the start what became of a container.
    ReconcileContainer,
}

/// Passes a point that can fail, on a thread that may wait.
///
/// # Errors
/// EIO, where the plan says so.
#[cfg(feature = "faults")]
pub(crate) fn reach(point: Point) -> io::Result<()> {
    with::faults().reach(point.name())
}

/// The same in a task, which waits without its thread.
///
/// # Errors
/// As [`reach`].
#[cfg(feature = "faults")]
pub(crate) async fn pass(point: Point) -> io::Result<()> {
    use sextant_proto::faults::{Fault, carry_out};
    match with::faults().at(point.name()) {
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        fault => carry_out(fault),
    }
}

/// Passes a point that writes `bytes` with `work`.
///
/// # Errors
/// As `work`, or EIO where the plan says so.
#[cfg(feature = "faults")]
pub(crate) fn write(point: Point, bytes: &[u8], work: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    with::faults().write(point.name(), bytes, work)
}

/// Reads the plan: that of the environment, else the file `faults` in the state directory, which is made
/// where there is none. A file is read anew whenever it has changed.
///
/// # Errors
/// A sentence that names the entry that is none.
#[cfg(feature = "faults")]
pub(crate) fn read_plan(state: &Path) -> Result<(), String> {
    with::read(state)
}

/// What shims are given in their environment, so that they read the same plan.
#[cfg(feature = "faults")]
pub(crate) fn handed_on() -> Option<(&'static str, std::ffi::OsString)> {
    Some((sextant_proto::fault_plan::VARIABLE, with::live()?.value().to_owned()))
}

/// The file of the plan, which whoever writes it can change while the daemon runs.
#[cfg(feature = "faults")]
pub(crate) fn file() -> Option<std::path::PathBuf> {
    with::live()?.file().map(Into::into)
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn reach(_: Point) -> io::Result<()> {
    Ok(())
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) async fn pass(_: Point) -> io::Result<()> {
    Ok(())
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn write(_: Point, bytes: &[u8], work: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
    work(bytes)
}

/// There is none in this build.
///
/// # Errors
/// Never.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn read_plan(_: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(not(feature = "faults"))]
pub(crate) fn handed_on() -> Option<(&'static str, std::ffi::OsString)> {
    None
}

#[cfg(not(feature = "faults"))]
pub(crate) fn file() -> Option<std::path::PathBuf> {
    None
}

#[cfg(feature = "faults")]
mod with {
    use super::Point;
    use sextant_proto::fault_plan::VARIABLE;
    use sextant_proto::faults::{Faults, Kind, Live};
    use std::path::Path;
    use std::sync::{Arc, OnceLock};

    static PLAN: OnceLock<Live> = OnceLock::new();

    pub(super) fn live() -> Option<&'static Live> {
        PLAN.get()
    }

    /// The plan as it is now; without faults until it is read.
    pub(super) fn faults() -> Arc<Faults> {
        PLAN.get().map(Live::now).unwrap_or_default()
    }

    pub(super) fn read(state: &Path) -> Result<(), String> {
        let value = match std::env::var_os(VARIABLE) {
            Some(value) => value,
            None => {
                let file = state.join("faults");
                let made = std::fs::File::options().append(true).create(true).open(&file);
                made.map_err(|e| format!("make {}: {e}", file.display()))?;
                let mut value = std::ffi::OsString::from("@");
                value.push(file);
                value
            }
        };
        let live = Live::of(value, "manager", ALL.map(|point| (point.name(), point.kind())).to_vec())?;
        PLAN.set(live).map_err(|_| "the plan of faults is read twice".into())
    }

    const ALL: [Point; 14] = [
        Point::RecordWrite,
        Point::RecordSync,
        Point::EventsAppend,
        Point::EventsSync,
        Point::EventsCompact,
        Point::OperationsAppend,
        Point::ShimSpawn,
        Point::ShimCall,
        Point::ShimAdopt,
        Point::RuntimeSpawn,
        Point::DeleteRemove,
        Point::SandboxMake,
        Point::SandboxRemove,
        Point::ReconcileContainer,
    ];

    impl Point {
        /// As plans name it.
        pub(super) const fn name(self) -> &'static str {
            match self {
                Self::RecordWrite => "record.write",
                Self::RecordSync => "record.sync",
                Self::EventsAppend => "events.append",
                Self::EventsSync => "events.sync",
                Self::EventsCompact => "events.compact",
                Self::OperationsAppend => "operations.append",
                Self::ShimSpawn => "shim.spawn",
                Self::ShimCall => "shim.call",
                Self::ShimAdopt => "shim.adopt",
                Self::RuntimeSpawn => "runtime.spawn",
                Self::DeleteRemove => "delete.remove",
                Self::SandboxMake => "sandbox.make",
                Self::SandboxRemove => "sandbox.remove",
                Self::ReconcileContainer => "reconcile.container",
            }
        }

        const fn kind(self) -> Kind {
            match self {
                Self::RecordWrite | Self::EventsAppend | Self::OperationsAppend => Kind::Write,
                _ => Kind::Step,
            }
        }
    }
}
