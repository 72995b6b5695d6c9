//! Carrying out a [`CgroupPlan`]: directories, limits, device rules. What it
//! makes it removes again when a later step fails.

use super::devices::Devices;
use super::files::{self, Made};
use super::handle::{Cgroup, Dir};
use super::join::Joiner;
use super::layout::Version;
use super::plan::{CgroupPlan, Directory, MayLack, Necessity, Setting};
use super::{device_program, procs};
use crate::contract::report::{Failure, StageKind};
use crate::sys;
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Version 2 controllers that are switched on for a container where they are
/// available: those with limits or statistics.
const ENABLED: [&str; 7] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"];

/// Directories that were made, in order, to be removed on failure.
#[derive(Default)]
struct Trail(Vec<(OwnedFd, PathBuf)>);

impl Trail {
    /// Removes them, the last first. One that somebody uses by now stays.
    fn undo(self) {
        for (parent, name) in self.0.into_iter().rev() {
            // The failure that led here is what the caller learns.
            drop(files::remove(parent.as_fd(), &name));
        }
    }
}

/// See [`Cgroup::create`].
pub(super) fn create(plan: &CgroupPlan) -> Result<Cgroup, Failure> {
    let mut trail = Trail::default();
    let started = plan.unit.as_ref().map(|unit| unit.start(plan)).transpose()?.flatten();
    match build(plan, &mut trail) {
        Ok(cgroup) => Ok(cgroup.held_by(started)),
        Err(mut failure) => {
            drop(started);
            trail.undo();
            if let Some(Err(left)) = plan.unit.as_ref().map(|plan| plan.unit.stop()) {
                failure.because.push_str(&format!(" (and left behind: {left})"));
            }
            if is_forbidden(&failure) && can_do_without(plan) {
                return Ok(Cgroup::without(plan.layout, without_what(plan, &failure)));
            }
            Err(failure)
        }
    }
}

/// Asked only after a failure: looking into the user namespace costs a read.
fn can_do_without(plan: &CgroupPlan) -> bool {
    match (plan.may_lack, plan.necessity) {
        (MayLack::Nobody, _) => false,
        (MayLack::Anybody, _) | (MayLack::Unprivileged, Necessity::Implied) => true,
        (MayLack::Unprivileged, Necessity::Limits) => !crate::namespaces::user::is_root_of_host(),
        (MayLack::Unprivileged, Necessity::Named) => false,
    }
}

fn without_what(plan: &CgroupPlan, failure: &Failure) -> String {
    let limits: Vec<&str> = plan.settings.iter().map(|s| s.what.as_str()).collect();
    if limits.is_empty() {
        return format!("the container runs without a cgroup: {failure}");
    }
    format!("the container runs without a cgroup, and so without {}: {failure}", limits.join(", "))
}

/// Whether the caller lacks the permission to make cgroups.
fn is_forbidden(failure: &Failure) -> bool {
    [Errno::EACCES, Errno::EPERM, Errno::EROFS].contains(&Errno::from_raw(failure.errno))
}

fn build(plan: &CgroupPlan, trail: &mut Trail) -> Result<Cgroup, Failure> {
    let joiner = Joiner::of_caller(plan.unit.is_some());
    let mut dirs = Vec::with_capacity(plan.directories.len());
    for directory in &plan.directories {
        let fd = descend_again(directory, trail, plan.unit.is_some())?;
        dirs.push(Dir::made(directory, fd, joiner)?);
    }
    for setting in &plan.settings {
        apply(&dirs, setting, StageKind::Cgroup)?;
    }
    if let Devices::Controller(settings) = &plan.devices {
        for setting in settings {
            apply(&dirs, setting, StageKind::CgroupDevices)?;
        }
    }
    if let Some(owner) = plan.owner {
        super::owner::give(&dirs, owner)?;
    }
    Ok(Cgroup::made(plan, dirs))
}

/// See [`Cgroup::guard`].
pub(super) fn guard(dirs: &[Dir], plan: &CgroupPlan) -> Result<Option<String>, Failure> {
    let Devices::Program { directory, rules } = &plan.devices else { return Ok(None) };
    match dirs.get(*directory).and_then(Dir::fd) {
        Some(fd) => attach(fd, &device_program::assemble(rules)),
        None => Ok(None),
    }
}

/// How often a parent may be removed by somebody else while it is being used.
const TRIES: u32 = 8;

/// [`descend`], again when a parent vanished between two steps: whoever fails
/// to make a cgroup beside this one removes the parents that he made.
fn descend_again(directory: &Directory, trail: &mut Trail, of_unit: bool) -> Result<OwnedFd, Failure> {
    let mut result = descend(directory, trail, of_unit);
    for _ in 1..TRIES {
        match &result {
            Err(failure) if failure.errno == libc::ENOENT => result = descend(directory, trail, of_unit),
            _ => break,
        }
    }
    result
}

/// Makes the directory and its parents, and gives its descriptor. That of a unit is
/// there where systemd makes one, with the process that holds its place.
fn descend(directory: &Directory, trail: &mut Trail, of_unit: bool) -> Result<OwnedFd, Failure> {
    let mut place = directory.mount.clone();
    let attempted = || format!("make cgroup {}", directory.mount.join(&directory.path).display());
    let failed = |error: sys::Error, place: &Path| Failure {
        hint: hint_of_directory(error.errno).into(),
        ..failure(StageKind::Cgroup, attempted(), error, place)
    };
    let mut fd = files::open_directory(&place, directory.version).map_err(|e| failed(e, &place))?;
    let mut last = Made::Present;
    for component in directory.path.components() {
        if directory.version == Version::V2 {
            enable(fd.as_fd(), &directory.controllers);
        }
        let name = Path::new(component.as_os_str());
        place.push(name);
        last = files::make(fd.as_fd(), name).map_err(|e| failed(e, &place))?;
        let child = files::open_below(fd.as_fd(), name).map_err(|e| failed(e, &place))?;
        if directory.version == Version::V1 && directory.controllers.iter().any(|c| c == "cpuset") {
            inherit_cpuset(fd.as_fd(), child.as_fd()).map_err(|e| failed(e, &place))?;
        }
        let parent = std::mem::replace(&mut fd, child);
        if last == Made::New {
            trail.0.push((parent, name.to_path_buf()));
        }
    }
    if last == Made::Present && !of_unit {
        refuse_used(fd.as_fd(), &place, attempted)?;
    }
    Ok(fd)
}

/// A cgroup that was there may be used when nobody is in it, as with runc.
fn refuse_used(fd: BorrowedFd<'_>, place: &Path, attempted: impl Fn() -> String) -> Result<(), Failure> {
    let present = procs::below(fd).map_err(|e| failure(StageKind::Cgroup, attempted(), e, place))?;
    match present.len() {
        0 => Ok(()),
        count => Err(Failure {
            stage: stage(StageKind::Cgroup),
            attempted: attempted(),
            because: format!(
                "it exists and has {count} processes, such as {}",
                present.first().unwrap_or(&0)
            ),
            object: place.display().to_string(),
            pointer: "/linux/cgroupsPath".into(),
            hint: "choose another cgroupsPath, or delete the container that uses this one".into(),
            ..Failure::default()
        }),
    }
}

/// A new version 1 cpuset is empty, and takes no process until it has CPUs and
/// memory nodes: it gets its parent's.
fn inherit_cpuset(parent: BorrowedFd<'_>, child: BorrowedFd<'_>) -> sys::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if files::read(child, file)?.trim().is_empty() {
            files::write(child, file, files::read(parent, file)?.trim())?;
        }
    }
    Ok(())
}

/// Switches controllers on for the children of a version 2 cgroup. One that
/// cannot be (the cgroup has processes of its own, or it is not delegated) is
/// missed only if a limit needs its files; writing them fails with a hint.
fn enable(fd: BorrowedFd<'_>, available: &[String]) {
    let on = files::read(fd, "cgroup.subtree_control").unwrap_or_default();
    let missing: Vec<String> = ENABLED
        .iter()
        .filter(|c| available.iter().any(|a| a == *c) && !on.split_whitespace().any(|o| o == **c))
        .map(|c| format!("+{c}"))
        .collect();
    if missing.is_empty() || files::write(fd, "cgroup.subtree_control", &missing.join(" ")).is_ok() {
        return;
    }
    for one in missing {
        drop(files::write(fd, "cgroup.subtree_control", &one));
    }
}

/// Writes one value; nothing where the directory is gone.
pub(super) fn apply(dirs: &[Dir], setting: &Setting, kind: StageKind) -> Result<(), Failure> {
    let Some(dir) = dirs.get(setting.directory) else { return Ok(()) };
    let opened = dir.open().map_err(|e| failure(kind, format!("set {}", setting.what), e, &dir.path))?;
    let Some(fd) = opened else { return Ok(()) };
    let with_place = |error: sys::Error, file: &str| Failure {
        pointer: setting.pointer.clone(),
        hint: hint_of_value(file, error.errno, dir.version).into(),
        ..failure(kind, format!("set {}", setting.what), error, &dir.path.join(file))
    };
    if let Some(usage) = setting.usage {
        check_usage(fd, usage, setting).map_err(|because| Failure {
            stage: stage(kind),
            attempted: format!("set {}", setting.what),
            because,
            object: dir.path.join(usage).display().to_string(),
            pointer: setting.pointer.clone(),
            ..Failure::default()
        })?;
    }
    match (files::write(fd, &setting.file, &setting.value), &setting.otherwise) {
        (Err(error), Some((file, value))) if error.errno == Errno::ENOENT => {
            files::write(fd, file, value).map_err(|e| with_place(e, file))
        }
        (result, _) => result.map_err(|e| with_place(e, &setting.file)),
    }
}

/// `checkBeforeUpdate`: a limit below what is in use would end processes.
fn check_usage(fd: BorrowedFd<'_>, file: &str, setting: &Setting) -> Result<(), String> {
    let usage = files::read(fd, file).ok().and_then(|text| text.trim().parse::<u64>().ok());
    match (usage, setting.value.parse::<u64>()) {
        (Some(usage), Ok(limit)) if limit < usage => Err(format!("{usage} bytes are in use already")),
        _ => Ok(()),
    }
}

/// Loads and attaches the device program. A caller who is not root may lack
/// the permission; he cannot make device nodes either, so it is a warning.
fn attach(fd: BorrowedFd<'_>, words: &[u64]) -> Result<Option<String>, Failure> {
    let result = sys::bpf::load_device_program(words)
        .and_then(|program| sys::bpf::attach_device_program(fd, program.as_fd()));
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.errno == Errno::EPERM && !crate::namespaces::user::is_root_of_host() => {
            Ok(Some(format!("device rules are not enforced: {error}")))
        }
        Err(error) => Err(Failure {
            pointer: "/linux/resources/devices".into(),
            hint: "needs CAP_BPF or CAP_SYS_ADMIN, and a kernel with CONFIG_CGROUP_BPF".into(),
            ..failure(StageKind::CgroupDevices, "set device rules".into(), error, Path::new(""))
        }),
    }
}

fn hint_of_directory(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES | Errno::EPERM => {
            "run as root, or have a cgroup delegated to this user: on cgroup v2 with systemd, \
             `systemd-run --user --scope -p Delegate=yes COMMAND`; on v1 and hybrid hosts, \
             leave /linux/cgroupsPath out to run without"
        }
        Errno::EROFS => "the cgroup file system is mounted read-only here",
        Errno::ENOENT => "the cgroup file system is not mounted in this mount namespace any more",
        Errno::EAGAIN => "a parent cgroup limits its descendants (cgroup.max.descendants, cgroup.max.depth)",
        _ => "",
    }
}

fn hint_of_value(file: &str, errno: Errno, version: Version) -> &'static str {
    let is = |start: &str| file.starts_with(start);
    match errno {
        Errno::ENOENT if is("memory.memsw") || is("memory.swap") => "boot with swapaccount=1 for swap limits",
        Errno::ENOENT if is("blkio.") || is("io.") => "weights need the BFQ scheduler (modprobe bfq)",
        Errno::ENOENT if is("hugetlb") => {
            "the kernel has no pages of this size (see /sys/kernel/mm/hugepages)"
        }
        Errno::ENOENT if is("cpu.rt_") => "needs a kernel with CONFIG_RT_GROUP_SCHED",
        Errno::ENOENT if version == Version::V2 => {
            "the controller is not enabled here: a parent's cgroup.subtree_control lacks it, \
             because that cgroup has processes of its own or is not delegated \
             (systemd: `Delegate=cpu cpuset io memory pids` in a drop-in of user@.service)"
        }
        Errno::EBUSY if is("memory.") => "more memory than this is in use in the cgroup",
        Errno::EINVAL | Errno::ERANGE if is("cpuset.") => "not online, or not in the parent's cpuset",
        Errno::EACCES if is("cpuset.") => "not in the parent's cpuset",
        Errno::EINVAL if is("cpu.") => "the kernel's bounds, or more than the parent cgroup has",
        Errno::EINVAL if is("memory.memsw") => "an earlier memory limit of this cgroup is greater",
        Errno::EPERM if is("devices.") => "the parent cgroup does not allow these devices",
        Errno::EACCES | Errno::EPERM => "the cgroup is not delegated to this user",
        Errno::ENODEV => "there is no such device",
        _ => "",
    }
}

pub(super) fn stage(kind: StageKind) -> String {
    crate::contract::report::Stage::from(kind).to_string()
}

/// A failed call about `object`.
pub(super) fn failure(kind: StageKind, attempted: String, error: sys::Error, object: &Path) -> Failure {
    Failure {
        stage: stage(kind),
        attempted,
        syscall: error.call,
        errno: nix_number(error.errno),
        object: object.display().to_string(),
        ..Failure::default()
    }
}

fn nix_number(errno: Errno) -> i32 {
    errno as i32
}
