//! Writing a container into an image.

use super::image::{DESCRIPTORS, Directories, Make, is_inherited};
use super::rpc::{CgroupMode, Features, Kind, Options, PageServer, Request};
use super::session::{Session, Setting};
use super::{Criu, mounts};
use crate::cgroup::Cgroup;
use crate::report::{Attempt, Outcome, refuse};
use crate::store::Stored;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// Whether the container goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// It ends.
    Ends,
    /// `--leave-running`
    GoesOn,
    /// `--pre-dump`: its memory only, to make the dump that follows shorter.
    PreDump,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Where the images go.
    pub(crate) images: PathBuf,
    /// Where the log goes, where that is another place.
    pub(crate) work: Option<PathBuf>,
    /// Images of a pre-dump, relative to `images`.
    pub(crate) parent: Option<String>,
    /// See [`Afterwards`].
    pub(crate) afterwards: Afterwards,
    /// Address and port of a page server.
    pub(crate) page_server: Option<(String, u16)>,
    /// Cgroups.
    pub(crate) cgroup_mode: CgroupMode,
    /// See [`super::empty_namespaces`].
    pub(crate) empty_namespaces: u32,
    /// Written to when the pages can be fetched (`--lazy-pages`).
    pub(crate) status: Option<OwnedFd>,
    /// The flags that are CRIU's own.
    pub(crate) flags: Flags,
}

/// Flags that are passed on as they are.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line, passed on")]
pub(crate) struct Flags {
    pub(crate) tcp_established: bool,
    pub(crate) ext_unix_sk: bool,
    pub(crate) shell_job: bool,
    pub(crate) file_locks: bool,
    pub(crate) auto_dedup: bool,
    pub(crate) lazy_pages: bool,
}

impl Flags {
    /// In the options of a request.
    pub(super) fn apply(self, options: &mut Options) {
        options.tcp_established = Some(self.tcp_established);
        options.ext_unix_sk = Some(self.ext_unix_sk);
        options.shell_job = Some(self.shell_job);
        options.file_locks = Some(self.file_locks);
        options.auto_dedup = Some(self.auto_dedup);
        options.lazy_pages = Some(self.lazy_pages);
    }
}

/// Carries it out.
///
/// # Errors
/// CRIU's, with what its log says; the container then runs as before.
pub(crate) fn dump(criu: &Criu, stored: &Stored, mut wanted: Wanted) -> Outcome<()> {
    let attempted = format!("checkpoint the container {}", stored.state.id);
    let directories = Directories::open(&wanted.images, wanted.work.as_deref(), "dump.log", Make::Missing)?;
    if wanted.afterwards == Afterwards::PreDump {
        criu.require("--pre-dump", Features { mem_track: Some(true), ..Features::default() })?;
    }
    if wanted.flags.lazy_pages {
        criu.require("--lazy-pages", Features { lazy_pages: Some(true), ..Features::default() })?;
    }
    let options = options(stored, &wanted, &directories)?;
    let kind = if wanted.afterwards == Afterwards::PreDump { Kind::PreDump } else { Kind::Dump };
    let session = Session::begin(&criu.binary, &Setting::default())?;
    session.say(&Request { kind: kind.into(), opts: Some(options), ..Request::default() })?;
    let done = loop {
        let (response, _) = match session.hear() {
            Err(failure) => {
                session.end();
                return Err(directories.explain(criu, &attempted, Some(&failure.to_string())));
            }
            Ok(heard) => heard,
        };
        if response.kind() != Kind::Notify || !response.success {
            break response;
        }
        if response.notify.as_ref().and_then(|n| n.script.as_deref()) == Some("status-ready")
            && let Some(status) = wanted.status.take()
        {
            nix::unistd::write(&status, &[0]).ok();
        }
        session.say(&Request {
            kind: Kind::Notify.into(),
            notify_success: Some(true),
            ..Request::default()
        })?;
    };
    session.end();
    if done.success {
        return Ok(());
    }
    Err(directories.explain(criu, &attempted, done.cr_errmsg.as_deref()))
}

fn options(stored: &Stored, wanted: &Wanted, directories: &Directories) -> Outcome<Options> {
    let pid = stored.state.pid;
    let mut options = Options {
        images_dir_fd: directories.images.as_raw_fd(),
        work_dir_fd: directories.work.as_ref().map(AsRawFd::as_raw_fd),
        pid: Some(pid),
        leave_running: Some(wanted.afterwards == Afterwards::GoesOn),
        log_level: Some(4),
        log_file: Some("dump.log".into()),
        notify_scripts: Some(true),
        root: Some(stored.state.rootfs.to_string_lossy().into_owned()),
        manage_cgroups: Some(true),
        manage_cgroups_mode: Some(wanted.cgroup_mode.into()),
        empty_ns: Some(wanted.empty_namespaces),
        orphan_pts_master: Some(true),
        config_file: super::config_file(),
        network_lock: super::network_lock(),
        freeze_cgroup: Cgroup::open(&stored.cgroup).freezer_path().map(|p| p.to_string_lossy().into_owned()),
        ..Options::default()
    };
    wanted.flags.apply(&mut options);
    if let Some(parent) = &wanted.parent {
        options.parent_img = Some(parent.clone());
        options.track_mem = Some(true);
    }
    if wanted.afterwards == Afterwards::PreDump {
        options.track_mem = Some(true);
    }
    if let Some((address, port)) = &wanted.page_server {
        options.ps = Some(PageServer { address: Some(address.clone()), port: Some((*port).into()) });
    }
    for (kind, path) in &stored.joined {
        if let Some(key) = super::restore::external_key(kind) {
            let inode = std::fs::metadata(path).map(|m| std::os::unix::fs::MetadataExt::ino(&m));
            let inode = inode.attempt(|| format!("look at the joined namespace {}", path.display()))?;
            options.external.push(format!("{}[{inode}]:{key}", super::restore::short_name(kind)));
        }
    }
    if wanted.afterwards != Afterwards::PreDump {
        let container = mounts::read(&pid.to_string())?;
        options.ext_mnt = mounts::of_container(&container, &mounts::read("self")?);
        let stdio = stdio(pid, &container);
        options.external.extend(stdio.iter().filter(|name| name.starts_with("file[")).cloned());
        options.external.sort();
        options.external.dedup();
        let path = directories.file(DESCRIPTORS);
        let json = serde_json::to_vec(&stdio).map_err(|e| refuse("describe stdio", e.to_string()))?;
        std::fs::write(&path, json).attempt(|| format!("write {}", path.display()))?;
    }
    Ok(options)
}

/// What the container's stdio is: a pipe, or a file on a mount that is not the
/// container's, by the names that CRIU has for them; else its path.
fn stdio(pid: i32, container: &[mounts::Line]) -> Vec<String> {
    let one = |fd: u32| {
        let path = format!("/proc/{pid}/fd/{fd}");
        let link = std::fs::read_link(&path).ok()?.to_string_lossy().into_owned();
        if is_inherited(&link) || !link.starts_with('/') {
            return Some(link);
        }
        let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
        let mount: u64 = info.lines().find_map(|l| l.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
        if container.iter().any(|line| line.id == mount) {
            return Some(link);
        }
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).ok()?);
        Some(format!("file[{mount:x}:{inode:x}]"))
    };
    (0..3).map(|fd| one(fd).unwrap_or_default()).collect()
}
