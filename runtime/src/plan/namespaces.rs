//! `linux.namespaces`, the id maps, time offsets, and the two names of a UTS
//! namespace (config-linux.md, "Namespaces", "User namespace mappings", "Offset
//! for Time Namespace").

use super::host::Host;
use super::problems::Problems;
use super::{IdMapping, Namespace, NamespaceKind, Namespaces, ids, paths};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespace, LinuxNamespaceType};
use std::path::Path;

/// The longest name that sethostname(2) and setdomainname(2) take.
const MAX_UTS_NAME: usize = 64;

const NAMESPACES: &str = "/linux/namespaces";
const UID_MAPPINGS: &str = "/linux/uidMappings";
const GID_MAPPINGS: &str = "/linux/gidMappings";

/// Decides for each kind whether it is created, joined or the host's.
pub(super) fn plan(linux: Option<&Linux>, host: &Host, problems: &mut Problems) -> Namespaces {
    let list = linux.and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    let mut namespaces = all_of_the_host();
    let mut seen: Vec<(NamespaceKind, usize)> = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let kind = kind_of(entry.typ());
        if let Some((_, first)) = seen.iter().find(|(k, _)| *k == kind) {
            problems.refuse(
                format!("{NAMESPACES}/{index}"),
                format!("the {} namespace is named twice, first at {NAMESPACES}/{first}", kind.name()),
            );
            continue;
        }
        seen.push((kind, index));
        *slot(&mut namespaces, kind) = namespace(entry, index, problems);
    }
    if namespaces.mount == Namespace::Host {
        problems.refuse_hint(
            NAMESPACES,
            "a mount namespace is required: the root file system is set up in it",
            "add {\"type\": \"mount\"}",
        );
    }
    id_maps(linux, &mut namespaces, host, problems);
    time_offsets(linux, &mut namespaces, host, problems);
    if namespaces.user == Namespace::Host && !host.is_privileged() {
        problems.refuse_hint(
            NAMESPACES,
            "without CAP_SYS_ADMIN a container needs a user namespace of its own",
            "`sextant-runtime spec --rootless` writes such a config",
        );
    }
    namespaces
}

/// `hostname` or `domainname`: set only in a UTS namespace that is not the host's.
pub(super) fn uts_name(
    name: Option<&str>,
    pointer: &str,
    namespaces: &Namespaces,
    problems: &mut Problems,
) -> Option<String> {
    let name = name.filter(|name| !name.is_empty())?;
    if namespaces.uts == Namespace::Host {
        problems.refuse_hint(
            pointer,
            format!("{name:?} would become a name of the host: the container has no uts namespace"),
            "add {\"type\": \"uts\"} to /linux/namespaces",
        );
    }
    if name.len() > MAX_UTS_NAME {
        let length = name.len();
        problems.refuse(pointer, format!("the name has {length} bytes, the kernel takes {MAX_UTS_NAME}"));
    }
    if name.contains(|c: char| c.is_control()) {
        problems.refuse(pointer, format!("{name:?} has a control character"));
    }
    Some(name.to_owned())
}

fn all_of_the_host() -> Namespaces {
    Namespaces {
        user: Namespace::Host,
        pid: Namespace::Host,
        network: Namespace::Host,
        mount: Namespace::Host,
        uts: Namespace::Host,
        ipc: Namespace::Host,
        cgroup: Namespace::Host,
        time: Namespace::Host,
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
        time_offsets: Vec::new(),
    }
}

fn kind_of(typ: LinuxNamespaceType) -> NamespaceKind {
    match typ {
        LinuxNamespaceType::User => NamespaceKind::User,
        LinuxNamespaceType::Pid => NamespaceKind::Pid,
        LinuxNamespaceType::Network => NamespaceKind::Network,
        LinuxNamespaceType::Mount => NamespaceKind::Mount,
        LinuxNamespaceType::Uts => NamespaceKind::Uts,
        LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
        LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
        LinuxNamespaceType::Time => NamespaceKind::Time,
    }
}

fn slot(namespaces: &mut Namespaces, kind: NamespaceKind) -> &mut Namespace {
    match kind {
        NamespaceKind::User => &mut namespaces.user,
        NamespaceKind::Pid => &mut namespaces.pid,
        NamespaceKind::Network => &mut namespaces.network,
        NamespaceKind::Mount => &mut namespaces.mount,
        NamespaceKind::Uts => &mut namespaces.uts,
        NamespaceKind::Ipc => &mut namespaces.ipc,
        NamespaceKind::Cgroup => &mut namespaces.cgroup,
        NamespaceKind::Time => &mut namespaces.time,
    }
}

/// Created, or joined when there is a path; an empty path is none, as in runc.
fn namespace(entry: &LinuxNamespace, index: usize, problems: &mut Problems) -> Namespace {
    let Some(path) = entry.path().as_deref().filter(|p| !p.as_os_str().is_empty()) else {
        return Namespace::Create;
    };
    let pointer = format!("{NAMESPACES}/{index}/path");
    if let Err(why) = paths::check(path) {
        problems.refuse(&pointer, why);
    } else if !path.is_absolute() {
        problems.refuse(&pointer, format!("the path {} is not absolute", path.display()));
    }
    Namespace::Join { path: Path::new(path).to_owned(), pointer }
}

fn id_maps(linux: Option<&Linux>, namespaces: &mut Namespaces, host: &Host, problems: &mut Problems) {
    let uid = linux.and_then(|l| l.uid_mappings().as_deref()).unwrap_or_default();
    let gid = linux.and_then(|l| l.gid_mappings().as_deref()).unwrap_or_default();
    namespaces.uid_mappings = id_map(uid, UID_MAPPINGS, host.euid, &namespaces.user, host, problems);
    namespaces.gid_mappings = id_map(gid, GID_MAPPINGS, host.egid, &namespaces.user, host, problems);
}

fn id_map(
    list: &[LinuxIdMapping],
    pointer: &str,
    own_id: u32,
    user: &Namespace,
    host: &Host,
    problems: &mut Problems,
) -> Vec<IdMapping> {
    match user {
        Namespace::Host if !list.is_empty() => problems.refuse_hint(
            pointer,
            "id mappings need a user namespace",
            "add {\"type\": \"user\"} to /linux/namespaces",
        ),
        Namespace::Create if list.is_empty() => problems.refuse_hint(
            pointer,
            "the user namespace that is created has no mappings here, no id would exist in it",
            "for example [{\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}]",
        ),
        _ => {}
    }
    let mappings = ids::mappings(list, pointer, problems);
    let only_own = matches!(mappings.as_slice(), [one] if one.host_id == own_id && one.size == 1);
    if *user == Namespace::Create && !(only_own || list.is_empty() || host.maps_any_id() || host.newidmap) {
        problems.refuse_hint(
            pointer,
            format!("without CAP_SETUID only id {own_id} itself can be mapped"),
            "install newuidmap and newgidmap (package uidmap) and list ranges in /etc/subuid and /etc/subgid",
        );
    }
    mappings
}

fn time_offsets(linux: Option<&Linux>, namespaces: &mut Namespaces, host: &Host, problems: &mut Problems) {
    if namespaces.time == Namespace::Create && host.kernel < (5, 6) {
        let release = &host.kernel_release;
        problems.refuse(NAMESPACES, format!("time namespaces need Linux 5.6, this is {release}"));
    }
    let offsets = linux.and_then(|l| l.time_offsets().as_ref());
    let Some(offsets) = offsets.filter(|o| !o.is_empty()) else { return };
    let pointer = "/linux/timeOffsets";
    match namespaces.time {
        Namespace::Create => {}
        Namespace::Host => problems.refuse_hint(
            pointer,
            "time offsets need a time namespace",
            "add {\"type\": \"time\"} to /linux/namespaces",
        ),
        Namespace::Join { .. } => {
            problems.refuse(pointer, "the offsets of a time namespace that is joined cannot be changed");
        }
    }
    for (clock, offset) in offsets {
        let pointer = format!("{pointer}/{}", crate::bundle::escape(clock));
        if clock != "monotonic" && clock != "boottime" {
            problems.refuse(&pointer, format!("{clock:?} is neither monotonic nor boottime"));
        }
        let nanoseconds = offset.nanosecs().unwrap_or_default();
        if nanoseconds > 999_999_999 {
            problems.refuse(format!("{pointer}/nanosecs"), format!("{nanoseconds} is more than 999999999"));
        }
        namespaces.time_offsets.push((clock.clone(), offset.secs().unwrap_or_default(), nanoseconds));
    }
    namespaces.time_offsets.sort();
}
