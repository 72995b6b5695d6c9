//! Whether the kernel's OOM killer struck in the container's cgroup: the
//! counter `oom_kill` of `memory.events` (v2) or `memory.oom_control` (v1),
//! compared with its value at creation (cgroups(7), and the kernel's
//! admin-guide on both). Where it cannot be read, the answer is no. [`watch`]
//! hears of it at once.

mod watch;

use std::path::{Path, PathBuf};
pub(crate) use watch::OomWatch;

/// The counter of one cgroup.
#[derive(Clone, Debug)]
pub(crate) struct OomCounter {
    /// Where it is read.
    pub(crate) file: PathBuf,
    /// Its value at the creation.
    pub(crate) before: u64,
}

impl OomCounter {
    /// The counter of the memory cgroup of `pid`. `None` when there is none, or
    /// when it is the shim's own cgroup too, whose counter says nothing of the container.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let read = |who: &str| std::fs::read_to_string(format!("/proc/{who}/cgroup")).ok();
        let (theirs, ours) = (read(&pid.to_string())?, read("self")?);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let file = counter_file(&theirs, &mounts)?;
        if counter_file(&ours, &mounts)? == file {
            return None;
        }
        let before = count(&file)?;
        Some(Self { file, before })
    }

    /// Whether it has grown since.
    pub(crate) fn grew(&self) -> bool {
        count(&self.file).is_some_and(|now| now > self.before)
    }
}

fn count(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|l| l.strip_prefix("oom_kill ")).and_then(|n| n.trim().parse().ok())
}

/// The file with the counter, from the texts of `/proc/PID/cgroup` and `/proc/self/mountinfo`.
fn counter_file(cgroup: &str, mounts: &str) -> Option<PathBuf> {
    let fields = || cgroup.lines().filter_map(|l| l.split_once(':')?.1.split_once(':'));
    if let Some((_, path)) = fields().find(|(list, _)| list.split(',').any(|c| c == "memory")) {
        let mount = mounts.lines().find_map(|l| mounted(l, "cgroup", Some("memory")))?;
        return below(mount, path, "memory.oom_control");
    }
    let (_, path) = fields().find(|(list, _)| list.is_empty())?;
    below(mounts.lines().find_map(|l| mounted(l, "cgroup2", None))?, path, "memory.events")
}

/// Root and mount point of a line of mountinfo, when it is of this type and has this controller.
pub(crate) fn mounted<'a>(
    line: &'a str,
    fstype: &str,
    controller: Option<&str>,
) -> Option<(&'a str, &'a str)> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let options = (right.next() == Some(fstype)).then(|| right.nth(1))?;
    let wanted = controller.is_none_or(|c| options.is_some_and(|o| o.split(',').any(|x| x == c)));
    let mut left = left.split(' ').skip(3);
    Some((left.next()?, left.next()?)).filter(|_| wanted)
}

pub(crate) fn below((root, point): (&str, &str), path: &str, file: &str) -> Option<PathBuf> {
    let inside = Path::new(path).strip_prefix(root).ok()?;
    Some(Path::new(point).join(inside).join(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
30 22 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n\
31 22 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory\n";

    #[test]
    fn v1_and_v2() {
        let v1 = "5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/c\n";
        assert_eq!(
            counter_file(v1, MOUNTS).unwrap(),
            Path::new("/sys/fs/cgroup/memory/a/b/memory.oom_control")
        );
        let v2 = "0::/c\n";
        assert_eq!(counter_file(v2, MOUNTS).unwrap(), Path::new("/sys/fs/cgroup/unified/c/memory.events"));
        assert_eq!(counter_file("", MOUNTS), None);
    }
}
