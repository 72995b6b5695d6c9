//! Which features of the kernel the stack uses are there. The table is that of docs/kernel.md; a test keeps
//! the two together. What can be asked without effect is asked, the rest is known by the version.

use super::check::{Check, Level, Subject};
use super::host::Host;
use crate::sys::probe;
use std::collections::BTreeSet;

/// A version of Linux: major and minor.
pub type Version = (u32, u32);

/// How it is found out whether a feature is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// All these system calls are.
    Calls(&'static [&'static str]),
    /// A flag of seccomp(2) is known.
    Flag(&'static str),
    /// All these files are.
    Files(&'static [&'static str]),
    /// By the version of the kernel.
    Version,
}

/// Who needs a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Every container.
    All,
    /// Who asks for what it is used for.
    Some,
    /// Nobody: another way is taken.
    Better,
}

/// A row of docs/kernel.md.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    /// Its first cell.
    pub(super) name: &'static str,
    /// The version since which it is there, in the second cell.
    pub(super) since: Version,
    pub(super) need: Need,
    pub(super) how: How,
    /// What follows where it is not there.
    pub(super) without: &'static str,
}

const fn feature(name: &'static str, since: Version, need: Need, how: How, without: &'static str) -> Feature {
    Feature { name, since, need, how, without }
}

const NONE: &str = "No container can be made.";
const REFUSED: &str = "Containers that ask for it are refused, with the place in their config.";
const NO_EXIT: &str =
    "The exit status of a container whose shim was killed is unknown once its process was reaped.";

/// The features, in the order of docs/kernel.md.
#[rustfmt::skip]
pub(super) const FEATURES: &[Feature] = {
    use How::{Calls, Files, Flag, Version};
    use Need::{All, Better, Some};
    &[
        feature("user, pid, network, mount, uts, ipc namespaces", (3, 8), All, Files(&["/proc/self/ns/user", "/proc/self/ns/pid", "/proc/self/ns/net", "/proc/self/ns/mnt", "/proc/self/ns/uts", "/proc/self/ns/ipc"]), NONE),
        feature("cgroup namespace", (4, 6), All, Files(&["/proc/self/ns/cgroup"]), NONE),
        feature("time namespace", (5, 6), Some, Files(&["/proc/self/ns/time"]), REFUSED),
        feature("`clone3`", (5, 3), All, Calls(&["clone3"]), NONE),
        feature("`CLONE_INTO_CGROUP`", (5, 7), Better, Version, "A container joins its cgroup by cgroup.procs, while it mounts."),
        feature("`pidfd_open`, `pidfd_send_signal`", (5, 3), All, Calls(&["pidfd_open", "pidfd_send_signal"]), NONE),
        feature("`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`", (6, 15), Better, Version, NO_EXIT),
        feature("inotify", (2, 6), Better, Version, "Journals are looked at four times a second."),
        feature("`open_tree`, `move_mount`, `fsopen`, `fsconfig`, `fsmount`", (5, 2), All, Calls(&["open_tree", "move_mount", "fsopen", "fsconfig", "fsmount"]), NONE),
        feature("`mount_setattr`", (5, 12), All, Calls(&["mount_setattr"]), NONE),
        feature("`MOUNT_ATTR_NOSYMFOLLOW`", (5, 14), Some, Version, REFUSED),
        feature("`setns` with a pidfd", (5, 8), Some, Version, "exec is refused."),
        feature("`openat2` with `RESOLVE_IN_ROOT`", (5, 6), All, Calls(&["openat2"]), NONE),
        feature("`close_range`", (5, 9), All, Calls(&["close_range"]), NONE),
        feature("`memfd_create`", (3, 17), All, Calls(&["memfd_create"]), NONE),
        feature("`NS_GET_NSTYPE`", (4, 11), Some, Version, REFUSED),
        feature("`NS_GET_USERNS`", (4, 9), Some, Version, REFUSED),
        feature("`TIOCGPTPEER`", (4, 13), Some, Version, "Containers with a terminal are refused."),
        feature("seccomp filter", (3, 17), All, Files(&["/proc/sys/kernel/seccomp/actions_avail"]), "Containers with a seccomp profile are refused; the default has one."),
        feature("`SECCOMP_FILTER_FLAG_NEW_LISTENER`", (5, 0), Some, Flag("new_listener"), REFUSED),
        feature("`SECCOMP_FILTER_FLAG_TSYNC_ESRCH`, `..._WAIT_KILLABLE_RECV`", (5, 19), Some, Flag("wait_killable_recv"), REFUSED),
        feature("cgroup device programs (eBPF)", (4, 15), Some, Version, "On cgroup v2, containers with device rules are refused."),
        feature("`cgroup.kill`", (5, 14), Better, Version, "A cgroup is frozen, and its processes are killed one by one."),
        feature("`PR_SET_MM_MAP`: `CONFIG_CHECKPOINT_RESTORE`, and `CAP_SYS_ADMIN` (or `CAP_CHECKPOINT_RESTORE`, 5.9)", (3, 18), Better, Files(&["/proc/sys/kernel/ns_last_pid"]), "Every create and exec takes 0.7 ms more."),
        feature("pressure stall information", (4, 20), Better, Files(&["/proc/pressure/memory"]), "Statistics have no pressure."),
        feature("`sched_setattr`", (3, 14), Some, Calls(&["sched_setattr"]), REFUSED),
        feature("session keyrings (`CONFIG_KEYS`)", (2, 6), Better, Files(&["/proc/key-users"]), "Containers keep the keyring of their caller."),
        feature("memory policies (`CONFIG_NUMA`)", (2, 6), Some, Files(&["/proc/self/numa_maps"]), REFUSED),
        feature("rtnetlink: `IFLA_NET_NS_FD`", (3, 7), Some, Version, REFUSED),
        feature("resctrl", (4, 10), Some, Files(&["/sys/fs/resctrl"]), "Containers with linux.intelRdt are refused; few processors have it."),
        feature("`lowerdir+` of overlay", (6, 8), Some, Version, "Overlays whose options are longer than a page are refused."),
        feature("ambient capabilities", (4, 3), Some, Version, REFUSED),
    ]
};

/// File systems, and since when their mounts can have mapped ids.
pub(super) const IDMAPPED: [(&str, Version); 5] =
    [("ext4", (5, 12)), ("xfs", (5, 12)), ("btrfs", (5, 15)), ("overlay", (5, 19)), ("tmpfs", (6, 3))];

/// What is known of the kernel.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its release, such as `6.1.0-13-amd64`.
    pub release: String,
    /// Its version.
    pub version: Version,
    /// System calls that are there.
    pub calls: BTreeSet<&'static str>,
    /// Flags of seccomp(2) that are known.
    pub flags: BTreeSet<&'static str>,
    /// Files of the table that are there.
    pub files: BTreeSet<&'static str>,
    /// The type of the file system that `root` is on.
    pub filesystem: String,
}

impl Facts {
    /// Of this kernel; `filesystem` is that of the daemon's root directory.
    pub fn gather(host: &Host, filesystem: String) -> Self {
        let flags = [
            ("new_listener", probe::NEW_LISTENER),
            ("tsync_esrch", probe::TSYNC_ESRCH),
            ("wait_killable_recv", probe::WAIT_KILLABLE_RECV),
        ];
        let files = FEATURES.iter().flat_map(|feature| match feature.how {
            How::Files(files) => files,
            _ => &[],
        });
        let release = host.text("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            version: version(&release),
            release,
            calls: probe::system_calls().filter(|(_, there)| *there).map(|(name, _)| name).collect(),
            flags: flags
                .into_iter()
                .filter(|(_, flag)| probe::seccomp_flag(*flag))
                .map(|(name, _)| name)
                .collect(),
            files: files.copied().filter(|file| host.has(file)).collect(),
            filesystem,
        }
    }

    fn has(&self, feature: &Feature) -> bool {
        match feature.how {
            How::Calls(calls) => calls.iter().all(|call| self.calls.contains(call)),
            How::Flag(flag) => self.flags.contains(flag),
            How::Files(files) => files.iter().all(|file| self.files.contains(file)),
            How::Version => self.version >= feature.since,
        }
    }
}

/// Major and minor version in a release.
pub(super) fn version(release: &str) -> Version {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

/// A check for each feature.
pub fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks: Vec<Check> = FEATURES.iter().map(|feature| of(feature, facts)).collect();
    checks.push(idmapped(facts));
    checks
}

fn of(feature: &Feature, facts: &Facts) -> Check {
    let there = facts.has(feature);
    let found = if there { "there" } else { "not there" };
    let source = match feature.how {
        How::Calls(_) => "asked of the kernel".to_owned(),
        How::Flag(_) => "asked of seccomp(2)".to_owned(),
        How::Files(files) => files.first().copied().unwrap_or_default().to_owned(),
        How::Version => format!("by the version {}", facts.release),
    };
    let (major, minor) = feature.since;
    let name = feature.name.replace('`', "");
    let check = Check::ok(Subject::Kernel, name, found, source).by(format!("Linux {major}.{minor}"));
    if there {
        return check;
    }
    let level = match feature.need {
        Need::All => Level::Missing,
        Need::Some | Need::Better => Level::Note,
    };
    let check = check.but(level, feature.without);
    // What is newer than the kernel comes with another; else it is a matter of how that was built.
    match feature.need {
        Need::All if facts.version < feature.since => check.mend(format!(
            "# run Linux {major}.{minor} or later; Debian 12: apt-get install linux-image-amd64"
        )),
        _ => check,
    }
}

fn idmapped(facts: &Facts) -> Check {
    let (major, minor) = facts.version;
    let can: Vec<&str> =
        IDMAPPED.iter().filter(|(_, since)| facts.version >= *since).map(|(name, _)| *name).collect();
    let found = if can.is_empty() { "none".to_owned() } else { can.join(", ") };
    let check = Check::ok(
        Subject::Kernel,
        "id-mapped mounts",
        format!("of {found}; the root directory is on {}", facts.filesystem),
        format!("by the version {major}.{minor}"),
    )
    .by("mount_setattr(2)");
    let known = IDMAPPED.iter().find(|(name, _)| *name == facts.filesystem);
    match known {
        Some((_, since)) if facts.version < *since => check.but(
            Level::Limited,
            format!(
                "Containers with a user namespace and a rootfs on {} are refused at its mount before Linux {}.{}.",
                facts.filesystem, since.0, since.1
            ),
        ),
        Some(_) => check,
        None => check.but(
            Level::Note,
            "A rootfs on this file system may not be mountable with mapped ids; ext4, xfs and btrfs are.",
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/kernel.md");

    /// A kernel of `version` with everything that it can have.
    pub(in crate::doctor) fn of_version(release: &str) -> Facts {
        let version = version(release);
        let mut facts = Facts {
            release: release.into(),
            version,
            calls: BTreeSet::new(),
            flags: BTreeSet::new(),
            files: BTreeSet::new(),
            filesystem: "ext4".into(),
        };
        for feature in FEATURES.iter().filter(|feature| version >= feature.since) {
            match feature.how {
                How::Calls(calls) => facts.calls.extend(calls),
                How::Flag(flag) => facts.flags.extend([flag]),
                How::Files(files) => facts.files.extend(files),
                How::Version => {}
            }
        }
        facts
    }

    fn missing(release: &str, level: Level) -> Vec<String> {
        let checks = judge(&of_version(release));
        checks.into_iter().filter(|check| check.level == level).map(|check| check.name).collect()
    }

    #[test]
    fn the_floor_is_5_12_and_what_is_newer_is_told() {
        let old = missing("4.18.0-553.el8", Level::Missing);
        for name in ["clone3", "openat2 with RESOLVE_IN_ROOT", "mount_setattr", "close_range"] {
            assert!(old.iter().any(|missing| missing == name), "{name}: {old:?}");
        }
        let names = ["mount_setattr", "openat2 with RESOLVE_IN_ROOT", "close_range"];
        assert_eq!(missing("5.4.0-1", Level::Missing), names);
    }

    #[test]
    fn newer_kernels_need_nothing() {
        for release in ["5.12.0", "6.1.0-13-amd64", "6.18.44"] {
            assert!(missing(release, Level::Missing).is_empty(), "{release}");
        }
        let notes = missing("6.1.0-13-amd64", Level::Note);
        assert!(notes.iter().any(|name| name.starts_with("PIDFD_GET_INFO")), "{notes:?}");
        assert!(missing("6.18.44", Level::Note).is_empty());
    }

    #[test]
    fn a_rootfs_whose_ids_cannot_be_mapped() {
        let on = |release: &str, filesystem: &str| {
            idmapped(&Facts { filesystem: filesystem.into(), ..of_version(release) }).level
        };
        assert_eq!(on("6.1.0", "tmpfs"), Level::Limited);
        assert_eq!(on("6.3.0", "tmpfs"), Level::Ok);
        assert_eq!(on("6.18.0", "nfs"), Level::Note);
    }

    #[test]
    fn this_kernel_has_what_containers_need() {
        let facts = Facts::gather(&Host::here(), "ext4".into());
        let missing: Vec<Check> = judge(&facts).into_iter().filter(|c| c.level == Level::Missing).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// Rows of docs/kernel.md that other subjects have, or nobody relies on.
    const ELSEWHERE: [&str; 6] = [
        "`trusted.` attributes of cgroups",
        "id-mapped mounts of ext4 / btrfs, xfs / overlay / tmpfs",
        "copies of detached mounts",
        "freezer: `freezer.state`, `cgroup.freeze`",
        "OOM events: `memory.oom_control` (v1), `POLLPRI` of `memory.events` (v2)",
        "checkpoint and restore: `CONFIG_CHECKPOINT_RESTORE`, the `*_diag` modules, and a criu that knows the kernel",
    ];

    #[test]
    fn the_table_is_that_of_the_documentation() {
        let table = DOCUMENT.split("\n## ").next().unwrap();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .filter(|line| line.starts_with("| ") && !line.starts_with("| Feature"))
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect();
        assert!(rows.len() > 30, "{rows:?}");
        for row in &rows {
            let known = FEATURES.iter().find(|feature| feature.name == row[0]);
            assert!(known.is_some() || ELSEWHERE.contains(&row[0]), "doctor does not know {:?}", row[0]);
            if let Some(feature) = known {
                let since = format!("{}.{}", feature.since.0, feature.since.1);
                let versions = row[1]
                    .split([',', ' '])
                    .any(|word| word == since || word.starts_with(&(since.clone() + ".")));
                assert!(versions, "{}: {since} is not in {:?}", row[0], row[1]);
            }
        }
        for name in FEATURES.iter().map(|feature| feature.name).chain(ELSEWHERE) {
            assert!(rows.iter().any(|row| row[0] == name), "docs/kernel.md has no row {name:?}");
        }
        for (name, (major, minor)) in IDMAPPED {
            let row = rows.iter().find(|row| row[0].starts_with("id-mapped mounts")).unwrap();
            assert!(row[0].contains(name) && row[1].contains(&format!("{major}.{minor}")), "{name}");
        }
    }
}
