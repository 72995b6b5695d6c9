//! The cgroups of a process, in the kernel's files, on version 1, 2 or both.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use std::path::{Path, PathBuf};

/// Where cgroups are.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The cgroup of `pid` in the version 1 hierarchy of this controller; where there is none, its
/// unified one, as with an empty name.
#[track_caller]
pub fn dir(pid: i32, controller: &str) -> PathBuf {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read the cgroups of a process");
    let find = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            names.split(',').any(|name| name == wanted).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let root = Path::new(ROOT);
    match (find(controller), find("")) {
        (Some(path), _) => root.join(controller).join(path),
        (None, Some(path)) => root.join(path),
        (None, None) => panic!("{pid} is in no cgroup of {controller}: {text}"),
    }
}

/// A file of the cgroup of `pid`, trimmed: `v1` or `v2`, as the host has the controller.
#[track_caller]
pub fn read(pid: i32, controller: &str, v1: &str, v2: &str) -> String {
    let path = dir(pid, controller).join(if is_version_1(controller) { v1 } else { v2 });
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// Asserts what is in a file of the cgroup of `pid`: of version 1, or of 2, as the host has the controller.
#[track_caller]
pub fn assert_file(pid: i32, controller: &str, v1: [&str; 2], v2: [&str; 2]) {
    let [file, expected] = if is_version_1(controller) { v1 } else { v2 };
    assert_eq!(read(pid, controller, file, file), expected, "{file}");
}

/// Whether the host has this controller in version 1.
pub fn is_version_1(controller: &str) -> bool {
    Path::new(ROOT).join(controller).join("tasks").exists()
}

/// Whether the host has version 2 and no other.
pub fn is_version_2_alone() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}
