//! Why something is nobody's, and what is to be done about it, in words.

use super::records::Marks;
use super::{Kind, Object, Orphan, Place};
use sextant_runtime::contract::check_id;
use std::path::{Path, PathBuf};

/// Who is not there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gone<'a> {
    /// The container of this name.
    Container(&'a str),
    /// The sandbox of this name.
    Sandbox(&'a str),
    /// Whoever it could belong to.
    All,
    /// The container is there, and has another shim.
    Second {
        /// Its name.
        container: &'a str,
        /// The shim that it has.
        shim: i32,
    },
    /// Whoever has the range of ids.
    Range,
}

/// All that is said of it.
pub(super) fn orphan(marks: &Marks, object: &Object, gone: &Gone<'_>) -> Orphan {
    let (remedy, command, can_fix) = remedy(marks, object, gone);
    Orphan {
        reason: reason(object.kind, gone),
        proofs: proofs(marks, object, gone),
        remedy,
        command,
        can_fix,
    }
}

fn reason(kind: Kind, gone: &Gone<'_>) -> String {
    match (kind, gone) {
        (Kind::TemporaryFile, _) => "nobody writes it any more".into(),
        (Kind::Descriptor, _) => "no container needs it".into(),
        (Kind::ContainerDirectory | Kind::Journal | Kind::SandboxDirectory, _) => "it has no record".into(),
        (_, Gone::Container(id)) => format!("there is no container {id}"),
        (_, Gone::Sandbox(id)) => format!("there is no sandbox {id}"),
        (_, Gone::Second { container, shim }) => format!("the shim of {container} is {shim}"),
        (_, Gone::Range) => "no container or sandbox has it".into(),
        (_, Gone::All) => "it works for nobody that there is".into(),
    }
}

/// Two at least, of sources that do not know of each other. That it was looked at again, and was the same, is
/// added by who did.
fn proofs(marks: &Marks, object: &Object, gone: &Gone<'_>) -> Vec<String> {
    let record = |of: &str, id: &str, name: &str| {
        format!("there is no {}", marks.root.join(of).join(id).join(name).display())
    };
    let asked = |what: String| format!("the daemon knew no {what} before the look, nor after it");
    match gone {
        Gone::Container(id) => {
            vec![asked(format!("container {id}")), record("containers", id, "record.json")]
        }
        Gone::Sandbox(id) => vec![asked(format!("sandbox {id}")), record("sandboxes", id, "sandbox.json")],
        Gone::Second { container, shim } => vec![
            format!("process {shim} answers as the shim of {container}"),
            "another process has that container on its command line".into(),
        ],
        Gone::Range => vec![
            asked("container or sandbox with these ids".into()),
            "nothing was being made or removed".into(),
        ],
        Gone::All => match object.kind {
            Kind::TemporaryFile => vec![
                "its name is that of a file which is renamed as soon as it is written".into(),
                format!("it was not written to for {} s", super::lists::files::STALE.as_secs()),
            ],
            Kind::Descriptor => vec![
                "no container is on the list of those for whom descriptors are kept".into(),
                "what it refers to has ended, or only a shim could use it".into(),
            ],
            _ => vec![
                asked("container or sandbox of a name in its command line".into()),
                "the disk has no record of such a name".into(),
            ],
        },
    }
}

/// In words, as a command, and whether the daemon can do it.
fn remedy(marks: &Marks, object: &Object, gone: &Gone<'_>) -> (String, String, bool) {
    let quoted = |path: &Path| quote(&path.display().to_string());
    let remove = |path: &Path| ("remove it".to_owned(), format!("rm -r {}", quoted(path)), true);
    match (&object.place, object.kind) {
        (Place::Process(pid), _) => ("kill it".into(), format!("kill -9 {pid}"), true),
        (Place::Cgroup(paths), _) => {
            ("end what is in it, and remove it".into(), format!("rmdir {}", in_all_hierarchies(paths)), true)
        }
        (Place::Mount(_, path), Kind::Namespace) => {
            let path = quoted(path);
            ("let go of it".into(), format!("umount {path} && rm {path}"), true)
        }
        (Place::Mount(_, path), _) => ("unmount it".into(), format!("umount -l {}", quoted(path)), true),
        (Place::Interface(file, name), _) => (
            "it goes with its namespace".into(),
            format!("nsenter --net={} ip link delete {}", quoted(file), quote(name)),
            true,
        ),
        (Place::Path(path), Kind::RuntimeState) => {
            // The runtime makes, and takes, no other names.
            let id = match gone {
                Gone::Container(id) if check_id(id).is_ok() => quote(id),
                _ => return remove(path),
            };
            let (runtime, root) = (quoted(&marks.runtime), quoted(&marks.runtime_root));
            ("let the runtime delete it".into(), format!("{runtime} --root {root} delete --force {id}"), true)
        }
        (Place::Path(path), _) => remove(path),
        (Place::Range(_) | Place::Descriptor(_), _) => {
            ("start the daemon again; containers live on".into(), "systemctl restart sextantd".into(), false)
        }
    }
}

/// The cgroup in all its hierarchies, as a shell finds it.
fn in_all_hierarchies(paths: &[PathBuf]) -> String {
    let root = Path::new(super::lists::cgroups::ROOT);
    // Below the directory of the hierarchy.
    let relative = |path: &PathBuf| {
        let mut components = path.strip_prefix(root).ok()?.components();
        components.next();
        Some(components.as_path().to_owned())
    };
    let mut relatives = paths.iter().map(relative);
    match (relatives.next().flatten(), paths.len()) {
        (Some(first), 2..) if relatives.all(|other| other.as_ref() == Some(&first)) => {
            format!("{}/*/{}", root.display(), quote(&first.display().to_string()))
        }
        _ => paths.iter().map(|path| quote(&path.display().to_string())).collect::<Vec<_>>().join(" "),
    }
}

/// As a shell takes it for one word.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@,%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_of_many_hierarchies_is_one_word() {
        let of = |paths: &[&str]| in_all_hierarchies(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["/sys/fs/cgroup/cpu/s/a", "/sys/fs/cgroup/pids/s/a"]), "/sys/fs/cgroup/*/s/a");
        assert_eq!(of(&["/sys/fs/cgroup/s/a"]), "/sys/fs/cgroup/s/a");
        assert_eq!(
            of(&["/sys/fs/cgroup/x/a", "/sys/fs/cgroup/y/b"]),
            "/sys/fs/cgroup/x/a /sys/fs/cgroup/y/b"
        );
    }

    #[test]
    fn a_word_stays_one_word_in_a_shell() {
        assert_eq!(quote("/run/a-b_c.d"), "/run/a-b_c.d");
        assert_eq!(quote("a b'c"), r"'a b'\''c'");
        assert_eq!(quote(""), "''");
    }
}
