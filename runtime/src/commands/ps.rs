//! `ps`: the processes of the container, as the caller's pid namespace numbers
//! them: their pids as JSON, or the lines of ps(1) that are about them.

use super::{Context, print};
use crate::cgroup::Cgroup;
use crate::cli::{self, ListFormat};
use crate::contract::ExitCode;
use crate::report::{Attempt, Outcome, Place, refuse};
use crate::store::Directory;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::process::Command;

/// Carries it out. ps(1) is looked for in `PATH`, and is given the options
/// that stand behind the id, else `-ef`.
///
/// # Errors
/// Refused when the options give a list without a PID column; ps's own failure.
pub fn run(context: &Context, args: &cli::Ps) -> Outcome<ExitCode> {
    let stored = Directory::open(&context.root, &args.id)?.read()?;
    let pids = if stored.cgroup.paths.is_empty() {
        in_pid_namespace_of(stored.state.pid)?
    } else {
        Cgroup::open(&stored.cgroup).procs().map_err(Box::new)?
    };
    match args.format {
        ListFormat::Json => {
            let json = serde_json::to_string(&pids).map_err(|e| refuse("print as JSON", e.to_string()))?;
            print(&format!("{json}\n"))
        }
        ListFormat::Table => {
            let table = list(&args.options)?;
            print(&select(&table, &pids.into_iter().collect())?)
        }
    }
}

/// Without a cgroup: those of init's pid namespace that the caller may look into.
/// Where that is the caller's own, nothing tells the container's processes from others: init alone.
pub(crate) fn in_pid_namespace_of(init: i32) -> Outcome<Vec<i32>> {
    let Some(wanted) = pid_namespace(init) else { return Ok(Vec::new()) };
    if std::fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own == wanted) {
        return Ok(vec![init]);
    }
    let entries = std::fs::read_dir("/proc").attempt(|| "list the processes in /proc".into())?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut pids: Vec<i32> = numbers.filter(|pid| pid_namespace(*pid).as_ref() == Some(&wanted)).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Whether both live, and in the same one.
pub(super) fn share_pid_namespace(one: i32, other: i32) -> bool {
    pid_namespace(one).is_some_and(|namespace| pid_namespace(other) == Some(namespace))
}

fn pid_namespace(pid: i32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// What ps(1) prints about the whole machine.
fn list(options: &[String]) -> Outcome<String> {
    let default = ["-ef".to_owned()];
    let options = if options.is_empty() { &default } else { options };
    let what = || format!("run ps {}", options.join(" "));
    let output = Command::new("ps")
        .args(options)
        .output()
        .attempt(what)
        .hint(Errno::ENOENT, "install ps (package procps), or use --format json")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(refuse(what(), String::from_utf8_lossy(&output.stderr).trim()))
}

/// The heading, and the lines whose number in the PID column is one of `pids`.
fn select(table: &str, pids: &BTreeSet<i32>) -> Outcome<String> {
    let mut lines = table.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|title| title == "PID") else {
        let mut failure = refuse("read what ps printed", "couldn't find PID field in ps output");
        failure.hint = "give options that show the column PID, such as -o pid,comm".into();
        return Err(failure);
    };
    let is_ours = |line: &&str| {
        let field = line.split_whitespace().nth(column);
        field.and_then(|f| f.parse().ok()).is_some_and(|pid| pids.contains(&pid))
    };
    let ours = lines.filter(is_ours);
    Ok(std::iter::once(heading).chain(ours).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::select;

    #[test]
    fn lines_are_chosen_by_the_pid_column_alone() {
        let table = "UID  PID  PPID CMD\nroot   7     1 a 9\nroot   9     7 b\nroot  77     9 c\n";
        let got = select(table, &[9].into()).unwrap();
        assert_eq!(got, "UID  PID  PPID CMD\nroot   9     7 b\n");
        let failure = select("USER CMD\n", &[9].into()).unwrap_err();
        assert!(failure.to_string().contains("PID"), "{failure}");
    }
}
