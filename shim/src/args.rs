//! The command line: as typed ([`Args`]), then as checked ([`Config`]).

use crate::error::{Attempted, Error, Result};
use crate::log::Settings;
use crate::log::files::Bounds;
use clap::Parser;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Supervises one container: runs the runtime, keeps its journal and its log,
/// and answers sextant.shim.v1 on its socket. Prints `ready` once it listens.
#[derive(Debug, Parser)]
#[command(name = "sextant-shim", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// The container's id
    #[arg(long)]
    id: String,
    /// The container's own directory, mode 0700: journal, log, shim.log, init.pid
    #[arg(long)]
    dir: PathBuf,
    /// The OCI bundle
    #[arg(long)]
    bundle: PathBuf,
    /// The runtime's binary
    #[arg(long, value_name = "PATH")]
    runtime: PathBuf,
    /// Where the runtime keeps its state
    #[arg(long, value_name = "ROOT")]
    runtime_root: PathBuf,
    /// The socket to listen on, in a directory with mode 0700
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Take the container over from a shim that was killed. Stdin may be a socket with a message
    /// that brings descriptors: i for a pidfd of its init, o and e for the pipes of its output
    #[arg(long)]
    adopt: bool,
    /// Largest file of the log, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16 << 20, value_parser = clap::value_parser!(u64).range(64 << 10..))]
    log_size: u64,
    /// Files of the log, the one that is written to included
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=1000))]
    log_files: u16,
    /// Bytes of output a second; lines above are dropped and counted [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1024..))]
    log_rate: Option<u64>,
    /// Soft limit of open files for itself and the container (setrlimit(2)) [default: as it is]
    #[arg(long, value_name = "N")]
    nofile: Option<u64>,
}

/// How a shim comes to its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It creates it.
    New,
    /// It takes it over from a shim that was killed.
    Adopt,
}

/// What the shim works with; every path is absolute.
#[derive(Debug)]
pub(crate) struct Config {
    /// The container's id, a valid one.
    pub(crate) id: String,
    /// The container's directory.
    pub(crate) dir: PathBuf,
    /// The OCI bundle.
    pub(crate) bundle: PathBuf,
    /// The runtime's binary, a file.
    pub(crate) runtime: PathBuf,
    /// Its `--root`.
    pub(crate) runtime_root: PathBuf,
    /// The directory of the socket.
    pub(crate) socket_dir: PathBuf,
    /// The socket's name in it.
    pub(crate) socket_name: String,
    /// Whether there is a container already.
    pub(crate) origin: Origin,
    /// How the log is kept.
    pub(crate) log: Settings,
    /// Soft limit of open files, where it is not to stay as it is.
    pub(crate) nofile: Option<u64>,
}

impl Args {
    /// Checks what was typed.
    ///
    /// # Errors
    /// A bad id, a directory that others can enter, a runtime that is no file.
    pub(crate) fn check(self) -> Result<Config> {
        sextant_runtime::contract::check_id(&self.id).attempted(|| format!("take {:?} for --id", self.id))?;
        let dir = private_dir("--dir", &self.dir)?;
        let socket = absolute(&self.socket)?;
        let refused = |why: &'static str| Error::new(format!("take {} for --socket", socket.display()), why);
        let name =
            socket.file_name().and_then(|n| n.to_str()).ok_or_else(|| refused("it has no file name"))?;
        let parent = socket.parent().ok_or_else(|| refused("it has no directory"))?;
        let runtime = absolute(&self.runtime)?;
        let attempted = || format!("take {} for --runtime", runtime.display());
        if !std::fs::metadata(&runtime).attempted(attempted)?.is_file() {
            return Err(Error::new(attempted(), "it is not a file"));
        }
        Ok(Config {
            dir,
            bundle: absolute(&self.bundle)?,
            runtime_root: absolute(&self.runtime_root)?,
            socket_dir: private_dir("--socket", parent)?,
            socket_name: name.to_owned(),
            runtime,
            log: Settings {
                bounds: Bounds { size: self.log_size, count: usize::from(self.log_files) },
                rate: self.log_rate,
            },
            nofile: self.nofile,
            origin: if self.adopt { Origin::Adopt } else { Origin::New },
            id: self.id,
        })
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).attempted(|| format!("make {} absolute", path.display()))
}

/// A directory that only its owner, this process's user, may enter.
fn private_dir(argument: &str, path: &Path) -> Result<PathBuf> {
    let path = absolute(path)?;
    let attempted = || format!("take {} for the directory of {argument}", path.display());
    let found = std::fs::metadata(&path).attempted(attempted)?;
    if !found.is_dir() {
        return Err(Error::new(attempted(), "it is not a directory"));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(Error::new(attempted(), format!("it belongs to uid {}", found.uid())));
    }
    if found.mode() & 0o077 != 0 {
        let why = format!("its mode is {:04o}", found.mode() & 0o7777);
        return Err(Error::new(attempted(), why).hint("make it 0700: others must not enter it"));
    }
    Ok(path)
}
