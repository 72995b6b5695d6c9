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
        /// The Unix socket that receives the master of the terminal, where the config has one.
        console_socket: Option<PathBuf>,
    },
    /// Execute one more process in the container, and do not wait for it.
    /// Stdio of the invocation becomes the process's, unless it has a terminal.
    Exec(Box<Exec>),
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

/// What [`Invocation::Exec`] executes: the container's own process, changed by this.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The container's id.
    pub id: String,
    /// Where to write the pid of the process.
    pub pid_file: PathBuf,
    /// The Unix socket that receives the master of its terminal; `None`: it has none.
    pub console_socket: Option<PathBuf>,
    /// Rows and columns of the terminal, if others than those of the container's own.
    pub console_size: Option<(u16, u16)>,
    /// Its sub-cgroup, as `--cgroup` takes it.
    pub cgroup: Option<String>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// KEY=VALUE; a later one for a key wins.
    pub env: Vec<String>,
    /// The working directory, if another.
    pub cwd: Option<String>,
    /// `UID[:GID]`, if others.
    pub user: Option<String>,
    /// More groups.
    pub additional_gids: Vec<u32>,
    /// More capabilities.
    pub capabilities: Vec<String>,
}

impl Exec {
    fn push_to(&self, args: &mut Vec<OsString>) {
        let mut flag = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
            args.extend([name.into(), value.as_ref().to_owned()]);
        };
        flag("--pid-file", &self.pid_file);
        if let Some(socket) = &self.console_socket {
            flag("--console-socket", socket);
        }
        for (name, value) in [("--cgroup", &self.cgroup), ("--cwd", &self.cwd), ("--user", &self.user)] {
            if let Some(value) = value {
                flag(name, value);
            }
        }
        for (name, values) in [("--env", &self.env), ("--cap", &self.capabilities)] {
            values.iter().for_each(|value| flag(name, value));
        }
        if let Some((rows, columns)) = self.console_size {
            flag("--console-size", &format!("{rows}x{columns}"));
        }
        for gid in &self.additional_gids {
            flag("--additional-gids", &gid.to_string());
        }
        if self.console_socket.is_some() {
            args.push("--tty".into());
        }
        args.extend(["--detach".into(), self.id.as_str().into()]);
        args.extend(self.args.iter().map(OsString::from));
    }
}

impl Invocation {
    /// The arguments behind the binary's name.
    pub fn to_args(&self, common: &Common) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--root".into(), common.root.clone().into()];
        if let Some(fd) = common.report_fd {
            args.extend(["--report-fd".into(), fd.to_string().into()]);
        }
        match self {
            Self::Create { id, bundle, pid_file, console_socket } => {
                args.extend(["create".into(), "--bundle".into(), bundle.into()]);
                args.extend(["--pid-file".into(), pid_file.into()]);
                if let Some(socket) = console_socket {
                    args.extend(["--console-socket".into(), socket.into()]);
                }
                args.push(id.into());
            }
            Self::Exec(exec) => {
                args.push("exec".into());
                exec.push_to(&mut args);
            }
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
