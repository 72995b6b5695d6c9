//! Security modules, seccomp, and the capabilities that are missing.

use super::check::{Check, Level, Subject};
use super::host::Host;
use super::who::{SYS_RESOURCE, Who};

/// Capabilities that root's containers need: number, name, how bad it is without, and what follows.
const CAPABILITIES: [(u32, &str, Level, &str); 12] = [
    (0, "CAP_CHOWN", Level::Missing, "Id-mapped roots and cgroups cannot be given to containers."),
    (1, "CAP_DAC_OVERRIDE", Level::Limited, "Files of other users cannot be bound or read."),
    (3, "CAP_FOWNER", Level::Limited, "Files of other users cannot be changed in a rootfs."),
    (5, "CAP_KILL", Level::Limited, "Processes of containers with ids of their own cannot be signalled."),
    (6, "CAP_SETGID", Level::Missing, "The groups of a container cannot be set."),
    (7, "CAP_SETUID", Level::Missing, "The user of a container cannot be set, nor ids be mapped."),
    (8, "CAP_SETPCAP", Level::Missing, "The capabilities of a container cannot be reduced."),
    (
        12,
        "CAP_NET_ADMIN",
        Level::Limited,
        "The loopback device of a container that shares a network stays down.",
    ),
    (
        19,
        "CAP_SYS_PTRACE",
        Level::Limited,
        "Namespaces and statistics of containers with other ids cannot be read.",
    ),
    (23, "CAP_SYS_NICE", Level::Limited, "Real-time schedulers and negative nice values are refused."),
    (
        SYS_RESOURCE,
        "CAP_SYS_RESOURCE",
        Level::Limited,
        "Hard limits (rlimits) cannot be raised, and oom_score_adj cannot be lowered; containers that ask for it are refused.",
    ),
    (27, "CAP_MKNOD", Level::Note, "Devices outside of the default set are bound from the host, not made."),
];

/// What is known of security modules and seccomp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The modules in force (`/sys/kernel/security/lsm`); `None` where that is not mounted.
    pub modules: Option<String>,
    /// AppArmor is in force.
    pub apparmor: bool,
    /// SELinux is in force, and whether it enforces.
    pub selinux: Option<bool>,
    /// Actions of seccomp filters that the kernel has.
    pub actions: Option<String>,
}

impl Facts {
    /// Of this host.
    pub fn gather(host: &Host) -> Self {
        let enabled = host.text("/sys/module/apparmor/parameters/enabled");
        Self {
            modules: host.text("/sys/kernel/security/lsm"),
            apparmor: enabled.is_some_and(|text| text.starts_with('Y')),
            selinux: host.number("/sys/fs/selinux/enforce").map(|enforce| enforce == 1),
            actions: host.text("/proc/sys/kernel/seccomp/actions_avail"),
        }
    }
}

/// Checks of all that is known.
pub fn judge(facts: &Facts, who: &Who) -> Vec<Check> {
    let mut checks = vec![modules(facts), seccomp(facts), privileges(who)];
    if who.privileged() {
        checks.extend(CAPABILITIES.iter().map(|capability| of_capability(who, capability)));
    }
    checks
}

fn modules(facts: &Facts) -> Check {
    let selinux = match facts.selinux {
        None => "no SELinux",
        Some(true) => "SELinux enforcing",
        Some(false) => "SELinux permissive",
    };
    let apparmor = if facts.apparmor { "AppArmor" } else { "no AppArmor" };
    let listed = facts.modules.as_ref().map_or_else(String::new, |list| format!("; {list}"));
    let check = Check::ok(
        Subject::Security,
        "security modules",
        format!("{apparmor}, {selinux}{listed}"),
        "/sys/kernel/security/lsm, /sys/module/apparmor, /sys/fs/selinux",
    )
    .by("apparmor(7), selinux(8)");
    match facts.apparmor || facts.selinux.is_some() {
        true => check,
        false => check.but(Level::Note, "Profiles and labels in a config are refused; namespaces, capabilities and seccomp protect the host alone."),
    }
}

fn seccomp(facts: &Facts) -> Check {
    let check = |found: &str| {
        Check::ok(Subject::Security, "seccomp", found.to_owned(), "/proc/sys/kernel/seccomp/actions_avail")
            .by("seccomp(2)")
    };
    let Some(actions) = &facts.actions else {
        return check("not there").but(Level::Limited, "Containers with a seccomp profile are refused.");
    };
    let without: Vec<&str> = ["errno", "kill_process", "log", "user_notif"]
        .into_iter()
        .filter(|a| !actions.split(' ').any(|b| b == *a))
        .collect();
    match without.is_empty() {
        true => check(actions),
        false => check(actions)
            .but(Level::Note, format!("Profiles with the actions {} are refused.", without.join(", "))),
    }
}

fn privileges(who: &Who) -> Check {
    let found = format!("{} (uid {})", who.user(), who.uid);
    let check = Check::ok(Subject::Security, "privileges", found, "/proc/self/status").by("capabilities(7)");
    match (who.privileged(), who.uid) {
        (true, _) => check,
        (false, 0) => check
            .but(Level::Missing, "Root without CAP_SYS_ADMIN makes no namespaces and mounts: no container can be made.")
            .mend("grep Cap /proc/1/status   # where bit 21 of CapBnd is not set, nobody here can have it"),
        (false, _) => check
            .but(Level::Limited, "sextantd makes containers as root only; sextant-runtime makes them for this user as well, within what follows here.")
            .mend("sudo sextantd   # or sextant-runtime run: docs/rootless.md"),
    }
}

fn of_capability(who: &Who, (number, name, level, follows): &(u32, &str, Level, &str)) -> Check {
    let there = who.has(*number);
    let can = who.bounding >> number & 1 == 1;
    let found = match (there, can) {
        (true, _) => "there",
        (false, true) => "not effective",
        (false, false) => "not there, and not in the bounding set",
    };
    let check = Check::ok(Subject::Security, *name, found, "/proc/self/status").by("capabilities(7)");
    if there {
        return check;
    }
    check.but(*level, *follows).mend(format!(
        "grep CapBnd /proc/1/status   # without bit {number} there, nobody here can have it\nsystemctl show -p CapabilityBoundingSet sextantd"
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::who::tests::{root, user};
    use super::*;

    /// As on Debian.
    pub(in crate::doctor) fn apparmor() -> Facts {
        Facts {
            modules: Some("lockdown,capability,landlock,yama,apparmor".into()),
            apparmor: true,
            selinux: None,
            actions: Some("kill_process kill_thread trap errno user_notif trace log allow".into()),
        }
    }

    fn named<'a>(checks: &'a [Check], name: &str) -> &'a Check {
        checks.iter().find(|check| check.name == name).unwrap()
    }

    #[test]
    fn missing_capabilities_are_named_with_what_follows() {
        assert!(judge(&apparmor(), &root()).iter().all(|check| check.level == Level::Ok));
        let weak = Who { capabilities: root().capabilities & !(1 << SYS_RESOURCE) & !(1 << 27), ..root() };
        let checks = judge(&apparmor(), &weak);
        let check = named(&checks, "CAP_SYS_RESOURCE");
        assert_eq!((check.level, check.found.as_str()), (Level::Limited, "not effective"));
        assert!(check.follows.contains("oom_score_adj"));
        assert_eq!(named(&checks, "CAP_MKNOD").level, Level::Note);
    }

    #[test]
    fn users_are_told_what_they_can_do() {
        let checks = judge(&apparmor(), &user());
        assert_eq!(named(&checks, "privileges").level, Level::Limited);
        assert!(!checks.iter().any(|check| check.name.starts_with("CAP_")));
        let fallen = Who { uid: 0, ..user() };
        assert_eq!(named(&judge(&apparmor(), &fallen), "privileges").level, Level::Missing);
    }

    #[test]
    fn neither_module_nor_actions() {
        let bare = Facts { modules: None, apparmor: false, selinux: None, actions: None };
        let checks = judge(&bare, &root());
        assert_eq!(named(&checks, "security modules").level, Level::Note);
        assert_eq!(named(&checks, "seccomp").level, Level::Limited);
        let old = Facts { actions: Some("kill trap errno trace allow".into()), ..apparmor() };
        assert!(named(&judge(&old, &root()), "seccomp").follows.contains("user_notif"));
    }
}
