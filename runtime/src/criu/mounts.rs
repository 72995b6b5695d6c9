//! Which mounts of a container come from the host: CRIU does not write them
//! into an image, and at the restore they are taken from the bundle again. Each
//! is named by its place in the container.

use super::rpc::ExternalMount;
use crate::plan::{Depth, MountKind, Plan};
use crate::report::{Attempt, Outcome};
use crate::rootfs::root::Root;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// File systems that CRIU makes anew even where the host has the same one.
const MADE: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// One line of a mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Number of the mount.
    pub(super) id: u64,
    device: String,
    place: String,
    fstype: String,
}

/// Reads those of a process.
///
/// # Errors
/// As open(2).
pub(super) fn read(pid: &str) -> Outcome<Vec<Line>> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = fs::read_to_string(&path).attempt(|| format!("read {path}"))?;
    Ok(text.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Line> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    Some(Line {
        id: left.next()?.parse().ok()?,
        device: left.nth(1)?.into(),
        place: unescape(left.nth(1)?),
        fstype: right.split(' ').next()?.into(),
    })
}

fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// For a dump: the mounts of the container whose file system the host has mounted as well.
pub(super) fn of_container(container: &[Line], host: &[Line]) -> Vec<ExternalMount> {
    let on_host: BTreeSet<&str> = host.iter().map(|line| line.device.as_str()).collect();
    let is_external = |line: &&Line| {
        line.place != "/" && !MADE.contains(&line.fstype.as_str()) && on_host.contains(line.device.as_str())
    };
    let external = |line: &Line| ExternalMount { key: line.place.clone(), val: line.place.clone() };
    container.iter().filter(is_external).map(external).collect()
}

/// For a restore: what the bundle has at these places. Places are resolved in
/// the root, since the kernel has told CRIU of the resolved ones.
///
/// # Errors
/// As reading the host's mounts.
pub(super) fn of_bundle(plan: &Plan, root: &Root) -> Outcome<Vec<ExternalMount>> {
    let host = read("self")?;
    let mut found = Vec::new();
    let mut add = |place: &Path, source: &Path| {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        found.push(ExternalMount { key: text(&resolved(root, place)), val: text(source) });
    };
    for mount in &plan.mounts {
        let MountKind::Bind { source, depth } = &mount.kind else { continue };
        add(&mount.destination, source);
        if *depth == Depth::Recursive {
            for below in host.iter().filter_map(|line| Path::new(&line.place).strip_prefix(source).ok()) {
                if below != Path::new("") {
                    add(&mount.destination.join(below), &source.join(below));
                }
            }
        }
    }
    for masked in &plan.masked {
        add(&masked.path, Path::new("/dev/null"));
    }
    for device in &plan.devices {
        add(&device.path, &device.path);
    }
    Ok(found)
}

/// Where a place inside the root is once links are followed; itself, where it is missing.
fn resolved(root: &Root, place: &Path) -> PathBuf {
    let path_of = |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).ok();
    let found = root.open(place).ok().and_then(|fd| {
        let (inside, top) = (path_of(fd.as_fd().as_raw_fd())?, path_of(root.as_fd().as_raw_fd())?);
        Some(Path::new("/").join(inside.strip_prefix(top).ok()?))
    });
    found.unwrap_or_else(|| place.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_the_hosts_file_systems_are_external() {
        let host = [
            "24 1 8:1 / / rw - ext4 /dev/sda1 rw",
            "25 24 0:5 / /dev rw - devtmpfs dev rw",
            "26 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
        ];
        let container = [
            "40 30 8:1 /b/rootfs / rw master:1 - ext4 /dev/sda1 rw",
            "41 40 0:28 / /proc rw - proc proc rw",
            "42 40 0:29 / /dev rw - tmpfs tmpfs rw",
            "43 41 0:5 /null /proc/keys rw - devtmpfs dev rw",
            "44 40 8:1 /data /with\\040space rw - ext4 /dev/sda1 rw",
            "45 40 0:26 /c /sys/fs/cgroup ro - cgroup2 cgroup rw",
        ];
        let parse = |lines: &[&str]| lines.iter().filter_map(|l| parse(l)).collect::<Vec<_>>();
        let external = of_container(&parse(&container), &parse(&host));
        let places: Vec<&str> = external.iter().map(|m| m.key.as_str()).collect();
        assert_eq!(places, ["/proc/keys", "/with space"]);
    }
}
