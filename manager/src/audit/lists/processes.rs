//! Shims and runtimes by their command lines, and the processes in the cgroups of containers. A command line
//! is believed of our own user's processes only.

use super::super::records::Marks;
use super::super::{Claim, Kind, Object, Place};
use super::cgroups::Members;
use super::{Lists, below};
use sextant_runtime::contract::check_id;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Adds them.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn read(marks: &Marks, members: &Members, lists: &mut Lists) -> io::Result<()> {
    for (pid, claim) in members {
        let name = format!("{pid} {}", command(*pid));
        let (claim, place) = (claim.clone(), Place::Process(*pid));
        lists.objects.push(Object { kind: Kind::Process, name, claim, place });
    }
    for entry in fs::read_dir("/proc")? {
        let pid = entry.ok().and_then(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| *pid != marks.daemon && !members.contains_key(pid)) else {
            continue;
        };
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let Some((kind, claim)) = claim(marks, &line) else { continue };
        if !is_ours(pid) {
            continue;
        }
        if kind == Kind::Shim {
            lists.recorded.shims.insert(pid);
        }
        let claim =
            if kind == Kind::Runtime && parent(pid) == Some(marks.daemon) { Claim::Daemon } else { claim };
        let name = format!("{pid} {}", command(pid));
        lists.objects.push(Object { kind, name, claim, place: Place::Process(pid) });
    }
    Ok(())
}

/// What a command line says, if it has the mark of this daemon: the state directory of its runtime.
fn claim(marks: &Marks, line: &[u8]) -> Option<(Kind, Claim)> {
    let words: Vec<&OsStr> = line.split(|b| *b == 0).map(OsStr::from_bytes).collect();
    let behind = |flag: &str| {
        let flag = words.iter().position(|word| *word == flag)?;
        words.get(flag + 1).copied()
    };
    let is_root = |word: &OsStr| word == marks.runtime_root.as_os_str();
    if behind("--runtime-root").is_some_and(is_root) {
        return Some((Kind::Shim, Claim::Container(behind("--id")?.to_str()?.into())));
    }
    let mut words = words.into_iter().skip(1);
    if words.next()? != "--root" || !is_root(words.next()?) {
        return None;
    }
    let places = [marks.root.join("containers"), marks.root.join("sandboxes")].into_iter();
    let pins = ["sandbox", "container"].map(|kind| marks.state.join("pins").join(kind));
    let places: Vec<PathBuf> = places.chain(pins).collect();
    let name = |word: &OsStr| {
        let of_path = places.iter().find_map(|place| below(Path::new(word), place)).map(|(name, _)| name);
        let word = word.to_str().filter(|word| !word.starts_with('-') && check_id(word).is_ok());
        of_path.or(word).map(str::to_owned)
    };
    Some((Kind::Runtime, Claim::AnyOf(words.filter_map(name).collect())))
}

/// Whether it runs as our own user.
fn is_ours(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = uid.and_then(|uid| uid.split_whitespace().next()?.parse::<u32>().ok());
    uid == Some(nix::unistd::getuid().as_raw())
}

/// Its name as the kernel has it.
fn command(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

fn stat(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name and may have any character.
    Some(stat.rsplit_once(')')?.1.to_owned())
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.split_whitespace().nth(4 - 3)?.parse().ok()
}

/// When it began, in clock ticks since boot (proc_pid_stat(5), field 22); `None` of one that has ended.
pub fn began(pid: i32) -> Option<u64> {
    let stat = stat(pid)?;
    let mut fields = stat.split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(22 - 4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::records::marks_for_tests as marks;
    use super::*;

    fn of(line: &str) -> Option<(Kind, Claim)> {
        claim(&marks(), line.replace(' ', "\0").as_bytes())
    }

    #[test]
    fn a_command_line_says_whose_it_is() {
        let shim = of("/bin/sextant-shim --id web --dir /lib/s/containers/web --runtime-root /run/s/runtime");
        assert_eq!(shim, Some((Kind::Shim, Claim::Container("web".into()))));
        let names = |line| match of(line) {
            Some((Kind::Runtime, Claim::AnyOf(names))) => names,
            other => panic!("{other:?}"),
        };
        let create = "r --root /run/s/runtime create --bundle /lib/s/containers/web/bundle --pid-file /x web";
        assert_eq!(names(create), ["create", "web", "web"]);
        let pin = "r --root /run/s/runtime pin --bundle /lib/s/sandboxes/pod --to /run/s/pins/sandbox/pod";
        assert_eq!(names(pin), ["pin", "pod", "pod"]);
        assert_eq!(of("sextant-shim --id web --runtime-root /run/other/runtime"), None);
        assert_eq!(of("r --root /run/other create web"), None);
        assert_eq!(of("grep --root /run/s/runtimes"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn this_process_has_begun_and_the_ended_have_not() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(began(own).unwrap() > 0 && is_ours(own));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while began(pid).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(parent(own), Some(nix::unistd::getppid().as_raw()));
    }
}
