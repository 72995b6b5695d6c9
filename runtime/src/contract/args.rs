//! The command lines of the runtime, for whoever invokes it.

use std::ffi::OsString;
use std::path::PathBuf;

/// What every invocation has in common.
#[derive(Clone, Debug)]
pub struct Common {
    /// `--root`: where the runtime keeps the state of its containers.
    pub root: PathBuf,
    /// `--report-fd`: an inherited descriptor that takes one
    /// [`super::report::Record`] as a line of JSON for each stage.
    pub report_fd: Option<i32>,
}

/// One invocation.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Make the container; its process waits for [`Invocation::Start`].
    /// Stdio of the invocation becomes the container's.
    Create {
        /// The container's id.
        id: String,
        /// The bundle directory.
        bundle: PathBuf,
        /// Where to write the pid of the container's init.
        pid_file: PathBuf,
    },
    /// Let a created container execute its process.
    Start {
        /// The container's id.
        id: String,
    },
    /// Send a signal.
    Kill {
        /// The container's id.
        id: String,
        /// Number of the signal.
        signal: i32,
        /// To every process of the container (`--all`).
        all: bool,
    },
    /// Print the [`super::state::State`] as JSON.
    State {
        /// The container's id.
        id: String,
    },
    /// Remove the container.
    Delete {
        /// The container's id.
        id: String,
        /// Kill it when it runs, and do not mind when there is none (`--force`).
        force: bool,
    },
}

impl Invocation {
    /// The arguments behind the binary's name.
    pub fn to_args(&self, common: &Common) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--root".into(), common.root.clone().into()];
        if let Some(fd) = common.report_fd {
            args.extend(["--report-fd".into(), fd.to_string().into()]);
        }
        match self {
            Self::Create { id, bundle, pid_file } => args.extend([
                "create".into(),
                "--bundle".into(),
                bundle.into(),
                "--pid-file".into(),
                pid_file.into(),
                id.into(),
            ]),
            Self::Start { id } => args.extend(["start".into(), id.into()]),
            Self::Kill { id, signal, all } => {
                args.push("kill".into());
                if *all {
                    args.push("--all".into());
                }
                args.extend([id.into(), signal.to_string().into()]);
            }
            Self::State { id } => args.extend(["state".into(), id.into()]),
            Self::Delete { id, force } => {
                args.push("delete".into());
                if *force {
                    args.push("--force".into());
                }
                args.push(id.into());
            }
        }
        args
    }
}
