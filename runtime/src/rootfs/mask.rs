//! Masked and read-only paths (runtime-spec, "Masked Paths", "Readonly Paths").
//! A file is hidden by the host's verified `/dev/null` (security rule R3), a
//! directory by one empty read-only tmpfs that all masked directories share.

use super::root::Root;
use crate::contract::report::{Stage, StageKind};
use crate::plan::{Depth, InnerPath, Plan};
use crate::report::{Attempt, Outcome, Place, Reporter};
use crate::sys;
use crate::sys::mount::{Attr, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use nix::errno::Errno;
use nix::sys::stat::SFlag;
use std::os::fd::{AsFd, OwnedFd};

/// Covers: made at first use, attached there, and copied for every later one.
/// (A copy of a detached mount is allowed from Linux 6.15 on; of an attached
/// one, always.)
struct Cover {
    first: Option<OwnedFd>,
    attached: bool,
}

impl Cover {
    fn put(&mut self, target: &OwnedFd, make: impl FnOnce() -> sys::Result<OwnedFd>) -> sys::Result<()> {
        if self.first.is_none() {
            self.first = Some(make()?);
        }
        let Some(first) = &self.first else { return Ok(()) };
        if self.attached {
            let copy = sys::mount::clone_tree(first.as_fd(), Depth::One)?;
            return sys::mount::attach(copy.as_fd(), target.as_fd());
        }
        sys::mount::attach(first.as_fd(), target.as_fd())?;
        self.attached = true;
        Ok(())
    }
}

/// Makes paths read-only, then hides paths. A path that does not exist needs neither.
///
/// # Errors
/// With the pointer of the path.
pub fn apply(root: &Root, plan: &Plan, null: OwnedFd, report: &Reporter) -> Outcome<()> {
    for path in &plan.readonly {
        let stage = Stage::nth(StageKind::ReadonlyPath, path.index);
        let pointer = format!("/linux/readonlyPaths/{}", path.index);
        report.stage(stage, path.path.to_string_lossy(), || make_readonly(root, path).at(&pointer))?;
    }
    let mut files = Cover { first: Some(null), attached: false };
    let mut directories = Cover { first: None, attached: false };
    for path in &plan.masked {
        let stage = Stage::nth(StageKind::MaskedPath, path.index);
        let pointer = format!("/linux/maskedPaths/{}", path.index);
        report.stage(stage, path.path.to_string_lossy(), || {
            mask(root, path, &mut files, &mut directories).at(&pointer)
        })?;
    }
    Ok(())
}

fn open(root: &Root, path: &InnerPath) -> Outcome<Option<OwnedFd>> {
    match root.find(&path.path) {
        Err(e) if e.errno == Errno::ENOTDIR => Ok(None),
        result => result.attempt(|| format!("open {} in the root", path.path.display())),
    }
}

fn make_readonly(root: &Root, path: &InnerPath) -> Outcome<()> {
    let what = || format!("make {} read-only", path.path.display());
    let Some(target) = open(root, path)? else { return Ok(()) };
    let tree = sys::mount::clone_tree(target.as_fd(), Depth::Recursive).attempt(what)?;
    let attr = Attr { set: MOUNT_ATTR_RDONLY, ..Attr::default() };
    sys::mount::set_attr(tree.as_fd(), Depth::Recursive, &attr).attempt(what)?;
    sys::mount::attach(tree.as_fd(), target.as_fd()).attempt(what)
}

fn mask(root: &Root, path: &InnerPath, files: &mut Cover, directories: &mut Cover) -> Outcome<()> {
    let what = || format!("mask {}", path.path.display());
    let Some(target) = open(root, path)? else { return Ok(()) };
    match sys::file::kind(target.as_fd()).attempt(what)? {
        SFlag::S_IFDIR => directories.put(&target, empty_directory).attempt(what),
        _ => files.put(&target, empty_directory).attempt(what),
    }
}

fn empty_directory() -> sys::Result<OwnedFd> {
    let context = sys::mount::fsopen("tmpfs")?;
    context.set("source", Some("tmpfs"))?;
    context.set("size", Some("0"))?;
    context.set("nr_inodes", Some("1"))?;
    context.mount(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
}
