//! What a process can see of its surroundings, as the probe prints it and the
//! tests read it: one JSON document. Only data; [`crate::look`] fills it in.

#![allow(clippy::panic, reason = "a mistake of the harness is a failed test")]

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything the probe found out. What could not be read is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Own pid, in the own pid namespace.
    pub pid: u32,
    /// Parent; 0 when it lies outside the pid namespace.
    pub ppid: u32,
    /// Process group.
    pub pgid: i32,
    /// Session.
    pub session: i32,
    /// Device number of the controlling terminal; 0 is none.
    pub tty: i32,
    /// Every process in `/proc`.
    pub processes: Vec<Process>,
    /// Inodes of `/proc/self/ns`, by file name.
    pub namespaces: BTreeMap<String, u64>,
    /// Real, effective, saved and file system user id.
    pub uid: Vec<u32>,
    /// Likewise for the group.
    pub gid: Vec<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Lines of `/proc/self/uid_map`: inside, outside, count.
    pub uid_map: Vec<[u32; 3]>,
    /// Lines of `/proc/self/gid_map`.
    pub gid_map: Vec<[u32; 3]>,
    /// Host name.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Network interfaces.
    pub interfaces: Vec<Interface>,
    /// Lines of `/proc/net/route` behind its heading.
    pub routes: Vec<String>,
    /// `/proc/self/mountinfo`.
    pub mounts: Vec<Mount>,
    /// IPC objects.
    pub ipc: Ipc,
    /// The five sets.
    pub capabilities: Capabilities,
    /// `PR_SET_NO_NEW_PRIVS` is on.
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 a filter.
    pub seccomp: u32,
    /// `/proc/self/limits` by its own names: soft, hard; `None` is unlimited.
    pub rlimits: BTreeMap<String, (Option<u64>, Option<u64>)>,
    /// umask(2).
    pub umask: u32,
    /// Working directory.
    pub cwd: String,
    /// Environment as KEY=VALUE, in order.
    pub env: Vec<String>,
    /// Arguments.
    pub argv: Vec<String>,
    /// Open descriptors and what they are, apart from the one used for looking.
    pub fds: BTreeMap<u32, String>,
    /// oom_score_adj.
    pub oom_score_adj: i32,
    /// Lines of `/proc/self/cgroup`.
    pub cgroups: Vec<String>,
    /// Asked for with `--sysctl`: the value, or the errno.
    pub sysctls: BTreeMap<String, Answer<String>>,
    /// Asked for with `--stat`.
    pub files: BTreeMap<String, Answer<File>>,
    /// Asked for with `--read`: up to 4 KiB of the content.
    pub contents: BTreeMap<String, Answer<String>>,
    /// Asked for with `--list`: names in the directory.
    pub listings: BTreeMap<String, Answer<Vec<String>>>,
    /// Asked for with `--write`: open(2) for writing, without truncation.
    pub writes: BTreeMap<String, Answer<()>>,
    /// Asked for with `--mkdir`.
    pub mkdirs: BTreeMap<String, Answer<()>>,
}

impl Seen {
    /// What the probe found at `path`.
    ///
    /// # Panics
    /// When it was not asked to look there, or could not.
    #[track_caller]
    pub fn file(&self, path: &str) -> &File {
        match self.files.get(path) {
            Some(Answer::Ok(file)) => file,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// What the probe read from `path`.
    ///
    /// # Panics
    /// When it was not asked to, or could not.
    #[track_caller]
    pub fn content(&self, path: &str) -> &str {
        match self.contents.get(path) {
            Some(Answer::Ok(text)) => text,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// The topmost mount at `target`.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn mount_at(&self, target: &str) -> &Mount {
        let found = self.mounts.iter().rev().find(|m| m.target == target);
        found.unwrap_or_else(|| panic!("no mount at {target}: {:#?}", self.mounts))
    }
}

/// What an attempt gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer<T> {
    /// It succeeded with this.
    Ok(T),
    /// It failed with this errno (0 where the failure has none).
    Errno(i32),
}

impl<T> From<std::io::Result<T>> for Answer<T> {
    fn from(result: std::io::Result<T>) -> Self {
        match result {
            Ok(value) => Self::Ok(value),
            Err(e) => Self::Errno(e.raw_os_error().unwrap_or(0)),
        }
    }
}

/// A process in `/proc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `IFF_UP`
    pub up: bool,
    /// `IFF_LOOPBACK`
    pub loopback: bool,
    /// Its IP addresses.
    pub addresses: Vec<String>,
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Root of the mount within its file system.
    pub root: String,
    /// Mount point.
    pub target: String,
    /// Options of this mount.
    pub options: Vec<String>,
    /// `shared:N`, `master:N`, `propagate_from:N`, `unbindable`.
    pub tags: Vec<String>,
    /// File system type.
    pub fstype: String,
    /// Source.
    pub source: String,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Whether it has this option; that of the file system is another matter.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    /// Whether its file system has this option.
    pub fn super_has(&self, option: &str) -> bool {
        self.super_options.iter().any(|o| o == option)
    }
}

/// How many IPC objects of each kind there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipc {
    /// System V shared memory segments.
    pub shm: usize,
    /// System V message queues.
    pub msg: usize,
    /// System V semaphore sets.
    pub sem: usize,
    /// POSIX message queues, by name, where `/dev/mqueue` is mounted.
    pub mqueue: Vec<String>,
}

/// Capability sets as masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// CapInh
    pub inheritable: u64,
    /// CapPrm
    pub permitted: u64,
    /// CapEff
    pub effective: u64,
    /// CapBnd
    pub bounding: u64,
    /// CapAmb
    pub ambient: u64,
}

/// Facts of a file, not followed when it is a symbolic link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// `file`, `dir`, `symlink`, `char`, `block`, `fifo` or `socket`.
    pub kind: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Major and minor number of a device.
    pub rdev: (u64, u64),
    /// Size in bytes.
    pub size: u64,
    /// Target of a symbolic link.
    pub link: String,
}
