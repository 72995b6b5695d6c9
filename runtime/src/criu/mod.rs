//! CRIU, which writes the processes of a container into an image and makes
//! processes of it again (checkpoint and restore).
//!
//! It is driven by `criu swrk`, its service on an inherited socket, and not by
//! its command line: the protocol tells when namespaces are ready for hooks and
//! which pid the restored init has, hands a terminal's master over, and takes
//! descriptors; and what is passed has types and needs no quoting.
//!
//! [`session`] speaks the protocol, [`rpc`] has its messages, [`dump`] and
//! [`restore`] decide what is asked for, [`mounts`] which mounts come from the
//! host, [`image`] looks after the directories and reads the log after a failure,
//! [`room`] keeps CRIU's mounts away from the host's.
//!
//! The configuration of a restored container is the bundle's alone (security
//! rule R5): cgroup, limits, device rules, namespaces that are joined, sources
//! of mounts, the LSM profile. Of an image nothing is taken as authority: not
//! its cgroup paths, which are rooted in the container's own cgroup, and not
//! its idea of the host's files, which must be mounts of the bundle to be found.
//! Neither is the annotation `org.criu.config` of a bundle, which would name a
//! file with options of all kinds.

pub(crate) mod dump;
pub(crate) mod image;
mod mounts;
pub(crate) mod restore;
mod room;
pub(crate) mod rpc;
pub(crate) mod session;

use crate::report::{Outcome, refuse};
use rpc::{CgroupMode, Features, Kind, Request, Response};
use session::{Session, Setting};
use std::path::{Path, PathBuf};

/// The configuration file that the administrator may have made for runtimes, as runc names it.
const CONFIG: &str = "/etc/criu/runc.conf";

/// CRIU as it is installed here.
#[derive(Debug)]
pub(crate) struct Criu {
    binary: PathBuf,
    /// Major, minor and sublevel.
    version: (i32, i32, i32),
}

impl Criu {
    /// Finds it, by path or by name in `PATH`, and asks for its version.
    ///
    /// # Errors
    /// Refused when it is not installed, does not answer, or is older than 3.11.
    pub(crate) fn find(name: &Path) -> Outcome<Self> {
        let what = "use CRIU";
        let Some(binary) = locate(name) else {
            let mut failure = refuse(what, format!("{} is not installed", name.display()));
            failure.hint = "install criu, or name it with the global option --criu".into();
            return Err(failure);
        };
        let request = Request { kind: Kind::Version.into(), ..Request::default() };
        let response = ask(&binary, &request)?;
        let Some(version) = response.version else {
            return Err(refuse(what, format!("{} does not tell its version", binary.display())));
        };
        let version = (version.major, version.minor, version.sublevel.unwrap_or(0));
        if version < (3, 11, 0) {
            let mut failure = refuse(what, format!("it has version {}.{}", version.0, version.1));
            failure.hint = "3.11 or later is needed".into();
            return Err(failure);
        }
        Ok(Self { binary, version })
    }

    /// `criu 3.17.1`
    pub(crate) fn name(&self) -> String {
        let (major, minor, sublevel) = self.version;
        format!("criu {major}.{minor}.{sublevel}")
    }

    /// Whether it can work on this kernel, by its own check.
    ///
    /// # Errors
    /// When it ends without an answer.
    pub(crate) fn check(&self) -> Outcome<bool> {
        let request = Request { kind: Kind::Check.into(), ..Request::default() };
        ask(&self.binary, &request).map(|response| response.success)
    }

    /// Refused when this kernel lacks what a flag needs.
    ///
    /// # Errors
    /// Likewise.
    fn require(&self, flag: &str, wanted: Features) -> Outcome<()> {
        let request =
            Request { kind: Kind::FeatureCheck.into(), features: Some(wanted.clone()), ..Request::default() };
        let has = ask(&self.binary, &request)?.features.unwrap_or_default();
        let lacks = |wanted: Option<bool>, has: Option<bool>| wanted == Some(true) && has != Some(true);
        if lacks(wanted.mem_track, has.mem_track) || lacks(wanted.lazy_pages, has.lazy_pages) {
            let because = format!("{} or this kernel lacks what it needs", self.name());
            let mut failure = refuse(format!("use {flag}"), because);
            failure.hint = "`criu check --extra` tells what is missing".into();
            return Err(failure);
        }
        Ok(())
    }
}

/// The file of the binary.
pub(crate) fn locate(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).ok().filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// One question with one answer.
fn ask(binary: &Path, request: &Request) -> Outcome<Response> {
    let session = Session::begin(binary, &Setting::default())?;
    let answer = session.say(request).and_then(|()| session.hear());
    session.end();
    answer.map(|(response, _)| response)
}

/// `--manage-cgroups-mode`
///
/// # Errors
/// Refused for a word that is none.
pub(crate) fn cgroup_mode(word: Option<&str>) -> Outcome<CgroupMode> {
    Ok(match word {
        None | Some("") => CgroupMode::Default,
        Some("soft") => CgroupMode::Soft,
        Some("full") => CgroupMode::Full,
        Some("strict") => CgroupMode::Strict,
        Some("ignore") => CgroupMode::Ignore,
        Some(other) => {
            let mut failure = refuse("use --manage-cgroups-mode", format!("{other:?} is no such mode"));
            failure.hint = "soft, full, strict or ignore".into();
            return Err(failure);
        }
    })
}

/// `--empty-ns`: the runtime does not manage network devices, so the network
/// namespace is always one of them, as with runc.
///
/// # Errors
/// Refused for a kind that cannot be empty.
pub(crate) fn empty_namespaces(kinds: &[String]) -> Outcome<u32> {
    match kinds.iter().find(|kind| kind.as_str() != "network") {
        Some(other) => {
            let mut failure = refuse("use --empty-ns", format!("namespace {other:?} is not supported"));
            failure.hint = "network is the only one".into();
            Err(failure)
        }
        None => Ok(libc::CLONE_NEWNET.cast_unsigned()),
    }
}

/// How packets are held back while connections are dumped: by iptables, or by
/// nftables where there is no iptables-restore(8).
fn network_lock() -> Option<i32> {
    const NFTABLES: i32 = 2;
    locate(Path::new("iptables-restore")).is_none().then_some(NFTABLES)
}

/// The administrator's configuration, if there is one.
fn config_file() -> Option<String> {
    Path::new(CONFIG).is_file().then(|| CONFIG.to_owned())
}
