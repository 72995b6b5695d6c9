//! The mount of type `cgroup`: the container sees its own cgroup as
//! `/sys/fs/cgroup`, in the layout that the host has.

use super::mounts::Cgroupns;
use super::root::{Root, Target};
use super::sources::apply_attrs;
use crate::plan::{Attrs, Depth, Mount};
use crate::report::{Attempt, Outcome};
use crate::sys;
use crate::sys::mount::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Whether the host shows cgroup v2 alone, as `/sys/fs/cgroup` itself.
fn is_unified() -> bool {
    let root = sys::file::open_host(Path::new("/sys/fs/cgroup"), nix::fcntl::OFlag::O_PATH);
    root.and_then(|fd| sys::file::filesystem(fd.as_fd()))
        .is_ok_and(|t| t == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}

/// One hierarchy of `/proc/self/cgroup` (cgroups(7)).
struct Hierarchy {
    /// `cpu,cpuacct`, `name=systemd`, or empty for v2.
    controllers: String,
    /// The caller's cgroup in it.
    path: String,
}

/// Mounts it. In a cgroup namespace new mounts show the container's cgroup as
/// their root; without one, the container's directories are bound, so that
/// nothing above them is seen.
///
/// # Errors
/// As the system calls.
pub fn mount(root: &Root, mount: &Mount, cgroupns: Cgroupns<'_>) -> Outcome<()> {
    let what = || format!("mount cgroups on {}", mount.destination.display());
    let hierarchies =
        || crate::sys::file::read_kernel_text("/proc/self/cgroup").attempt(what).map(|text| parse(&text));
    let target = root.destination(&mount.destination, Target::Directory)?;
    let tree = match cgroupns {
        Cgroupns::Host { unified: Some(path) } => bound(path, ""),
        _ if !is_unified() => return hybrid(target, mount, &hierarchies()?, cgroupns),
        Cgroupns::Own => fresh("cgroup2", None),
        Cgroupns::Host { unified: None } => {
            let all = hierarchies()?;
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
        (Cgroupns::Own, "") => fresh("cgroup2", None).attempt(what)?,
        (Cgroupns::Own, controllers) => fresh("cgroup", Some(controllers)).attempt(what)?,
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
