//! The first process of a scope. systemd starts none without a process, and ends
//! one that is empty; the container's init comes only once the limits are set. So
//! a child of the runtime, which does nothing, holds the place until init is there.

use crate::contract::report::{Failure, StageKind};
use crate::sys;
use crate::sys::process::{Cloned, Parentage, clone3};
use nix::sched::CloneFlags;
use std::path::Path;

/// A process that waits for its end, and does not outlive the runtime.
#[derive(Debug)]
pub(in crate::cgroup) struct Placeholder {
    pid: i32,
}

impl Placeholder {
    /// Makes it, in the caller's cgroup.
    pub(super) fn begin() -> Result<Self, Failure> {
        let parent = std::process::id().cast_signed();
        match clone3(CloneFlags::empty(), Parentage::Child, None) {
            Ok(Cloned::Parent(pid)) => Ok(Self { pid }),
            Ok(Cloned::Child) => {
                // A parent that died before this line sends no signal any more.
                let bound = sys::privilege::end_with_parent().is_ok();
                while bound && nix::unistd::getppid().as_raw() == parent {
                    nix::unistd::pause();
                }
                sys::process::exit_now(0)
            }
            Err(error) => {
                let attempted = "make the first process of the scope".into();
                Err(super::super::create::failure(StageKind::Cgroup, attempted, error, Path::new("")))
            }
        }
    }

    /// Its pid.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// The cgroup that it is in: that of version 2, or of systemd's own hierarchy.
    pub(super) fn cgroup(&self) -> Option<String> {
        let text = sys::file::read_kernel_text(format!("/proc/{}/cgroup", self.pid)).ok()?;
        let of = |label: &str| {
            text.lines().find_map(|line| line.split_once(label).map(|(_, path)| path.to_owned()))
        };
        of(":name=systemd:").or_else(|| of("0::"))
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // It is a child that nobody has reaped: the number is its own.
        if sys::signal::kill(self.pid, libc::SIGKILL).is_ok() {
            drop(sys::process::wait(self.pid));
        }
    }
}
