//! The small controllers: pids, hugetlb, net_cls, net_prio, rdma; and files of
//! version 2 by name.

use super::{Builder, Limit, escape};
use crate::cgroup::layout::Version;
use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxRdma};
use std::collections::HashMap;

/// The most processes that the kernel has numbers for (`PID_MAX_LIMIT`, 64 bit).
const PID_MAX: u64 = 4_194_304;

/// 0 is a limit from version 1.3 of the runtime-spec on; before, it set nothing.
pub(super) fn pids(limit: i64, oci_version: &str, builder: &mut Builder<'_>) {
    const POINTER: &str = "/linux/resources/pids/limit";
    if limit == 0 && !zero_limits_pids(oci_version) {
        builder
            .warn(POINTER, "0 sets no limit before version 1.3.0 of the runtime-spec; -1 says so explicitly");
        return;
    }
    let Some(limit) = Limit::checked(limit, POINTER, builder) else { return };
    if let Limit::Of(number) = limit
        && !builder.in_range(POINTER, number, 0..=PID_MAX)
    {
        return;
    }
    if let Some(target) = builder.target("pids", POINTER) {
        builder.set(target, "pids.max", limit.text(Version::V2), "process limit", POINTER);
    }
}

fn zero_limits_pids(oci_version: &str) -> bool {
    let mut numbers = oci_version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (1, 3)
}

/// Both the limit on pages in use and the one on reserved pages, as runc.
pub(super) fn hugepages(limits: &[LinuxHugepageLimit], builder: &mut Builder<'_>) {
    for (index, entry) in limits.iter().enumerate() {
        let pointer = format!("/linux/resources/hugepageLimits/{index}");
        let size = entry.page_size();
        if !is_page_size(size) {
            builder.refuse_hint(
                &format!("{pointer}/pageSize"),
                format!("{size:?} is not a page size"),
                "such as 2MB",
            );
            continue;
        }
        let Some(limit) = Limit::checked(entry.limit(), &format!("{pointer}/limit"), builder) else {
            continue;
        };
        let Some(target) = builder.target("hugetlb", &pointer) else { return };
        let suffix = match target.version {
            Version::V1 => "limit_in_bytes",
            Version::V2 => "max",
        };
        for kind in ["", ".rsvd"] {
            let file = format!("hugetlb.{size}{kind}.{suffix}");
            builder.set(target, &file, limit.text(target.version), "huge page limit", &pointer);
        }
    }
}

/// `2MB`: the part of a file name, so nothing else may be in it.
fn is_page_size(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    matches!(unit, "KB" | "MB" | "GB")
        && digits.bytes().all(|b| b.is_ascii_digit())
        && digits.parse::<u32>().is_ok_and(|n| n.is_power_of_two())
}

/// Version 1 only: on version 2 packets are matched by cgroup path.
pub(super) fn network(network: &LinuxNetwork, builder: &mut Builder<'_>) {
    const CLASS: &str = "/linux/resources/network/classID";
    if let Some(class) = network.class_id().filter(|c| *c != 0)
        && let Some(target) = builder.target("net_cls", CLASS)
    {
        builder.set(target, "net_cls.classid", class, "network class", CLASS);
    }
    for (index, priority) in network.priorities().iter().flatten().enumerate() {
        let pointer = format!("/linux/resources/network/priorities/{index}");
        let name = priority.name();
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
        if name.is_empty() || name.len() > 15 || name.contains(odd) {
            builder.refuse(&format!("{pointer}/name"), format!("{name:?} is not the name of an interface"));
        } else if let Some(target) = builder.target("net_prio", &pointer) {
            let value = format!("{name} {}", priority.priority());
            builder.set(target, "net_prio.ifpriomap", value, "network priority", &pointer);
        }
    }
}

pub(super) fn rdma(devices: &HashMap<String, LinuxRdma>, builder: &mut Builder<'_>) {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_unstable_by_key(|(name, _)| *name);
    for (name, limits) in devices {
        let pointer = format!("/linux/resources/rdma/{}", escape(name));
        let parts: Vec<String> = [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())]
            .into_iter()
            .filter_map(|(key, value)| value.map(|v| format!("{key}={v}")))
            .collect();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            builder.refuse(&pointer, format!("{name:?} is not the name of a device"));
        } else if parts.is_empty() {
            builder.refuse(&pointer, "neither hcaHandles nor hcaObjects is set");
        } else if let Some(target) = builder.target("rdma", &pointer) {
            builder.set(target, "rdma.max", format!("{name} {}", parts.join(" ")), "RDMA limit", &pointer);
        }
    }
}

/// Files of the cgroup itself: what is in them is the runtime's affair.
const CORE: &[&str] =
    &["procs", "threads", "type", "kill", "freeze", "subtree_control", "events", "controllers"];

/// Lines of one value are written one by one, as the kernel wants them.
pub(super) fn unified(files: &HashMap<String, String>, builder: &mut Builder<'_>) {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in files {
        let pointer = format!("/linux/resources/unified/{}", escape(name));
        let (controller, rest) = name.split_once('.').unwrap_or((name, ""));
        if name.contains('/')
            || controller.is_empty()
            || rest.is_empty()
            || name.chars().any(char::is_control)
        {
            builder.refuse_hint(
                &pointer,
                format!("{name:?} is not the name of a cgroup file"),
                "such as memory.high",
            );
            continue;
        }
        if controller == "cgroup" && CORE.contains(&rest) {
            builder.refuse(&pointer, format!("{name} is the runtime's to write"));
            continue;
        }
        let Some(target) = version_2_target(controller, &pointer, builder) else { continue };
        for line in value.lines().filter(|line| !line.is_empty()) {
            builder.set(target, name, line, name, &pointer);
        }
    }
}

/// `cgroup.*` is in every cgroup of version 2.
fn version_2_target(controller: &str, pointer: &str, builder: &mut Builder<'_>) -> Option<super::Target> {
    let unified = builder.host.hierarchies.iter().position(|h| h.version == Version::V2);
    if controller == "cgroup"
        && let Some(directory) = unified
    {
        return Some(super::Target { directory, version: Version::V2 });
    }
    let target = builder.target(controller, pointer)?;
    if target.version == Version::V1 {
        builder.refuse(pointer, format!("{controller} is a version 1 controller on this host"));
        return None;
    }
    Some(target)
}
