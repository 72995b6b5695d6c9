//! To whom the container's cgroup belongs (runtime-spec, config-linux.md,
//! "Cgroup ownership"): to the host's id of the process's user where the container
//! has cgroup and user namespaces of its own and sees its version 2 cgroup
//! writable; else to nobody else than the caller.

use super::{Mount, MountKind, Namespace, Namespaces};
use crate::cgroup::Layout;
use crate::plan::mount_options::MOUNT_ATTR_RDONLY;
use std::path::Path;

/// The owner, if it is to change.
pub(super) fn of_cgroup(uid: u32, namespaces: &Namespaces, mounts: &[Mount], layout: Layout) -> Option<u32> {
    let own = namespaces.cgroup == Namespace::Create && namespaces.user == Namespace::Create;
    if !own || layout != Layout::V2 || !mounts.iter().any(is_writable_cgroup) {
        return None;
    }
    namespaces.uid_mappings.iter().find_map(|map| {
        let offset = uid.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
        map.host_id.checked_add(offset)
    })
}

fn is_writable_cgroup(mount: &Mount) -> bool {
    let of_cgroup = match &mount.kind {
        MountKind::Cgroup => true,
        MountKind::Fs { fstype, .. } => fstype == "cgroup2",
        _ => false,
    };
    let readonly = (mount.attrs.set | mount.recursive_attrs.set) & MOUNT_ATTR_RDONLY != 0;
    of_cgroup && mount.destination == Path::new("/sys/fs/cgroup") && !readonly
}
