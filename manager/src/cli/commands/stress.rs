//! `stress`: puts load on a target, prints what that did to it, and exits with 1 where that is not good
//! enough.

use crate::cli::args::{AmountArgs, LoadArgs, MixArgs, StressArgs, StressCommand, ThresholdArgs};
use crate::cli::client::{Address, Client, Credentials, connect};
use crate::cli::error::{EXIT_FAILURE, EXIT_SIGNAL_BASE, EXIT_USAGE, Error, Report as Said};
use crate::cli::output::{self, Paint};
use crate::stress::drive::{Load, stopped};
use crate::stress::faults;
use crate::stress::killer::{self, Victim};
use crate::stress::pace::{Pace, Shape};
use crate::stress::progress::Show;
use crate::stress::report::Report;
use crate::stress::run::{self, Plan};
use crate::stress::scenario::{self, Options, Scenario};
use crate::stress::target::again::Killed;
use crate::stress::target::cri::Cri;
use crate::stress::target::daemon::Daemon;
use crate::stress::target::runtime::Runtime;
use crate::stress::target::source::Source;
use crate::stress::target::{Facts, Target};
use crate::stress::text;
use crate::stress::verdict::Thresholds;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Where nothing else is said.
const DURATION: Duration = Duration::from_secs(10);
const CONCURRENCY: u16 = 512;
const CONNECTIONS: u16 = 8;

pub(super) async fn run(
    address: &Address,
    credentials: &Credentials,
    args: StressArgs,
) -> Result<ExitCode, Error> {
    let (name, args, file) = match args.scenario {
        StressCommand::Churn(args) => ("churn", args, None),
        StressCommand::Density(args) => ("density", args, None),
        StressCommand::Exec(args) => ("exec", args, None),
        StressCommand::Logs(args) => ("logs", args, None),
        StressCommand::Attach(args) => ("attach", args, None),
        StressCommand::List(args) => ("list", args, None),
        StressCommand::Bombs(args) => ("bombs", args, None),
        StressCommand::Forks(args) => ("forks", args, None),
        StressCommand::Kills(args) => ("kills", args, None),
        StressCommand::Sandbox(args) => ("sandbox", args, None),
        StressCommand::Mix(MixArgs { file, load }) => ("mix", load, Some(file)),
        StressCommand::Compare(args) => return super::compare::run(&args),
    };
    let seed = args.amount.seed.unwrap_or_else(drawn);
    let scenario = match file {
        Some(file) => Arc::new(mix(&file, seed)?),
        None => scenario::by_name(name).ok_or_else(|| usage(format!("there is no scenario {name}")))?,
    };
    put(address, credentials, scenario, args, seed).await
}

/// Puts the load on, and tells what came of it.
async fn put(
    address: &Address,
    credentials: &Credentials,
    scenario: Arc<dyn Scenario>,
    args: LoadArgs,
    seed: u64,
) -> Result<ExitCode, Error> {
    let id = format!("{:08x}", drawn() & 0xffff_ffff);
    let faults = faults::Plan::read(&args.beside.fault, args.beside.faults.as_deref());
    let faults = faults.map_err(|mistakes| usage(mistakes.join("\n")))?;
    let (target, facts) = target(address, credentials, &args, &id, faults.as_ref()).await?;
    check(scenario.as_ref(), target.as_ref(), &facts, &args, faults.as_ref())?;
    let at_once = at_once(&args.amount);
    let plan = Plan {
        id,
        load: amount(&args.amount, scenario.as_ref(), at_once, seed),
        options: Options {
            hold: args.amount.hold,
            standing: args.amount.standing.into(),
            in_sandbox: args.amount.containers.into(),
            command: args.command,
            at_once: args.amount.clients.unwrap_or(CONNECTIONS).into(),
            faulty: faults.is_some(),
            seed,
        },
        scenario,
        target,
        facts,
        thresholds: thresholds(args.thresholds),
        kills: args.beside.kill,
        faults,
        restart: args.beside.restart_command,
        arguments: std::env::args().skip(1).collect(),
        show: Show::detect(args.results.quiet, args.results.plain),
    };
    let (id, mut caught) = (plan.id.clone(), Caught::new()?);
    let (asks, stop) = watch::channel(false);
    let (leaves, mut patience) = watch::channel(false);
    let signals = tokio::spawn(async move {
        let first = caught.next().await;
        asks.send_replace(true);
        caught.next().await;
        leaves.send_replace(true);
        first
    });
    let leave = async move { stopped(&mut patience).await };
    let report = run::run(plan, stop, leave).await;
    signals.abort();
    tell(&report, &args.results.json, &args.results.html)?;
    if let Some(because) = &report.leaks_unknown {
        let hint = match report.run.target.as_str() {
            "sextantd" => format!("sextant ps -aq -F label=sextant.stress={id} | xargs -r sextant rm -f"),
            _ => format!("what is left has the label or the name of run {id}"),
        };
        return Err(Said::other("stress", because.clone(), hint).into());
    }
    Ok(match (report.run.interrupted, report.passed) {
        (true, _) => ExitCode::from(EXIT_SIGNAL_BASE + 2),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::from(EXIT_FAILURE),
    })
}

/// Writes and prints the report.
fn tell(report: &Report, json: &Option<PathBuf>, html: &Option<PathBuf>) -> Result<(), Error> {
    let paint = Paint::stdout();
    output::print(&text::summary(paint, report))?;
    if let Some(file) = json {
        let text = serde_json::to_string(report).map_err(Error::encode)?;
        std::fs::write(file, text + "\n").map_err(Error::io(format!("write {}", file.display())))?;
    }
    if let Some(file) = html {
        let page = crate::stress::html::document(report);
        std::fs::write(file, page).map_err(Error::io(format!("write {}", file.display())))?;
    }
    output::print(&format!("\n{}", text::verdict(paint, report)))
}

/// SIGINT, SIGTERM and SIGHUP, which ask for the end.
#[derive(Debug)]
struct Caught([tokio::signal::unix::Signal; 3]);

impl Caught {
    fn new() -> Result<Self, Error> {
        let catch = |kind| signal(kind).map_err(Error::io("catch signals"));
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(catch);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// A command line that makes no sense, which clap does not see.
fn usage(because: impl Into<String>) -> Error {
    Error::from(Said::other("stress", because, "")).exits(EXIT_USAGE)
}

fn failed(because: String) -> Error {
    Said::other("stress", because, "").into()
}

/// A number that nobody has chosen.
fn drawn() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(since.as_nanos() % 1_000_000_000_000).unwrap_or(0);
    nanos.wrapping_mul(31) ^ u64::from(std::process::id())
}

fn mix(file: &Path, seed: u64) -> Result<impl Scenario + use<>, Error> {
    let text = std::fs::read_to_string(file).map_err(Error::io(format!("read {}", file.display())))?;
    scenario::parse_mix(&file.display().to_string(), &text, seed)
        .map_err(|mistakes| usage(mistakes.join("\n")))
}

/// The target that `args` name, and what it says of itself.
async fn target(
    address: &Address,
    credentials: &Credentials,
    args: &LoadArgs,
    id: &str,
    faults: Option<&faults::Plan>,
) -> Result<(Arc<dyn Target>, Facts), Error> {
    let source = match (&args.source.bundle, &args.source.rootfs) {
        (Some(bundle), _) => {
            Source::Bundle(std::path::absolute(bundle).map_err(Error::io("find the bundle"))?)
        }
        (None, Some(rootfs)) => Source::Rootfs(rootfs.clone()),
        (None, None) => Source::Rootfs(PathBuf::new()),
    };
    let target: Arc<dyn Target> = match &args.target.runtime {
        Some(line) => Arc::new(Runtime::new(line, id, &source).map_err(failed)?),
        None if args.target.cri.is_some() => {
            let (cri, image) = (args.target.cri.as_deref(), args.source.image.as_deref());
            let target = Cri::connect(cri.unwrap_or_default(), image.unwrap_or_default(), id).await;
            Arc::new(target.map_err(failed)?)
        }
        None => {
            let at_most = args.amount.clients.unwrap_or(CONNECTIONS).min(CONNECTIONS);
            let mut connections: Vec<Client> = Vec::new();
            for _ in 0..args.amount.connections.unwrap_or(at_most) {
                connections.push(connect(address, credentials).await?);
            }
            let is_killed = |victim| args.beside.kill.iter().any(|kill| kill.victim == victim);
            let killed = Killed {
                manager: is_killed(Victim::Manager) || faults.is_some_and(faults::Plan::kills_manager),
                shims: is_killed(Victim::Shim) || faults.is_some_and(faults::Plan::kills_shims),
            };
            let daemon = Daemon::new(connections, address.to_string(), id, &source, killed);
            Arc::new(daemon.map_err(failed)?)
        }
    };
    let facts = target.facts().await.map_err(|fault| failed(text::fault(&fault)))?;
    Ok((target, facts))
}

/// What the target cannot do, or nobody can start again, is said before anything is made.
fn check(
    scenario: &dyn Scenario,
    target: &dyn Target,
    facts: &Facts,
    args: &LoadArgs,
    faults: Option<&faults::Plan>,
) -> Result<(), Error> {
    let source = match (&args.source.bundle, &args.source.rootfs) {
        (Some(bundle), _) => Source::Bundle(bundle.clone()).rootfs().map_err(failed)?,
        (None, Some(rootfs)) => rootfs.clone(),
        (None, None) => PathBuf::new(),
    };
    let mut obstacles = scenario::obstacles(scenario, target, &source, !args.command.is_empty());
    let unminded = |pid| args.beside.restart_command.is_none() && !killer::is_service(pid);
    let nobody =
        "nobody would start it again: it is no service of systemd, and there is no --restart-command";
    for kill in &args.beside.kill {
        match (kill.victim, facts.manager) {
            (Victim::Shim, _) if facts.kind == "runtime" => {
                obstacles.push("--kill shim: a runtime alone has no shims".into());
            }
            (Victim::Manager, None) => obstacles.push("--kill manager: this target has none".into()),
            (Victim::Manager, Some(pid)) if unminded(pid) => {
                obstacles.push(format!("--kill manager: {nobody}"));
            }
            (Victim::Shim | Victim::Manager, _) => {}
        }
    }
    if let Some(plan) = faults {
        if facts.fault_plan.is_none() {
            let how = "make one with `scripts/build --faults`, and start its sextantd-faults";
            obstacles.push(format!("--fault: this target is a build without fault points: {how}"));
        }
        if plan.kills_manager() && facts.manager.is_some_and(unminded) {
            obstacles.push(format!("--fault manager:die: {nobody}"));
        }
    }
    if obstacles.is_empty() { Ok(()) } else { Err(usage(obstacles.join("\n"))) }
}

fn at_once(amount: &AmountArgs) -> usize {
    match (amount.clients, amount.rate) {
        (Some(clients), _) => clients.into(),
        (None, Some(_)) => amount.concurrency.unwrap_or(CONCURRENCY).into(),
        (None, None) => 1,
    }
}

fn amount(amount: &AmountArgs, scenario: &dyn Scenario, at_once: usize, seed: u64) -> Load {
    let count = amount.count.or_else(|| scenario.default_count().filter(|_| amount.duration.is_none()));
    let duration = amount.duration.or(if count.is_none() { Some(DURATION) } else { None });
    let shape = match (amount.ramp, amount.steps, duration) {
        (Some(ramp), _, _) => Shape::Ramp(ramp),
        (None, Some(steps), Some(duration)) => Shape::Steps(steps, duration / steps),
        _ => Shape::Constant,
    };
    let pace = amount.rate.map(|rate| Pace::new(rate, shape, amount.arrivals, seed));
    Load { pace, at_once, count, duration }
}

fn thresholds(args: ThresholdArgs) -> Thresholds {
    Thresholds {
        p50: args.max_p50,
        p90: args.max_p90,
        p99: args.max_p99,
        errors: args.max_errors,
        leaks: args.max_leaks,
        shim_pss: args.max_shim_pss.and_then(|size| u64::try_from(size.0).ok()),
        rates: args.min_rate,
    }
}
