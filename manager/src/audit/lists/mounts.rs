//! Mounts below the daemon's directories, in its own mount namespace: of containers that have gone, and the
//! files that hold namespaces, with the interfaces of those that are network namespaces.

use super::super::records::Marks;
use super::super::{Claim, Kind, Object, Place};
use super::{Lists, below};
use nix::sched::{CloneFlags, setns};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    number: u64,
    at: PathBuf,
    kind: String,
}

/// Adds them.
///
/// # Errors
/// When mountinfo cannot be read.
pub fn read(marks: &Marks, lists: &mut Lists) -> io::Result<()> {
    for mount in all()? {
        let Some(claim) = claim(marks, &mount.at) else { continue };
        let holds = mount.kind == "nsfs";
        let kind = if holds { Kind::Namespace } else { Kind::Mount };
        if holds && mount.at.ends_with("net") {
            for name in interfaces(&mount.at) {
                let place = Place::Interface(mount.at.clone(), name.clone());
                let name = format!("{name} in {}", mount.at.display());
                lists.objects.push(Object { kind: Kind::Interface, name, claim: claim.clone(), place });
            }
        }
        let (name, place) = (mount.at.display().to_string(), Place::Mount(mount.number, mount.at));
        lists.objects.push(Object { kind, name, claim, place });
    }
    Ok(())
}

/// Whose a mount is by where it is; `None` when it is not below our directories.
fn claim(marks: &Marks, at: &Path) -> Option<Claim> {
    let container = |id: &str| Claim::Container(id.into());
    let places = [marks.root.join("containers"), marks.state.join("shims"), marks.runtime_root.clone()];
    if let Some((id, _)) = places.iter().find_map(|place| below(at, place)) {
        return Some(container(id));
    }
    if let Some((id, _)) = below(at, &marks.root.join("sandboxes")) {
        return Some(Claim::Sandbox(id.into()));
    }
    let pins = marks.state.join("pins");
    if at == pins {
        return Some(Claim::Daemon);
    }
    match below(at, &pins) {
        Some(("sandbox", rest)) => below(rest, Path::new("")).map(|(id, _)| Claim::Sandbox(id.into())),
        Some(("container", rest)) => below(rest, Path::new("")).map(|(id, _)| container(id)),
        // Nothing of ours is mounted elsewhere.
        _ => (at != marks.root
            && at != marks.state
            && (at.starts_with(&marks.root) || at.starts_with(&marks.state)))
        .then_some(Claim::Host),
    }
}

/// Whether that very mount is still there.
pub fn is_there(number: u64, at: &Path) -> bool {
    all().is_ok_and(|all| all.iter().any(|mount| mount.number == number && mount.at == at))
}

fn all() -> io::Result<Vec<Mount>> {
    let text = fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// A line of proc_pid_mountinfo(5).
fn parse(line: &[u8]) -> Option<Mount> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let mut fields = line.split(|b| *b == b' ');
    let number = text(fields.next()?).parse().ok()?;
    let at = PathBuf::from(OsString::from_vec(unescape(fields.nth(3)?)));
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    Some(Mount { number, at, kind })
}

/// Blanks and the like are written as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let digits =
            behind.get(..3).filter(|_| *first == b'\\').and_then(|three| std::str::from_utf8(three).ok());
        let byte = digits.and_then(|three| u8::from_str_radix(three, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    plain
}

/// Interfaces of the network namespace that a file holds, but for `lo`; none where it holds none.
pub fn interfaces(file: &Path) -> Vec<String> {
    let Ok(namespace) = File::open(file) else { return Vec::new() };
    // A thread of its own goes there, and ends there.
    let inside = std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).ok()?;
        fs::read_to_string("/proc/thread-self/net/dev").ok()
    });
    let table = inside.join().ok().flatten().unwrap_or_default();
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.filter(|name| name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_whatever_is_in_its_path() {
        let line = br"36 35 98:0 /mnt1 /run/s/pins/sandbox/a\040b\134c rw,noatime master:1 - nsfs nsfs rw";
        let mount = parse(line).unwrap();
        assert_eq!((mount.number, mount.kind.as_str()), (36, "nsfs"));
        assert_eq!(mount.at, Path::new(r"/run/s/pins/sandbox/a b\c"));
        assert_eq!(parse(b""), None);
        assert!(all().unwrap().iter().any(|mount| mount.at == Path::new("/proc")));
    }

    #[test]
    fn a_mount_belongs_to_whose_directory_it_is_in() {
        let marks = Marks {
            root: "/lib/s".into(),
            state: "/run/s".into(),
            runtime_root: "/run/s/runtime".into(),
            runtime: "r".into(),
            daemon: 1,
        };
        let of = |at: &str| claim(&marks, Path::new(at));
        let container = |id: &str| Some(Claim::Container(id.into()));
        assert_eq!(of("/lib/s/containers/a/bundle/rootfs"), container("a"));
        assert_eq!(of("/run/s/pins/container/a/net"), container("a"));
        assert_eq!(of("/run/s/pins/sandbox/p/net"), Some(Claim::Sandbox("p".into())));
        assert_eq!(of("/run/s/pins"), Some(Claim::Daemon));
        assert_eq!(of("/lib/s/containers"), Some(Claim::Host));
        for other in ["/lib/s", "/run/s", "/lib/s2/containers/a", "/"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
