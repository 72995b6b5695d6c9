//! Processes. Where there is no pids controller, those of the cgroup are counted.

use super::super::handle::Cgroup;
use super::Files;
use crate::contract::report::Failure;
use crate::contract::stats::Pids;

pub(super) fn read(cgroup: &Cgroup) -> Result<Pids, Failure> {
    let Some(files) = Files::of(cgroup, "pids") else { return Ok(Pids::default()) };
    match files.number("pids.current")? {
        Some(current) => {
            let limit = files.number("pids.max")?.filter(|limit| *limit != u64::MAX);
            Ok(Pids { current, limit: limit.unwrap_or(0) })
        }
        None => {
            let current = u64::try_from(cgroup.procs()?.len()).unwrap_or(u64::MAX);
            Ok(Pids { current, limit: 0 })
        }
    }
}
