//! `/linux/resources` → [`Setting`]s, with every range checked: also values
//! that the kernel would take for something else without an error.
//!
//! One file a controller. Where a limit exists on version 1 and 2, both are
//! beside each other there. Numbers follow the kernel's documentation
//! (admin-guide/cgroup-v1, admin-guide/cgroup-v2.rst), conversions runc's.

mod cpu;
mod cpuset;
mod io;
mod memory;
mod other;

use super::layout::{HostCgroups, Version};
use super::plan::Setting;
use crate::plan::Problem;
use oci_spec::runtime::LinuxResources;

/// Collects settings and problems.
pub(super) struct Builder<'a> {
    pub(super) host: &'a HostCgroups,
    settings: Vec<Setting>,
    problems: Vec<Problem>,
    warnings: &'a mut Vec<Problem>,
}

/// Where a controller's files are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) directory: usize,
    pub(super) version: Version,
}

impl<'a> Builder<'a> {
    pub(super) fn new(host: &'a HostCgroups, warnings: &'a mut Vec<Problem>) -> Self {
        Self { host, settings: Vec::new(), problems: Vec::new(), warnings }
    }

    pub(super) fn finish(self) -> (Vec<Setting>, Vec<Problem>) {
        (self.settings, self.problems)
    }

    pub(super) fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.refuse_hint(pointer, message, "");
    }

    pub(super) fn refuse_hint(&mut self, pointer: &str, message: impl Into<String>, hint: &str) {
        self.problems.push(Problem { pointer: pointer.into(), message: message.into(), hint: hint.into() });
    }

    pub(super) fn warn(&mut self, pointer: &str, message: impl Into<String>) {
        self.warnings.push(Problem { pointer: pointer.into(), message: message.into(), hint: String::new() });
    }

    /// Where `controller` is; refuses `pointer` where it is nowhere.
    pub(super) fn target(&mut self, controller: &str, pointer: &str) -> Option<Target> {
        let found = self.host.find(controller);
        if found.is_none() {
            self.refuse_hint(
                pointer,
                format!("the cgroup controller {controller} is not available"),
                "version 1: mount it below /sys/fs/cgroup; version 2: it must stand in cgroup.controllers",
            );
        }
        found.map(|(directory, h)| Target { directory, version: h.version })
    }

    /// Writes `value` into `file`.
    pub(super) fn set(
        &mut self,
        target: Target,
        file: &str,
        value: impl ToString,
        what: &str,
        pointer: &str,
    ) {
        let value = value.to_string();
        self.settings.push(Setting {
            directory: target.directory,
            file: file.into(),
            what: format!("{what} {value}"),
            value,
            otherwise: None,
            usage: None,
            pointer: pointer.into(),
        });
    }

    /// Changes the setting that was made last.
    pub(super) fn amend(&mut self, change: impl FnOnce(&mut Setting)) {
        if let Some(last) = self.settings.last_mut() {
            change(last);
        }
    }

    /// Refuses a value outside of `range`.
    pub(super) fn in_range(
        &mut self,
        pointer: &str,
        value: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> bool {
        if !range.contains(&value) {
            self.refuse(pointer, format!("{value} is not between {} and {}", range.start(), range.end()));
        }
        range.contains(&value)
    }
}

/// A limit in bytes or pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    Of(u64),
    Max,
}

impl Limit {
    /// -1 is no limit; other negative numbers are refused.
    pub(super) fn checked(value: i64, pointer: &str, builder: &mut Builder<'_>) -> Option<Self> {
        match u64::try_from(value) {
            Ok(number) => Some(Self::Of(number)),
            Err(_) if value == -1 => Some(Self::Max),
            Err(_) => {
                builder.refuse(pointer, format!("{value} is neither a limit nor -1, which is none"));
                None
            }
        }
    }

    /// As the interface of `version` writes it for controllers that take -1 on version 1.
    pub(super) fn text(self, version: Version) -> String {
        match (self, version) {
            (Self::Of(number), _) => number.to_string(),
            (Self::Max, Version::V1) => "-1".into(),
            (Self::Max, Version::V2) => "max".into(),
        }
    }
}

/// Plans all of `/linux/resources` but the device rules.
pub(super) fn plan(resources: &LinuxResources, oci_version: &str, builder: &mut Builder<'_>) {
    if let Some(memory) = resources.memory() {
        memory::plan(memory, builder);
    }
    if let Some(cpu) = resources.cpu() {
        cpuset::plan(cpu, builder);
        cpu::plan(cpu, builder);
    }
    if let Some(pids) = resources.pids() {
        other::pids(pids.limit(), oci_version, builder);
    }
    if let Some(block_io) = resources.block_io() {
        io::plan(block_io, builder);
    }
    other::hugepages(resources.hugepage_limits().as_deref().unwrap_or_default(), builder);
    if let Some(network) = resources.network() {
        other::network(network, builder);
    }
    if let Some(rdma) = resources.rdma() {
        other::rdma(rdma, builder);
    }
    if let Some(unified) = resources.unified() {
        other::unified(unified, builder);
    }
}

/// Escapes a key for a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
