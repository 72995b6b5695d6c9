//! Ids for user namespaces: root gives its own, a user has ranges (subuid(5)) and the programs that map them.

use super::check::{Check, Level, Subject};
use super::host::Host;
use super::who::Who;
use crate::sys::probe;
use std::os::unix::fs::PermissionsExt;

/// `S_ISUID` of inode(7).
const SETUID: u32 = 0o4000;

/// newuidmap(1) or newgidmap(1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: String,
    /// What gives it the right to map ids: `set-user-ID`, `file capabilities`; empty where nothing does.
    pub by: String,
}

/// What is known of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The ranges of the user in /etc/subuid and /etc/subgid, as `FIRST:COUNT`.
    pub ranges: [Vec<String>; 2],
    /// newuidmap(1) and newgidmap(1).
    pub programs: [Option<Program>; 2],
    /// First id of the daemon's ranges, and the first behind them.
    pub pool: (u64, u64),
    /// Ranges of the daemon.
    pub pool_ranges: u64,
    /// Whether all of these ids are in the own user namespace.
    pub pool_mapped: bool,
}

const FILES: [(&str, &str, &str); 2] =
    [("/etc/subuid", "newuidmap", "--add-subuids"), ("/etc/subgid", "newgidmap", "--add-subgids")];

impl Facts {
    /// Of the user `who`, with the daemon's `pool`: first id, ids in a range, ranges.
    pub fn gather(host: &Host, who: &Who, (first, size, ranges): (u64, u64, u64)) -> Self {
        let end = first.saturating_add(size.saturating_mul(ranges));
        let map = host.text("/proc/self/uid_map").unwrap_or_default();
        Self {
            ranges: FILES.map(|(file, _, _)| of_user(&host.text(file).unwrap_or_default(), who)),
            programs: FILES.map(|(_, name, _)| program(host, name)),
            pool: (first, end),
            pool_ranges: ranges,
            pool_mapped: covers(&map, first, end),
        }
    }
}

fn of_user(text: &str, who: &Who) -> Vec<String> {
    let mine = |line: &str| {
        let (owner, range) = line.split_once(':')?;
        (owner == who.user() || owner == who.uid.to_string()).then(|| range.to_owned())
    };
    text.lines().filter_map(mine).collect()
}

fn program(host: &Host, name: &str) -> Option<Program> {
    let path = host.program(name)?;
    let real = host.path(&path);
    let setuid = real.metadata().is_ok_and(|metadata| metadata.permissions().mode() & SETUID != 0);
    let by = match (setuid, probe::has_file_capabilities(&real)) {
        (true, _) => "set-user-ID",
        (false, true) => "file capabilities",
        (false, false) => "",
    };
    Some(Program { path: path.display().to_string(), by: by.to_owned() })
}

/// Whether a line of uid_map has all ids from `first` to before `end`.
fn covers(map: &str, first: u64, end: u64) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map_while(|n| n.parse::<u64>().ok());
        let (inside, count) = (numbers.next(), numbers.nth(1));
        inside
            .zip(count)
            .is_some_and(|(inside, count)| inside <= first && end <= inside.saturating_add(count))
    })
}

/// Checks of all that is known.
pub fn judge(facts: &Facts, who: &Who) -> Vec<Check> {
    if who.privileged() {
        return vec![pool(facts)];
    }
    let files = FILES.iter().zip(&facts.ranges).zip(&facts.programs);
    files
        .flat_map(|(((file, name, option), ranges), program)| {
            [range(who, file, option, ranges), mapper(who, name, program.as_ref())]
        })
        .collect()
}

fn pool(facts: &Facts) -> Check {
    let (first, end) = facts.pool;
    let check = Check::ok(
        Subject::Ids,
        "id ranges of the daemon",
        format!("{} of them, ids {first} to {}", facts.pool_ranges, end.saturating_sub(1)),
        "setting id-range; /proc/self/uid_map",
    )
    .by("user_namespaces(7)");
    match facts.pool_mapped {
        true => check,
        false => check
            .but(
                Level::Missing,
                "These ids are not in the daemon's own user namespace, and cannot be given to containers.",
            )
            .mend("cat /proc/self/uid_map   # and set id-range within it: BASE:COUNTxSIZE"),
    }
}

fn range(who: &Who, file: &str, option: &str, ranges: &[String]) -> Check {
    let user = who.user();
    let check = Check::ok(Subject::Ids, file.to_owned(), ranges.join(", "), file.to_owned())
        .by("subuid(5), usermod(8)");
    match ranges {
        [] => Check { found: format!("no range of {user}"), ..check }
            .but(
                Level::Limited,
                "Containers have one id, this user's own; ranges in their config are refused.",
            )
            .mend(format!("usermod {option} 100000-165535 {user}")),
        _ => check,
    }
}

fn mapper(who: &Who, name: &str, program: Option<&Program>) -> Check {
    let check = |found: String| {
        Check::ok(Subject::Ids, name.to_owned(), found, "/usr/bin, /bin, /usr/local/bin").by("newuidmap(1)")
    };
    let bad = "Ranges of ids cannot be mapped; containers have one id, this user's own.";
    match program {
        None => check("not installed".into()).but(Level::Limited, bad).mend("apt-get install uidmap"),
        Some(Program { path, by }) if by.is_empty() => {
            check(format!("{path}, without set-user-ID or file capabilities"))
                .but(Level::Limited, bad)
                .mend(format!("chmod u+s {path}"))
        }
        Some(Program { path, .. }) if who.no_new_privileges => {
            check(format!("{path}, but no_new_privs is set"))
                .but(Level::Limited, format!("{name} gets no rights in this process. {bad}"))
                .mend("# begin in a session without no_new_privs (NoNewPrivileges= of systemd.exec(5))")
        }
        Some(Program { path, by }) => check(format!("{path}, {by}")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::who::tests::{root, user};
    use super::*;

    /// A host that gives its users ranges.
    pub(in crate::doctor) fn plenty() -> Facts {
        let program =
            |name: &str| Some(Program { path: format!("/usr/bin/{name}"), by: "set-user-ID".into() });
        Facts {
            ranges: [vec!["100000:65536".into()], vec!["100000:65536".into()]],
            programs: [program("newuidmap"), program("newgidmap")],
            pool: (0x7000_0000, 0x7fff_0000),
            pool_ranges: 4095,
            pool_mapped: true,
        }
    }

    fn bad(facts: &Facts, who: &Who) -> Vec<Check> {
        judge(facts, who).into_iter().filter(|check| check.level != Level::Ok).collect()
    }

    #[test]
    fn what_a_user_lacks() {
        assert!(bad(&plenty(), &user()).is_empty());
        let none = Facts { ranges: Default::default(), programs: Default::default(), ..plenty() };
        let remedies: Vec<String> = bad(&none, &user()).into_iter().map(|check| check.remedy).collect();
        assert_eq!(
            remedies,
            [
                "usermod --add-subuids 100000-165535 me",
                "apt-get install uidmap",
                "usermod --add-subgids 100000-165535 me",
                "apt-get install uidmap",
            ]
        );
        let weak = Some(Program { path: "/usr/bin/newuidmap".into(), by: String::new() });
        let weak = Facts { programs: [weak, None], ..plenty() };
        assert_eq!(bad(&weak, &user())[0].remedy, "chmod u+s /usr/bin/newuidmap");
        let confined = Who { no_new_privileges: true, ..user() };
        assert_eq!(bad(&plenty(), &confined).len(), 2);
    }

    #[test]
    fn root_needs_neither_but_ids_of_its_own() {
        let none = Facts { ranges: Default::default(), programs: Default::default(), ..plenty() };
        assert!(bad(&none, &root()).is_empty());
        let nested = Facts { pool_mapped: false, ..plenty() };
        assert_eq!(bad(&nested, &root())[0].level, Level::Missing);
    }

    #[test]
    fn they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["etc", "usr/bin", "proc/self"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        std::fs::write(dir.path().join("etc/subuid"), "other:1:2\nme:200000:65536\n1000:3:4\n").unwrap();
        std::fs::write(dir.path().join("proc/self/uid_map"), "0 5 10\n 100 0 50\n").unwrap();
        let program = dir.path().join("usr/bin/newuidmap");
        std::fs::write(&program, "").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let facts = Facts::gather(&Host::below(dir.path()), &user(), (100, 5, 11));
        assert_eq!(facts.ranges, [vec!["200000:65536".to_owned(), "3:4".to_owned()], vec![]]);
        assert_eq!(facts.programs[0].as_ref().unwrap().by, "set-user-ID");
        assert_eq!((facts.programs[1].as_ref(), facts.pool_mapped), (None, false));
        assert!(covers("0 5 10\n100 0 50\n", 110, 150));
    }
}
