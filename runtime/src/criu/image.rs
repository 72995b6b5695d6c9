//! The directories of images and logs; and what a log says after a failure.

use super::Criu;
use crate::contract::report::Failure;
use crate::report::{Attempt, Outcome, refuse};
use crate::sys;
use nix::fcntl::OFlag;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file with the container's stdio, as runc names it.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

/// Largest file of it, and of a log's end that is looked at.
const LIMIT: u64 = 1 << 20;

/// The directories of one operation, open.
#[derive(Debug)]
pub(crate) struct Directories {
    /// Of the images.
    pub(crate) images: OwnedFd,
    /// Of the log, where it is another one.
    pub(crate) work: Option<OwnedFd>,
    path: PathBuf,
    log: PathBuf,
}

impl Directories {
    /// Opens them; with `make` they are made, with their parents, for the user alone.
    ///
    /// # Errors
    /// As mkdir(2) and open(2).
    pub(crate) fn open(images: &Path, work: Option<&Path>, log: &str, make: Make) -> Outcome<Self> {
        let work = work.filter(|path| !path.as_os_str().is_empty());
        let opened = open(images, "--image-path", make)?;
        let work_fd = work.map(|path| open(path, "--work-path", Make::Missing)).transpose()?;
        Ok(Self { images: opened, work: work_fd, path: images.into(), log: work.unwrap_or(images).join(log) })
    }

    /// A file in the image directory.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Explains a failure of CRIU's by its log.
    pub(crate) fn explain(&self, criu: &Criu, attempted: &str, message: Option<&str>) -> Box<Failure> {
        let log = tail(&self.log);
        let errors = errors(&log);
        let said =
            if errors.is_empty() { message.unwrap_or("it says nothing").into() } else { errors.join("; ") };
        let mut failure = refuse(attempted, format!("{} failed: {said}", criu.name()));
        failure.object = self.log.display().to_string();
        failure.hint =
            hint(&said).map_or_else(|| format!("the whole log: {}", failure.object), str::to_owned);
        failure
    }
}

/// Whether a directory that is missing is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    /// It is.
    Missing,
    /// It must be there.
    Nothing,
}

fn open(path: &Path, flag: &str, make: Make) -> Outcome<OwnedFd> {
    let what = || format!("open {flag} {}", path.display());
    if make == Make::Missing {
        self::make(path)?;
    }
    sys::file::open_host(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).attempt(what)
}

/// Makes a directory with its parents, for the user alone.
///
/// # Errors
/// As mkdir(2).
pub(crate) fn make(path: &Path) -> Outcome<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.attempt(|| format!("make the directory {}", path.display()))
}

/// The end of a log.
fn tail(path: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LIMIT)))?;
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The first errors of a log. That a helper has failed is said by what needed it.
fn errors(log: &str) -> Vec<&str> {
    let is_telling = |line: &&str| line.contains("Error") && !line.contains("exited, status=");
    let mut errors: Vec<&str> = log.lines().filter(is_telling).map(bare).collect();
    errors.dedup();
    errors.truncate(4);
    errors
}

/// A line without its time stamp.
fn bare(line: &str) -> &str {
    line.find("Error").and_then(|at| line.get(at..)).unwrap_or(line).trim()
}

/// What to do about known failures.
fn hint(said: &str) -> Option<&'static str> {
    let known = [
        (
            "vdso",
            "this criu cannot read the vDSO of this kernel: use a newer criu (4.1 knows Linux 6.15), or an older kernel",
        ),
        ("iptables-restore", "install iptables, with which criu holds packets back meanwhile"),
        ("nftables", "the kernel needs nf_tables (modprobe nf_tables), or install iptables"),
        (
            "_diag",
            "load the kernel's diag modules: modprobe -a unix_diag inet_diag netlink_diag af_packet_diag",
        ),
        ("No mapping for", "the bundle lacks a bind mount that the container had when it was dumped"),
        ("execvp(\"tar\"", "install tar, with which criu keeps the files of a tmpfs"),
        ("Connected TCP socket", "give --tcp-established for containers with connections"),
        ("--shell-job", "give --shell-job for a container whose session began outside"),
        ("file lock", "give --file-locks for containers that hold locks"),
        ("External socket", "give --ext-unix-sk for sockets whose other end is outside"),
    ];
    known.iter().find(|(word, _)| said.contains(word)).map(|(_, hint)| *hint)
}

/// What the container's stdio was, as [`super::dump`] wrote it: at most three
/// names of pipes or external files. Another name is none that may be inherited.
///
/// # Errors
/// As open(2); refused when the file has no such form.
pub(super) fn stdio(directories: &Directories) -> Outcome<Vec<String>> {
    use std::io::Read;
    let path = directories.file(DESCRIPTORS);
    let what = || format!("read {}", path.display());
    let mut text = String::new();
    std::fs::File::open(&path).attempt(what)?.take(LIMIT).read_to_string(&mut text).attempt(what)?;
    let names: Vec<String> = serde_json::from_str(&text).map_err(|e| refuse(what(), e.to_string()))?;
    Ok(names.into_iter().take(3).collect())
}

/// Whether CRIU asks for such a descriptor by this name.
pub(super) fn is_inherited(name: &str) -> bool {
    ["pipe:[", "file["].iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_explained_by_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = "(00.1) vdso: fine\n(00.1) Error (criu/util.c:642): exited, status=1\n(00.2) Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n";
        std::fs::write(dir.path().join("dump.log"), log).unwrap();
        let directories = Directories::open(dir.path(), None, "dump.log", Make::Nothing).unwrap();
        let criu = Criu { binary: "/criu".into(), version: (3, 17, 1) };
        let text = directories.explain(&criu, "checkpoint x", None).to_string();
        for word in ["checkpoint x", "criu 3.17.1", "Unexpected rt vDSO", "newer criu"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(!text.contains("00.2") && !text.contains("exited"), "{text}");
    }

    #[test]
    fn only_pipes_and_external_files_are_inherited() {
        assert!(is_inherited("pipe:[123]") && is_inherited("file[1:2]"));
        assert!(!is_inherited("/etc/shadow") && !is_inherited(""));
    }
}
