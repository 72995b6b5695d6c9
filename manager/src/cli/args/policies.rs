//! Flags of `run` and `create` about restarts and health, and of verbs that go with them.

use super::IdsArgs;
use crate::cli::parse::{self, Restart};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// When it is restarted, and how it is asked whether it is well.
#[derive(Debug, Args)]
#[command(next_help_heading = "Restarts and health")]
pub struct PolicyArgs {
    /// When to restart it: no, on-failure[:MAX], always, unless-stopped [default: no]
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<Restart>,
    /// Time before the first restart in a row, doubled for each further one [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "restart")]
    pub restart_min_delay: Option<Duration>,
    /// Longest time before a restart [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "restart")]
    pub restart_max_delay: Option<Duration>,
    /// How long it has to run until its restarts are counted anew [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "restart")]
    pub restart_reset_after: Option<Duration>,
    /// Command that tells whether it is well, for /bin/sh in the container
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Time from the end of one probe to the next [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "health_cmd")]
    pub health_interval: Option<Duration>,
    /// How long a probe may take [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "health_cmd")]
    pub health_timeout: Option<Duration>,
    /// Failures in a row that make it unhealthy [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "health_cmd")]
    pub health_retries: Option<u32>,
    /// How long failures do not count after a start [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "health_cmd")]
    pub health_start_period: Option<Duration>,
    /// Time between probes in the start period [default: that of --health-interval]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, requires = "health_cmd")]
    pub health_start_interval: Option<Duration>,
    /// What becomes of it when it is unhealthy [default: nothing]
    #[arg(long, value_name = "WHAT", requires = "health_cmd")]
    pub on_unhealthy: Option<OnUnhealthy>,
}

/// What becomes of an unhealthy container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnUnhealthy {
    /// It is told.
    Nothing,
    /// It is killed, and --restart decides.
    Restart,
}

/// `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// For which exit to wait
    #[arg(long, value_name = "WHICH", default_value = "exited")]
    pub condition: Condition,
    /// Which.
    #[command(flatten)]
    pub which: IdsArgs,
}

/// Which exit is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Condition {
    /// That of the current life, which may be over
    Exited,
    /// The next one that comes
    NextExit,
    /// The one after which it is not restarted
    Settled,
}
