//! Cgroups of containers, in all hierarchies. Each bears the path of its container's state directory as an
//! extended attribute; where a runtime could not set it, that directory says which cgroup it is. A cgroup of
//! the right name alone is nobody's in particular: a daemon with other directories uses the same names.

use super::super::records::Marks;
use super::super::{Claim, Kind, Object, Place};
use super::{Lists, below};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use sextant_runtime::observe;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where cgroup file systems are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// The hierarchy of version 1 in which processes are counted.
const LISTING: &str = "/sys/fs/cgroup/pids";

/// The processes in cgroups of containers, and whose each is.
pub type Members = BTreeMap<i32, Claim>;

/// Adds them; who is in them.
///
/// # Errors
/// When the directory of the hierarchies cannot be read.
pub fn read(marks: &Marks, lists: &mut Lists) -> io::Result<Members> {
    let mut found = Found::new();
    let mut marked = BTreeSet::new();
    let hierarchies = hierarchies(Path::new(ROOT))?;
    for hierarchy in &hierarchies {
        walk(hierarchy, &mut |path, relative| {
            let Some(state) = observe::owner(path) else { return false };
            if let Some((id, _)) = below(&state, &marks.runtime_root) {
                marked.insert(id.to_owned());
                found.entry((relative.into(), id.to_owned())).or_default().push(path.into());
            }
            true
        });
    }
    for (path, id) in without_mark(marks, &marked) {
        let relative = hierarchies.iter().find_map(|hierarchy| path.strip_prefix(hierarchy).ok());
        if let (Some(relative), true) = (relative, path.is_dir()) {
            found.entry((relative.into(), id)).or_default().push(path.clone());
        }
    }
    let mut members = Members::new();
    for ((relative, id), paths) in found {
        // Whoever is in it is in all of them.
        let listing = paths.iter().find(|path| path.starts_with(LISTING)).or(paths.first());
        for pid in listing.into_iter().flat_map(|path| processes(path)) {
            members.insert(pid, Claim::Container(id.clone()));
        }
        let name = match paths.len() {
            1 => format!("/{}", relative.display()),
            count => format!("/{} in {count} hierarchies", relative.display()),
        };
        let (claim, place) = (Claim::Container(id), Place::Cgroup(paths));
        lists.objects.push(Object { kind: Kind::Cgroup, name, claim, place });
    }
    Ok(members)
}

/// By path below the hierarchy, and whose it is: its directories. One cgroup in several hierarchies is one.
type Found = BTreeMap<(PathBuf, String), Vec<PathBuf>>;

/// The cgroups of those containers of which none bears a mark, as their state directories have it.
fn without_mark(marks: &Marks, marked: &BTreeSet<String>) -> Vec<(PathBuf, String)> {
    let names = fs::read_dir(&marks.runtime_root).into_iter().flatten().filter_map(Result::ok);
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let unmarked = names.filter(|id| !marked.contains(id));
    let paths = unmarked.flat_map(|id| {
        let known = observe::known(&marks.runtime_root, &id).unwrap_or_default();
        known.cgroup.into_iter().map(move |path| (path, id.clone()))
    });
    paths.collect()
}

/// The mounted hierarchies below `root`, or `root` itself.
fn hierarchies(root: &Path) -> io::Result<Vec<PathBuf>> {
    let is_one = |path: &Path| {
        statfs(path)
            .is_ok_and(|found| [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&found.filesystem_type()))
    };
    if is_one(root) {
        return Ok(vec![root.into()]);
    }
    let entries = fs::read_dir(root)?.filter_map(Result::ok);
    // A link to one of two names of the same hierarchy is none more.
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).filter(|path| is_one(path)).collect())
}

/// Shows each cgroup of a hierarchy to `look`, which says whether that is all that is to be known of it; else
/// those below it are shown as well.
fn walk(hierarchy: &Path, look: &mut impl FnMut(&Path, &Path) -> bool) {
    let mut todo = vec![PathBuf::new()];
    while let Some(relative) = todo.pop() {
        let path = hierarchy.join(&relative);
        let is_root = relative.as_os_str().is_empty();
        if is_root || !look(&path, &relative) && has_children(&path) {
            todo.extend(children(&path).into_iter().map(|name| relative.join(name)));
        }
    }
}

/// Whether there are directories below: a cgroup counts them as links.
fn has_children(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.nlink() > 2)
}

fn children(path: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
        .map(|entry| entry.file_name())
        .collect()
}

/// Who is in it, and in those below it.
pub fn processes(path: &Path) -> Vec<i32> {
    let mut todo = vec![path.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = todo.pop() {
        let procs = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        if has_children(&path) {
            todo.extend(children(&path).into_iter().map(|name| path.join(name)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_known_by_their_file_system() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("memory")).unwrap();
        assert_eq!(hierarchies(dir.path()).unwrap(), Vec::<PathBuf>::new());
        assert!(processes(dir.path()).is_empty());
    }

    #[test]
    fn a_walk_ends_where_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sextant/a/exec")).unwrap();
        fs::create_dir_all(dir.path().join("system/b")).unwrap();
        let mut seen = Vec::new();
        walk(dir.path(), &mut |_, relative| {
            seen.push(relative.display().to_string());
            relative.ends_with("a")
        });
        // Not every file system counts directories in the links; cgroups do.
        assert!(!seen.contains(&"sextant/a/exec".to_owned()), "{seen:?}");
    }
}
