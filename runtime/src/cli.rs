//! The command line: runc's arguments, one definition for parsing, help, man
//! pages and completions. What was typed becomes a [`crate::commands`] call in main.

mod plain;

pub use plain::parse;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Creates and runs containers from OCI bundles.
#[derive(Debug, Parser)]
#[command(
    name = "sextant-runtime",
    disable_version_flag = true,
    arg_required_else_help = true,
    args_override_self = true
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Directory for the states of containers (default: /run/sextant-runtime, or below $XDG_RUNTIME_DIR for a user who is not root of the host)
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// File that takes errors and warnings (default: errors to stderr)
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Form of its lines
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: crate::log::Format,
    /// Descriptor that takes one JSON record a line for every stage of the work
    #[arg(long, value_name = "FD")]
    pub report_fd: Option<i32>,
    /// Log more; without --log, show warnings on stderr, which else belongs to the container
    #[arg(long)]
    pub debug: bool,
    /// Let systemd make cgroups: cgroupsPath is then SLICE:PREFIX:NAME
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// The criu binary for checkpoint and restore, by path or by its name in PATH
    #[arg(long, value_name = "FILE", default_value = "criu")]
    pub criu: PathBuf,
    /// Whether a container may lack the cgroup that the caller cannot make; auto: without limits, for a user who is not root, unless cgroupsPath is set
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub rootless: Rootless,
    /// Print version and runtime-spec version
    #[arg(short, long)]
    pub version: bool,
}

/// Values of `--rootless`, as runc's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    /// It may, whatever the config says.
    True,
    /// It may not.
    False,
    /// It may, for a caller who is not root of the host, where the config names no cgroup.
    Auto,
}

impl From<Rootless> for crate::cgroup::plan::MayLack {
    fn from(mode: Rootless) -> Self {
        match mode {
            Rootless::True => Self::Anybody,
            Rootless::False => Self::Nobody,
            Rootless::Auto => Self::Unprivileged,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container; its process waits for `start`
    Create(Create),
    /// Let the process of a created container run
    Start(Id),
    /// Create a container, run it, and remove it when it has exited
    Run(Run),
    /// Execute a process in a container that has been created
    Exec(Box<Exec>),
    /// Print the state of a container as JSON
    State(Id),
    /// Send a signal (default: SIGTERM) to the container's init
    Kill(Kill),
    /// Remove a container
    Delete(Delete),
    /// Stop all processes of a container where they are
    Pause(Id),
    /// Let the processes of a paused container go on
    Resume(Id),
    /// List the processes of a container
    Ps(Ps),
    /// Change the limits of a container: all that are given, or none
    Update(Box<Update>),
    /// Print what a container uses, and when it runs out of memory, as JSON lines
    Events(Events),
    /// Write a container into an image with CRIU; it ends with that
    Checkpoint(Box<Checkpoint>),
    /// Make a container of an image with CRIU
    Restore(Box<Restore>),
    /// List the containers of this root
    List(List),
    /// Write a default config.json
    Spec(Spec),
    /// Print what this runtime can do, as JSON
    Features(Features),
    /// Print what creating a container from a bundle would do; nothing is changed
    Explain(Explain),
    /// Make namespaces and bind them to files, for containers to join: a pod without a process
    Pin(Pin),
    /// Let go of namespaces that were pinned
    Unpin(Unpin),
}

/// A container's id.
#[derive(Debug, Args)]
pub struct Id {
    /// The container's id
    pub id: String,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct Create {
    /// The container's id
    pub id: String,
    /// The bundle directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Write the pid of the container's init to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives the master of the container's terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the container's init
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Accepted for compatibility: no mount falls back to weaker flags
    #[arg(long)]
    pub no_mount_fallback: bool,
    /// Descriptors from 3 on that the process is given
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Use chroot in place of pivot_root, for a root in an initramfs
    #[arg(long)]
    pub no_pivot: bool,
    /// Let the process keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// What it shares with `create`.
    #[command(flatten)]
    pub create: Create,
    /// Do not wait for the container's exit
    #[arg(short, long)]
    pub detach: bool,
    /// Do not remove the container when it has exited
    #[arg(long)]
    pub keep: bool,
    /// Do not become the reaper of the container's orphans
    #[arg(long)]
    pub no_subreaper: bool,
}

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// The container's id
    pub id: String,
    /// The program and its arguments; none with --process
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub args: Vec<String>,
    /// File with the process as in a config's /process; the flags below it in this list then say nothing
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Do not wait for the process
    #[arg(short, long)]
    pub detach: bool,
    /// Write the pid of the process to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives the master of the process's terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Descriptors from 3 on that the process is given, behind those of $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Sub-cgroup of the container's that the process goes to; with cgroup v1 also CONTROLLER[,CONTROLLER]:PATH, several times
    #[arg(long, value_name = "[CONTROLLERS:]PATH")]
    pub cgroup: Vec<String>,
    /// Execute in a paused container as well: the process begins when it is resumed
    #[arg(long)]
    pub ignore_paused: bool,
    /// Set the process up and let it wait, until it is told over this socket to go on
    #[arg(long, value_name = "FD")]
    pub start_fd: Option<i32>,
    /// What is executed, by flags.
    #[command(flatten)]
    pub flags: ProcessFlags,
}

/// What `exec` changes of the container's own process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process (without --process)")]
pub struct ProcessFlags {
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Size of that terminal, in characters
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = console_size)]
    pub console_size: Option<(u16, u16)>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// One more environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// More of them, from a file: NAME=VALUE, each ended by a zero byte, as in /proc/PID/environ. Unlike arguments, nobody else sees it
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// User and group, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// One more group, by number
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Forbid new privileges
    #[arg(long)]
    pub no_new_privs: bool,
    /// One more capability, in the bounding, effective and permitted sets
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,
}

/// `24x80`.
fn console_size(text: &str) -> Result<(u16, u16), String> {
    let size =
        text.split_once('x').and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
    size.ok_or_else(|| format!("{text:?} is no size such as 24x80"))
}

/// Arguments of `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// The container's id
    pub id: String,
    /// Name or number of the signal
    #[arg(default_value = "SIGTERM")]
    pub signal: String,
    /// To every process of the container
    #[arg(short, long)]
    pub all: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The container's id
    pub id: String,
    /// Kill it if it still runs; an id that does not exist is no error
    #[arg(short, long)]
    pub force: bool,
}

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Columns.
    Table,
    /// One JSON array.
    Json,
}

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Form of the list; json gives the pids alone
    #[arg(short, long, default_value = "table")]
    pub format: ListFormat,
    /// The container's id
    pub id: String,
    /// Options for ps(1), which needs to print a column PID (default: -ef)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS-OPTIONS")]
    pub options: Vec<String>,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// The container's id
    pub id: String,
    /// Time between two statistics, such as 500ms or 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::commands::quantity::duration)]
    pub interval: std::time::Duration,
    /// Print the statistics once
    #[arg(long)]
    pub stats: bool,
}

/// Arguments of `update`.
#[derive(Debug, Args)]
pub struct Update {
    /// The container's id
    pub id: String,
    /// File with the resources as in a config's /linux/resources, or '-' for stdin; other limits are ignored beside it
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// The limits.
    #[command(flatten)]
    pub limits: Limits,
    /// Schema of the L3 cache (Intel RDT/CAT)
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Schema of the memory bandwidth (Intel RDT/MBA)
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// Accepted for compatibility
    #[arg(long, value_name = "BYTES", hide = true, allow_hyphen_values = true)]
    pub kernel_memory: Option<String>,
    /// Accepted for compatibility
    #[arg(long, value_name = "BYTES", hide = true, allow_hyphen_values = true)]
    pub kernel_memory_tcp: Option<String>,
}

/// The limits that `update` takes as flags; an empty value is one that is not given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Weight of block I/O, from 10 to 1000
    #[arg(long, value_name = "WEIGHT", allow_hyphen_values = true)]
    blkio_weight: Option<String>,
    /// Period of the CPU bandwidth, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_period: Option<String>,
    /// CPU time in a period, in microseconds; -1 is no limit
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_quota: Option<String>,
    /// CPU time that may be saved up for later periods, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_burst: Option<String>,
    /// Real-time period, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_rt_period: Option<String>,
    /// Real-time runtime in a period, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<String>,
    /// CPU shares beside other containers
    #[arg(long, value_name = "SHARES", allow_hyphen_values = true)]
    cpu_share: Option<String>,
    /// 1: run only when nobody else wants the CPU; 0: as usual
    #[arg(long, value_name = "0|1", allow_hyphen_values = true)]
    cpu_idle: Option<String>,
    /// CPUs to use, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory limit in bytes, such as 64M; -1 is no limit
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Memory reservation (soft limit) in bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<String>,
    /// Limit of memory and swap together in bytes; -1 is no limit of swap
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Most processes in the container; -1 is no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<String>,
}

impl Limits {
    /// What was typed for a flag.
    pub fn get(&self, flag: &str) -> Option<&str> {
        let value = match flag {
            "--blkio-weight" => &self.blkio_weight,
            "--cpu-period" => &self.cpu_period,
            "--cpu-quota" => &self.cpu_quota,
            "--cpu-burst" => &self.cpu_burst,
            "--cpu-rt-period" => &self.cpu_rt_period,
            "--cpu-rt-runtime" => &self.cpu_rt_runtime,
            "--cpu-share" => &self.cpu_share,
            "--cpu-idle" => &self.cpu_idle,
            "--cpuset-cpus" => &self.cpuset_cpus,
            "--cpuset-mems" => &self.cpuset_mems,
            "--memory" => &self.memory,
            "--memory-reservation" => &self.memory_reservation,
            "--memory-swap" => &self.memory_swap,
            "--pids-limit" => &self.pids_limit,
            _ => return None,
        };
        value.as_deref().filter(|text| !text.is_empty())
    }
}

/// What `checkpoint` and `restore` have in common.
#[derive(Debug, Args)]
pub struct CriuOptions {
    /// Directory of the images (default: ./checkpoint)
    #[arg(long, value_name = "DIR")]
    pub image_path: Option<PathBuf>,
    /// Directory of CRIU's log (default: that of the images)
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// Allow established TCP connections
    #[arg(long)]
    pub tcp_established: bool,
    /// Allow unix sockets whose other end is outside
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// Allow a session and a terminal that began outside
    #[arg(long)]
    pub shell_job: bool,
    /// Handle file locks
    #[arg(long)]
    pub file_locks: bool,
    /// What CRIU does with cgroups: soft, full, strict or ignore (default: soft)
    #[arg(long, value_name = "MODE")]
    pub manage_cgroups_mode: Option<String>,
    /// A namespace whose properties are not kept: network, which never are
    #[arg(long, value_name = "KIND")]
    pub empty_ns: Vec<String>,
    /// Keep each page of memory in one image only
    #[arg(long)]
    pub auto_dedup: bool,
    /// Fetch memory when it is first used, by userfaultfd(2)
    #[arg(long)]
    pub lazy_pages: bool,
}

/// Arguments of `checkpoint`.
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// The container's id
    pub id: String,
    /// What it shares with `restore`.
    #[command(flatten)]
    pub criu: CriuOptions,
    /// Images of an earlier --pre-dump, relative to --image-path
    #[arg(long, value_name = "DIR")]
    pub parent_path: Option<PathBuf>,
    /// Let the container go on
    #[arg(long)]
    pub leave_running: bool,
    /// Write its memory only and let it go on, to make the dump that follows shorter
    #[arg(long)]
    pub pre_dump: bool,
    /// Server that takes the pages
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub page_server: Option<String>,
    /// Descriptor that takes a zero byte when lazy pages can be fetched
    #[arg(long, value_name = "FD", allow_hyphen_values = true)]
    pub status_fd: Option<i32>,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The container's id
    pub id: String,
    /// The bundle directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// What it shares with `checkpoint`.
    #[command(flatten)]
    pub criu: CriuOptions,
    /// Do not wait for the container's exit
    #[arg(short, long)]
    pub detach: bool,
    /// Write the pid of the container's init to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives the master of the container's terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Do not become the reaper of the container's orphans
    #[arg(long)]
    pub no_subreaper: bool,
    /// Accepted for compatibility: CRIU makes the root `/`
    #[arg(long)]
    pub no_pivot: bool,
    /// LSM profile in place of the bundle's, as TYPE:NAME
    #[arg(long, value_name = "TYPE:NAME")]
    pub lsm_profile: Option<String>,
    /// SELinux context of mounts that have one
    #[arg(long, value_name = "CONTEXT")]
    pub lsm_mount_context: Option<String>,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Form of the list
    #[arg(short, long, default_value = "table")]
    pub format: ListFormat,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `spec`.
#[derive(Debug, Args)]
pub struct Spec {
    /// The bundle directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// For a user who is not root
    #[arg(long)]
    pub rootless: bool,
}

/// Arguments of `features`.
#[derive(Debug, Args)]
pub struct Features {
    /// Add what this kernel, machine and caller have of it
    #[arg(long)]
    pub host: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The bundle directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// The id that the container would have
    #[arg(default_value = "example")]
    pub id: String,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pin`.
#[derive(Debug, Args)]
pub struct Pin {
    /// The directory of the config.json: namespaces (user, network, uts, ipc), id maps, names, sysctls and network devices count
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// The directory that gets a file for each namespace, named as in /proc/PID/ns
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Arguments of `unpin`.
#[derive(Debug, Args)]
pub struct Unpin {
    /// The directory with the files
    pub from: PathBuf,
}
