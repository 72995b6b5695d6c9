//! A run from its first container to its report: prepare, put the load on, clean up, look for leaks.

use super::book::Book;
use super::drive::{Driven, Load, Stop, drive};
use super::faults::{self, noted::Noted, reaction::reactions};
use super::host::Host;
use super::killer::{self, Kill};
use super::leaks::{self, Audited};
use super::progress::{self, Show, Title};
use super::report::{self, FORMAT, Report, VERSION};
use super::sampler::{self, Samples};
use super::scenario::{self, Ground, Options, Scenario};
use super::target::{Facts, Target};
use super::text;
use super::verdict::{self, Thresholds};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a clean-up may take.
const CLEAN_UP: Duration = Duration::from_secs(120);

/// All that is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) scenario: Arc<dyn Scenario>,
    pub(crate) target: Arc<dyn Target>,
    pub(crate) facts: Facts,
    pub(crate) load: Load,
    pub(crate) options: Options,
    pub(crate) thresholds: Thresholds,
    pub(crate) kills: Vec<Kill>,
    pub(crate) faults: Option<faults::Plan>,
    /// Starts the manager again.
    pub(crate) restart: Option<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) show: Show,
}

/// Does it. `stop` asks for the end; `leave` for leaving things as they are.
pub(crate) async fn run(mut plan: Plan, stop: Stop, leave: impl Future<Output = ()>) -> Report {
    let host = Host::here();
    let began_at =
        crate::cli::time::rfc3339(&prost_types::Timestamp { seconds: crate::cli::time::now(), nanos: 0 });
    let book = Arc::new(Book::new());
    let noted = plan.faults.is_some().then(|| Arc::new(Noted::new(plan.target.clone())));
    if let Some(noted) = &noted {
        plan.target = noted.clone();
    }
    let ground = Arc::new(Ground::new(
        plan.target.clone(),
        book.clone(),
        plan.options.clone(),
        stop.clone(),
        plan.id.clone(),
    ));
    let samples = Arc::new(Samples::default());
    let mut report = Report {
        format: FORMAT.into(),
        version: VERSION,
        run: report::Run {
            id: plan.id.clone(),
            scenario: plan.scenario.name(),
            target: plan.facts.kind.into(),
            target_version: plan.facts.version.clone(),
            target_address: plan.facts.address.clone(),
            remarks: plan.facts.remarks.clone(),
            build: env!("CARGO_PKG_VERSION").into(),
            arguments: plan.arguments.clone(),
            seed: plan.options.seed,
            began_at,
            ..report::Run::default()
        },
        host,
        ..Report::default()
    };
    let audit = Audited::begin(plan.target.as_ref(), &plan.facts).await;
    match begin(&mut plan) {
        Ok(()) => load(&plan, &ground, &samples, &mut report).await,
        Err(because) => report.run.failed = Some(because),
    }
    if let (Some(plan), Some(noted)) = (&plan.faults, &noted) {
        match plan.end() {
            Ok(log) => report.faults = reactions(&log, &noted.calls()),
            Err(because) => report.run.failed = Some(because),
        }
    }
    report.again = plan.target.again();
    report.samples = samples.all();
    report.cost = report::cost(&report.samples);
    book.read(|entries| report::fill(&mut report, entries));
    clean(&plan, &audit, &mut report, leave).await;
    report.thresholds = verdict::check(&plan.thresholds, &report);
    report.passed = report.run.failed.is_none() && report.thresholds.iter().all(|checked| checked.passed);
    report
}

/// Puts the faults in force that are to be.
fn begin(plan: &mut Plan) -> Result<(), String> {
    let (Some(faults), Some(file)) = (&mut plan.faults, &plan.facts.fault_plan) else { return Ok(()) };
    faults.begin(file, plan.options.seed)
}

/// Prepares, puts the load on, and finishes.
async fn load(plan: &Plan, ground: &Arc<Ground>, samples: &Arc<Samples>, report: &mut Report) {
    let (quiet, over) = watch::channel(false);
    let mut beside = JoinSet::new();
    let watching = sampler::watch(ground.clone(), samples.clone());
    beside.spawn(watching);
    let title = Title {
        what: format!("{} on {}", plan.scenario.name(), plan.facts.version),
        duration: plan.load.duration,
        count: plan.load.count,
    };
    beside.spawn(progress::go_on(plan.show, title, ground.clone(), samples.clone(), over));
    if let Err(fault) = plan.scenario.prepare(ground).await {
        report.run.failed = Some(format!("prepare {}: {}", plan.scenario.name(), text::fault(&fault)));
    }
    for kill in &plan.kills {
        beside.spawn(killer::go_on(*kill, ground.clone(), samples.clone(), plan.restart.clone()));
    }
    if let (Some(faults), Some(line)) = (&plan.faults, &plan.restart)
        && faults.kills_manager()
    {
        beside.spawn(faults::keep_up(ground.clone(), line.clone()));
    }
    let begun = ground.book.begun.elapsed();
    let mut driven = Driven::default();
    if report.run.failed.is_none() && !*ground.stop.borrow() {
        let unit = |ticket| scenario::task(plan.scenario.clone(), ground.clone(), ticket);
        driven = drive(plan.load.clone(), ground.stop.clone(), unit).await;
    }
    report.run.seconds = (ground.book.begun.elapsed() - begun).as_secs_f64();
    if !*ground.stop.borrow()
        && let Err(fault) = plan.scenario.finish(ground).await
    {
        report.run.failed = Some(format!("finish {}: {}", plan.scenario.name(), text::fault(&fault)));
    }
    sampler::once(ground, samples).await;
    quiet.send_replace(true);
    beside.shutdown().await;
    report.run.units = ground.units.load(Ordering::Relaxed);
    (report.run.begun, report.run.behind) = (driven.begun, driven.behind);
    report.run.interrupted = *ground.stop.borrow();
}

/// Removes all containers and sandboxes of the run.
async fn remove(plan: &Plan) -> Result<(), String> {
    match tokio::time::timeout(CLEAN_UP, plan.target.clean()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(fault)) => Err(format!("clean up: {}", text::fault(&fault))),
        Err(_) => Err(format!("clean up: it takes longer than {} s", CLEAN_UP.as_secs())),
    }
}

/// Removes what is left, and writes down what stays all the same.
async fn clean(plan: &Plan, audit: &Audited, report: &mut Report, leave: impl Future<Output = ()>) {
    let cleaning = async {
        remove(plan).await?;
        let left = leaks::leaks(audit, plan.target.as_ref()).await?;
        if !report.run.interrupted || left.is_empty() {
            return Ok(left);
        }
        // A creation that was given up may have come after the list that was cleaned up by.
        remove(plan).await?;
        leaks::leaks(audit, plan.target.as_ref()).await
    };
    let cleaned = tokio::select! {
        cleaned = cleaning => cleaned,
        () = leave => Err("clean up: interrupted".into()),
    };
    match cleaned {
        Ok(leaks) => report.leaks = leaks,
        Err(because) => {
            report.leaks_unknown = Some(because.clone());
            report.run.failed.get_or_insert(because);
        }
    }
}
