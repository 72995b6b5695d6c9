//! What the kernel and the disk have: one file a kind of source, each of which reads only what bears the marks
//! of this daemon. Blocks; nothing is changed.

pub mod cgroups;
pub mod descriptors;
pub mod files;
pub mod mounts;
pub mod processes;

use super::records::Marks;
use super::{Claim, Kind, Object, Place};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is proof of itself, whatever the daemon remembers.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Containers with a record on disk.
    pub containers: BTreeSet<String>,
    /// Sandboxes likewise.
    pub sandboxes: BTreeSet<String>,
    /// Processes that are shims of this daemon.
    pub shims: BTreeSet<i32>,
}

impl Recorded {
    /// Whether the disk knows a container or a sandbox of this name.
    pub fn has(&self, id: &str) -> bool {
        self.containers.contains(id) || self.sandboxes.contains(id)
    }
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// All of it.
    pub objects: Vec<Object>,
    /// What the disk has records of.
    pub recorded: Recorded,
}

/// Reads all of them.
///
/// # Errors
/// When one of the daemon's own directories, or a list of the kernel, cannot be read.
pub fn read(marks: &Marks) -> io::Result<Lists> {
    let mut lists = Lists::default();
    // Before what they make.
    let cgroups = cgroups::read(marks, &mut lists)?;
    processes::read(marks, &cgroups, &mut lists)?;
    mounts::read(marks, &mut lists)?;
    files::read(marks, &mut lists)?;
    descriptors::read(&mut lists);
    Ok(lists)
}

/// A range of ids that is handed out.
pub fn range(first: u32) -> Object {
    let name = format!("ids from {first} on");
    Object { kind: Kind::IdRange, name, claim: Claim::Range(first), place: Place::Range(first) }
}

/// What tells an object from another one of the same place later on: the start of a process, the number of a
/// file. `None` when it is not there (any more).
pub fn identity(place: &Place) -> Option<String> {
    match place {
        Place::Process(pid) => processes::began(*pid).map(|ticks| ticks.to_string()),
        Place::Cgroup(paths) => {
            let found: Vec<String> = paths.iter().filter_map(|path| number(path)).collect();
            (!found.is_empty()).then(|| found.join(" "))
        }
        Place::Mount(number, path) => mounts::is_there(*number, path).then(|| number.to_string()),
        Place::Interface(file, name) => {
            let there = mounts::interfaces(file).contains(name);
            there.then(|| number(file)).flatten()
        }
        Place::Path(path) => {
            let found = std::fs::symlink_metadata(path).ok()?;
            let written = if found.is_file() { found.mtime_nsec() + found.mtime() } else { 0 };
            Some(format!("{}:{} {written}", found.dev(), found.ino()))
        }
        Place::Range(first) => Some(first.to_string()),
        Place::Descriptor(fd) => descriptors::identity(*fd),
    }
}

/// The identity as a person reads it.
pub fn words_of(place: &Place, identity: &str) -> String {
    match place {
        Place::Process(_) => format!("began at tick {identity}"),
        Place::Cgroup(_) | Place::Path(_) | Place::Interface(..) => {
            let first = identity.split(' ').next().unwrap_or_default();
            format!("inode {}", first.split(':').nth(1).unwrap_or(first))
        }
        Place::Mount(..) => format!("mount {identity}"),
        Place::Range(_) => format!("from {identity} on"),
        Place::Descriptor(_) => identity.to_owned(),
    }
}

/// Device and inode of what is at `path`.
fn number(path: &Path) -> Option<String> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some(format!("{}:{}", found.dev(), found.ino()))
}

/// The first component of `path` below `above`, and what comes behind it.
fn below<'a>(path: &'a Path, above: &Path) -> Option<(&'a str, &'a Path)> {
    let rest = path.strip_prefix(above).ok()?;
    let first = rest.components().next()?.as_os_str();
    Some((first.to_str()?, rest.strip_prefix(first).ok()?))
}
