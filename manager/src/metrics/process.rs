//! What `/proc` says of the manager itself, and of a shim.

use std::fs;
use std::time::{Duration, SystemTime};

/// The manager as a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// CPU time so far.
    pub cpu: Duration,
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many there may be.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// This process; what cannot be read is 0.
    pub fn read() -> Self {
        let (resident_bytes, _) = memory("self").unwrap_or_default();
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok();
        let cpu = usage.map(|usage| time(usage.user_time()) + time(usage.system_time()));
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        let count = |dir: &str| fs::read_dir(dir).map_or(0, |all| u64::try_from(all.count()).unwrap_or(0));
        Self {
            cpu: cpu.unwrap_or_default(),
            resident_bytes,
            // The one that lists them is among them.
            open_fds: count("/proc/self/fd").saturating_sub(1),
            max_fds: limit.map_or(0, |(soft, _)| soft),
            threads: count("/proc/self/task"),
        }
    }
}

/// Memory of a shim, in bytes: what is resident, and what of that belongs to it alone (not to files, such as
/// its binary, which all shims share). `None` when it has gone.
///
/// One small read: `smaps_rollup`, which has the proportional set size, walks the page tables under the lock of
/// the process, and costs four times as much.
pub fn shim(pid: i32) -> Option<(u64, u64)> {
    memory(&pid.to_string())
}

/// Resident and private bytes of `/proc/PID/statm` (proc_pid_statm(5)).
fn memory(pid: &str) -> Option<(u64, u64)> {
    parse(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?, page())
}

fn parse(statm: &str, page: u64) -> Option<(u64, u64)> {
    let mut fields = statm.split_whitespace().skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = fields.next().zip(fields.next())?;
    Some((resident.saturating_mul(page), resident.saturating_sub(shared).saturating_mul(page)))
}

fn page() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

fn time(of: nix::sys::time::TimeVal) -> Duration {
    use nix::sys::time::TimeValLike;
    Duration::from_micros(u64::try_from(of.num_microseconds()).unwrap_or(0))
}

/// Seconds since the epoch, with fractions.
pub(super) fn epoch(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_is_what_no_file_holds() {
        assert_eq!(parse("1000 30 20 5 0 60 0\n", 4096), Some((30 * 4096, 10 * 4096)));
        assert_eq!(parse("1000\n", 4096), None);
        assert_eq!(parse("", 4096), None);
    }

    #[test]
    fn this_process_has_all_of_it() {
        let Process { resident_bytes, open_fds, max_fds, threads, .. } = Process::read();
        assert!(resident_bytes > 1 << 16 && open_fds >= 3 && max_fds >= open_fds && threads >= 1);
        assert!(shim(i32::try_from(std::process::id()).unwrap()).is_some() && shim(-1).is_none());
    }
}
