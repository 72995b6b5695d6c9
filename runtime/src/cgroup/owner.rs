//! Delegation of a version 2 cgroup to the container's user (runtime-spec,
//! config-linux.md, "Cgroup ownership"): he may make cgroups below it and move
//! his processes there, but not change its limits.

use super::create::failure;
use super::handle::Dir;
use super::layout::Version;
use crate::contract::report::{Failure, StageKind};
use crate::sys::named;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Uid, fchownat};

/// The kernel's list of files that a delegation includes (cgroups(7)).
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// What older kernels have of it.
const FILES: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Makes `owner` the owner of the directory and of those files in it.
///
/// # Errors
/// The call that failed.
pub(super) fn give(dirs: &[Dir], owner: u32) -> Result<(), Failure> {
    let Some(dir) = dirs.iter().find(|d| d.version == Version::V2) else { return Ok(()) };
    let Some(fd) = dir.fd() else { return Ok(()) };
    let list = crate::sys::file::read_kernel_text(LIST).unwrap_or_else(|_| FILES.into());
    for file in std::iter::once(".").chain(list.lines().filter(|name| !name.contains('/'))) {
        match fchownat(fd, file, Some(Uid::from_raw(owner)), None, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::ENOENT) => {}
            // A user can give nothing away: his container is his own, and what he made too.
            Err(Errno::EPERM) if !crate::namespaces::user::is_root_of_host() => return Ok(()),
            Err(errno) => {
                let call = || format!("fchownat([cgroup], {file:?}, {owner}, -1)");
                let attempted = format!("delegate the cgroup to user {owner}");
                return named::<()>(Err(errno), call)
                    .map_err(|e| failure(StageKind::Cgroup, attempted, e, &dir.path.join(file)));
            }
        }
    }
    Ok(())
}
