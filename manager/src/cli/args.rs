//! The command line as it was typed: flags, help texts, man pages and
//! completions all come from these definitions. Values are parsed by
//! [`super::parse`]; what a command does is in [`super::commands`].

mod audit;
mod interactive;
mod policies;
mod sandbox;
mod stress;

pub use audit::AuditArgs;
pub use interactive::{AttachArgs, AttachedArgs, ExecArgs, StdioArgs};
pub use policies::{Condition, OnUnhealthy, PolicyArgs, WaitArgs};
pub use sandbox::{NsArgs, SandboxArgs, SandboxCommand, SandboxCreateArgs, SandboxLsArgs};
pub use stress::{
    AmountArgs, BesideArgs, CompareArgs, LoadArgs, MixArgs, ResultArgs, SourceArgs, StressArgs,
    StressCommand, TargetArgs, ThresholdArgs,
};

use super::client::{Address, Credentials};
use super::parse::{self, At, CpuMillis, EnvVar, Label, LabelSelector, MemoryBytes, Mode, Volume};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Where `sextantd` listens unless it is told otherwise.
pub const DEFAULT_ADDRESS: &str = "unix:/run/sextant/sextantd.sock";

/// Run containers, each in namespaces of its own
///
/// sextant asks sextantd, the manager, which has to run. Exit codes: 0 done,
/// 1 a request failed, 2 the command line makes no sense; `run`, `exec` and
/// `attach` exit with the code of the process (128 + N after signal N, 124 when
/// the time of an exec was over); `run` and `exec` with 127 when there is no such
/// program, 126 when it cannot be executed, 125 when something else failed.
#[derive(Debug, Parser)]
#[command(name = "sextant", version, propagate_version = true, verbatim_doc_comment)]
pub struct Cli {
    /// Where sextantd listens: unix:PATH, or tcp:HOST:PORT with TLS
    #[arg(long, global = true, env = "SEXTANT_ADDRESS", hide_env_values = true, default_value = DEFAULT_ADDRESS)]
    pub address: Address,
    /// For tcp addresses.
    #[command(flatten)]
    pub credentials: Credentials,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const RUN_USAGE: &str = "sextant run [OPTIONS] --bundle <DIR>
       sextant run [OPTIONS] --rootfs <DIR> -- <COMMAND>...";
const CREATE_USAGE: &str = "sextant create [OPTIONS] --bundle <DIR>
       sextant create [OPTIONS] --rootfs <DIR> -- <COMMAND>...";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create and start a container, show its output, exit with its code
    #[command(override_usage = RUN_USAGE)]
    Run(RunArgs),
    /// Create a container; its process waits for `start`
    #[command(override_usage = CREATE_USAGE)]
    Create(CreateArgs),
    /// Start created containers, and stopped ones anew
    Start(IdsArgs),
    /// Stop containers, and start them anew
    Restart(StopArgs),
    /// Execute one more process in a container that runs, and exit with its code
    Exec(ExecArgs),
    /// Attach to the stdin and output of a container's process, and exit with its code
    Attach(AttachArgs),
    /// Ask containers to end, and kill them after a grace period
    Stop(StopArgs),
    /// Send a signal to containers
    Kill(KillArgs),
    /// Remove containers and everything that was made for them
    Rm(RmArgs),
    /// List containers
    Ps(PsArgs),
    /// Print all that is known of containers as a JSON array
    Inspect(IdsArgs),
    /// Print what a container wrote
    Logs(LogsArgs),
    /// Stop all processes of running containers where they are
    Pause(IdsArgs),
    /// Let paused containers go on
    Resume(IdsArgs),
    /// Change limits of containers that live
    Update(UpdateArgs),
    /// Show what containers use
    Stats(StatsArgs),
    /// Watch all containers in the terminal: sort, filter, and look into each
    Top(TopArgs),
    /// Show the processes of a container
    Processes(OneArgs),
    /// Print what happened, in one order for all containers
    Events(EventsArgs),
    /// Wait until containers have exited and print their exit codes
    Wait(WaitArgs),
    /// Show who shares which namespace with whom; or of one, its namespaces beside the host's
    Ns(NsArgs),
    /// Make, list and remove sandboxes, in which containers share namespaces
    Sandbox(SandboxArgs),
    /// Show where the time of a start-up went
    Trace(TraceArgs),
    /// Show the daemon, its host and its directories
    Info(InfoArgs),
    /// Say what this host can and cannot do for containers, what mends it, and how many fit
    Doctor(DoctorArgs),
    /// Print what the daemon counts and measures, as Prometheus reads it
    Metrics,
    /// Look at all that the daemon has made, and name what is nobody's
    Audit(AuditArgs),
    /// Put load on the daemon, or on another target, and judge what that did to it
    Stress(Box<StressArgs>),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

/// `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// The container
    pub id: String,
    /// As JSON, with times of CLOCK_MONOTONIC in nanoseconds
    #[arg(long, conflicts_with = "chrome")]
    pub json: bool,
    /// As a file for chrome://tracing, Perfetto and the like
    #[arg(long)]
    pub chrome: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Leave it running and print its id
    #[arg(short, long, conflicts_with = "rm")]
    pub detach: bool,
    /// Remove it when it has exited
    #[arg(long, conflicts_with = "restart")]
    pub rm: bool,
    /// How we are attached to it.
    #[command(flatten)]
    pub attached: AttachedArgs,
    /// What to run.
    #[command(flatten)]
    pub create: CreateArgs,
}

/// `create`, and the same part of `run`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Id of the container; one is made up when there is none
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Attach a label
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<Label>,
    /// How its log is kept.
    #[command(flatten)]
    pub log: LogArgs,
    /// OCI bundle: a directory with a config.json
    #[arg(long, value_name = "DIR", required_unless_present = "rootfs", conflicts_with_all = ["rootfs", "rootfs_flags", "command"])]
    pub bundle: Option<PathBuf>,
    /// Root directory for the command behind `--`
    #[arg(long, value_name = "DIR", requires = "command")]
    pub rootfs: Option<PathBuf>,
    /// When it is restarted, and how it is asked whether it is well.
    #[command(flatten)]
    pub policies: PolicyArgs,
    /// What its stdio is; a bundle has to say itself that there is a terminal.
    #[command(flatten)]
    pub stdio: StdioArgs,
    /// Flags that say what the manager writes into the bundle it makes.
    #[command(flatten)]
    pub process: ProcessArgs,
}

/// How the log of a container is kept.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Largest file of its log, from 64K on [default: 16M]
    #[arg(long, value_name = "SIZE", value_parser = parse::memory)]
    pub log_max_size: Option<MemoryBytes>,
    /// Files of its log, 2 to 1000 [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub log_max_files: Option<u32>,
    /// Output a second that is logged, from 1K on; lines above are dropped and counted [default: all]
    #[arg(long, value_name = "SIZE", value_parser = parse::memory)]
    pub log_rate: Option<MemoryBytes>,
}

/// What runs in `--rootfs`, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --rootfs")]
#[group(id = "rootfs_flags", multiple = true)]
pub struct ProcessArgs {
    /// Set an environment variable; without a value, the one it has here
    #[arg(short, long = "env", value_name = "KEY[=VALUE]")]
    pub env: Vec<EnvVar>,
    /// Read environment variables from a file, one KEY=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Host name inside
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Memory limit in bytes, or with one of the suffixes K, M, G, T (powers of 1024)
    #[arg(short, long, value_name = "SIZE", value_parser = parse::memory)]
    pub memory: Option<MemoryBytes>,
    /// CPU limit: 0.5 is half of one CPU
    #[arg(long, value_name = "N", value_parser = parse::cpus)]
    pub cpus: Option<CpuMillis>,
    /// Largest number of processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    pub pids_limit: Option<i64>,
    /// Join a sandbox: the namespaces that it shares, unless said otherwise
    #[arg(long, value_name = "ID")]
    pub sandbox: Option<String>,
    /// Whose network it has: own, sandbox, host, container:ID
    #[arg(long, value_name = "MODE", value_parser = parse::mode)]
    pub network: Option<Mode>,
    /// Whose System V IPC and message queues
    #[arg(long, value_name = "MODE", value_parser = parse::mode)]
    pub ipc: Option<Mode>,
    /// Whose host name
    #[arg(long, value_name = "MODE", value_parser = parse::mode)]
    pub uts: Option<Mode>,
    /// Whose ids and rights: with host, root inside is root of the host
    #[arg(long, value_name = "MODE", value_parser = parse::mode)]
    pub user: Option<Mode>,
    /// Whose processes it sees
    #[arg(long, value_name = "MODE", value_parser = parse::mode)]
    pub pid: Option<Mode>,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Bind a file or directory of the host into the container
    #[arg(short = 'v', long = "volume", value_name = "SRC:DST[:ro]")]
    pub volumes: Vec<Volume>,
    /// Program and arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// One container.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Id of the container
    pub id: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Any number of containers.
#[derive(Debug, Args)]
pub struct IdsArgs {
    /// Ids of containers
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<String>,
}

/// `stop` and `restart`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// How long to wait before SIGKILL; 0 kills at once
    #[arg(short, long = "time", value_name = "SECONDS", value_parser = parse::seconds)]
    pub time: Option<Duration>,
    /// What to send first: a name or a number [default: SIGTERM]
    #[arg(short, long, value_parser = parse::signal)]
    pub signal: Option<i32>,
    /// Which.
    #[command(flatten)]
    pub which: IdsArgs,
}

/// `kill`.
#[derive(Debug, Args)]
pub struct KillArgs {
    /// What to send: a name or a number
    #[arg(short, long, value_parser = parse::signal, default_value = "SIGTERM")]
    pub signal: i32,
    /// Send it to every process of the container
    #[arg(long)]
    pub all: bool,
    /// Which.
    #[command(flatten)]
    pub which: IdsArgs,
}

/// `rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// Kill it first when it runs
    #[arg(short, long)]
    pub force: bool,
    /// Which.
    #[command(flatten)]
    pub which: IdsArgs,
}

/// `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// List all, not only those that run
    #[arg(short, long)]
    pub all: bool,
    /// Only those with a label; without a value, with any. Can be given more than once
    #[arg(short = 'F', long = "filter", value_name = "label=KEY[=VALUE]")]
    pub filters: Vec<LabelSelector>,
    /// Only those whose labels are so: a=b, a!=b, a in (x,y), a notin (x,y), a, !a, with commas between them
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Print ids only
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on until the container has exited
    #[arg(short, long)]
    pub follow: bool,
    /// Begin at this byte offset of the log, as the API gives it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub offset: u64,
    /// Only output from a time on: RFC 3339, or how long ago (90s, 15m, 2h, 7d)
    #[arg(long, value_name = "TIME", value_parser = parse::at)]
    pub since: Option<At>,
    /// Only output before a time
    #[arg(long, value_name = "TIME", value_parser = parse::at)]
    pub until: Option<At>,
    /// Only the last lines, and with --follow what comes after them
    #[arg(short = 'n', long, value_name = "N")]
    pub tail: Option<u64>,
    /// Only what was written to stdout
    #[arg(long, conflicts_with = "stderr")]
    pub stdout: bool,
    /// Only what was written to stderr
    #[arg(long)]
    pub stderr: bool,
    /// Put the time before each line
    #[arg(short, long)]
    pub timestamps: bool,
    /// Id of the container
    pub id: String,
}

/// `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// What to change.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Which.
    #[command(flatten)]
    pub which: IdsArgs,
}

/// Limits that can be changed; one that is not given stays as it is.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct LimitArgs {
    /// Memory in bytes, or with one of the suffixes K, M, G, T (powers of 1024); `none`
    #[arg(short, long, value_name = "SIZE", value_parser = parse::memory_or_none)]
    pub memory: Option<i64>,
    /// Memory and swap together; `none`
    #[arg(long, value_name = "SIZE", value_parser = parse::memory_or_none)]
    pub memory_swap: Option<i64>,
    /// CPUs: 0.5 is half of one; `none`
    #[arg(long, value_name = "N", value_parser = parse::cpus_or_none)]
    pub cpus: Option<i64>,
    /// Share of CPU time when others want it too, 2 to 262144; 1024 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(2..=262_144))]
    pub cpu_shares: Option<i64>,
    /// CPUs to run on, such as 0-2,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Number of processes and threads; `none`
    #[arg(long, value_name = "N", value_parser = parse::count_or_none)]
    pub pids_limit: Option<i64>,
}

/// `stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Of all containers that live [default without an ID]
    #[arg(short, long, conflicts_with = "ids")]
    pub all: bool,
    /// Again and again, until interrupted
    #[arg(short, long)]
    pub stream: bool,
    /// Time between two answers of --stream, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, requires = "stream")]
    pub interval: Option<Duration>,
    /// Print JSON: an array, with --stream one a line
    #[arg(long)]
    pub json: bool,
    /// Ids of containers
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
}

/// `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Time between two figures, in seconds, from 0.1 on
    #[arg(short, long, value_name = "SECONDS", value_parser = parse::seconds, default_value = "1")]
    pub interval: Duration,
    /// Show only some: a part of name, state or command; label=KEY[=VALUE]; or a selector, as `/` in it
    #[arg(short = 'F', long, value_name = "TEXT", default_value = "")]
    pub filter: String,
    /// Print one table, after one interval, and end
    #[arg(long)]
    pub once: bool,
}

/// `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Begin behind the event with this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after: u64,
    /// Go on with later events as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only of this container. Can be given more than once
    #[arg(long = "container", value_name = "ID")]
    pub containers: Vec<String>,
    /// Only of containers whose labels are so, as with `ps`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `doctor`. Exits with 0 where all that is needed is there, and with 1 where something is missing.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Show every check, not only what limits
    #[arg(short, long)]
    pub all: bool,
    /// The view of this process and its user, also where a daemon answers
    #[arg(long)]
    pub local: bool,
    /// Memory that the processes of a container take, for the estimate [default: next to nothing]
    #[arg(short, long, value_name = "SIZE", value_parser = parse::memory)]
    pub memory: Option<MemoryBytes>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::error::ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_needs_exactly_one_source() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        for good in ["sextant run --bundle b", "sextant run -d --rootfs r -m 64M -- sh -c true"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for (bad, kind) in [
            ("sextant run", MissingRequiredArgument),
            ("sextant run --rootfs r", MissingRequiredArgument),
            ("sextant run -- true", MissingRequiredArgument),
            ("sextant run --bundle b --rootfs r -- true", ArgumentConflict),
            ("sextant run --bundle b -- true", ArgumentConflict),
            ("sextant run --bundle b -e A=1", ArgumentConflict),
            ("sextant run --bundle b --read-only", ArgumentConflict),
            ("sextant run --bundle b --sandbox s", ArgumentConflict),
            ("sextant ns --dot --svg", ArgumentConflict),
            ("sextant create --bundle b -v /a:/b", ArgumentConflict),
            ("sextant run -d --rm --bundle b", ArgumentConflict),
            ("sextant run --rm --restart always --bundle b", ArgumentConflict),
            ("sextant run --health-retries 2 --bundle b", MissingRequiredArgument),
        ] {
            assert_eq!(parse(bad).map(|_| ()), Err(kind), "{bad}");
        }
    }

    #[test]
    fn the_address_can_stand_on_either_side_of_the_verb() {
        for line in ["sextant --address unix:/a ps", "sextant ps --address unix:/a"] {
            assert_eq!(parse(line).map(|cli| cli.address.to_string()), Ok("unix:/a".into()), "{line}");
        }
    }

    #[test]
    fn what_follows_the_dashes_is_not_ours() {
        let cli = parse("sextant run --rootfs r -- ls --json -d").unwrap();
        let Command::Run(run) = cli.command else { panic!("not a run") };
        assert_eq!(run.create.process.command, ["ls", "--json", "-d"]);
        assert!(!run.detach);
    }
}
