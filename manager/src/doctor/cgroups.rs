//! Control groups: which version, which controllers, whether they are this user's to use, and the limits
//! that the own group and those above it set.

use super::check::{Check, Level, Subject};
use super::host::Host;
use super::mounts::{self, Mount};
use super::who::Who;
use crate::info::CgroupLayout;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Controllers that limits and statistics need, by their names of version 2, with what is not there without.
const CONTROLLERS: [(&str, Level, &str); 5] = [
    ("memory", Level::Limited, "Limits and statistics of memory are not in force."),
    ("pids", Level::Limited, "Containers cannot be kept from forking: --pids-limit is not in force."),
    ("cpu", Level::Limited, "--cpus and CPU shares are not in force."),
    ("io", Level::Note, "Block I/O is not counted, and its weights are not in force."),
    ("cpuset", Level::Note, "Containers cannot be bound to CPUs."),
];

/// A limit of the own cgroup or of one above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its file.
    pub file: PathBuf,
    /// The limit.
    pub max: u64,
    /// What is used of it.
    pub used: u64,
}

/// What is known of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How they are laid out; `None` where there are none.
    pub layout: Option<CgroupLayout>,
    /// Controllers that can be used, by their names of version 2.
    pub controllers: BTreeSet<String>,
    /// Where the own cgroup is, in the hierarchy of version 2 where there is one.
    pub own: PathBuf,
    /// Whether cgroups can be made where containers would be.
    pub writable: bool,
    /// The host is run by systemd.
    pub systemd: bool,
    /// The narrowest limit of processes.
    pub pids: Option<Limit>,
    /// The narrowest limit of memory, in bytes.
    pub memory: Option<Limit>,
    /// The narrowest limit of cgroups below (`cgroup.max.descendants`).
    pub descendants: Option<Limit>,
}

impl Facts {
    /// As the calling process sees them.
    pub fn gather(host: &Host, who: &Who) -> Self {
        let (mounts, groups) =
            (mounts::all(host), groups(&host.text("/proc/self/cgroup").unwrap_or_default()));
        let at = Path::new("/sys/fs/cgroup");
        let any = mounts.iter().any(|mount| mount.kind.starts_with("cgroup"));
        let layout = any.then(|| CgroupLayout::of(&host.path(at)));
        let unified = match layout {
            Some(CgroupLayout::V2) => Some(at.to_path_buf()),
            Some(CgroupLayout::Hybrid) => Some(at.join("unified")),
            Some(CgroupLayout::V1) | None => None,
        };
        let own_of = |controller: &str, mount: &Path| {
            let path = groups.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
            mount.join(path.map_or("", |(_, path)| path.trim_start_matches('/')))
        };
        let v1 = |controller: &str| hierarchy(&mounts, controller).map(|mount| own_of(controller, mount));
        let own =
            unified.as_ref().map(|mount| own_of("", mount)).or_else(|| v1("memory")).unwrap_or_default();
        let is_v2 = layout == Some(CgroupLayout::V2);
        let narrowest = |controller: &str, [limit, used]: [&str; 2], [limit1, used1]: [&str; 2]| match is_v2 {
            true => narrowest(host, &own, at, limit, used),
            false => narrowest(host, &v1(controller)?, at, limit1, used1),
        };
        // Root makes containers at the top, a user beside himself.
        let place = match (who.privileged(), is_v2) {
            (true, true) => at.to_path_buf(),
            (true, false) => hierarchy(&mounts, "memory").map_or_else(|| at.to_path_buf(), Path::to_path_buf),
            (false, _) => own.parent().unwrap_or(&own).to_path_buf(),
        };
        let delegated = is_v2 && host.writable(place.join("cgroup.procs"));
        Self {
            layout,
            controllers: controllers(host, layout, &mounts, if who.privileged() { at } else { &place }),
            writable: any && host.writable(&place) && (who.privileged() || delegated),
            systemd: host.has("/run/systemd/system"),
            pids: narrowest("pids", ["pids.max", "pids.current"], ["pids.max", "pids.current"]),
            memory: narrowest(
                "memory",
                ["memory.max", "memory.current"],
                ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            ),
            descendants: unified.and_then(|mount| {
                self::narrowest(host, &own, &mount, "cgroup.max.descendants", "cgroup.stat")
            }),
            own,
        }
    }
}

/// Controllers and paths of /proc/self/cgroup; that of version 2 has the controller "".
fn groups(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// Where a controller of version 1 is mounted.
fn hierarchy<'a>(mounts: &'a [Mount], controller: &str) -> Option<&'a Path> {
    let of = |mount: &&Mount| mount.kind == "cgroup" && mount.options.split(',').any(|o| o == controller);
    mounts.iter().find(of).map(|mount| mount.at.as_path())
}

fn controllers(host: &Host, layout: Option<CgroupLayout>, mounts: &[Mount], at: &Path) -> BTreeSet<String> {
    let names = CONTROLLERS.iter().map(|(name, _, _)| *name);
    if layout == Some(CgroupLayout::V2) {
        let text = host.text(at.join("cgroup.controllers")).unwrap_or_default();
        return names.filter(|name| text.split(' ').any(|word| word == *name)).map(str::to_owned).collect();
    }
    let of_v1 = |name: &str| if name == "io" { "blkio".to_owned() } else { name.to_owned() };
    names.filter(|name| hierarchy(mounts, &of_v1(name)).is_some()).map(str::to_owned).collect()
}

/// The limit with the least room, from `own` up to the mount.
fn narrowest(host: &Host, own: &Path, mount: &Path, limit: &str, used: &str) -> Option<Limit> {
    let of = |dir: &Path| {
        let file = dir.join(limit);
        // Where nothing is set, version 1 says the largest number of pages there is.
        let max = host.number(&file).filter(|max| *max < 1 << 60)?;
        let used = match used {
            "cgroup.stat" => {
                let text = host.text(dir.join(used)).unwrap_or_default();
                text.lines().find_map(|l| l.strip_prefix("nr_descendants ")?.parse().ok()).unwrap_or(0)
            }
            used => host.number(dir.join(used)).unwrap_or(0),
        };
        Some(Limit { file, max, used })
    };
    let above = own.ancestors().take_while(|dir| dir.starts_with(mount));
    above.filter_map(of).min_by_key(|limit| limit.max.saturating_sub(limit.used))
}

/// Checks of all that is known.
pub fn judge(facts: &Facts, who: &Who) -> Vec<Check> {
    let mut checks = vec![layout(facts)];
    if facts.layout.is_none() {
        return checks;
    }
    checks.push(delegation(facts, who));
    checks.extend(CONTROLLERS.iter().map(|controller| one(facts, who, controller)));
    checks
}

fn layout(facts: &Facts) -> Check {
    let found = facts.layout.map_or("none", CgroupLayout::name);
    let check = Check::ok(Subject::Cgroups, "layout", found, "/proc/self/mountinfo").by("cgroups(7)");
    match facts.layout {
        Some(CgroupLayout::V2) => check,
        Some(CgroupLayout::V1 | CgroupLayout::Hybrid) => check
            .but(
                Level::Limited,
                "Limits work for root; there is no pressure (PSI) of a container, no cgroup.kill, and no delegation to users.",
            )
            .mend(match facts.systemd {
                true => "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' /etc/default/grub\nupdate-grub\nreboot",
                false => "# boot with cgroup_no_v1=all, and before sextantd is started:\nmount -t cgroup2 none /sys/fs/cgroup",
            }),
        None => check
            .but(Level::Limited, "Containers run without limits and statistics.")
            .mend("mount -t cgroup2 none /sys/fs/cgroup"),
    }
}

fn delegation(facts: &Facts, who: &Who) -> Check {
    let own = facts.own.display();
    let check = |found: &str| {
        Check::ok(Subject::Cgroups, "delegation", found.to_owned(), own.to_string())
            .by("cgroups(7), systemd.resource-control(5)")
    };
    match (facts.writable, who.privileged(), facts.layout) {
        (true, true, _) => check("cgroups can be made at the top"),
        (true, false, _) => check("the cgroups beside this one are this user's"),
        (false, true, _) => check("cgroups cannot be made: the file system is read-only")
            .but(Level::Missing, "No container can be made.")
            .mend("mount -o remount,rw /sys/fs/cgroup"),
        (false, false, Some(CgroupLayout::V2)) => check("none to this user")
            .but(
                Level::Limited,
                "Containers of sextant-runtime run without limits; a cgroupsPath in their config is refused.",
            )
            .mend("systemd-run --user --scope -p Delegate=yes $SHELL"),
        (false, false, _) => check("none: version 1 is not delegated").but(
            Level::Limited,
            "Containers of sextant-runtime run without limits; a cgroupsPath in their config is refused.",
        ),
    }
}

fn one(facts: &Facts, who: &Who, (name, level, without): &(&str, Level, &str)) -> Check {
    let source = match facts.layout {
        Some(CgroupLayout::V2) => "cgroup.controllers",
        _ => "/proc/self/mountinfo",
    };
    let there = facts.controllers.contains(*name);
    let found = if there { "there" } else { "not there" };
    let check = Check::ok(Subject::Cgroups, format!("controller {name}"), found, source).by("cgroups(7)");
    if there {
        return check;
    }
    // Without a cgroup of one's own its controllers are no loss beside that.
    let level = if facts.writable { *level } else { Level::Note };
    let remedy = match (who.privileged(), *name) {
        (false, _) if facts.layout == Some(CgroupLayout::V2) => {
            "mkdir -p /etc/systemd/system/user@.service.d\nprintf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf\nsystemctl daemon-reload"
        }
        (true, "memory") => "# boot with cgroup_enable=memory",
        _ => "",
    };
    check.but(level, *without).mend(remedy)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::who::tests::{root, user};
    use super::*;

    /// Version 2 with every controller.
    pub(in crate::doctor) fn v2() -> Facts {
        Facts {
            layout: Some(CgroupLayout::V2),
            controllers: CONTROLLERS.iter().map(|(name, _, _)| (*name).to_owned()).collect(),
            own: "/sys/fs/cgroup/system.slice/sextantd.service".into(),
            writable: true,
            systemd: true,
            pids: None,
            memory: None,
            descendants: None,
        }
    }

    fn worst<'a>(checks: &'a [Check], name: &str) -> &'a Check {
        checks.iter().find(|check| check.name == name).unwrap()
    }

    #[test]
    fn version_2_of_root_is_as_it_should_be() {
        assert!(judge(&v2(), &root()).iter().all(|check| check.level == Level::Ok));
    }

    #[test]
    fn a_user_without_delegation_is_told_the_command() {
        let checks = judge(&Facts { writable: false, controllers: BTreeSet::new(), ..v2() }, &user());
        let check = worst(&checks, "delegation");
        assert_eq!(check.level, Level::Limited);
        assert!(check.remedy.contains("-p Delegate=yes"), "{check:?}");
        assert_eq!(worst(&checks, "controller memory").level, Level::Note);
        let delegated = judge(&Facts { controllers: ["memory".to_owned()].into(), ..v2() }, &user());
        assert_eq!(worst(&delegated, "delegation").level, Level::Ok);
        let cpu = worst(&delegated, "controller cpu");
        assert!(cpu.level == Level::Limited && cpu.remedy.contains("Delegate=cpu cpuset io memory pids"));
    }

    #[test]
    fn hybrid_none_and_read_only() {
        let of = |layout| judge(&Facts { layout, ..v2() }, &root());
        let hybrid = of(Some(CgroupLayout::Hybrid));
        assert_eq!((hybrid[0].level, hybrid[0].found.as_str()), (Level::Limited, "hybrid"));
        assert!(hybrid[0].remedy.contains("systemd.unified_cgroup_hierarchy=1"));
        assert!(of(None)[0].remedy.starts_with("mount -t cgroup2"));
        let read_only = judge(&Facts { writable: false, ..v2() }, &root());
        assert_eq!(worst(&read_only, "delegation").level, Level::Missing);
    }

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    #[test]
    fn a_unified_host_is_read() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                ("proc/self/mountinfo", "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 none rw,nsdelegate\n"),
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory\n"),
                ("sys/fs/cgroup/a/pids.max", "100\n"),
                ("sys/fs/cgroup/a/pids.current", "40\n"),
                ("sys/fs/cgroup/a/cgroup.max.descendants", "9\n"),
                ("sys/fs/cgroup/a/cgroup.stat", "nr_descendants 4\nnr_dying_descendants 0\n"),
                ("sys/fs/cgroup/a/b/pids.max", "max\n"),
                ("sys/fs/cgroup/a/b/memory.max", "4096\n"),
            ],
        );
        let facts = Facts::gather(&Host::below(dir.path()), &root());
        assert_eq!(facts.layout, Some(CgroupLayout::V2));
        assert_eq!(
            facts.controllers.iter().map(String::as_str).collect::<Vec<_>>(),
            ["cpu", "cpuset", "memory"]
        );
        assert_eq!(facts.pids, Some(Limit { file: "/sys/fs/cgroup/a/pids.max".into(), max: 100, used: 40 }));
        assert_eq!(facts.memory.map(|limit| limit.max), Some(4096));
        assert_eq!(facts.descendants.map(|limit| (limit.max, limit.used)), Some((9, 4)));
    }

    #[test]
    fn a_hybrid_host_is_read() {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &[
                (
                    "proc/self/mountinfo",
                    "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup none rw,memory\n2 0 0:2 / /sys/fs/cgroup/pids rw - cgroup none rw,pids\n\
                 3 0 0:3 / /sys/fs/cgroup/blkio rw - cgroup none rw,blkio\n4 0 0:4 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n",
                ),
                ("proc/self/cgroup", "4:pids:/p\n3:memory:/m/n\n0::/\n"),
                ("sys/fs/cgroup/unified/cgroup.controllers", "\n"),
                ("sys/fs/cgroup/pids/p/pids.max", "50\n"),
                ("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1048576\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        let facts = Facts::gather(&Host::below(dir.path()), &root());
        assert_eq!(facts.layout, Some(CgroupLayout::Hybrid));
        assert_eq!(
            facts.controllers.iter().map(String::as_str).collect::<Vec<_>>(),
            ["io", "memory", "pids"]
        );
        assert_eq!(facts.pids.map(|limit| limit.max), Some(50));
        assert_eq!(
            facts.memory.map(|limit| limit.file),
            Some("/sys/fs/cgroup/memory/m/memory.limit_in_bytes".into())
        );
    }

    #[test]
    fn a_host_without_any() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Facts::gather(&Host::below(dir.path()), &user()).layout, None);
    }
}
