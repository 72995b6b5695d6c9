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

/// Limits for [`Invocation::Update`]. `None` leaves one as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory; 0 is no limit.
    pub memory_bytes: Option<i64>,
    /// Bytes of memory and swap together; 0 is no limit.
    pub memory_swap_bytes: Option<i64>,
    /// Thousandths of a CPU; 0 is no limit.
    pub cpu_millis: Option<i64>,
    /// Share of CPU time under contention, as of cgroup v1: 2 to 262144.
    pub cpu_shares: Option<i64>,
    /// CPUs that may be used, such as `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Number of processes; 0 is no limit.
    pub pids: Option<i64>,
}

/// Microseconds of the period that a limit of CPU time is of.
const CPU_PERIOD: i64 = 100_000;

impl Limits {
    /// These, and what `later` has changed of them.
    #[must_use]
    pub fn then(self, later: &Self) -> Self {
        Self {
            memory_bytes: later.memory_bytes.or(self.memory_bytes),
            memory_swap_bytes: later.memory_swap_bytes.or(self.memory_swap_bytes),
            cpu_millis: later.cpu_millis.or(self.cpu_millis),
            cpu_shares: later.cpu_shares.or(self.cpu_shares),
            cpuset_cpus: later.cpuset_cpus.clone().or(self.cpuset_cpus),
            pids: later.pids.or(self.pids),
        }
    }

    /// The flags of `update`, where -1 is no limit.
    fn to_flags(&self) -> Vec<OsString> {
        let number = |n: i64| if n == 0 { "-1".to_owned() } else { n.to_string() };
        let quota = self.cpu_millis.map(|millis| millis.saturating_mul(CPU_PERIOD / 1000));
        let flags = [
            ("--memory", self.memory_bytes.map(number)),
            ("--memory-swap", self.memory_swap_bytes.map(number)),
            ("--cpu-period", quota.map(|_| CPU_PERIOD.to_string())),
            ("--cpu-quota", quota.map(number)),
            ("--cpu-share", self.cpu_shares.map(|n| n.to_string())),
            ("--cpuset-cpus", self.cpuset_cpus.clone()),
            ("--pids-limit", self.pids.map(number)),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some(format!("{flag}={}", value?).into()));
        given.collect()
    }
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
    /// Stop every process where it is.
    Pause {
        /// The container's id.
        id: String,
    },
    /// Let the processes of a paused container go on.
    Resume {
        /// The container's id.
        id: String,
    },
    /// Change limits: all of them, or none.
    Update {
        /// The container's id.
        id: String,
        /// Which; at least one.
        limits: Limits,
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
    /// Make namespaces without a process, and bind them to files.
    Pin {
        /// The directory of the config that says which.
        bundle: PathBuf,
        /// The directory for the files.
        to: PathBuf,
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
    /// A file with KEY=VALUE, each ended by a zero byte: arguments are seen by everybody.
    pub env_file: Option<PathBuf>,
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
        for (name, file) in [("--console-socket", &self.console_socket), ("--env-file", &self.env_file)] {
            if let Some(file) = file {
                flag(name, file);
            }
        }
        for (name, value) in [("--cgroup", &self.cgroup), ("--cwd", &self.cwd), ("--user", &self.user)] {
            if let Some(value) = value {
                flag(name, value);
            }
        }
        for name in &self.capabilities {
            flag("--cap", name);
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
            Self::Pause { id } => args.extend(["pause".into(), id.into()]),
            Self::Resume { id } => args.extend(["resume".into(), id.into()]),
            Self::Update { id, limits } => {
                args.push("update".into());
                args.extend(limits.to_flags());
                args.push(id.into());
            }
            Self::State { id } => args.extend(["state".into(), id.into()]),
            Self::Delete { id, force } => {
                args.push("delete".into());
                if *force {
                    args.push("--force".into());
                }
                args.push(id.into());
            }
            Self::Pin { bundle, to } => {
                args.extend(["pin".into(), "--bundle".into(), bundle.into(), "--to".into(), to.into()]);
            }
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_that_are_given_become_flags_and_none_is_minus_one() {
        let common = Common { root: "/r".into(), report_fd: None };
        let limits = Limits { memory_bytes: Some(0), cpu_millis: Some(500), ..Limits::default() };
        let args = Invocation::Update { id: "a".into(), limits }.to_args(&common);
        let expected =
            ["--root", "/r", "update", "--memory=-1", "--cpu-period=100000", "--cpu-quota=50000", "a"];
        assert_eq!(args, expected);
    }
}
