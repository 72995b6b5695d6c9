//! `mounts`: destinations, sources, kinds and id mappings (config.md,
//! "Mounts"). Options are taken apart in [`super::mount_options`], and
//! [`super::mount_places`] says where nothing may be mounted.

use super::host::Host;
use super::ids::{self, IdKind};
use super::mount_options::{self, MOUNT_ATTR_RDONLY, Options};
use super::problems::Problems;
use super::{Depth, Mount, MountIdmap, MountKind, Namespace, Namespaces, mount_places, paths};
use crate::bundle::Bundle;
use oci_spec::runtime::Mount as Entry;
use std::path::{Path, PathBuf};

/// All mounts in their order.
pub(super) fn plan(
    bundle: &Bundle,
    namespaces: &Namespaces,
    host: &Host,
    problems: &mut Problems,
) -> Vec<Mount> {
    let entries = bundle.spec.mounts().as_deref().unwrap_or_default();
    let label = bundle.spec.linux().as_ref().and_then(|l| l.mount_label().as_deref()).unwrap_or_default();
    if !host.selinux && !label.is_empty() {
        problems.refuse_hint(
            "/linux/mountLabel",
            format!("the label {label:?} cannot be applied: SELinux is not in force on this host"),
            "remove it, or enable SELinux",
        );
    }
    let planner = Planner { bundle: &bundle.dir, namespaces, host, label };
    entries.iter().enumerate().filter_map(|(index, entry)| planner.mount(index, entry, problems)).collect()
}

/// Views of the kernel's own objects: without `FS_ALLOW_IDMAP`.
const NEVER_MAPPED: [&str; 6] = ["proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2"];

/// What takes no `context=`: its labels are those of the policy.
const NEVER_LABELLED: [&str; 5] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

struct Planner<'a> {
    bundle: &'a Path,
    namespaces: &'a Namespaces,
    host: &'a Host,
    /// `linux.mountLabel`, empty where none.
    label: &'a str,
}

impl Planner<'_> {
    fn mount(&self, index: usize, entry: &Entry, problems: &mut Problems) -> Option<Mount> {
        let pointer = format!("/mounts/{index}");
        let options = mount_options::parse(entry.options().as_deref().unwrap_or_default());
        complain(entry, &options, &pointer, problems);
        let destination = destination(entry, &pointer, problems);
        let idmap = self.idmap(entry, &options, &pointer, problems);
        let kind = self.kind(entry, &options, &pointer, problems)?;
        let destination = destination?;
        mount_places::check(&destination, &kind, &pointer, problems);
        if options.copy_up && !matches!(&kind, MountKind::Fs { fstype, .. } if fstype == "tmpfs") {
            problems.refuse(format!("{pointer}/options"), "tmpcopyup needs a tmpfs");
        }
        Some(Mount {
            index,
            destination,
            kind,
            attrs: options.attrs,
            recursive_attrs: options.recursive_attrs,
            propagation: options.propagation,
            idmap,
            copy_up: options.copy_up,
        })
    }

    fn kind(
        &self,
        entry: &Entry,
        options: &Options,
        pointer: &str,
        problems: &mut Problems,
    ) -> Option<MountKind> {
        let fstype = entry.typ().as_deref().unwrap_or_default();
        if options.remount {
            return Some(self.remount(entry, options, pointer, problems));
        }
        if options.bind.is_some() || fstype == "bind" {
            let depth = options.bind.unwrap_or(Depth::One);
            return self.bind(entry, depth, options, pointer, problems);
        }
        match fstype {
            "" | "none" => {
                problems.refuse_hint(
                    format!("{pointer}/type"),
                    "a mount that is no bind mount needs the type of a file system",
                    "add \"type\", or \"bind\" to its options",
                );
                None
            }
            "cgroup" => Some(MountKind::Cgroup),
            _ => self.file_system(fstype, entry, options, pointer, problems),
        }
    }

    /// `bind,remount` is about the mount alone, `remount` about the file system as well.
    fn remount(&self, entry: &Entry, options: &Options, pointer: &str, problems: &mut Problems) -> MountKind {
        if options.idmap.is_some() || entry.uid_mappings().is_some() {
            problems.refuse(
                pointer,
                "the ids of a mount that is there cannot be mapped: map them where it is made",
            );
        }
        if options.bind.is_some() {
            refuse_data(options, pointer, problems);
            return MountKind::Remount { options: Vec::new() };
        }
        self.check_data(options, pointer, problems);
        let flags = options.flags.iter().map(|flag| ((*flag).to_owned(), None));
        let data = options.data.iter().map(|(_, key, value)| (key.clone(), value.clone()));
        MountKind::Remount { options: flags.chain(data).collect() }
    }

    fn bind(
        &self,
        entry: &Entry,
        depth: Depth,
        options: &Options,
        pointer: &str,
        problems: &mut Problems,
    ) -> Option<MountKind> {
        refuse_data(options, pointer, problems);
        if !options.flags.is_empty() {
            let flags = options.flags.join(", ");
            problems.warn(format!("{pointer}/options"), format!("{flags}: no effect on a bind mount"));
        }
        let Some(source) = entry.source() else {
            problems.refuse(format!("{pointer}/source"), "a bind mount needs a source");
            return None;
        };
        if let Err(why) = paths::check(source) {
            problems.refuse(format!("{pointer}/source"), why);
        }
        Some(MountKind::Bind { source: self.bundle.join(source), depth })
    }

    fn file_system(
        &self,
        fstype: &str,
        entry: &Entry,
        options: &Options,
        pointer: &str,
        problems: &mut Problems,
    ) -> Option<MountKind> {
        let source = entry.source().as_deref().unwrap_or(Path::new(fstype));
        let Some(source) = source.to_str().filter(|s| !s.contains('\0')) else {
            problems.refuse(format!("{pointer}/source"), "the source has a NUL byte");
            return None;
        };
        if fstype.contains('\0') {
            problems.refuse(format!("{pointer}/type"), "the type has a NUL byte");
        }
        self.check_owner(fstype, pointer, problems);
        self.check_data(options, pointer, problems);
        let flags = options.flags.iter().map(|flag| ((*flag).to_owned(), None));
        // A device that is mounted read-only is not written to at all.
        let device = source.starts_with('/') && options.attrs.set & MOUNT_ATTR_RDONLY != 0;
        let readonly = device.then(|| ("ro".to_owned(), None));
        let data = options.data.iter().map(|(_, key, value)| (key.clone(), value.clone()));
        // Those of the kernel's own have labels that the policy gives them.
        let labelled = !self.label.is_empty()
            && !NEVER_LABELLED.contains(&fstype)
            && !options.data.iter().any(|(_, key, _)| key == "context");
        let label = labelled.then(|| ("context".to_owned(), Some(self.label.to_owned())));
        Some(MountKind::Fs {
            fstype: fstype.to_owned(),
            source: source.to_owned(),
            options: flags.chain(readonly).chain(data).chain(label).collect(),
        })
    }

    /// A new user namespace cannot mount views of namespaces that it does not own.
    fn check_owner(&self, fstype: &str, pointer: &str, problems: &mut Problems) {
        let (namespace, name) = match fstype {
            "proc" => (&self.namespaces.pid, "pid"),
            "sysfs" => (&self.namespaces.network, "network"),
            "mqueue" => (&self.namespaces.ipc, "ipc"),
            _ => return,
        };
        if self.namespaces.user == Namespace::Create && *namespace == Namespace::Host {
            problems.refuse_hint(
                pointer,
                format!("{fstype} in a user namespace of its own needs a {name} namespace as well"),
                format!("add {{\"type\": \"{name}\"}} to /linux/namespaces, or bind mount the host's"),
            );
        }
    }

    /// `uid=` and `gid=` of tmpfs and devpts are ids inside the container.
    fn check_data(&self, options: &Options, pointer: &str, problems: &mut Problems) {
        for (index, key, value) in &options.data {
            let pointer = format!("{pointer}/options/{index}");
            let kind = match key.as_str() {
                "uid" => IdKind::User,
                "gid" => IdKind::Group,
                "" => {
                    problems.refuse(pointer, "an option without a name");
                    continue;
                }
                _ => continue,
            };
            if let Some(id) = value.as_deref().and_then(|v| v.parse().ok()) {
                ids::check_id(kind, id, &pointer, self.namespaces, problems);
            }
        }
    }

    fn idmap(
        &self,
        entry: &Entry,
        options: &Options,
        pointer: &str,
        problems: &mut Problems,
    ) -> Option<MountIdmap> {
        let uid = entry.uid_mappings().as_deref().unwrap_or_default();
        let gid = entry.gid_mappings().as_deref().unwrap_or_default();
        let depth = match options.idmap {
            None if uid.is_empty() && gid.is_empty() => return None,
            depth => depth.unwrap_or(Depth::One),
        };
        let missing = |field: &str| format!("{pointer}/{field}");
        match (uid.is_empty(), gid.is_empty()) {
            (true, false) => problems.refuse(missing("uidMappings"), "needed beside gidMappings"),
            (false, true) => problems.refuse(missing("gidMappings"), "needed beside uidMappings"),
            (true, true) if self.namespaces.user == Namespace::Host => problems.refuse_hint(
                format!("{pointer}/options"),
                "an id-mapped mount needs mappings: its own, or those of the container's user namespace",
                "add uidMappings and gidMappings to the mount",
            ),
            _ => {}
        }
        let fstype = entry.typ().as_deref().unwrap_or_default();
        if options.bind.is_none() && NEVER_MAPPED.contains(&fstype) {
            problems.refuse(pointer, format!("{fstype} has no id-mapped mounts on any kernel"));
        }
        if self.host.kernel < (5, 12) {
            let release = &self.host.kernel_release;
            problems.refuse(pointer, format!("id-mapped mounts need Linux 5.12, this is {release}"));
        }
        Some(MountIdmap {
            uid_mappings: ids::mappings(uid, &missing("uidMappings"), problems),
            gid_mappings: ids::mappings(gid, &missing("gidMappings"), problems),
            depth,
        })
    }
}

fn refuse_data(options: &Options, pointer: &str, problems: &mut Problems) {
    for (index, name, _) in &options.data {
        problems.refuse(
            format!("{pointer}/options/{index}"),
            format!("{name:?} is no option of a bind mount, which has no options of a file system"),
        );
    }
}

fn complain(entry: &Entry, options: &Options, pointer: &str, problems: &mut Problems) {
    let texts = entry.options().as_deref().unwrap_or_default();
    for (index, text) in texts.iter().enumerate() {
        let pointer = format!("{pointer}/options/{index}");
        if text.contains('\0') {
            problems.refuse(pointer, "the option has a NUL byte");
        } else if options.no_effect.contains(&index) {
            problems.warn(pointer, format!("{text} has no effect: the kernel's mount API has no such flag"));
        }
    }
}

/// A relative destination counts from the root, with a warning, as in runc.
fn destination(entry: &Entry, pointer: &str, problems: &mut Problems) -> Option<PathBuf> {
    let pointer = format!("{pointer}/destination");
    let given = entry.destination();
    if given.is_relative() && !given.as_os_str().is_empty() {
        problems.warn(&pointer, format!("{} is relative, taken as below /", given.display()));
    }
    let absolute = if given.as_os_str().is_empty() { PathBuf::new() } else { Path::new("/").join(given) };
    match paths::inner(&absolute) {
        Ok(path) if path == Path::new("/") => {
            problems.refuse(pointer, "a mount cannot cover the root itself");
            None
        }
        Ok(path) => Some(path),
        Err(why) => {
            problems.refuse(pointer, why);
            None
        }
    }
}
