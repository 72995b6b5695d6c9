//! What processes use, from procfs (proc(5)).

use std::collections::BTreeSet;
use std::path::Path;

/// Milliseconds in a clock tick: Linux tells 100 ticks a second to user space.
const TICK_MS: u64 = 10;

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Proportional set size of a process, in KiB; `None` when it has none, or has gone.
pub(crate) fn pss_kib(pid: i32) -> Option<u64> {
    let rollup = text(&format!("/proc/{pid}/smaps_rollup"));
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time of a process and of those of its children that it has waited for, in milliseconds.
pub(crate) fn cpu_ms(pid: i32) -> u64 {
    let stat = text(&format!("/proc/{pid}/stat"));
    // Behind the name, which may hold anything, utime is the 12th field.
    let after = stat.rsplit(')').next().unwrap_or("");
    let ticks: u64 =
        after.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * TICK_MS
}

/// CPU time that this host has not been idle, of all processors, in milliseconds since it began.
pub(crate) fn host_cpu_ms() -> u64 {
    let stat = text("/proc/stat");
    let fields = stat.lines().next().unwrap_or("").split_whitespace().skip(1);
    let numbers: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows is part of user.
    let busy =
        numbers.iter().take(7).enumerate().filter(|(n, _)| !matches!(n, 3 | 4)).map(|(_, ticks)| ticks);
    busy.sum::<u64>() * TICK_MS
}

/// Processes that have to do with a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) shims: Vec<i32>,
    /// Those inside containers.
    pub(crate) inside: Vec<i32>,
    /// Others with a mark in their command line, such as a runtime at work.
    pub(crate) others: Vec<i32>,
}

/// Whether the command line of a process bears a mark, and its name is that of a shim.
fn is_shim(pid: i32) -> bool {
    let name = text(&format!("/proc/{pid}/comm"));
    ["shim", "conmon"].iter().any(|part| name.contains(part))
}

/// Whether this mark is in the command line of the process.
pub(crate) fn is_marked(pid: i32, marks: &[String]) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    contains(&String::from_utf8_lossy(&line), marks)
}

fn contains(text: &str, marks: &[String]) -> bool {
    marks.iter().any(|mark| text.contains(mark.as_str()))
}

/// The processes whose command line or cgroup bears one of `marks`.
pub(crate) fn scan(marks: &[String]) -> Found {
    let own = std::process::id();
    let mut found = Found::default();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if u32::try_from(pid) == Ok(own) {
            continue;
        }
        let marked = is_marked(pid, marks);
        if marked && is_shim(pid) {
            found.shims.push(pid);
        } else if contains(&text(&format!("/proc/{pid}/cgroup")), marks) {
            found.inside.push(pid);
        } else if marked {
            found.others.push(pid);
        }
    }
    found
}

/// Directories of cgroups whose name bears one of `marks`; those of one cgroup in several hierarchies are one.
pub(crate) fn cgroups(marks: &[String]) -> Vec<String> {
    let (mut names, mut todo) = (BTreeSet::new(), vec![Path::new("/sys/fs/cgroup").to_owned()]);
    while let Some(dir) = todo.pop() {
        let entries = std::fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok);
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if contains(&name, marks) {
                names.insert(name);
            } else {
                todo.push(entry.path());
            }
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_uses_something() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(pss_kib(pid).unwrap() > 100 && host_cpu_ms() > 0);
        assert_eq!((pss_kib(-1), cpu_ms(-1)), (None, 0));
        let mut child = std::process::Command::new("sleep").arg("1000.0625").spawn().unwrap();
        let marked = i32::try_from(child.id()).unwrap();
        let marks = ["1000.0625".to_owned()];
        // Between fork and execve it is still this program.
        while !is_marked(marked, &marks) {
            std::thread::yield_now();
        }
        assert!(scan(&marks).others.contains(&marked));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
