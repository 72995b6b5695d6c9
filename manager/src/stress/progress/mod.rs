//! What is shown while the load goes on: in a terminal a picture that is redrawn in place, else a line a
//! second. It goes to standard error, so that standard output is the result alone.

mod dashboard;
mod spark;

use super::drive::{Stop, stopped};
use super::sampler::Samples;
use super::scenario::Ground;
use super::text;
use crate::cli::output::Paint;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Time between two pictures or lines.
const PERIOD: Duration = Duration::from_secs(1);

/// How to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Dashboard(Paint),
    Lines,
    Nothing,
}

impl Show {
    /// A picture in a terminal that can move its cursor, else lines.
    pub(crate) fn detect(quiet: bool, plain: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match (quiet, plain || !terminal || dumb) {
            (true, _) => Self::Nothing,
            (false, true) => Self::Lines,
            (false, false) => Self::Dashboard(Paint::detect(true)),
        }
    }
}

/// What does not change while it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Title {
    pub(crate) what: String,
    /// When the load ends at the latest.
    pub(crate) duration: Option<Duration>,
    /// Units in all.
    pub(crate) count: Option<u64>,
}

/// One look at everything that is shown.
#[derive(Debug)]
pub(crate) struct Now<'a> {
    title: &'a Title,
    ground: &'a Ground,
    samples: &'a Samples,
    /// Units of each second so far.
    rates: &'a [u64],
}

impl Now<'_> {
    fn seconds(&self) -> f64 {
        self.ground.book.begun.elapsed().as_secs_f64()
    }

    fn units(&self) -> u64 {
        self.ground.units.load(Ordering::Relaxed)
    }

    fn errors(&self) -> u64 {
        self.ground.book.read(|entries| entries.faults.values().map(|faults| faults.count).sum())
    }

    /// The line of this second.
    fn line(&self) -> String {
        let slowest = self.ground.book.read(|entries| {
            let slowest = entries.ops.iter().max_by_key(|(_, op)| op.latency.value_at_quantile(0.5));
            slowest.map_or_else(String::new, |(name, op)| {
                let at = |quantile| text::time(op.latency.value_at_quantile(quantile));
                format!("  {name} p50 {} p99 {}", at(0.5), at(0.99))
            })
        });
        let manager = self.samples.last().manager_pss_kib;
        format!(
            "{:5.0} s  {} units  {}/s{slowest}  {} containers  {} errors{}\n",
            self.seconds(),
            self.units(),
            self.rates.last().unwrap_or(&0),
            self.ground.alive.load(Ordering::Relaxed),
            self.errors(),
            manager.map_or_else(String::new, |kib| format!("  manager {}", text::kib(kib))),
        )
    }
}

/// Shows it until the end is asked for, or it is dropped.
pub(crate) async fn go_on(
    show: Show,
    title: Title,
    ground: Arc<Ground>,
    samples: Arc<Samples>,
    mut stop: Stop,
) {
    if show == Show::Nothing {
        return;
    }
    let mut clock = tokio::time::interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock.tick().await;
    let (mut rates, mut before) = (Vec::new(), 0);
    let mut picture = dashboard::Picture::default();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return,
            _ = clock.tick() => {}
        }
        let units = ground.units.load(Ordering::Relaxed);
        rates.push(units - before);
        before = units;
        let now = Now { title: &title, ground: &ground, samples: &samples, rates: &rates };
        let text = match show {
            Show::Dashboard(paint) => picture.redraw(&dashboard::lines(paint, &now)),
            Show::Lines => now.line(),
            Show::Nothing => return,
        };
        // Whoever closes our standard error does not want to see it.
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
    }
}
