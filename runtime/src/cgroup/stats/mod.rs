//! Reading what a container has used: one file a controller, each with both
//! versions. The form is [`crate::contract::stats`]; units are converted to it
//! here. Nothing is written, and nothing but the container's own directories
//! (and for the network its init's `/proc/PID/net/dev`) is read.
//!
//! A file that this kernel does not have counts as zero, as does a cgroup that
//! is gone; any other failure is told with the file's name.

mod blkio;
mod cpu;
mod cpuset;
mod hugetlb;
mod memory;
mod network;
mod pids;
mod psi;
mod rdma;
mod resctrl;

use super::create::failure;
use super::handle::{Cgroup, Dir};
use super::layout::Version;
use crate::contract::report::{Failure, StageKind};
use crate::contract::stats::Stats;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads all statistics of a container whose init is `pid` (0: it is gone), and
/// whose group in resctrl is `group`, a path or a name there.
///
/// # Errors
/// The read that failed.
pub fn read(cgroup: &Cgroup, group: &Path, pid: i32) -> Result<Stats, Failure> {
    Ok(Stats {
        cpu: cpu::read(cgroup, Detail::All)?,
        cpuset: cpuset::read(cgroup)?,
        memory: memory::read(cgroup, Detail::All)?,
        pids: pids::read(cgroup)?,
        blkio: blkio::read(cgroup, Detail::All)?,
        hugetlb: hugetlb::read(cgroup)?,
        rdma: rdma::read(cgroup)?,
        intel_rdt: resctrl::read(group),
        network_interfaces: network::read(pid),
    })
}

/// Reads what is counted of CPU, memory, processes and I/O alone, for whoever asks often. What only version 1 tells, in
/// files of their own, is left out: CPU time of each processor, memory of the kernel, memory and swap together,
/// queues and waits of I/O. These are more than half of the files.
///
/// # Errors
/// The read that failed.
pub fn read_usage(cgroup: &Cgroup) -> Result<Stats, Failure> {
    Ok(Stats {
        cpu: cpu::read(cgroup, Detail::Sums)?,
        memory: memory::read(cgroup, Detail::Sums)?,
        pids: pids::read(cgroup)?,
        blkio: blkio::read(cgroup, Detail::Sums)?,
        ..Stats::default()
    })
}

/// How much of what version 1 has in files of their own is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    /// What [`read_usage`] says.
    Sums,
    /// All.
    All,
}

impl Detail {
    /// What `read` gives where all is asked for, else nothing.
    fn all<T: Default>(self, read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        match self {
            Self::Sums => Ok(T::default()),
            Self::All => read(),
        }
    }
}

/// Numbers by name.
type Table = BTreeMap<String, u64>;

/// The directory of one controller, for reading.
#[derive(Clone, Copy)]
struct Files<'a> {
    dir: &'a Dir,
}

impl<'a> Files<'a> {
    /// That of `controller`: its version 1 hierarchy, else the unified one.
    fn of(cgroup: &'a Cgroup, controller: &str) -> Option<Self> {
        cgroup.controller(controller).or_else(|| cgroup.unified()).map(|dir| Self { dir })
    }

    fn is_v2(self) -> bool {
        self.dir.version == Version::V2
    }

    /// The text of a file; `None` where there is none, or where the kernel says
    /// that it is switched off (as for pressure: EOPNOTSUPP).
    fn text(self, file: &str) -> Result<Option<String>, Failure> {
        match self.dir.read(file) {
            Err(error) if error.errno == Errno::EOPNOTSUPP => Ok(None),
            result => result.map_err(|error| {
                failure(StageKind::Stats, format!("read {file}"), error, &self.dir.path.join(file))
            }),
        }
    }

    /// A single number; `max` is the greatest.
    fn number(self, file: &str) -> Result<Option<u64>, Failure> {
        Ok(self.text(file)?.as_deref().and_then(number))
    }

    /// Likewise, where absence is 0.
    fn count(self, file: &str) -> Result<u64, Failure> {
        Ok(self.number(file)?.unwrap_or(0))
    }

    /// Lines of a name and a number.
    fn table(self, file: &str) -> Result<Table, Failure> {
        Ok(self.text(file)?.as_deref().map(table).unwrap_or_default())
    }
}

fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        digits => digits.parse().ok(),
    }
}

fn table(text: &str) -> Table {
    let entry = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), number(value)?))
    };
    text.lines().filter_map(entry).collect()
}

/// `name=number` pairs, as io.stat and rdma.current have them behind a device.
fn pairs(text: &str) -> Table {
    let entry = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_owned(), number(value)?))
    };
    text.split_whitespace().filter_map(entry).collect()
}
