//! What kind of machine this is, as far as a client of the manager asks.

use std::path::Path;

/// How control groups are laid out (cgroups(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupLayout {
    /// Only hierarchies of version 1.
    V1,
    /// Version 1 for the controllers, a version 2 tree beside.
    Hybrid,
    /// One unified hierarchy.
    V2,
}

impl CgroupLayout {
    /// As mounted below `root`, which is `/sys/fs/cgroup`.
    pub fn of(root: &Path) -> Self {
        if root.join("cgroup.controllers").exists() {
            Self::V2
        } else if root.join("unified/cgroup.controllers").exists() {
            Self::Hybrid
        } else {
            Self::V1
        }
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        }
    }
}

/// Release of the running kernel; empty when it does not say.
pub fn kernel() -> String {
    nix::sys::utsname::uname().map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(CgroupLayout::of(dir.path()), CgroupLayout::V1);
        std::fs::create_dir(dir.path().join("unified")).unwrap();
        std::fs::write(dir.path().join("unified/cgroup.controllers"), "").unwrap();
        assert_eq!(CgroupLayout::of(dir.path()), CgroupLayout::Hybrid);
        std::fs::write(dir.path().join("cgroup.controllers"), "").unwrap();
        assert_eq!(CgroupLayout::of(dir.path()), CgroupLayout::V2);
    }
}
