//! Making a container of an image, in the surroundings that a bundle asks for.

use super::dump::Flags;
use super::image::{self, Directories, Make};
use super::rpc::{CgroupMode, CgroupRoot, InheritFd, JoinNamespace, Kind, Options, Request};
use super::session::{Session, Setting};
use super::{Criu, mounts};
use crate::cgroup::Cgroup;
use crate::plan::{MountKind, Namespace, NamespaceKind, Plan};
use crate::report::{Attempt, Outcome, refuse};
use crate::rootfs::root::{Root, Target};
use crate::sys;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Where the images are.
    pub(crate) images: PathBuf,
    /// Where the log goes, where that is another place.
    pub(crate) work: Option<PathBuf>,
    /// Cgroups.
    pub(crate) cgroup_mode: CgroupMode,
    /// See [`super::empty_namespaces`].
    pub(crate) empty_namespaces: u32,
    /// `TYPE:NAME`, in place of the bundle's own.
    pub(crate) lsm_profile: Option<String>,
    /// For mounts with an SELinux context.
    pub(crate) lsm_mount_context: Option<String>,
    /// The flags that are CRIU's own.
    pub(crate) flags: Flags,
}

/// What the caller does when CRIU says that something is ready.
pub(crate) trait Attendant {
    /// The namespaces of process `pid` are there, and empty.
    ///
    /// # Errors
    /// Ends the restore.
    fn namespaces_ready(&mut self, pid: i32) -> Outcome<()>;
    /// The terminal's master.
    ///
    /// # Errors
    /// Ends the restore.
    fn terminal(&mut self, master: OwnedFd) -> Outcome<()>;
    /// All processes are there; init, the caller's child, is `pid`. They run
    /// when this returns.
    ///
    /// # Errors
    /// Ends the restore.
    fn restored(&mut self, pid: i32) -> Outcome<()>;
}

/// The name of an external namespace in an image, as runc has it; `None` for
/// kinds that CRIU joins without one.
pub(super) fn external_key(kind: &str) -> Option<&'static str> {
    match kind {
        "network" => Some("extRootNetNS"),
        "pid" => Some("extRootPidNS"),
        _ => None,
    }
}

/// CRIU's name of a kind of namespace.
pub(super) fn short_name(kind: &str) -> &str {
    NamespaceKind::ALL.into_iter().find(|k| k.name() == kind).map_or(kind, |k| k.proc_name())
}

/// Carries it out: `place` is an empty directory of the container's own that
/// its root is mounted on in CRIU's mount namespace.
///
/// # Errors
/// CRIU's, with what its log says; or the attendant's. Processes that were
/// restored already are in the cgroup, for the caller to end.
pub(crate) fn restore(
    criu: &Criu,
    plan: &Plan,
    cgroup: &Cgroup,
    place: &Path,
    wanted: &Wanted,
    attendant: &mut dyn Attendant,
) -> Outcome<()> {
    let attempted = format!("restore the container {}", plan.id);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let opened = sys::file::open_host(&plan.rootfs.path, flags);
    let root = Root::new(opened.attempt(|| format!("open the root {}", plan.rootfs.path.display()))?);
    make_mount_points(plan, &root)?;
    let (directories, mut options, session) = super::room::with_root(&plan.rootfs.path, place, || {
        let work = wanted.work.as_deref();
        let directories = Directories::open(&wanted.images, work, "restore.log", Make::Nothing)?;
        let (options, namespaces) = options(plan, &root, place, wanted, &directories)?;
        let inherited = namespaces.iter().map(AsFd::as_fd).collect();
        let session = Session::begin(&criu.binary, &Setting { inherited, cgroup: Some(cgroup) })?;
        Ok((directories, options, session))
    })?;
    options.cg_root = cgroup_roots(session.pid())?;
    session.say(&Request { kind: Kind::Restore.into(), opts: Some(options), ..Request::default() })?;
    let result = converse(&session, attendant, |message| directories.explain(criu, &attempted, message));
    session.end();
    result
}

fn converse(
    session: &Session,
    attendant: &mut dyn Attendant,
    explain: impl Fn(Option<&str>) -> Box<crate::contract::report::Failure>,
) -> Outcome<()> {
    loop {
        let (response, fd) = session.hear().map_err(|failure| explain(Some(&failure.to_string())))?;
        if !response.success {
            return Err(explain(response.cr_errmsg.as_deref()));
        }
        if response.kind() != Kind::Notify {
            return Ok(());
        }
        let notify = response.notify.unwrap_or_default();
        let pid = notify.pid.unwrap_or(0);
        match (notify.script.as_deref(), fd) {
            (Some("setup-namespaces"), _) => attendant.namespaces_ready(pid)?,
            (Some("orphan-pts-master"), Some(master)) => attendant.terminal(master)?,
            (Some("post-restore"), _) => attendant.restored(pid)?,
            _ => {}
        }
        session.say(&Request {
            kind: Kind::Notify.into(),
            notify_success: Some(true),
            ..Request::default()
        })?;
    }
}

/// The options, and the namespaces that CRIU inherits.
fn options(
    plan: &Plan,
    root: &Root,
    place: &Path,
    wanted: &Wanted,
    directories: &Directories,
) -> Outcome<(Options, Vec<OwnedFd>)> {
    let mut options = Options {
        images_dir_fd: directories.images.as_raw_fd(),
        work_dir_fd: directories.work.as_ref().map(AsRawFd::as_raw_fd),
        evasive_devices: Some(true),
        log_level: Some(4),
        log_file: Some("restore.log".into()),
        rst_sibling: Some(true),
        root: Some(place.to_string_lossy().into_owned()),
        manage_cgroups: Some(true),
        manage_cgroups_mode: Some(wanted.cgroup_mode.into()),
        notify_scripts: Some(true),
        empty_ns: Some(wanted.empty_namespaces),
        orphan_pts_master: Some(true),
        config_file: super::config_file(),
        network_lock: super::network_lock(),
        ext_mnt: mounts::of_bundle(plan, root)?,
        lsm_profile: wanted.lsm_profile.clone().or_else(|| lsm_profile(plan)),
        lsm_mount_context: wanted.lsm_mount_context.clone(),
        ..Options::default()
    };
    wanted.flags.apply(&mut options);
    for (name, fd) in image::stdio(directories)?.into_iter().zip(0..) {
        let is_new = !options.inherit_fd.iter().any(|known| known.key == name);
        if image::is_inherited(&name) && is_new {
            options.inherit_fd.push(InheritFd { key: name, fd });
        }
    }
    let mut inherited = Vec::new();
    for kind in NamespaceKind::ALL {
        let Namespace::Join { path, pointer } = plan.namespaces.get(kind) else { continue };
        let opened = sys::file::open_host(path, OFlag::O_RDONLY);
        let fd = opened.attempt(|| format!("open the {} namespace {}", kind.name(), path.display()))?;
        match (external_key(kind.name()), kind) {
            (Some(key), _) => {
                options.inherit_fd.push(InheritFd { key: key.into(), fd: fd.as_raw_fd() });
                inherited.push(fd);
            }
            (None, NamespaceKind::Cgroup) => {
                let mut failure = refuse("restore the container", "CRIU cannot join a cgroup namespace");
                failure.pointer.clone_from(pointer);
                return Err(failure);
            }
            (None, _) => options.join_ns.push(JoinNamespace {
                ns: short_name(kind.name()).into(),
                ns_file: path.to_string_lossy().into_owned(),
            }),
        }
    }
    Ok((options, inherited))
}

/// The bundle's own label: what the image says of it does not count.
fn lsm_profile(plan: &Plan) -> Option<String> {
    let named = |kind: &str, name: &str| (!name.is_empty()).then(|| format!("{kind}:{name}"));
    named("apparmor", &plan.process.apparmor_profile)
        .or_else(|| named("selinux", &plan.process.selinux_label))
}

/// Roots the cgroups of the image in those that CRIU was put into.
fn cgroup_roots(pid: i32) -> Outcome<Vec<CgroupRoot>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).attempt(|| format!("read {path}"))?;
    let root = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        Some(CgroupRoot { ctrl: Some(controllers.into()), path: path.into() })
    };
    Ok(text.lines().filter_map(root).collect())
}

/// Makes the places of mounts that a fresh copy of the root lacks. Those on a
/// tmpfs come with its files from the image.
fn make_mount_points(plan: &Plan, root: &Root) -> Outcome<()> {
    let is_tmpfs = |kind: &MountKind| matches!(kind, MountKind::Fs { fstype, .. } if fstype == "tmpfs");
    let tmpfs: Vec<&Path> =
        plan.mounts.iter().filter(|m| is_tmpfs(&m.kind)).map(|m| m.destination.as_path()).collect();
    for mount in &plan.mounts {
        let place = mount.destination.as_path();
        let is_made_by_another = |other: &&Path| place != *other && place.starts_with(other);
        let mount_above = plan.mounts.iter().map(|m| m.destination.as_path());
        if tmpfs.iter().any(is_made_by_another) || mount_above.clone().any(|m| is_made_by_another(&m)) {
            continue;
        }
        let target = match &mount.kind {
            MountKind::Bind { source, .. } if !source.is_dir() => Target::File,
            _ => Target::Directory,
        };
        root.destination(place, target)?;
    }
    Ok(())
}
