//! The eight namespaces, one file each: what creating or joining it means, and
//! what has to be set up inside. Create or join is data of the plan; this
//! module opens what is joined and says what clone3(2) is asked for.

pub mod advice;
pub mod cgroup;
pub mod ipc;
pub mod mount;
pub mod network;
pub mod pid;
pub mod time;
pub mod user;
pub mod uts;

use crate::contract::report::StageKind;
use crate::plan::{Namespace, NamespaceKind, Namespaces, Plan};
use crate::report::{Attempt, Outcome, Place, Reporter, refuse};
use crate::sys;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The `CLONE_NEW*` flag of a kind.
pub fn flag(kind: NamespaceKind) -> CloneFlags {
    match kind {
        NamespaceKind::User => user::FLAG,
        NamespaceKind::Pid => pid::FLAG,
        NamespaceKind::Network => network::FLAG,
        NamespaceKind::Mount => mount::FLAG,
        NamespaceKind::Uts => uts::FLAG,
        NamespaceKind::Ipc => ipc::FLAG,
        NamespaceKind::Cgroup => cgroup::FLAG,
        NamespaceKind::Time => time::FLAG,
    }
}

/// The stage that a kind's work is reported as.
pub fn stage(kind: NamespaceKind) -> StageKind {
    match kind {
        NamespaceKind::User => StageKind::NamespaceUser,
        NamespaceKind::Pid => StageKind::NamespacePid,
        NamespaceKind::Network => StageKind::NamespaceNetwork,
        NamespaceKind::Mount => StageKind::NamespaceMount,
        NamespaceKind::Uts => StageKind::NamespaceUts,
        NamespaceKind::Ipc => StageKind::NamespaceIpc,
        NamespaceKind::Cgroup => StageKind::NamespaceCgroup,
        NamespaceKind::Time => StageKind::NamespaceTime,
    }
}

/// A namespace file that will be joined; opened once and proved to be of its kind.
#[derive(Debug)]
pub struct Joined {
    /// Its kind.
    pub kind: NamespaceKind,
    /// The file.
    pub fd: OwnedFd,
    /// Its path, for errors.
    pub path: String,
    /// Its place in the config.
    pub pointer: String,
}

/// Opens every namespace that the plan joins, and refuses a file of another kind.
///
/// # Errors
/// With the pointer of the path.
pub fn open_joined(plan: &Namespaces, report: &Reporter) -> Outcome<Vec<Joined>> {
    let mut joined = Vec::new();
    for kind in NamespaceKind::ALL {
        if let Namespace::Join { path, pointer } = plan.get(kind) {
            let path = path.display().to_string();
            let open = || open_one(kind, &path).at(pointer);
            let fd = report.stage(StageKind::NamespaceOpen, &path, open)?;
            joined.push(Joined { kind, fd, path, pointer: pointer.clone() });
        }
    }
    Ok(joined)
}

/// Refuses sysctls that would be the host's: a joined namespace may be the
/// caller's own (CVE-2022-0532 of CRI-O).
///
/// # Errors
/// With the pointer of the sysctl.
pub fn guard_sysctls(plan: &Plan, joined: &[Joined]) -> Outcome<()> {
    for sysctl in &plan.sysctls {
        let owner = owner_of(&sysctl.path);
        let Some(ns) = joined.iter().find(|ns| ns.kind == owner) else { continue };
        let what = || format!("set the sysctl {}", sysctl.key);
        let pointer = format!("/linux/sysctl/{}", sysctl.key.replace('~', "~0").replace('/', "~1"));
        let own = format!("/proc/self/ns/{}", owner.proc_name());
        let own = sys::file::open_host(own.as_ref(), OFlag::O_RDONLY).attempt(what)?;
        let identity = |fd: &OwnedFd| sys::file::stat(fd.as_fd()).map(|s| (s.st_dev, s.st_ino));
        if identity(&own).attempt(what)? == identity(&ns.fd).attempt(what)? {
            let because = format!("the {} namespace that is joined is the host's", owner.name());
            return Err(refuse(what(), because)).at(&pointer);
        }
    }
    Ok(())
}

/// The kind of namespace that a path below `/proc/sys` belongs to.
fn owner_of(path: &Path) -> NamespaceKind {
    let named = |name| path == Path::new("kernel").join(name);
    if path.starts_with("net") {
        NamespaceKind::Network
    } else if named("hostname") || named("domainname") {
        NamespaceKind::Uts
    } else {
        NamespaceKind::Ipc
    }
}

fn open_one(kind: NamespaceKind, path: &str) -> Outcome<OwnedFd> {
    let what = || format!("open the {} namespace {path}", kind.name());
    let fd = sys::file::open_host(path.as_ref(), OFlag::O_RDONLY)
        .attempt(what)
        .hint(Errno::ENOENT, "the process or the file that held the namespace is gone")?;
    let found = sys::process::namespace_type(fd.as_fd()).map_err(|_| {
        refuse(
            what(),
            "it is not a namespace file; expected something like /proc/PID/ns/* or a bind mount of it",
        )
    })?;
    if found != flag(kind) {
        let name = NamespaceKind::ALL.into_iter().find(|k| flag(*k) == found).map_or("unknown", |k| k.name());
        return Err(refuse(what(), format!("it is a {name} namespace, not a {} namespace", kind.name())));
    }
    Ok(fd)
}

/// What clone3(2) creates. The cgroup namespace is left out, since its root is
/// the cgroup that its maker is in by then; the time namespace, since its
/// offsets are set before anybody is in it. Init makes both by itself.
pub fn clone_flags(plan: &Namespaces) -> CloneFlags {
    NamespaceKind::ALL
        .into_iter()
        .filter(|k| !matches!(k, NamespaceKind::Cgroup | NamespaceKind::Time))
        .filter(|k| *plan.get(*k) == Namespace::Create)
        .fold(CloneFlags::empty(), |flags, kind| flags | flag(kind))
}

/// Joins what is to be joined. Those that the caller has rights over come
/// before its user namespace changes, the others after: a pod's namespaces are
/// owned by the pod's user namespace, a host's are not.
///
/// # Errors
/// With the pointer of the first that cannot be joined.
pub fn join_all(joined: &[Joined]) -> Outcome<()> {
    let mut later = Vec::new();
    for ns in joined.iter().filter(|ns| ns.kind != NamespaceKind::User) {
        match sys::process::setns(ns.fd.as_fd(), flag(ns.kind)) {
            Err(e) if e.errno == Errno::EPERM => later.push(ns),
            result => attempt_join(ns, result)?,
        }
    }
    if let Some(user) = joined.iter().find(|ns| ns.kind == NamespaceKind::User) {
        attempt_join(user, sys::process::setns(user.fd.as_fd(), user::FLAG))?;
        user::become_root()?;
    }
    for ns in later {
        attempt_join(ns, sys::process::setns(ns.fd.as_fd(), flag(ns.kind)))?;
    }
    Ok(())
}

fn attempt_join(ns: &Joined, result: sys::Result<()>) -> Outcome<()> {
    result
        .attempt(|| format!("join the {} namespace {}", ns.kind.name(), ns.path))
        .at(&ns.pointer)
        .hint(Errno::EPERM, "its owning user namespace must be the caller's or be joined as well")
}
