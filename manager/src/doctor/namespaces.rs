//! Namespaces: whether each kind may be made, and how many of it.

use super::check::{Check, Level, Subject, set_sysctl};
use super::host::Host;
use super::who::Who;

/// Kinds, as /proc/sys/user/max_KIND_namespaces has them (namespaces(7)), with what needs them.
const KINDS: [(&str, &str); 8] = [
    ("user", "user"),
    ("pid", "pid"),
    ("net", "network"),
    ("mnt", "mount"),
    ("uts", "uts"),
    ("ipc", "ipc"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// What is known of namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The largest number of each kind, by the names of /proc/sys/user; `None` where there is no such file.
    pub most: Vec<(&'static str, Option<u64>)>,
    /// `kernel.unprivileged_userns_clone`, of Debian's kernels.
    pub unprivileged: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu's.
    pub restricted: Option<u64>,
    /// The process is in the initial user namespace.
    pub initial: bool,
}

impl Facts {
    /// As the calling process sees them.
    pub fn gather(host: &Host) -> Self {
        let most = KINDS.map(|(kind, _)| (kind, host.sysctl(&format!("user.max_{kind}_namespaces"))));
        let map = host.text("/proc/self/uid_map").unwrap_or_default();
        Self {
            most: most.to_vec(),
            unprivileged: host.sysctl("kernel.unprivileged_userns_clone"),
            restricted: host.sysctl("kernel.apparmor_restrict_unprivileged_userns"),
            initial: map.split_whitespace().eq(["0", "0", "4294967295"]),
        }
    }

    /// The kind of which there can be the fewest, and how many.
    pub fn fewest(&self) -> Option<(&'static str, u64)> {
        let needed = self.most.iter().filter(|(kind, _)| *kind != "time");
        needed.filter_map(|(kind, most)| Some((*kind, (*most)?))).min_by_key(|(_, most)| *most)
    }
}

/// Checks of all that is known.
pub fn judge(facts: &Facts, who: &Who) -> Vec<Check> {
    let mut checks: Vec<Check> = facts.most.iter().map(|(kind, most)| kind_of(kind, *most)).collect();
    checks.push(switch(
        who,
        "kernel.unprivileged_userns_clone",
        facts.unprivileged.map(|value| (value, value == 0)),
        set_sysctl("kernel.unprivileged_userns_clone", 1),
    ));
    checks.push(switch(
        who,
        "kernel.apparmor_restrict_unprivileged_userns",
        facts.restricted.map(|value| (value, value != 0)),
        set_sysctl("kernel.apparmor_restrict_unprivileged_userns", 0),
    ));
    let nested = Check::ok(
        Subject::Namespaces,
        "own user namespace",
        if facts.initial { "the initial one" } else { "a nested one" },
        "/proc/self/uid_map",
    )
    .by("user_namespaces(7)");
    checks.push(match facts.initial {
        true => nested,
        false => nested.but(
            Level::Note,
            "Only ids of this namespace can be mapped, limits are those of its owner, and devices cannot be made.",
        ),
    });
    checks
}

fn kind_of(kind: &str, most: Option<u64>) -> Check {
    let sysctl = format!("user.max_{kind}_namespaces");
    let name = KINDS.iter().find(|(known, _)| *known == kind).map_or(kind, |(_, name)| name);
    let found = most.map_or_else(|| "not there".to_owned(), |most| format!("{most} at most"));
    let check = Check::ok(
        Subject::Namespaces,
        format!("{name} namespaces"),
        found,
        format!("/proc/sys/{}", sysctl.replace('.', "/")),
    )
    .by("namespaces(7)");
    let level = if kind == "time" { Level::Note } else { Level::Missing };
    match most {
        Some(0) => check
            .but(level, format!("No container with a {name} namespace of its own can be made."))
            .mend(set_sysctl(&sysctl, 15_000)),
        // Of a kernel that has the kind but not its limit, kernel features tell.
        Some(_) | None => check,
    }
}

fn switch(who: &Who, name: &str, value: Option<(u64, bool)>, remedy: String) -> Check {
    let found = value.map_or_else(|| "not there".to_owned(), |(value, _)| value.to_string());
    let check = Check::ok(Subject::Namespaces, name, found, format!("/proc/sys/{}", name.replace('.', "/")))
        .by("user_namespaces(7)");
    match value {
        Some((_, true)) if who.privileged() => {
            check.but(Level::Note, "Users who are not root cannot make containers; root can.").mend(remedy)
        }
        Some((_, true)) => check
            .but(Level::Missing, "This user cannot make user namespaces, and so no container.")
            .mend(remedy),
        Some((_, false)) | None => check,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::who::tests::{root, user};
    use super::*;

    /// As on Debian.
    pub(in crate::doctor) fn plain() -> Facts {
        let most = KINDS.map(|(kind, _)| (kind, Some(63_000)));
        Facts { most: most.to_vec(), unprivileged: Some(1), restricted: None, initial: true }
    }

    fn bad(facts: &Facts, who: &Who) -> Vec<(String, Level, String)> {
        let checks = judge(facts, who).into_iter().filter(|check| check.level != Level::Ok);
        checks.map(|check| (check.name, check.level, check.remedy)).collect()
    }

    #[test]
    fn a_switch_that_forbids_is_of_users_alone() {
        assert!(bad(&plain(), &user()).is_empty());
        for facts in [Facts { unprivileged: Some(0), ..plain() }, Facts { restricted: Some(1), ..plain() }] {
            let of_user = bad(&facts, &user());
            assert_eq!(of_user[0].1, Level::Missing);
            assert!(of_user[0].2.starts_with("sysctl -w kernel.") && of_user[0].2.contains("/etc/sysctl.d/"));
            assert_eq!(bad(&facts, &root())[0].1, Level::Note);
        }
    }

    #[test]
    fn user_namespaces_that_are_off() {
        let mut facts = plain();
        facts.most[0].1 = Some(0);
        facts.most[7].1 = Some(0);
        let found = bad(&facts, &root());
        assert_eq!((found[0].0.as_str(), found[0].1), ("user namespaces", Level::Missing));
        assert!(found[0].2.contains("user.max_user_namespaces=15000"));
        assert_eq!((found[1].0.as_str(), found[1].1), ("time namespaces", Level::Note));
        assert_eq!(facts.fewest(), Some(("user", 0)));
    }

    #[test]
    fn they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/sys/user")).unwrap();
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        std::fs::write(dir.path().join("proc/sys/user/max_net_namespaces"), "7\n").unwrap();
        std::fs::write(dir.path().join("proc/self/uid_map"), "0 1000 1\n").unwrap();
        let facts = Facts::gather(&Host::below(dir.path()));
        assert_eq!(facts.fewest(), Some(("net", 7)));
        assert!(!facts.initial && facts.restricted.is_none());
        assert_eq!(bad(&facts, &root())[0].1, Level::Note);
    }
}
