//! The processes of a container, as the kernel shows them in `/proc`. A process
//! may end while it is looked at, and its number be given to another: those
//! alone are told that are of the container before and after the look.

use std::fs;
use std::time::{Duration, SystemTime};

/// One process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// In the manager's pid namespace.
    pub pid: i32,
    /// Its parent there.
    pub parent_pid: i32,
    /// In the container's own pid namespace.
    pub container_pid: i32,
    /// Effective user id on the host.
    pub uid: u32,
    /// The letter of proc_pid_stat(5).
    pub state: char,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// CPU time.
    pub cpu: Duration,
    /// Threads.
    pub threads: u32,
    /// When it began; `None` where the kernel does not say when it was booted.
    pub started_at: Option<SystemTime>,
    /// argv, or its name in brackets.
    pub command: Vec<String>,
}

/// What turns the kernel's units into ours.
#[derive(Clone, Copy, Debug)]
struct Units {
    ticks: u64,
    boot: Option<SystemTime>,
}

/// Those of `pids` that `again` lists as well; without those that have ended meanwhile.
pub fn read<E>(pids: &[i32], again: impl FnOnce() -> Result<Vec<i32>, E>) -> Result<Vec<Process>, E> {
    let units = Units { ticks: ticks(), boot: boot_time() };
    let found: Vec<Process> = pids.iter().filter_map(|pid| one(*pid, units)).collect();
    let still = again()?;
    Ok(found.into_iter().filter(|process| still.contains(&process.pid)).collect())
}

fn one(pid: i32, units: Units) -> Option<Process> {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).ok();
    let text = |file: &str| Some(String::from_utf8_lossy(&read(file)?).into_owned());
    let command = read("cmdline")?;
    parse(pid, &text("stat")?, &text("status")?, &command, units)
}

/// From the texts of `/proc/PID/stat`, `status` and `cmdline`.
fn parse(pid: i32, stat: &str, status: &str, command: &[u8], units: Units) -> Option<Process> {
    // The second field is a name and may have any character.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Numbered as in proc_pid_stat(5), from the third on.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |n: usize| field(n)?.parse::<u64>().ok();
    let ticks = |n: u64| Duration::from_nanos(n.saturating_mul(1_000_000_000 / units.ticks));
    let line = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).map(str::split_whitespace);
    let kib = |key: &str| line(key).and_then(|mut words| words.next()?.parse::<u64>().ok());
    let words = command.split(|b| *b == 0).filter(|word| !word.is_empty());
    let mut argv: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    if argv.is_empty() {
        argv.push(format!("[{name}]"));
    }
    Some(Process {
        pid,
        parent_pid: field(4)?.parse().ok()?,
        container_pid: line("NSpid:")?.last()?.parse().ok()?,
        // Real, effective, saved, of the file system.
        uid: line("Uid:")?.nth(1)?.parse().ok()?,
        state: field(3)?.chars().next()?,
        // A process without memory of its own has no such line.
        rss_bytes: kib("VmRSS:").unwrap_or(0).saturating_mul(1024),
        cpu: ticks(number(14)?.saturating_add(number(15)?)),
        threads: field(20)?.parse().ok()?,
        started_at: units.boot.and_then(|boot| boot.checked_add(ticks(number(22)?))),
        command: argv,
    })
}

/// Clock ticks a second (sysconf(3)).
fn ticks() -> u64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(100)
}

fn boot_time() -> Option<SystemTime> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_process_calls_itself() {
        let stat = "7 (a) R 1 (b) S 5 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 200 1000 25 0";
        let status = "Name:\ta\nUid:\t0\t100000\t0\t0\nNSpid:\t7\t1\nVmRSS:\t     100 kB\n";
        let units = Units { ticks: 100, boot: Some(SystemTime::UNIX_EPOCH) };
        let process = parse(7, stat, status, b"sh\0-c\0\0", units).unwrap();
        let expected = Process {
            pid: 7,
            parent_pid: 5,
            container_pid: 1,
            uid: 100_000,
            state: 'S',
            rss_bytes: 102_400,
            cpu: Duration::from_secs(2),
            threads: 3,
            started_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2)),
            command: vec!["sh".into(), "-c".into()],
        };
        assert_eq!(process, expected);
        let zombie = parse(7, stat, "Uid:\t0\t0\t0\t0\nNSpid:\t7\n", b"", units).unwrap();
        assert_eq!((zombie.command, zombie.rss_bytes), (vec!["[a) R 1 (b]".to_owned()], 0));
        assert_eq!(parse(7, "", status, b"", units), None);
    }

    #[test]
    fn one_that_is_no_more_of_the_container_is_left_out() {
        let own = i32::try_from(std::process::id()).unwrap();
        let read = |again: Vec<i32>| read::<()>(&[own, i32::MAX], || Ok(again)).unwrap();
        assert_eq!(read(vec![own, i32::MAX]).len(), 1);
        assert!(read(vec![1]).is_empty());
    }
}
