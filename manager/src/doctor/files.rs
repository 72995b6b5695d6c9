//! The daemon's directories and the programs that it executes.

use super::check::{Check, Level, Subject};
use super::host::Host;
use super::mounts::{self, Mount};
use super::who::Who;
use nix::sys::statvfs::statvfs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the daemon has what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Setting `root`.
    pub root: PathBuf,
    /// Setting `state`.
    pub state: PathBuf,
    /// Setting `runtime`.
    pub runtime: PathBuf,
    /// Setting `shim`.
    pub shim: PathBuf,
}

/// A directory, and the file system that it is on or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The directory.
    pub path: PathBuf,
    /// It is there already.
    pub exists: bool,
    /// It, or what it would be made in, can be written to.
    pub writable: bool,
    /// Type of the file system.
    pub filesystem: String,
    /// Bytes that can be written.
    pub bytes: u64,
    /// Files that can be made; `u64::MAX` where they are not counted.
    pub files: u64,
}

/// What is known of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Of the root directory.
    pub root: Volume,
    /// Of the state directory.
    pub state: Volume,
    /// The runtime, and the version that it says; `None` where it is not there or cannot be executed.
    pub runtime: (PathBuf, Option<String>),
    /// The shim likewise.
    pub shim: (PathBuf, Option<String>),
    /// Where criu(8) is.
    pub criu: Option<PathBuf>,
}

impl Facts {
    /// Of these places. Executes runtime and shim for their versions.
    pub fn gather(host: &Host, places: &Places) -> Self {
        let mounts = mounts::all(host);
        Self {
            root: volume(&mounts, &places.root),
            state: volume(&mounts, &places.state),
            runtime: (places.runtime.clone(), version(&places.runtime)),
            shim: (places.shim.clone(), version(&places.shim)),
            criu: host.program("criu"),
        }
    }
}

fn volume(mounts: &[Mount], path: &Path) -> Volume {
    let there = path.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    let real = there.canonicalize().unwrap_or_else(|_| there.to_path_buf());
    let stat = statvfs(&real).ok();
    let left = |files: u64, all: u64| if all == 0 { u64::MAX } else { files };
    Volume {
        path: path.to_path_buf(),
        exists: there == path,
        writable: Host::here().writable(&real),
        filesystem: mounts::of(mounts, &real)
            .map_or_else(|| "unknown".to_owned(), |mount| mount.kind.clone()),
        bytes: stat.map_or(0, |s| s.blocks_available().saturating_mul(s.fragment_size())),
        files: stat.map_or(0, |s| left(s.files_available(), s.files())),
    }
}

/// The last word of the first line of `--version`.
fn version(program: &Path) -> Option<String> {
    let output =
        Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next()?.split(' ').next_back().map(str::to_owned)
}

/// Checks of all that is known; `own` is the version of this program.
pub fn judge(facts: &Facts, who: &Who, own: &str) -> Vec<Check> {
    let criu =
        Check::ok(Subject::Files, "criu", "not installed", "/usr/bin, /bin, /usr/local/bin, /usr/sbin")
            .by("criu(8)");
    vec![
        directory("root", &facts.root, who),
        directory("state", &facts.state, who),
        program("sextant-runtime", &facts.runtime, own),
        program("sextant-shim", &facts.shim, own),
        match &facts.criu {
            Some(path) => Check { found: path.display().to_string(), ..criu },
            None => criu.but(Level::Note, "checkpoint and restore are refused.").mend("apt-get install criu"),
        },
    ]
}

fn directory(name: &str, volume: &Volume, who: &Who) -> Check {
    let free = crate::cli::usage::bytes(volume.bytes);
    let path = volume.path.display();
    let there = if volume.exists { "" } else { ", to be made" };
    let check = Check::ok(
        Subject::Files,
        format!("{name} directory"),
        format!("{path} on {}{there}, {free} free", volume.filesystem),
        "statvfs(3), /proc/self/mountinfo",
    );
    match (volume.writable, who.privileged()) {
        (true, _) => check,
        (false, true) => check
            .but(Level::Missing, "It cannot be written to: the daemon cannot start, or records nothing.")
            .mend(format!("mount -o remount,rw $(findmnt -no TARGET --target {path})")),
        // For a user that is told once, by the privileges.
        (false, false) => {
            check.but(Level::Note, "This user cannot write there; the daemon's directory is root's.")
        }
    }
}

fn program(name: &str, (path, version): &(PathBuf, Option<String>), own: &str) -> Check {
    let at = path.display();
    let check = |found: String| Check::ok(Subject::Files, name.to_owned(), found, "--version");
    match version {
        Some(version) if version == own => check(format!("{at}, {version}")),
        Some(version) => check(format!("{at}, {version}; this is {own}"))
            .but(Level::Limited, "Programs of different versions may not understand each other.")
            .mend("scripts/build && scripts/install --prefix /usr/local"),
        None => check(format!("{at}: cannot be executed"))
            .but(Level::Missing, "No container can be made.")
            .mend("scripts/build && scripts/install --prefix /usr/local"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::who::tests::{root, user};
    use super::*;

    fn volume_of(path: &str, filesystem: &str, bytes: u64) -> Volume {
        Volume {
            path: path.into(),
            exists: true,
            writable: true,
            filesystem: filesystem.into(),
            bytes,
            files: 1 << 20,
        }
    }

    /// Everything in place.
    pub(in crate::doctor) fn installed() -> Facts {
        let program = |name: &str| (Path::new("/usr/local/bin").join(name), Some("1.0".to_owned()));
        Facts {
            root: volume_of("/var/lib/sextant", "ext4", 100 << 30),
            state: volume_of("/run/sextant", "tmpfs", 1 << 30),
            runtime: program("sextant-runtime"),
            shim: program("sextant-shim"),
            criu: Some("/usr/sbin/criu".into()),
        }
    }

    #[test]
    fn programs_and_directories() {
        let bad = |facts: &Facts, who: &Who| -> Vec<(String, Level)> {
            let checks = judge(facts, who, "1.0").into_iter().filter(|check| check.level != Level::Ok);
            checks.map(|check| (check.name, check.level)).collect()
        };
        assert!(bad(&installed(), &root()).is_empty());
        let mut facts = installed();
        facts.shim.1 = Some("0.9".into());
        facts.runtime.1 = None;
        facts.criu = None;
        facts.state.writable = false;
        let names = [
            ("state directory", Level::Missing),
            ("sextant-runtime", Level::Missing),
            ("sextant-shim", Level::Limited),
            ("criu", Level::Note),
        ];
        assert_eq!(bad(&facts, &root()), names.map(|(name, level)| (name.to_owned(), level)));
        assert_eq!(bad(&facts, &user())[0].1, Level::Note);
    }

    #[test]
    fn a_directory_that_is_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = mounts::all(&Host::here());
        let volume = volume(&mounts, &dir.path().join("a/b"));
        assert!(
            !volume.exists && volume.writable && volume.bytes > 0 && volume.filesystem != "unknown",
            "{volume:?}"
        );
        assert_eq!(version(Path::new("/nowhere")), None);
    }
}
