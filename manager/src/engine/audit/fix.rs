//! Removing orphans. Right before each, what was proven is proven again, with its name set aside so that nobody
//! can take it meanwhile; a process is signalled through a descriptor that was open before it was compared.
//! One that cannot be removed keeps none of the others.

use super::super::pins::Holder;
use super::super::removal::remove_tree;
use super::super::{Context, blocking};
use super::{marks, records};
use crate::audit::lists::{self, Lists, cgroups, files, mounts};
use crate::audit::records::Readings;
use crate::audit::{Claim, Finding, Fixed, Kind, Object, Place, judge};
use crate::bundle::remove_empty_cgroup;
use crate::engine::error::Error;
use crate::shims::client::Force;
use crate::sys;
use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, poll};
use sextant_runtime::contract::check_id;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a killed process may take to end, and a cgroup to become empty.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes each orphan among them, in their order, and notes what came of it.
pub(super) async fn all(context: &Arc<Context>, findings: &mut [Finding]) {
    for finding in findings {
        let can_fix = finding.whose.as_ref().is_err_and(|orphan| orphan.can_fix);
        if !can_fix {
            continue;
        }
        let object = &finding.object;
        finding.fixed = match one(context, object).await {
            Ok(()) => {
                tracing::warn!(kind = object.kind.name(), object = object.name, "an orphan was removed");
                Fixed::Yes
            }
            Err(because) => {
                tracing::warn!(kind = object.kind.name(), object = object.name, because, "an orphan stays");
                Fixed::Failed(because)
            }
        };
    }
}

/// A name that nobody can take until this is dropped.
struct Aside<'a>(&'a Context, &'a str);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.directory.put_back(self.1);
    }
}

async fn one(context: &Arc<Context>, object: &Object) -> Result<(), String> {
    // With what was removed before it, it may have gone.
    let Some(identity) = identity(object).await? else { return Ok(()) };
    let id = match &object.claim {
        Claim::Container(id) | Claim::Sandbox(id) => Some(id),
        _ => None,
    };
    let _aside = match id {
        // Of a container that is there only a second shim is an orphan.
        Some(id) if context.directory.get(id).is_some() => None,
        Some(id) if context.directory.set_aside(id) => Some(Aside(context, id)),
        Some(id) => return Err(format!("the name {id} has been taken")),
        None => None,
    };
    let (judging, suspect, same) = (Arc::clone(context), object.clone(), identity.clone());
    if !blocking(move || Ok(is_proven(&judging, suspect, &same))).await.map_err(|e| e.chain())? {
        return Err("it is another one, or somebody's by now".into());
    }
    if let (Kind::RuntimeState, Some(id)) = (object.kind, id.filter(|id| check_id(id).is_ok())) {
        context.runtime.delete(id, Force::Yes).await.map_err(|e| e.chain())?;
    } else {
        let (context, object) = (Arc::clone(context), object.clone());
        blocking(move || remove(&context, &object, &identity)).await.map_err(|e| e.chain())?;
    }
    match self::identity(object).await? {
        None => Ok(()),
        Some(_) => Err("it is still there".into()),
    }
}

/// Whether it is nobody's by the records and the disk of now, and the same.
fn is_proven(context: &Context, object: Object, identity: &str) -> bool {
    let (marks, before, place) = (marks(context), records(context), object.place.clone());
    let names: Vec<String> = match &object.claim {
        Claim::Container(id) | Claim::Sandbox(id) => vec![id.clone()],
        Claim::AnyOf(names) => names.clone(),
        _ => Vec::new(),
    };
    let mut recorded = files::recorded(&marks, names.iter());
    let shims = names.iter().filter_map(|id| before.containers.get(id)?.shim);
    recorded.shims = shims.filter(|pid| lists::identity(&Place::Process(*pid)).is_some()).collect();
    let same = lists::identity(&place).as_deref() == Some(identity);
    let readings = Readings { before, after: records(context) };
    let judged = judge::judge(&marks, Lists { objects: vec![object], recorded }, &readings);
    same && judged.iter().all(|judged| judged.whose.is_err())
}

async fn identity(object: &Object) -> Result<Option<String>, String> {
    let place = object.place.clone();
    blocking(move || Ok(lists::identity(&place))).await.map_err(|e| e.chain())
}

fn remove(context: &Context, object: &Object, identity: &str) -> Result<(), Error> {
    let attempted = || Error::io(format!("remove {}", object.name));
    match &object.place {
        Place::Process(pid) => kill(*pid, identity).map_err(attempted()),
        Place::Cgroup(paths) => {
            let removed = paths.iter().try_for_each(|path| empty(path));
            remove_empty_cgroup();
            removed.map_err(attempted())
        }
        Place::Mount(..) | Place::Interface(..) if object.kind != Kind::Mount => release(context, object),
        Place::Mount(number, path) => unmount(*number, path).map_err(attempted()),
        Place::Path(_) if object.kind == Kind::PinDirectory => release(context, object),
        Place::Path(path) if object.kind == Kind::TemporaryFile => stale(path).map_err(attempted()),
        Place::Path(path) => remove_tree(path).map_err(attempted()),
        Place::Interface(..) | Place::Range(_) | Place::Descriptor(_) => {
            Err(attempted()(io::Error::other("only a start of the daemon does")))
        }
    }
}

/// Lets go of the namespaces of whose name it bears, as the end of a container does.
fn release(context: &Context, object: &Object) -> Result<(), Error> {
    match &object.claim {
        Claim::Container(id) => context.pins.release(Holder::Container, id),
        Claim::Sandbox(id) => context.pins.release(Holder::Sandbox, id),
        _ => Err(Error::io(format!("let go of {}", object.name))(io::Error::other("it bears no name"))),
    }
}

/// Detaches that mount, and what is mounted over it.
fn unmount(number: u64, path: &Path) -> io::Result<()> {
    while mounts::is_there(number, path) {
        umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    Ok(())
}

/// Kills the process that began then, and waits until it has ended.
fn kill(pid: i32, began: &str) -> io::Result<()> {
    let pidfd = match sys::pidfd_open(pid) {
        Err(e) if e.raw_os_error() == Some(Errno::ESRCH as i32) => return Ok(()),
        result => result?,
    };
    // Looked at afterwards: the descriptor refers to whichever process had the number before.
    if lists::identity(&Place::Process(pid)).as_deref() != Some(began) {
        return Ok(());
    }
    sys::pidfd_send_signal(pidfd.as_fd(), SIGKILL)?;
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let millis = u16::try_from(PATIENCE.as_millis()).unwrap_or(u16::MAX);
    match poll(&mut fds, millis)? {
        0 => Err(io::Error::other("it was killed and does not end: it is in an uninterruptible wait")),
        _ => Ok(()),
    }
}

/// Ends whoever is in the cgroup, and removes it and those below it.
fn empty(path: &Path) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        // cgroup.kill is of version 2 and Linux 5.14; it meets all at once.
        if fs::symlink_metadata(path).is_ok() && fs::write(path.join("cgroup.kill"), "1").is_err() {
            for pid in cgroups::processes(path) {
                let Some(began) = lists::identity(&Place::Process(pid)) else { continue };
                if cgroups::processes(path).contains(&pid) {
                    kill(pid, &began)?;
                }
            }
        }
        match remove_cgroups(path) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
    }
}

/// rmdir(2) from below; the files of a cgroup go with it.
fn remove_cgroups(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Removes a file to which nobody has written for long.
fn stale(path: &Path) -> io::Result<()> {
    match files::is_stale(&fs::symlink_metadata(path)?) {
        true => fs::remove_file(path),
        false => Err(io::Error::other("somebody writes to it")),
    }
}
