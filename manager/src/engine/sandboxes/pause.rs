//! The init of a shared pid namespace: the one process that a sandbox can have.
//! It is a container of the sandbox's own name, made, supervised, adopted and
//! removed as every other; in its root there is nothing but the program of
//! `sys::pause`. When it ends, the kernel ends every process of the namespace.

use super::record::Record;
use super::{dir, joining};
use crate::engine::actor::Command;
use crate::engine::create;
use crate::engine::create::make_dir;
use crate::engine::error::Error;
use crate::engine::pins::bind;
use crate::engine::request::Request;
use crate::engine::{Context, blocking};
use crate::model::{Access, Limits, RootfsSource, Source};
use crate::placement::{Mode, Modes, Placement};
use crate::sys::pause;
use sextant_runtime::plan::NamespaceKind;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is mounted in every container.
const MOUNT_POINTS: [&str; 3] = ["proc", "dev", "sys"];

/// Makes and starts the init of a sandbox, and pins its pid namespace in `place`.
///
/// # Errors
/// The failed step; what was made is the sandbox's to remove.
pub(super) async fn start(context: &Arc<Context>, record: &Record, place: &Path) -> Result<(), Error> {
    let rootfs = dir(context, &record.id).join("rootfs");
    let made = rootfs.clone();
    blocking(move || make_rootfs(&made)).await?;
    create::begin(context, request(record, rootfs), None)?.await.map_err(|_| Error::Stopping)??;
    let handle =
        context.directory.get(&record.id).ok_or_else(|| Error::NotFound { id: record.id.clone() })?;
    handle.ask(|reply| Command::Start { before: None, reply }).await?;
    let (context, id, place) = (Arc::clone(context), record.id.clone(), place.to_owned());
    blocking(move || {
        let attempted = format!("open the pid namespace of sandbox {id:?}");
        let ns = joining::open_of(&context, &id, NamespaceKind::Pid)
            .map_err(|because| Error::io(attempted)(std::io::Error::other(because)))?;
        bind(&ns, &place, NamespaceKind::Pid.proc_name())
    })
    .await
}

fn request(record: &Record, rootfs: PathBuf) -> Request {
    let mode = |kind| match kind {
        NamespaceKind::Pid => Mode::Own,
        kind if record.shared.has(kind) => Mode::Sandbox,
        // Who owns the pid namespace decides who can mount a procfs of it.
        NamespaceKind::User => Mode::Host,
        _ => Mode::Own,
    };
    let source = RootfsSource {
        rootfs,
        command: vec!["/init".into()],
        env: Vec::new(),
        cwd: String::new(),
        hostname: String::new(),
        limits: Limits::default(),
        access: Access::ReadOnly,
        mounts: Vec::new(),
    };
    Request {
        id: record.id.clone(),
        source: Source::Rootfs(source),
        labels: BTreeMap::new(),
        stdio: Default::default(),
        key: None,
        log: Default::default(),
        restart: Default::default(),
        check: None,
        placement: Placement { sandbox: Some(record.id.clone()), modes: Modes::of(mode), init: true },
    }
}

/// A root directory with the program and what is mounted over.
fn make_rootfs(rootfs: &Path) -> Result<(), Error> {
    let attempted = || Error::io(format!("make {}", rootfs.display()));
    if let Some(above) = rootfs.parent() {
        make_dir(above)?;
    }
    // The container's root is another user than the owner of these.
    for dir in [rootfs.to_owned()].into_iter().chain(MOUNT_POINTS.map(|name| rootfs.join(name))) {
        DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(attempted())?;
    }
    let program = rootfs.join("init");
    std::fs::write(&program, pause::program()).map_err(attempted())?;
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).map_err(attempted())
}
