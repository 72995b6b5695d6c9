//! `checkpoint`: writes a container into an image with CRIU; it ends with that,
//! unless it is to go on.

use super::{Context, delete};
use crate::cli;
use crate::contract::ExitCode;
use crate::contract::report::StageKind;
use crate::contract::state::Status;
use crate::criu::dump::{Afterwards, Flags, Wanted};
use crate::criu::{self, Criu};
use crate::report::{Attempt, Outcome, refuse};
use crate::store::Directory;
use crate::sys;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Carries it out.
///
/// # Errors
/// Refused unless the container runs or is paused; CRIU's own failure, after
/// which the container is as before.
pub fn run(context: &Context, args: &cli::Checkpoint) -> Outcome<ExitCode> {
    let directory = Directory::claim(&context.root, &args.id)?;
    let stored = directory.read()?;
    let status = stored.state.status;
    if !matches!(status, Status::Running | Status::Paused) {
        let what = format!("checkpoint the container {}", args.id);
        return Err(refuse(what, format!("Container cannot be checkpointed in {status} state")));
    }
    let wanted = wanted(args)?;
    let afterwards = wanted.afterwards;
    context.report.stage(StageKind::Checkpoint, &args.id, || {
        let criu = Criu::find(&context.criu)?;
        criu::dump::dump(&criu, &stored, wanted)
    })?;
    if afterwards == Afterwards::Ends {
        delete::end(&stored)?;
        delete::remove(&directory, &stored, &context.report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &cli::Checkpoint) -> Outcome<Wanted> {
    let images = image_path(args.criu.image_path.as_deref())?;
    criu::image::make(&images)?;
    let afterwards = match (args.pre_dump, args.leave_running) {
        (true, _) => Afterwards::PreDump,
        (false, true) => Afterwards::GoesOn,
        (false, false) => Afterwards::Ends,
    };
    let status = match args.status_fd {
        Some(fd) if fd >= 0 => Some(sys::file::adopt_fd(fd).attempt(|| format!("use --status-fd {fd}"))?),
        _ => None,
    };
    Ok(Wanted {
        parent: args.parent_path.as_deref().map(|path| parent_path(&images, path)).transpose()?,
        images,
        work: args.criu.work_path.clone(),
        afterwards,
        page_server: args.page_server.as_deref().map(page_server).transpose()?,
        cgroup_mode: criu::cgroup_mode(args.criu.manage_cgroups_mode.as_deref())?,
        empty_namespaces: criu::empty_namespaces(&args.criu.empty_ns)?,
        status,
        flags: flags(&args.criu),
    })
}

/// `--image-path`; without it, `checkpoint` in the working directory, as with runc.
pub(super) fn image_path(path: Option<&Path>) -> Outcome<PathBuf> {
    let path = path.filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("checkpoint"));
    std::path::absolute(path).attempt(|| format!("find --image-path {}", path.display()))
}

/// The flags that are passed on.
pub(super) fn flags(args: &cli::CriuOptions) -> Flags {
    Flags {
        tcp_established: args.tcp_established,
        ext_unix_sk: args.ext_unix_sk,
        shell_job: args.shell_job,
        file_locks: args.file_locks,
        auto_dedup: args.auto_dedup,
        lazy_pages: args.lazy_pages,
    }
}

fn parent_path(images: &Path, path: &Path) -> Outcome<String> {
    let bad = |because: String| {
        let mut failure = refuse("use --parent-path", because);
        failure.hint = "a directory of a pre-dump, relative to --image-path, such as ../pre".into();
        failure
    };
    if path.is_absolute() {
        return Err(bad("--parent-path must be relative".into()));
    }
    if !images.join(path).is_dir() {
        return Err(bad(format!("{} is not a directory", images.join(path).display())));
    }
    Ok(path.to_string_lossy().into_owned())
}

/// `ADDRESS:PORT`, `[ADDRESS]:PORT` for version 6.
fn page_server(text: &str) -> Outcome<(String, u16)> {
    let parse = || {
        let (address, port) = text.rsplit_once(':')?;
        let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!address.is_empty()).then(|| (address.to_owned(), port))
    };
    parse().ok_or_else(|| {
        let mut failure = refuse("use --page-server", format!("{text:?} is not ADDRESS:PORT"));
        failure.hint = "such as 10.0.0.2:27000".into();
        failure
    })
}

/// Whether checkpoints can be made here: for `features --host`.
pub(super) fn availability(criu: &Path) -> Value {
    let found = Criu::find(criu);
    let works = found.as_ref().is_ok_and(|criu| criu.check().unwrap_or(false));
    match found {
        Ok(criu) => json!({ "enabled": works, "criu": criu.name() }),
        Err(failure) => json!({ "enabled": works, "because": failure.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::page_server;

    #[test]
    fn addresses() {
        assert_eq!(page_server("1.2.3.4:27").unwrap(), ("1.2.3.4".into(), 27));
        assert_eq!(page_server("[::1]:27").unwrap(), ("::1".into(), 27));
        for bad in ["", "1.2.3.4", ":27", "x:0", "x:y"] {
            assert!(page_server(bad).is_err(), "{bad}");
        }
    }
}
