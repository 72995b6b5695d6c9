//! Drives `sextant-runtime` by its command line, on a `--root` of its own.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::bundle::{Bundle, temp_dir};
use crate::process::{DEADLINE, Ran, json_of, run, until};
use crate::seen::Seen;
use crate::{Leftovers, binary, unique};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The runtime that tests drive: ours, or the one that `SEXTANT_RUNTIME` names.
pub fn binary_under_test() -> PathBuf {
    std::env::var_os(crate::process::OTHER).map_or_else(|| binary("sextant-runtime"), PathBuf::from)
}

/// A runtime with its state in a temporary directory. What it still has when it
/// is dropped is deleted by force.
#[derive(Debug)]
pub struct Runtime {
    dir: TempDir,
    binary: PathBuf,
}

impl Runtime {
    /// One that knows no container.
    pub fn new() -> Self {
        Self { dir: temp_dir(), binary: binary_under_test() }
    }

    /// What the probe sees in a new container of this bundle, which leaves nothing.
    #[track_caller]
    pub fn seen_in(bundle: &Bundle) -> Seen {
        let (runtime, id) = (Self::new(), unique("seen"));
        let seen = runtime.run(bundle, &id).ok().seen();
        runtime.leftovers(&[&id]).assert_none();
        seen
    }

    /// [`Runtime::new`] of another build, if that is there.
    pub fn of(name: &str) -> Option<Self> {
        let binary = crate::binary_if_built(name)?;
        Some(Self { dir: temp_dir(), binary })
    }

    /// runc, which takes the same commands; `None`, and it is said, where it is not installed.
    pub fn runc() -> Option<Self> {
        if Command::new("runc").arg("--version").output().is_err() {
            crate::skip("runc is not installed");
            return None;
        }
        Some(Self { dir: temp_dir(), binary: "runc".into() })
    }

    /// Its `--root`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Its directory, in which the test may put files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The binary with `--root`, to add arguments to.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(self.root());
        command
    }

    /// Runs a command that leaves nothing running, or whose container writes to the same files.
    #[track_caller]
    pub fn call<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        run(self.command().args(args), self.dir.path())
    }

    /// `run` of a bundle.
    #[track_caller]
    pub fn run(&self, bundle: &Bundle, id: &str) -> Ran {
        run(self.command().arg("run").arg("--bundle").arg(bundle.write()).arg(id), bundle.dir())
    }

    /// `create` of a bundle; its output, and later the container's, is in the bundle's directory.
    #[track_caller]
    pub fn create(&self, bundle: &Bundle, id: &str) -> Ran {
        self.create_with(&[], bundle, id)
    }

    /// Likewise, with these global flags.
    #[track_caller]
    pub fn create_with(&self, flags: &[&str], bundle: &Bundle, id: &str) -> Ran {
        let mut command = self.command();
        run(command.args(flags).args(["create", "--bundle"]).arg(bundle.write()).arg(id), bundle.dir())
    }

    /// `create` and `start`; gives the pid of its init.
    #[track_caller]
    pub fn start(&self, bundle: &Bundle, id: &str) -> i32 {
        self.create(bundle, id).ok();
        self.call(["start", id]).ok();
        self.pid(id)
    }

    /// `state`, parsed.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        self.call(["state", id]).ok().json()
    }

    /// The pid of its init.
    #[track_caller]
    pub fn pid(&self, id: &str) -> i32 {
        let state = self.state(id);
        let pid = state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("no pid in {state}"))
    }

    /// Waits until `state` says that it is stopped.
    #[track_caller]
    pub fn wait_stopped(&self, id: &str) {
        let stopped = until(DEADLINE, || self.state(id)["status"] == "stopped");
        assert!(stopped, "{id} did not stop: {}", self.state(id));
    }

    /// Kills and deletes it.
    #[track_caller]
    pub fn delete(&self, id: &str) {
        self.call(["delete", "--force", id]).ok();
    }

    /// Runs with `--report-fd`, and gives the records as JSON with the result.
    #[track_caller]
    pub fn report(&self, args: &[&OsStr], dir: &Path) -> (Ran, Vec<Value>) {
        let path = dir.join("report");
        let file = File::options().create(true).append(true).open(&path).expect("open the report");
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("let the report be inherited");
        let mut command = self.command();
        command.arg("--report-fd").arg(file.as_raw_fd().to_string()).args(args);
        let ran = run(&mut command, dir);
        let text = std::fs::read_to_string(&path).expect("read the report");
        (ran, text.lines().map(json_of).collect())
    }

    /// What must not be left of this runtime and these bundles' containers.
    pub fn leftovers(&self, ids: &[&str]) -> Leftovers {
        Leftovers::of(self.dir.path(), ids).empty_dir(self.root())
    }
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.root()) else { return };
        for id in entries.filter_map(|e| Some(e.ok()?.file_name())) {
            let done = self.command().args(["delete".as_ref(), "--force".as_ref(), id.as_os_str()]).output();
            if let Err(e) = done {
                eprintln!("delete {} at the end of a test: {e}", id.display());
            }
        }
    }
}
