//! Descriptors of this process that are kept for containers: pidfds, the memory with output in hand, and sockets
//! that have such descriptors packed in them (`shims/parcel.rs`), as fdinfo tells since Linux 5.12. What
//! a pidfd of a living process is for, its watcher knows; one of a process that has ended serves nobody but a
//! container whose exit is still to be told.

use super::super::{Claim, Kind, Object, Place};
use super::Lists;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// What the memory is called (`shim/src/hand.rs`).
const HAND: &str = "/memfd:output in hand";

/// Adds them.
pub fn read(lists: &mut Lists) {
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(Result::ok) {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        let (claim, what) = if target.starts_with(HAND) {
            (Claim::Nobody, "output in hand".to_owned())
        } else if target.starts_with("anon_inode:[pidfd]") || target.starts_with("pidfd:") {
            match info(fd, "Pid:") {
                Some(pid) if pid > 0 => (Claim::Daemon, format!("pidfd of {pid}")),
                _ => (Claim::Nobody, "pidfd of a process that has ended".into()),
            }
        } else if target.starts_with("socket:")
            && let Some(packed) = info(fd, "scm_fds:").filter(|packed| *packed > 0)
        {
            (Claim::Nobody, format!("parcel of {packed} descriptors"))
        } else {
            continue;
        };
        let (name, place) = (format!("{fd} {what}"), Place::Descriptor(fd));
        lists.objects.push(Object { kind: Kind::Descriptor, name, claim, place });
    }
}

/// What the kernel says of a descriptor (proc_pid_fdinfo(5)): of a pidfd the process, -1 when that has ended and
/// was reaped.
fn info(fd: i32, key: &str) -> Option<i32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix(key))?.trim().parse().ok()
}

/// What tells it from another one of the same number.
pub fn identity(fd: i32) -> Option<String> {
    let path = format!("/proc/self/fd/{fd}");
    let (target, found) = (fs::read_link(&path).ok()?, fs::metadata(&path).ok()?);
    Some(format!("{} {}", target.display(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shims::parcel::Parcel;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_parcel_is_found() {
        let parcel = Parcel::pack(&[(b'a', tempfile::tempfile().unwrap().into())]).unwrap();
        let mut lists = Lists::default();
        read(&mut lists);
        let place = Place::Descriptor(parcel.as_raw_fd());
        let found = lists.objects.into_iter().find(|object| object.place == place);
        if std::fs::read_to_string(format!("/proc/self/fdinfo/{}", parcel.as_raw_fd()))
            .unwrap()
            .contains("scm_fds")
        {
            let found = found.unwrap();
            assert!(
                found.claim == Claim::Nobody && found.name.ends_with("parcel of 1 descriptors"),
                "{found:?}"
            );
        } else {
            eprintln!("skipped: this kernel does not tell what is in a socket");
        }
    }

    #[test]
    fn a_pidfd_of_the_dead_is_found() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let held = crate::sys::pidfd_open(i32::try_from(child.id()).unwrap()).unwrap();
        let claim = || {
            let mut lists = Lists::default();
            read(&mut lists);
            let place = Place::Descriptor(held.as_raw_fd());
            lists.objects.into_iter().find(|object| object.place == place).map(|object| object.claim)
        };
        assert_eq!(claim(), Some(Claim::Daemon));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(claim(), Some(Claim::Nobody));
        let number = held.as_raw_fd();
        let before = identity(number);
        drop(held);
        assert!(before.is_some() && identity(number) != before);
    }
}
