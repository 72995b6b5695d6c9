//! The namespaces of a container beside the manager's own, and its id maps, as
//! the kernel shows them in `/proc` (namespaces(7), user_namespaces(7)).

use crate::engine::error::Error;
use crate::model::Snapshot;
use sextant_runtime::plan::{IdMapping, NamespaceKind};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its type.
    pub kind: NamespaceKind,
    /// Inode of the container's.
    pub container: u64,
    /// Inode of the manager's.
    pub host: u64,
    /// Ids of others that are in it, where that was asked for (`sharing`).
    pub sharers: Vec<String>,
}

impl Pair {
    /// One of which nobody knows yet who shares it.
    pub fn new(kind: NamespaceKind, container: u64, host: u64) -> Self {
        Self { kind, container, host, sharers: Vec::new() }
    }
}

/// Everything about a container's namespaces.
#[derive(Clone, Debug)]
pub struct Namespaces {
    /// One of each type.
    pub pairs: Vec<Pair>,
    /// `uid_map`.
    pub uids: Vec<IdMapping>,
    /// `gid_map`.
    pub gids: Vec<IdMapping>,
    /// Host name inside.
    pub hostname: String,
    /// The host's.
    pub host_hostname: String,
}

/// Those of the manager's own process, which are the host's: the same on both sides.
///
/// # Errors
/// [`Error::Io`].
pub fn of_host() -> Result<Vec<Pair>, Error> {
    pairs_of("/proc/self").map_err(Error::io("read the namespaces of the host"))
}

/// Those of a living container.
///
/// # Errors
/// As [`read`].
pub fn pairs(snapshot: &Snapshot) -> Result<Vec<Pair>, Error> {
    let process = open(snapshot)?;
    pairs_of(&path(&process)).map_err(Error::io(attempted(snapshot)))
}

fn attempted(snapshot: &Snapshot) -> String {
    format!("read the namespaces of container {:?}", snapshot.id)
}

/// The directory of a container's process, opened once, so that its number cannot come to mean
/// another process meanwhile.
fn open(snapshot: &Snapshot) -> Result<File, Error> {
    let none = || Error::WrongPhase {
        id: snapshot.id.clone(),
        attempted: "read its namespaces",
        phase: snapshot.phase,
        hint: "only a created or running container has namespaces",
    };
    File::open(format!("/proc/{}", snapshot.pid.ok_or_else(none)?)).map_err(|_| none())
}

fn path(process: &File) -> String {
    format!("/proc/self/fd/{}", process.as_raw_fd())
}

fn pairs_of(process: &str) -> io::Result<Vec<Pair>> {
    let pairs = NamespaceKind::ALL
        .into_iter()
        .map(|kind| Ok(Pair::new(kind, inode(process, kind)?, inode("/proc/self", kind)?)));
    pairs.collect()
}

/// Reads those of a living container, and its id maps.
///
/// # Errors
/// [`Error::WrongPhase`] when there is no process; [`Error::Io`].
pub fn read(snapshot: &Snapshot) -> Result<Namespaces, Error> {
    let process = open(snapshot)?;
    let of_process = path(&process);
    let all = || -> io::Result<Namespaces> {
        Ok(Namespaces {
            pairs: pairs_of(&of_process)?,
            uids: id_map(&std::fs::read_to_string(Path::new(&of_process).join("uid_map"))?)?,
            gids: id_map(&std::fs::read_to_string(Path::new(&of_process).join("gid_map"))?)?,
            hostname: snapshot.hostname.clone(),
            host_hostname: hostname()?,
        })
    };
    all().map_err(Error::io(attempted(snapshot)))
}

/// The host's name.
///
/// # Errors
/// Of gethostname(2).
pub fn hostname() -> io::Result<String> {
    Ok(nix::unistd::gethostname()?.to_string_lossy().into_owned())
}

fn inode(process: &str, kind: NamespaceKind) -> io::Result<u64> {
    std::fs::metadata(format!("{process}/ns/{}", kind.proc_name())).map(|m| m.ino())
}

/// Lines of three numbers: first id inside, first id outside, how many.
fn id_map(text: &str) -> io::Result<Vec<IdMapping>> {
    let bad = |line: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{line:?} is no id mapping"));
    text.lines()
        .map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
                (Some(Ok(container_id)), Some(Ok(host_id)), Some(Ok(size)), None) => {
                    Ok(IdMapping { container_id, host_id, size })
                }
                _ => Err(bad(line)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{record::tests::record, snapshot_for_tests};

    #[test]
    fn a_process_in_the_same_namespaces_has_the_same_inodes() {
        let mut snapshot = snapshot_for_tests(&record("a"));
        assert!(matches!(read(&snapshot), Err(Error::WrongPhase { .. })));
        snapshot.pid = i32::try_from(std::process::id()).ok();
        let namespaces = read(&snapshot).unwrap();
        assert_eq!(namespaces.pairs.len(), 8);
        assert!(namespaces.pairs.iter().all(|p| p.container == p.host && p.host != 0));
        assert!(!namespaces.uids.is_empty());
    }

    #[test]
    fn id_maps() {
        let map = id_map("         0 1879048192      65536\n     65536          7          1\n").unwrap();
        assert_eq!(map[0], IdMapping { container_id: 0, host_id: 1_879_048_192, size: 65536 });
        assert_eq!(map.len(), 2);
        assert!(id_map("0 1").is_err() && id_map("a b c").is_err());
    }
}
