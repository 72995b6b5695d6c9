//! Whose namespaces a container is in, as it is asked for and as it is decided:
//! its own, its sandbox's, the host's, or those of another container. Only the
//! words; what they come to is found in `engine::sandboxes`.

use serde::{Deserialize, Serialize};
use sextant_runtime::plan::NamespaceKind;
use std::path::PathBuf;

/// The namespaces that can be another's. A container's mount and cgroup
/// namespaces are always its own, its time namespace is always the host's.
pub const KINDS: [NamespaceKind; 5] =
    [NamespaceKind::User, NamespaceKind::Pid, NamespaceKind::Network, NamespaceKind::Uts, NamespaceKind::Ipc];

/// Whose a container's namespace is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The sandbox's, if there is one that shares it; else its own.
    #[default]
    Default,
    /// Its own.
    Own,
    /// The sandbox's.
    Sandbox,
    /// The host's.
    Host,
    /// That of the container of this id.
    Container(String),
}

/// The mode of each of [`KINDS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modes {
    /// user_namespaces(7)
    pub user: Mode,
    /// pid_namespaces(7)
    pub pid: Mode,
    /// network_namespaces(7)
    pub network: Mode,
    /// uts_namespaces(7)
    pub uts: Mode,
    /// ipc_namespaces(7)
    pub ipc: Mode,
}

impl Modes {
    /// That of a kind; those that are not in [`KINDS`] have the default.
    pub fn get(&self, kind: NamespaceKind) -> &Mode {
        match kind {
            NamespaceKind::User => &self.user,
            NamespaceKind::Pid => &self.pid,
            NamespaceKind::Network => &self.network,
            NamespaceKind::Uts => &self.uts,
            NamespaceKind::Ipc => &self.ipc,
            NamespaceKind::Mount | NamespaceKind::Cgroup | NamespaceKind::Time => &Mode::Default,
        }
    }

    /// Every mode, `of` its kind.
    pub fn of(of: impl Fn(NamespaceKind) -> Mode) -> Self {
        Self {
            user: of(NamespaceKind::User),
            pid: of(NamespaceKind::Pid),
            network: of(NamespaceKind::Network),
            uts: of(NamespaceKind::Uts),
            ipc: of(NamespaceKind::Ipc),
        }
    }
}

/// Where a container belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// Its sandbox.
    pub sandbox: Option<String>,
    /// Whose namespaces it is in. Once it is made none of them is the default,
    /// but for a bundle, which says itself what it is in.
    pub modes: Modes,
    /// It is the init of its sandbox's pid namespace.
    pub init: bool,
}

/// Which namespaces a sandbox shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is the namespace of its name")]
pub struct Shared {
    pub user: bool,
    pub pid: bool,
    pub network: bool,
    pub uts: bool,
    pub ipc: bool,
}

impl Default for Shared {
    /// Those that need no process.
    fn default() -> Self {
        Self { user: true, pid: false, network: true, uts: true, ipc: true }
    }
}

impl Shared {
    /// Whether it shares this one.
    pub fn has(self, kind: NamespaceKind) -> bool {
        match kind {
            NamespaceKind::User => self.user,
            NamespaceKind::Pid => self.pid,
            NamespaceKind::Network => self.network,
            NamespaceKind::Uts => self.uts,
            NamespaceKind::Ipc => self.ipc,
            NamespaceKind::Mount | NamespaceKind::Cgroup | NamespaceKind::Time => false,
        }
    }

    /// All that it shares, in the order of [`KINDS`].
    pub fn kinds(self) -> impl Iterator<Item = NamespaceKind> {
        KINDS.into_iter().filter(move |kind| self.has(*kind))
    }
}

/// What a made config says of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Entry {
    /// It is made.
    #[default]
    New,
    /// It is not named, and so the host's.
    Host,
    /// The file that holds it.
    Join(PathBuf),
}

/// What a made config says of all of [`KINDS`], and what follows from that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    entries: Vec<(NamespaceKind, Entry)>,
    /// What `/dev/shm` is, where others are to see it too.
    pub shm: Option<PathBuf>,
    /// No file system of message queues can be mounted: its ipc namespace is not its user
    /// namespace's. mq_open(3) needs none.
    pub no_mqueue: bool,
    /// Of sysfs only the host's can be shown: its network namespace is not its user namespace's.
    pub host_sysfs: bool,
}

impl Entries {
    /// That of a kind: made, unless something else was [`set`](Self::set).
    pub fn get(&self, kind: NamespaceKind) -> Entry {
        self.entries.iter().find(|(k, _)| *k == kind).map(|(_, entry)| entry.clone()).unwrap_or_default()
    }

    /// Decides that of a kind.
    pub fn set(&mut self, kind: NamespaceKind, entry: Entry) {
        self.entries.retain(|(k, _)| *k != kind);
        self.entries.push((kind, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_shares_by_default_what_needs_no_process() {
        let shared: Vec<_> = Shared::default().kinds().map(NamespaceKind::name).collect();
        assert_eq!(shared, ["user", "network", "uts", "ipc"]);
        assert!(!Shared { pid: true, ..Shared::default() }.has(NamespaceKind::Mount));
    }

    #[test]
    fn modes_are_kept_in_records_by_name() {
        let modes = Modes { user: Mode::Container("a".into()), pid: Mode::Host, ..Modes::default() };
        let text = serde_json::to_string(&modes).unwrap();
        assert_eq!(serde_json::from_str::<Modes>(&text).unwrap(), modes);
        assert_eq!(serde_json::from_str::<Modes>("{}").unwrap(), Modes::default());
        assert_eq!(Modes::of(|kind| modes.get(kind).clone()), modes);
        assert_eq!(modes.get(NamespaceKind::Mount), &Mode::Default);
    }

    #[test]
    fn entries_are_made_unless_said_otherwise() {
        let mut entries = Entries::default();
        entries.set(NamespaceKind::Uts, Entry::Host);
        entries.set(NamespaceKind::Uts, Entry::Join("/n".into()));
        assert_eq!(entries.get(NamespaceKind::Uts), Entry::Join("/n".into()));
        assert_eq!(entries.get(NamespaceKind::Ipc), Entry::New);
    }
}
