//! `stress`: which load, on whom, how much, and what is good enough.

use super::super::parse;
use crate::cli::parse::MemoryBytes;
use crate::stress::killer::Kill;
use crate::stress::pace::Arrivals;
use crate::stress::verdict::{Longest, Slowest, rate_of};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// `stress`.
#[derive(Debug, Args)]
pub struct StressArgs {
    /// What kind of load.
    #[command(subcommand)]
    pub scenario: StressCommand,
}

/// The scenarios, and the comparison of their reports.
#[derive(Debug, Subcommand)]
pub enum StressCommand {
    /// Create, start, wait for and delete containers
    Churn(LoadArgs),
    /// Make many idle containers, hold them, delete them
    Density(LoadArgs),
    /// Execute processes in containers that stand there
    Exec(LoadArgs),
    /// Containers that write a megabyte each, which is read as it comes
    Logs(LoadArgs),
    /// Attach, write a line, wait for its echo
    Attach(LoadArgs),
    /// List containers and what they use
    List(LoadArgs),
    /// Containers that take all memory and processes, within limits
    Bombs(LoadArgs),
    /// Containers that fork two hundred times
    Forks(LoadArgs),
    /// Containers that are killed as soon as they run
    Kills(LoadArgs),
    /// Sandboxes with several containers
    Sandbox(LoadArgs),
    /// Several of these at once, by the weights in a file
    Mix(MixArgs),
    /// Compare reports: ratios with confidence intervals
    Compare(CompareArgs),
}

/// `stress mix`.
#[derive(Debug, Args)]
pub struct MixArgs {
    /// TOML: a table for each scenario, with its `weight`
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// How much of it.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// How much load, on whom, and what is good enough.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Where containers come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// On whom.
    #[command(flatten)]
    pub target: TargetArgs,
    /// How much.
    #[command(flatten)]
    pub amount: AmountArgs,
    /// What is beside the load.
    #[command(flatten)]
    pub beside: BesideArgs,
    /// What is good enough.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,
    /// What comes of it.
    #[command(flatten)]
    pub results: ResultArgs,
    /// Program and arguments, in place of those of the scenario
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Where containers come from.
#[derive(Debug, Args)]
#[group(id = "stress_source", required = true, multiple = true)]
pub struct SourceArgs {
    /// OCI bundle; variants of it are made with the command and limits of the scenario
    #[arg(long, value_name = "DIR", conflicts_with_all = ["rootfs", "image"])]
    pub bundle: Option<PathBuf>,
    /// Root directory
    #[arg(long, value_name = "DIR", conflicts_with = "image")]
    pub rootfs: Option<PathBuf>,
    /// With --cri: image, which has to be there
    #[arg(long, value_name = "IMAGE", requires = "cri")]
    pub image: Option<String>,
}

/// On whom the load is put.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target [default: sextantd at --address]")]
pub struct TargetArgs {
    /// An OCI runtime without a manager: runc, crun, a path; global flags may follow in the same word
    #[arg(long, value_name = "PROGRAM", conflicts_with = "cri")]
    pub runtime: Option<String>,
    /// A CRI endpoint, such as unix:///run/containerd/containerd.sock
    #[arg(long, value_name = "ADDRESS", requires = "image", conflicts_with_all = ["rootfs", "bundle"])]
    pub cri: Option<String>,
}

/// How much load.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub struct AmountArgs {
    /// Open loop: units begin at this rate, however slow the answers: 50/s, 300/m
    #[arg(long, value_name = "RATE", value_parser = rate_of)]
    pub rate: Option<f64>,
    /// Clients, each with one unit at a time [default: 1 without --rate]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub clients: Option<u16>,
    /// With --rate: most units under way at once [default: 512]
    #[arg(long, value_name = "N", conflicts_with = "clients", requires = "rate", value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: Option<u16>,
    /// Reach the rate within this time, from 0 on
    #[arg(long, value_name = "TIME", requires = "rate", conflicts_with = "steps", value_parser = parse::duration)]
    pub ramp: Option<Duration>,
    /// Reach the rate in so many equal steps, of equal parts of --duration
    #[arg(long, value_name = "N", requires_all = ["rate", "duration"], value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub steps: Option<u32>,
    /// How the arrivals of --rate are spread
    #[arg(long, value_name = "HOW", requires = "rate", default_value = "even")]
    pub arrivals: Arrivals,
    /// How long units begin [default: 10s without --count]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    pub duration: Option<Duration>,
    /// So many units [default of density: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Connections to the manager [default: one a client, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: Option<u16>,
    /// Draws arrivals, weights and victims [default: another one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// density: how long the containers are held
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::duration)]
    pub hold: Duration,
    /// exec, attach, list: containers that stand there
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    pub standing: u16,
    /// sandbox: containers in each
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub containers: u16,
}

/// What is killed meanwhile, and what fails.
#[derive(Debug, Args)]
#[command(next_help_heading = "Faults")]
pub struct BesideArgs {
    /// Kill a shim of the run, or the manager, again and again: shim=5s, manager=20s
    #[arg(long, value_name = "WHO=TIME")]
    pub kill: Vec<Kill>,
    /// With builds that have fault points: PROGRAM:ACTION:POINT[#N][%P/Q], such as shim:die:exit.record%1/50
    #[arg(long, value_name = "ENTRY")]
    pub fault: Vec<String>,
    /// The same, of a file: a plan as docs/reliability.md describes it
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Starts a manager that was killed, by /bin/sh; not needed for a service of systemd
    #[arg(long, value_name = "COMMAND")]
    pub restart_command: Option<String>,
}

/// What is good enough; when something is not, the exit code is 1.
#[derive(Debug, Args)]
#[command(next_help_heading = "Thresholds")]
pub struct ThresholdArgs {
    /// Longest median of an operation: create=50ms
    #[arg(long, value_name = "OP=TIME")]
    pub max_p50: Vec<Longest>,
    /// The same of nine in ten
    #[arg(long, value_name = "OP=TIME")]
    pub max_p90: Vec<Longest>,
    /// The same of 99 in a hundred
    #[arg(long, value_name = "OP=TIME")]
    pub max_p99: Vec<Longest>,
    /// Most errors
    #[arg(long, value_name = "N")]
    pub max_errors: Option<u64>,
    /// Most that may be left behind
    #[arg(long, value_name = "N")]
    pub max_leaks: Option<u64>,
    /// Largest memory (PSS) of a shim, on average while there were most of them
    #[arg(long, value_name = "SIZE", value_parser = parse::memory)]
    pub max_shim_pss: Option<MemoryBytes>,
    /// Least units, or operations, a second: 100/s, exec=50/s
    #[arg(long, value_name = "[OP=]RATE")]
    pub min_rate: Vec<Slowest>,
}

/// What comes of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
pub struct ResultArgs {
    /// Write the report as JSON, for `compare` and others (docs/stress.md)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as one HTML file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Lines in place of the picture, also in a terminal
    #[arg(long)]
    pub plain: bool,
    /// Show nothing meanwhile
    #[arg(short, long)]
    pub quiet: bool,
}

/// `stress compare`.
#[derive(Debug, Args)]
#[command(override_usage = "sextant stress compare [OPTIONS] BASE.json NEW.json [NEW.json…]
       sextant stress compare [OPTIONS] --base FILE… --new FILE…")]
pub struct CompareArgs {
    /// A report of what it was before; several are told apart by how much they differ
    #[arg(long, value_name = "FILE", requires = "new")]
    pub base: Vec<PathBuf>,
    /// A report of what it is now
    #[arg(long, value_name = "FILE", requires = "base")]
    pub new: Vec<PathBuf>,
    /// Reports: the first is what it was before, each other one is compared with it
    #[arg(value_name = "FILE", required_unless_present = "base", conflicts_with_all = ["base", "new"], num_args = 2..)]
    pub files: Vec<PathBuf>,
    /// The first of both sides were taken one after the other, the second too, and so on: how a host drifts is no difference
    #[arg(long, requires = "base")]
    pub paired: bool,
    /// Exit with 1 where the whole interval of a ratio is worse than this
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub max_ratio: Option<f64>,
    /// Share of intervals that hold the true ratio
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = share)]
    pub confidence: f64,
    /// Times that the data are drawn anew
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pub resamples: u32,
    /// Draws them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| (1.0..=1000.0).contains(ratio));
    ratio.ok_or_else(|| format!("{text:?} is not a ratio from 1 on, such as 1.1"))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.5..1.0).contains(share));
    share.ok_or_else(|| format!("{text:?} is not a share from 0.5 to below 1, such as 0.95"))
}
