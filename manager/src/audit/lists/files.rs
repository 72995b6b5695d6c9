//! Directories of containers and sandboxes, below the root and the state directory, and files that were to
//! replace others.

use super::super::records::Marks;
use super::super::{Claim, Kind, Object, Place};
use super::{Lists, Recorded};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who writes a file to replace another does it at once: after so long nobody will any more.
pub const STALE: Duration = Duration::from_secs(60);

/// Adds them, and which containers and sandboxes have a record.
///
/// # Errors
/// When a directory cannot be read; one that is not there has nothing in it.
pub fn read(marks: &Marks, lists: &mut Lists) -> io::Result<()> {
    let (mut objects, mut recorded) = (Vec::new(), Recorded::default());
    let container = |id: &str| Claim::Container(id.into());
    for (id, path) in directories(&marks.root.join("containers"))? {
        if has(&path, "record.json") {
            recorded.containers.insert(id.clone());
        }
        let kind = if has(&path, "journal") { Kind::Journal } else { Kind::ContainerDirectory };
        objects.extend(stale(&path));
        objects.push(directory(kind, container(&id), path));
    }
    for (id, path) in directories(&marks.root.join("sandboxes"))? {
        if has(&path, "sandbox.json") {
            recorded.sandboxes.insert(id.clone());
        }
        objects.extend(stale(&path));
        objects.push(directory(Kind::SandboxDirectory, Claim::Sandbox(id), path));
    }
    objects.extend(stale(&marks.root));
    for (id, path) in directories(&marks.state.join("shims"))? {
        let socket = path.join("shim.sock");
        let kind = if fs::symlink_metadata(&socket).is_ok() { Kind::Socket } else { Kind::ShimDirectory };
        objects.push(directory(kind, container(&id), path));
    }
    for (id, path) in directories(&marks.runtime_root)? {
        objects.push(directory(Kind::RuntimeState, container(&id), path));
    }
    let pins = marks.state.join("pins");
    for (id, path) in directories(&pins.join("container"))? {
        objects.push(directory(Kind::PinDirectory, container(&id), path));
    }
    for (id, path) in directories(&pins.join("sandbox"))? {
        objects.push(directory(Kind::PinDirectory, Claim::Sandbox(id), path));
    }
    // Where something is mounted in it, that is told, and goes with it.
    let mounted = |object: &Object| {
        let Place::Path(directory) = &object.place else { return false };
        let within =
            |other: &Object| matches!(&other.place, Place::Mount(_, at) if at.starts_with(directory));
        object.kind == Kind::PinDirectory && lists.objects.iter().any(within)
    };
    objects.retain(|object| !mounted(object));
    lists.recorded.containers = recorded.containers;
    lists.recorded.sandboxes = recorded.sandboxes;
    lists.objects.append(&mut objects);
    Ok(())
}

/// Which of these names the disk has a record of.
pub fn recorded<'a>(marks: &Marks, names: impl Iterator<Item = &'a String>) -> Recorded {
    let mut recorded = Recorded::default();
    for id in names {
        if has(&marks.root.join("containers").join(id), "record.json") {
            recorded.containers.insert(id.clone());
        }
        if has(&marks.root.join("sandboxes").join(id), "sandbox.json") {
            recorded.sandboxes.insert(id.clone());
        }
    }
    recorded
}

/// Whether the directory has that file, with something in it.
pub fn has(dir: &Path, name: &str) -> bool {
    fs::symlink_metadata(dir.join(name)).is_ok_and(|found| found.len() > 0)
}

fn directory(kind: Kind, claim: Claim, path: PathBuf) -> Object {
    Object { kind, name: path.display().to_string(), claim, place: Place::Path(path) }
}

/// The directories in `dir`, with their names.
fn directories(dir: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", dir.display()))),
    };
    let entries = entries.filter_map(Result::ok);
    let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect())
}

/// The files in `dir` that were to replace others, and to which nobody has written for long.
fn stale(dir: &Path) -> Vec<Object> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let new = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "new"));
    let stale = new.filter(|entry| entry.metadata().is_ok_and(|found| is_stale(&found)));
    let object = |path: PathBuf| Object {
        kind: Kind::TemporaryFile,
        name: path.display().to_string(),
        claim: Claim::Nobody,
        place: Place::Path(path),
    };
    stale.map(|entry| object(entry.path())).collect()
}

/// Whether it is a file to which nobody has written for long.
pub fn is_stale(found: &fs::Metadata) -> bool {
    let age = found.modified().ok().and_then(|at| at.elapsed().ok());
    found.is_file() && age.is_some_and(|age| age > STALE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn directories_are_told_by_what_is_in_them() {
        let base = tempfile::tempdir().unwrap();
        let (root, state) = (base.path().join("root"), base.path().join("state"));
        let marks = Marks {
            root: root.clone(),
            state: state.clone(),
            runtime_root: state.join("runtime"),
            runtime: "r".into(),
            daemon: 1,
        };
        for dir in ["containers/a", "containers/b", "sandboxes/p"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::create_dir_all(state.join("shims/a")).unwrap();
        for file in ["containers/a/record.json", "containers/a/journal", "sandboxes/p/sandbox.json"] {
            fs::write(root.join(file), "{}").unwrap();
        }
        // Half written when the host failed: it is none.
        fs::write(root.join("containers/b/record.json"), "").unwrap();
        let new = root.join("containers/a/record.json.new");
        fs::write(&new, "{").unwrap();
        let mut lists = Lists::default();
        read(&marks, &mut lists).unwrap();
        let kinds = |lists: &Lists| {
            let mut kinds: Vec<Kind> = lists.objects.iter().map(|object| object.kind).collect();
            kinds.sort();
            kinds
        };
        let found = [Kind::ShimDirectory, Kind::Journal, Kind::ContainerDirectory, Kind::SandboxDirectory];
        assert_eq!(kinds(&lists), found);
        assert!(lists.recorded.has("a") && lists.recorded.has("p") && !lists.recorded.has("b"));
        let file = fs::File::options().write(true).open(&new).unwrap();
        file.set_modified(SystemTime::now() - 2 * STALE).unwrap();
        let mut lists = Lists::default();
        read(&marks, &mut lists).unwrap();
        assert!(kinds(&lists).contains(&Kind::TemporaryFile));
    }
}
