//! The mount table, as far as it says on which file system a path is (proc_pid_mountinfo(5)).

use super::host::Host;
use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub at: PathBuf,
    /// Of what type.
    pub kind: String,
    /// Options of the file system.
    pub options: String,
}

/// All of our mount namespace; empty when it cannot be read.
pub fn all(host: &Host) -> Vec<Mount> {
    host.text("/proc/self/mountinfo").unwrap_or_default().lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Mount> {
    let (own, rest) = line.split_once(" - ")?;
    let at = own.split(' ').nth(4)?.replace("\\040", " ");
    let mut rest = rest.splitn(3, ' ');
    let kind = rest.next()?.to_owned();
    Some(Mount { at: at.into(), kind, options: rest.nth(1).unwrap_or_default().to_owned() })
}

/// The one that `path` is on: of those above it, the last of the deepest.
pub fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.at))
        .max_by_key(|mount| mount.at.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_above_a_path() {
        let lines = "1 0 8:1 / / rw - ext4 /dev/vda rw,errors=x\n2 1 0:5 / /run rw shared:1 - tmpfs tmpfs rw,size=1k\n\
                     3 1 0:6 / /run rw - ramfs none rw\n";
        let mounts: Vec<Mount> = lines.lines().filter_map(parse).collect();
        let kind = |path: &str| of(&mounts, Path::new(path)).unwrap().kind.as_str();
        assert_eq!((kind("/var/lib"), kind("/run/sextant"), kind("/runner")), ("ext4", "ramfs", "ext4"));
        assert_eq!(mounts[1].options, "rw,size=1k");
    }
}
