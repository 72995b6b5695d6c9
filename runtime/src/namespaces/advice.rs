//! What keeps a user who is not root from making containers, and the command
//! that mends it. Looked for only after a failure; it never changes anything.

use crate::sys::file::read_kernel_text;

/// A sysctl that forbids user namespaces, when it has a value that does.
struct Switch {
    /// Below `/proc/sys`.
    path: &'static str,
    forbids: fn(u64) -> bool,
    /// With what it is mended.
    remedy: &'static str,
}

const SWITCHES: [Switch; 3] = [
    Switch {
        path: "kernel/unprivileged_userns_clone",
        forbids: |value| value == 0,
        remedy: "kernel.unprivileged_userns_clone is 0: sysctl -w kernel.unprivileged_userns_clone=1",
    },
    Switch {
        path: "user/max_user_namespaces",
        forbids: |value| value == 0,
        remedy: "user.max_user_namespaces is 0: sysctl -w user.max_user_namespaces=15000",
    },
    Switch {
        path: "kernel/apparmor_restrict_unprivileged_userns",
        forbids: |value| value != 0,
        remedy: "kernel.apparmor_restrict_unprivileged_userns is set: \
                 sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, \
                 or load an AppArmor profile for this binary that has `userns,`",
    },
];

/// Why this host does not let the caller have a user namespace; `otherwise`
/// when no switch says so.
pub fn user_namespaces(otherwise: &str) -> String {
    if nix::unistd::geteuid().is_root() {
        return otherwise.to_owned();
    }
    forbidden_by(|path| read_kernel_text(format!("/proc/sys/{path}")).ok())
        .map_or_else(|| otherwise.to_owned(), str::to_owned)
}

fn forbidden_by(read: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let value = |switch: &Switch| read(switch.path)?.trim().parse::<u64>().ok();
    SWITCHES.iter().find(|s| value(s).is_some_and(s.forbids)).map(|s| s.remedy)
}

/// What to do when the id ranges of `file` (subuid(5), subgid(5)) do not allow a
/// map; `option` is the one of usermod(8) that adds a range.
pub fn ranges(file: &str, option: &str) -> String {
    let uid = nix::unistd::geteuid().to_string();
    let name = name_of(&std::fs::read_to_string("/etc/passwd").unwrap_or_default(), &uid);
    let text = std::fs::read_to_string(file).unwrap_or_default();
    advise(&text, name.as_deref().unwrap_or(&uid), &uid, file, option)
}

fn name_of(passwd: &str, uid: &str) -> Option<String> {
    let found = passwd.lines().find(|line| line.split(':').nth(2) == Some(uid))?;
    found.split(':').next().map(str::to_owned)
}

fn advise(text: &str, name: &str, uid: &str, file: &str, option: &str) -> String {
    let mine = |line: &&str| line.split(':').next().is_some_and(|owner| owner == name || owner == uid);
    let ranges: Vec<&str> =
        text.lines().filter(mine).filter_map(|line| Some(line.split_once(':')?.1)).collect();
    if ranges.is_empty() {
        return format!(
            "{name} has no range in {file}: usermod {option} 100000-165535 {name}; \
             or map your own id alone, with size 1"
        );
    }
    format!("{name} has FIRST:COUNT {} in {file}, and no other host ids", ranges.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_forbids_is_named() {
        let with = |wanted: &'static str, value: &'static str| {
            forbidden_by(move |path| (path == wanted).then(|| value.to_owned()))
        };
        for (path, value) in [
            ("kernel/unprivileged_userns_clone", "0\n"),
            ("user/max_user_namespaces", "0\n"),
            ("kernel/apparmor_restrict_unprivileged_userns", "1\n"),
        ] {
            let found = with(path, value).unwrap();
            assert!(found.contains(&path.replace('/', ".")) && found.contains("sysctl -w"), "{found}");
        }
        assert_eq!(with("kernel/unprivileged_userns_clone", "1\n"), None);
        assert_eq!(with("user/max_user_namespaces", "63000\n"), None);
        assert_eq!(forbidden_by(|_| None), None);
    }

    #[test]
    fn ranges_are_told_or_how_to_get_them() {
        let none = advise("other:1:2\n", "me", "1000", "/etc/subuid", "--add-subuids");
        assert!(none.contains("usermod --add-subuids 100000-165535 me"), "{none}");
        for owner in ["me", "1000"] {
            let text = format!("other:1:2\n{owner}:200000:65536\n");
            let some = advise(&text, "me", "1000", "/etc/subuid", "--add-subuids");
            assert!(some.contains("200000:65536") && !some.contains("1:2 "), "{some}");
        }
        assert_eq!(name_of("root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:\n", "1000").as_deref(), Some("me"));
    }
}
