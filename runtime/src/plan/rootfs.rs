//! `root`, `linux.rootfsPropagation`, and the annotation for an id-mapped root.

use super::problems::Problems;
use super::{Depth, Namespace, Namespaces, Propagation, Rootfs, paths};
use crate::bundle::Bundle;

/// Asks for [`Rootfs::idmapped`].
const IDMAP_ANNOTATION: &str = "dev.sextant.rootfs.idmap";

/// The root file system, relative to the bundle where it is relative.
pub(super) fn plan(bundle: &Bundle, namespaces: &Namespaces, problems: &mut Problems) -> Rootfs {
    let root = bundle.spec.root().as_ref();
    let path = root.map(|r| r.path().clone()).unwrap_or_default();
    if root.is_none() {
        problems.refuse_hint("/root", "root is required", "for example {\"path\": \"rootfs\"}");
    } else if let Err(why) = paths::check(&path) {
        problems.refuse("/root/path", why);
    }
    warn_of_joined_mounts(bundle, namespaces, problems);
    let named = bundle.spec.linux().as_ref().and_then(|l| l.rootfs_propagation().as_deref());
    Rootfs {
        path: bundle.dir.join(path),
        readonly: root.and_then(|r| r.readonly()).unwrap_or(false),
        propagation: named.filter(|name| !name.is_empty()).and_then(|name| {
            let known = propagation(name);
            if known.is_none() {
                problems.refuse_hint(
                    "/linux/rootfsPropagation",
                    format!("unknown propagation {name:?}"),
                    "one of shared, slave, private, unbindable, or the same with an r in front",
                );
            }
            known
        }),
        idmapped: is_idmapped(bundle, namespaces, problems),
    }
}

/// A propagation by its name in `rootfsPropagation` and in mount options.
pub(super) fn propagation(name: &str) -> Option<(Propagation, Depth)> {
    Some(match name {
        "shared" => (Propagation::Shared, Depth::One),
        "rshared" => (Propagation::Shared, Depth::Recursive),
        "slave" => (Propagation::Slave, Depth::One),
        "rslave" => (Propagation::Slave, Depth::Recursive),
        "private" => (Propagation::Private, Depth::One),
        "rprivate" => (Propagation::Private, Depth::Recursive),
        "unbindable" => (Propagation::Unbindable, Depth::One),
        "runbindable" => (Propagation::Unbindable, Depth::Recursive),
        _ => return None,
    })
}

/// The root of a mount namespace that is joined is set up already.
fn warn_of_joined_mounts(bundle: &Bundle, namespaces: &Namespaces, problems: &mut Problems) {
    if !matches!(namespaces.mount, Namespace::Join { .. }) {
        return;
    }
    let linux = bundle.spec.linux().as_ref();
    let asked = |list: Option<&[String]>| list.is_some_and(|l| !l.is_empty());
    for (present, pointer) in [
        (bundle.spec.mounts().as_ref().is_some_and(|m| !m.is_empty()), "/mounts"),
        (linux.is_some_and(|l| l.devices().as_ref().is_some_and(|d| !d.is_empty())), "/linux/devices"),
        (asked(linux.and_then(|l| l.masked_paths().as_deref())), "/linux/maskedPaths"),
        (asked(linux.and_then(|l| l.readonly_paths().as_deref())), "/linux/readonlyPaths"),
    ] {
        if present {
            problems.warn(pointer, "no effect: the mount namespace is joined as it is");
        }
    }
}

fn is_idmapped(bundle: &Bundle, namespaces: &Namespaces, problems: &mut Problems) -> bool {
    let pointer = format!("/annotations/{IDMAP_ANNOTATION}");
    match bundle.annotations.get(IDMAP_ANNOTATION).map(String::as_str) {
        None | Some("false") => false,
        Some("true") => {
            if namespaces.user == Namespace::Host {
                problems.refuse_hint(
                    pointer,
                    "an id-mapped root needs a user namespace that is created or joined",
                    "add {\"type\": \"user\"} to /linux/namespaces, and mappings or a path",
                );
            }
            true
        }
        Some(other) => {
            problems.refuse(pointer, format!("{other:?} is neither \"true\" nor \"false\""));
            false
        }
    }
}
