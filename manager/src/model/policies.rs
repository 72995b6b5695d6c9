//! What happens to a container by itself: when it is restarted, and how it is asked
//! whether it is well.

use super::Exit;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// What happens when a container's process has exited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RestartPolicy {
    /// After which exits it is restarted.
    pub when: RestartWhen,
    /// With [`RestartWhen::OnFailure`]: restarts in a row, at most.
    pub max_retries: Option<u32>,
    /// Time before the first restart in a row; doubled for each further one.
    pub min_delay: Duration,
    /// Longest time before a restart.
    pub max_delay: Duration,
    /// A life that has lasted so long ends a row of restarts.
    pub reset_after: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            when: RestartWhen::Never,
            max_retries: None,
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(60),
            reset_after: Duration::from_secs(10),
        }
    }
}

/// After which exits a container is restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// None.
    #[default]
    Never,
    /// Any but code 0; also one of which nobody knows how it was.
    OnFailure,
    /// Any; not after a client has stopped it, until the manager is started again.
    Always,
    /// Any; not after a client has stopped it.
    UnlessStopped,
}

/// A command that tells whether a container does what it is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// argv; code 0 is a success.
    pub command: Vec<String>,
    /// From the end of one probe to the next.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How long failures do not count after a start, until the first success.
    pub start_period: Duration,
    /// Failures in a row that make it unhealthy; at least 1.
    pub retries: u32,
    /// In place of `interval` in the start period, until the first success.
    pub start_interval: Option<Duration>,
    /// What becomes of it when it is unhealthy.
    pub on_unhealthy: OnUnhealthy,
}

/// What becomes of an unhealthy container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnhealthy {
    /// It is told, and that is all.
    #[default]
    Nothing,
    /// Its process is killed, and its restart policy decides.
    Restart,
}

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Not known yet in this life.
    Starting,
    /// It does what it is there for.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// What is known of a container's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How it is.
    pub state: HealthState,
    /// Failures in a row that count.
    pub failures: u32,
    /// The last probe.
    pub last: Option<Probe>,
}

impl Health {
    /// Of a life that has just begun.
    pub const STARTING: Self = Self { state: HealthState::Starting, failures: 0, last: None };
}

/// One run of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When its end was known.
    pub at: SystemTime,
    /// How it ended, or why it could not be executed.
    pub result: Result<Exit, String>,
    /// It was killed because its time was over.
    pub timed_out: bool,
    /// The end of its output, at most 4096 bytes.
    pub output: Vec<u8>,
}

impl Probe {
    /// Whether it says that all is well.
    pub fn is_success(&self) -> bool {
        let code = self.result.as_ref().map(|exit| &exit.how);
        !self.timed_out && code == Ok(&super::Ending::Code(0))
    }
}

/// A restart that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarting {
    /// Which in a row, from 1 on.
    pub attempt: u32,
    /// The time from the exit to it.
    pub delay: Duration,
    /// When it is.
    pub at: SystemTime,
}

/// Which end of a container is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// That of the current life, which may be over.
    Exit,
    /// The next that comes.
    NextExit,
    /// That after which it is not restarted.
    Settled,
}
