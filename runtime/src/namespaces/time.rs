//! The time namespace (time_namespaces(7), Linux 5.6). Its offsets can be
//! written only before a process is in it: init makes it, writes the offsets,
//! and then enters it.

use crate::plan::{Namespace, Namespaces};
use crate::procfs::Proc;
use crate::report::{Attempt, Outcome, Place};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use std::os::fd::AsFd;
use std::path::Path;

/// `CLONE_NEWTIME`, which nix does not name.
pub const FLAG: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// What init does inside.
///
/// # Errors
/// With the pointer of the offsets.
pub fn set_up(plan: &Namespaces, proc: &Proc) -> Outcome<()> {
    if plan.time != Namespace::Create {
        return Ok(());
    }
    let what = || "create the time namespace".to_owned();
    sys::process::unshare(FLAG).attempt(what).hint(Errno::EINVAL, "the kernel needs CONFIG_TIME_NS")?;
    for (clock, secs, nanos) in &plan.time_offsets {
        proc.write("self/timens_offsets", &format!("{clock} {secs} {nanos}\n"))
            .at(&format!("/linux/timeOffsets/{clock}"))?;
    }
    let path = Path::new("/proc/self/ns/time_for_children");
    let fd = sys::file::open_host(path, OFlag::O_RDONLY).attempt(what)?;
    sys::process::setns(fd.as_fd(), FLAG).attempt(|| "enter the time namespace".into())
}
