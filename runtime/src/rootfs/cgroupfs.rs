//! The mount of type `cgroup`: the container sees its own cgroup as
//! `/sys/fs/cgroup`, in the layout that the host has.

use super::mounts::Cgroupns;
use super::root::{Root, Target};
use super::sources::apply_attrs;
use crate::plan::{Attrs, Depth, Mount};
use crate::report::{Attempt, Outcome};
use crate::sys;
use crate::sys::mount::{Attr, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Whether the host shows cgroup v2 alone, as `/sys/fs/cgroup` itself.
fn is_unified() -> bool {
    let root = sys::file::open_host(Path::new("/sys/fs/cgroup"), nix::fcntl::OFlag::O_PATH);
    root.and_then(|fd| sys::file::filesystem(fd.as_fd()))
        .is_ok_and(|t| t == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}

/// One hierarchy of `/proc/self/cgroup` (cgroups(7)).
#[derive(Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// `cpu,cpuacct`, `name=systemd`, or empty for v2.
    controllers: String,
    /// The caller's cgroup in it.
    path: String,
}

/// Where the caller is in each hierarchy, for one that will be in a cgroup namespace of its own, which
/// hides it; nothing where the host shows version 2 alone, and nobody needs it.
///
/// # Errors
/// As the system calls.
pub fn places() -> Outcome<Vec<Hierarchy>> {
    if is_unified() { Ok(Vec::new()) } else { hierarchies(|| "find the caller's cgroups".into()) }
}

fn hierarchies(what: impl Fn() -> String) -> Outcome<Vec<Hierarchy>> {
    sys::file::read_kernel_text("/proc/self/cgroup").attempt(what).map(|text| parse(&text))
}

/// Mounts it. In a cgroup namespace new mounts show the container's cgroup as
/// their root; without one, the container's directories are bound, so that
/// nothing above them is seen. Those of version 1 are bound in a namespace of its own as well, and look
/// the same: for a new mount the kernel walks all cgroups of version 2 that there are.
///
/// # Errors
/// As the system calls.
pub fn mount(root: &Root, mount: &Mount, cgroupns: Cgroupns<'_>) -> Outcome<()> {
    let what = || format!("mount cgroups on {}", mount.destination.display());
    let target = root.destination(&mount.destination, Target::Directory)?;
    let tree = match cgroupns {
        Cgroupns::Host { unified: Some(path) } => bound(path, ""),
        Cgroupns::Own { places } if !places.is_empty() => return hybrid(target, mount, places, cgroupns),
        _ if !is_unified() => return hybrid(target, mount, &hierarchies(what)?, cgroupns),
        Cgroupns::Own { .. } => fresh("cgroup2", None),
        Cgroupns::Host { unified: None } => {
            let all = hierarchies(what)?;
            let path = all.iter().find(|h| h.controllers.is_empty()).map_or("/", |h| h.path.as_str());
            bound(Path::new("/sys/fs/cgroup"), path)
        }
    }
    .attempt(what)?;
    sys::mount::attach(tree.as_fd(), target.as_fd()).attempt(what)?;
    apply_attrs(tree.as_fd(), Depth::One, mount.attrs).attempt(what)
}

fn hybrid(target: OwnedFd, mount: &Mount, hierarchies: &[Hierarchy], cgroupns: Cgroupns<'_>) -> Outcome<()> {
    let what = || format!("mount cgroups on {}", mount.destination.display());
    let context = sys::mount::fsopen("tmpfs").attempt(what)?;
    context.set("source", Some("tmpfs")).attempt(what)?;
    context.set("mode", Some("755")).attempt(what)?;
    let base = context.mount(mount.attrs.set & !MOUNT_ATTR_RDONLY).attempt(what)?;
    sys::mount::attach(base.as_fd(), target.as_fd()).attempt(what)?;
    for hierarchy in hierarchies {
        one(&base, hierarchy, mount, cgroupns)?;
    }
    let readonly = Attrs { set: mount.attrs.set & MOUNT_ATTR_RDONLY, clear: 0 };
    apply_attrs(base.as_fd(), Depth::One, readonly).attempt(what)
}

fn one(base: &OwnedFd, hierarchy: &Hierarchy, mount: &Mount, cgroupns: Cgroupns<'_>) -> Outcome<()> {
    let name = match hierarchy.controllers.as_str() {
        "" => "unified",
        other => other.strip_prefix("name=").unwrap_or(other),
    };
    let what = || format!("mount the cgroup hierarchy {name}");
    let host = Path::new("/sys/fs/cgroup").join(name);
    if !host.is_dir() {
        return Ok(()); // a hierarchy that the host itself does not show
    }
    let inside = Root::new(base.try_clone().attempt(what)?);
    let target = inside.destination(Path::new(name), Target::Directory)?;
    let tree = match (cgroupns, hierarchy.controllers.as_str()) {
        (Cgroupns::Host { .. }, _) => bound(&host, &hierarchy.path).attempt(what)?,
        (Cgroupns::Own { .. }, "") => fresh("cgroup2", None).attempt(what)?,
        (Cgroupns::Own { places: [] }, controllers) => fresh("cgroup", Some(controllers)).attempt(what)?,
        (Cgroupns::Own { .. }, controllers) => match like_fresh(&host, &hierarchy.path, mount) {
            Ok(tree) => tree,
            // Such as where the host shows it elsewhere, or with other attributes than may be changed.
            Err(_) => fresh("cgroup", Some(controllers)).attempt(what)?,
        },
    };
    sys::mount::attach(tree.as_fd(), target.as_fd()).attempt(what)?;
    apply_attrs(tree.as_fd(), Depth::One, mount.attrs).attempt(what)?;
    alias(&inside, name)
}

/// `cpu` and `cpuacct` as links to `cpu,cpuacct`, as hosts have them.
fn alias(inside: &Root, name: &str) -> Outcome<()> {
    for short in name.split(',').filter(|short| *short != name) {
        sys::file::symlink(name, inside.as_fd(), Path::new(short))
            .attempt(|| format!("link {short} to {name}"))?;
    }
    Ok(())
}

fn fresh(fstype: &str, controllers: Option<&str>) -> sys::Result<OwnedFd> {
    let context = sys::mount::fsopen(fstype)?;
    context.set("source", Some("cgroup"))?;
    for controller in controllers.unwrap_or_default().split(',').filter(|c| !c.is_empty()) {
        match controller.strip_prefix("name=") {
            Some(name) => context.set("name", Some(name))?,
            None => context.set(controller, None)?,
        }
    }
    context.mount(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
}

fn bound(host: &Path, cgroup: &str) -> sys::Result<OwnedFd> {
    let path: PathBuf = host.join(cgroup.trim_start_matches('/'));
    let directory = sys::file::open_host(&path, nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY)?;
    sys::mount::clone_tree(directory.as_fd(), Depth::One)
}

/// The directory of version 1, bound so that nothing tells it from a new mount of it.
fn like_fresh(host: &Path, cgroup: &str, mount: &Mount) -> sys::Result<OwnedFd> {
    let tree = bound(host, cgroup)?;
    if sys::file::filesystem(tree.as_fd())? != nix::sys::statfs::CGROUP_SUPER_MAGIC {
        return Err(sys::Error {
            call: format!("statfs({})", host.display()),
            errno: nix::errno::Errno::ENODEV,
        });
    }
    let set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let propagation = nix::mount::MsFlags::MS_PRIVATE.bits();
    sys::mount::set_attr(tree.as_fd(), Depth::One, &Attr { set, propagation, ..Attr::default() })?;
    apply_attrs(tree.as_fd(), Depth::One, mount.attrs)?;
    Ok(tree)
}

fn parse(text: &str) -> Vec<Hierarchy> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?.to_owned();
            Some(Hierarchy { controllers, path: fields.next()?.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_lines_parse() {
        let found = parse("4:memory:/a/b\n1:name=systemd:/\n0::/x:y\n");
        let pairs: Vec<_> = found.iter().map(|h| (h.controllers.as_str(), h.path.as_str())).collect();
        assert_eq!(pairs, [("memory", "/a/b"), ("name=systemd", "/"), ("", "/x:y")]);
    }
}
