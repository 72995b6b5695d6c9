//! Which cgroup hierarchies the host has, where they are mounted, and where
//! the caller is in each. Read once; the plan then works on the facts alone.
//!
//! The usual places below `/sys/fs/cgroup` are tried first, each verified by
//! its file system type, because `/proc/self/mountinfo` grows with every mount
//! of the host. It is read only when a hierarchy is elsewhere, or when only a
//! part of a hierarchy is visible (a container without a cgroup namespace).

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use std::path::{Component, Path, PathBuf};

/// Where cgroup file systems are expected.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The host's layout (cgroups(7), "Cgroups version 2").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Version 1 hierarchies only.
    V1,
    /// Version 1 hierarchies, and the unified one beside them.
    Hybrid,
    /// The unified hierarchy only.
    V2,
    /// No cgroup file system is mounted.
    #[default]
    None,
}

/// The interface that a hierarchy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// Documentation/admin-guide/cgroup-v1
    V1,
    /// Documentation/admin-guide/cgroup-v2.rst
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// `memory`, `cpu,cpuacct`, `name=systemd`; empty for the unified one.
    pub name: String,
    /// Its interface.
    pub version: Version,
    /// The controllers that it offers at its (visible) root.
    pub controllers: Vec<String>,
    /// Absolute path of its mount.
    pub mount: PathBuf,
    /// The caller's cgroup, relative to `mount`; empty for the root.
    pub own: PathBuf,
}

impl Hierarchy {
    /// Whether `controller` is in this hierarchy.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

/// What the host offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCgroups {
    /// How it is arranged.
    pub layout: Layout,
    /// Every mounted hierarchy, in the order of `/proc/self/cgroup`.
    pub hierarchies: Vec<Hierarchy>,
    /// The systemd manager that is to make the cgroup, with its driver.
    pub systemd: Option<super::systemd::Manager>,
}

impl Layout {
    /// The layout of this host; [`HostCgroups::probe`] says more.
    pub fn probe() -> Self {
        HostCgroups::probe().layout
    }
}

impl HostCgroups {
    /// Reads the facts. A hierarchy that is not mounted is left out; without
    /// `/proc` there is none.
    pub fn probe() -> Self {
        let text = crate::sys::file::read_kernel_text("/proc/self/cgroup").unwrap_or_default();
        let mut mounts = None;
        let own = text.lines().filter_map(parse_own);
        // Where the unified hierarchy is the root of all, none of version 1 is in use, whatever exists.
        let unified = is_cgroup(Path::new(ROOT), "");
        let hierarchies: Vec<_> = own
            .filter(|own| !unified || own.name.is_empty())
            .filter_map(|own| locate(&own, &mut mounts))
            .collect();
        let has = |version| hierarchies.iter().any(|h: &Hierarchy| h.version == version);
        let layout = match (has(Version::V1), has(Version::V2)) {
            (true, true) => Layout::Hybrid,
            (true, false) => Layout::V1,
            (false, true) => Layout::V2,
            (false, false) => Layout::None,
        };
        Self { layout, hierarchies, systemd: None }
    }

    /// The index and the hierarchy that `controller` is in.
    pub fn find(&self, controller: &str) -> Option<(usize, &Hierarchy)> {
        self.hierarchies.iter().enumerate().find(|(_, h)| h.has(controller))
    }
}

/// A line of `/proc/PID/cgroup`: `4:memory:/a/b`.
struct Own {
    name: String,
    path: PathBuf,
}

fn parse_own(line: &str) -> Option<Own> {
    let mut fields = line.splitn(3, ':');
    let (_id, name, path) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Own { name: name.into(), path: path.into() })
}

/// Finds where the hierarchy of `own` is mounted.
fn locate(own: &Own, mounts: &mut Option<Vec<MountLine>>) -> Option<Hierarchy> {
    let (mount, root) = match usual_place(own) {
        Some(mount) if own.path == Path::new("/") || mount.join(below("/", &own.path)).is_dir() => {
            (mount, PathBuf::from("/"))
        }
        _ => {
            let mounts = mounts.get_or_insert_with(read_mounts);
            // One that another mount hides is listed, but cannot be reached.
            let visible = |m: &&MountLine| m.holds(&own.name) && is_cgroup(&m.mount, &own.name);
            mounts.iter().find(visible).map(|m| (m.mount.clone(), m.root.clone()))?
        }
    };
    let version = if own.name.is_empty() { Version::V2 } else { Version::V1 };
    let controllers = match version {
        Version::V2 => crate::sys::file::read_kernel_text(mount.join("cgroup.controllers"))
            .map(|text| text.split_whitespace().map(String::from).collect())
            .unwrap_or_default(),
        Version::V1 => own.name.split(',').filter(|c| !c.starts_with("name=")).map(String::from).collect(),
    };
    Some(Hierarchy {
        name: own.name.clone(),
        version,
        controllers,
        mount,
        own: below(&root, &own.path).to_path_buf(),
    })
}

/// The first of the usual mount points that holds the right file system.
fn usual_place(own: &Own) -> Option<PathBuf> {
    let root = Path::new(ROOT);
    let candidates: Vec<PathBuf> = match own.name.as_str() {
        "" => vec![root.to_path_buf(), root.join("unified")],
        name => vec![root.join(name.strip_prefix("name=").unwrap_or(name))],
    };
    candidates.into_iter().find(|path| is_cgroup(path, &own.name))
}

/// Whether the file system at `path` is of the version that `hierarchy` needs.
fn is_cgroup(path: &Path, hierarchy: &str) -> bool {
    let wanted = if hierarchy.is_empty() { CGROUP2_SUPER_MAGIC } else { CGROUP_SUPER_MAGIC };
    statfs(path).is_ok_and(|s| s.filesystem_type() == wanted)
}

/// `path` as seen from `root`: both come from the kernel. A path that is not
/// below the root is outside of what is visible; then the root stands for it.
fn below(root: impl AsRef<Path>, path: &Path) -> &Path {
    match path.strip_prefix(root) {
        Ok(rest) if rest.components().all(|c| matches!(c, Component::Normal(_))) => rest,
        _ => Path::new(""),
    }
}

/// A cgroup mount of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct MountLine {
    root: PathBuf,
    mount: PathBuf,
    version: Version,
    options: Vec<String>,
}

impl MountLine {
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let mut left = left.split(' ').skip(3);
        let (root, mount) = (unescape(left.next()?), unescape(left.next()?));
        let options = right.nth(1)?.split(',').map(String::from).collect();
        Some(Self { root, mount, version, options })
    }

    /// Whether this mount shows the hierarchy `name` of `/proc/self/cgroup`.
    fn holds(&self, name: &str) -> bool {
        match self.version {
            Version::V2 => name.is_empty(),
            Version::V1 => {
                !name.is_empty() && name.split(',').all(|part| self.options.iter().any(|o| o == part))
            }
        }
    }
}

fn read_mounts() -> Vec<MountLine> {
    let text = crate::sys::file::read_kernel_text("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(MountLine::parse).collect()
}

/// Undoes the octal escapes of mountinfo for the characters that it escapes.
fn unescape(field: &str) -> PathBuf {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_cgroup() {
        let own = parse_own("4:cpu,cpuacct:/a:b/c").unwrap();
        assert_eq!((own.name.as_str(), own.path.as_path()), ("cpu,cpuacct", Path::new("/a:b/c")));
        assert_eq!(parse_own("0::/").unwrap().name, "");
        assert!(parse_own("nonsense").is_none());
    }

    #[test]
    fn lines_of_mountinfo() {
        let line =
            "33 24 0:28 /docker/x /sys/fs/cgroup/cpu\\040y rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let mount = MountLine::parse(line).unwrap();
        assert_eq!(mount.root, Path::new("/docker/x"));
        assert_eq!(mount.mount, Path::new("/sys/fs/cgroup/cpu y"));
        assert!(mount.holds("cpu,cpuacct") && mount.holds("cpuacct,cpu") && mount.holds("cpu"));
        assert!(!mount.holds("memory") && !mount.holds(""));
        assert!(MountLine::parse("1 2 0:3 / /x rw - tmpfs tmpfs rw").is_none());
    }

    #[test]
    fn own_path_below_a_partial_mount() {
        assert_eq!(below("/docker/x", Path::new("/docker/x/y")), Path::new("y"));
        assert_eq!(below("/docker/x", Path::new("/other")), Path::new(""));
        assert_eq!(below("/", Path::new("/../..")), Path::new(""));
    }
}
