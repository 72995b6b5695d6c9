//! What the engine says exists, at two moments: an object that is made or removed meanwhile is named in one of
//! them. A name is taken before the first thing is made for it, and given back after the last was removed.

use crate::model::IdRange;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What marks all things of one daemon.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Where records, journals and logs are.
    pub root: PathBuf,
    /// Where sockets, pins and the runtime's state are.
    pub state: PathBuf,
    /// The runtime's `--root`.
    pub runtime_root: PathBuf,
    /// The runtime's binary, for commands that a person can type.
    pub runtime: PathBuf,
    /// The daemon's process.
    pub daemon: i32,
}

/// Of a daemon that is made up.
#[cfg(test)]
pub(super) fn marks_for_tests() -> Marks {
    Marks {
        root: "/lib/s".into(),
        state: "/run/s".into(),
        runtime_root: "/run/s/runtime".into(),
        runtime: "/bin/sextant-runtime".into(),
        daemon: 1,
    }
}

/// A container that the engine knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its shim, where that is known.
    pub shim: Option<i32>,
    /// Its ids.
    pub ids: Option<IdRange>,
    /// Whether it is being made, removed, or given another shim.
    pub changing: bool,
}

/// All that the engine knows at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// By name.
    pub containers: BTreeMap<String, Container>,
    /// By name, with their ids.
    pub sandboxes: BTreeMap<String, Option<IdRange>>,
    /// Names that are taken, of containers and sandboxes, also before or after they are among those.
    pub names: BTreeSet<String>,
    /// First ids of the ranges that are handed out.
    pub taken: BTreeSet<u32>,
    /// Descriptors that are kept of a container.
    pub kept: BTreeMap<i32, String>,
}

/// Two readings of the records, before and after a look at the lists.
#[derive(Clone, Debug)]
pub struct Readings {
    /// The earlier.
    pub before: Records,
    /// The later.
    pub after: Records,
}

impl Readings {
    fn both(&self) -> [&Records; 2] {
        [&self.before, &self.after]
    }

    /// Whether this was the name of a container in one of them.
    pub fn has_container(&self, id: &str) -> bool {
        self.both().iter().any(|records| records.containers.contains_key(id))
    }

    /// Whether this was the name of a sandbox in one of them.
    pub fn has_sandbox(&self, id: &str) -> bool {
        self.both().iter().any(|records| records.sandboxes.contains_key(id))
    }

    /// Whether the name was taken in one of them.
    pub fn has_name(&self, id: &str) -> bool {
        self.both().iter().any(|records| records.names.contains(id))
    }

    /// The process that is the shim of a container in both of them, where nothing was changing.
    pub fn shim(&self, id: &str) -> Option<i32> {
        let [before, after] = self.both().map(|records| records.containers.get(id));
        let (before, after) = (before?, after?);
        let settled = !before.changing && !after.changing;
        before.shim.filter(|shim| settled && after.shim == Some(*shim))
    }

    /// Who has the range of ids that begins with this one, in one of them.
    pub fn of_range(&self, first: u32) -> Option<String> {
        let covers = |ids: &Option<IdRange>| {
            ids.is_some_and(|ids| ids.host_id <= first && u64::from(first) < ids.end())
        };
        self.both().into_iter().find_map(|records| {
            let sandbox = records.sandboxes.iter().find(|(_, ids)| covers(ids)).map(|(id, _)| id);
            let container = || records.containers.iter().find(|(_, of)| covers(&of.ids)).map(|(id, _)| id);
            // Those of a sandbox are its containers' as well.
            sandbox.or_else(container).cloned()
        })
    }

    /// Whether somebody is being made or removed whose ids are not told yet, or any more.
    pub fn is_changing(&self) -> bool {
        self.both().iter().any(|records| {
            let told =
                |id: &String| records.containers.contains_key(id) || records.sandboxes.contains_key(id);
            let changing = records.containers.values().any(|container| container.changing);
            changing || !records.names.iter().all(told)
        })
    }

    /// Of which container a descriptor is kept, in one of them.
    pub fn kept(&self, fd: i32) -> Option<&String> {
        self.both().iter().find_map(|records| records.kept.get(&fd))
    }
}
