//! Restarts and health, as the command line shows them.

use super::{Exit, present, word};
use crate::cli::time::rfc3339;
use prost_types::Duration;
use serde::Serialize;
use sextant_proto::v1::{self, health::State, health_check::OnUnhealthy, restart_policy::When};

/// When a container is restarted; times in seconds.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.RestartPolicy, described there")]
pub struct RestartPolicy {
    pub when: String,
    pub max_retries: Option<u32>,
    pub min_delay: Option<f64>,
    pub max_delay: Option<f64>,
    pub reset_after: Option<f64>,
}

/// How a container is asked whether it is well; times in seconds.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.HealthCheck, described there")]
pub struct HealthCheck {
    pub command: Vec<String>,
    pub interval: Option<f64>,
    pub timeout: Option<f64>,
    pub start_period: Option<f64>,
    pub retries: u32,
    pub start_interval: Option<f64>,
    pub on_unhealthy: String,
}

/// Whether a container is well.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Health, described there")]
pub struct Health {
    pub state: String,
    pub failures: u32,
    pub last: Option<Probe>,
}

/// A run of a health check; what of its output is no text is replaced.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of sextant.v1.Probe, described there")]
pub struct Probe {
    pub at: Option<String>,
    pub exit: Option<Exit>,
    pub timed_out: bool,
    pub output: String,
    pub error: Option<String>,
}

impl Probe {
    /// For a person, in one line: how it ended, and the end of what it wrote.
    pub fn summary(&self) -> String {
        let how = match (&self.exit, &self.error) {
            _ if self.timed_out => "timed out".to_owned(),
            (Some(exit), _) => format!("exit {}", exit.summary()),
            (None, Some(error)) => error.clone(),
            (None, None) => "no result".to_owned(),
        };
        match self.output.trim().lines().last() {
            Some(line) => format!("{how}: {line}"),
            None => how,
        }
    }
}

/// In seconds.
pub(super) fn seconds(duration: Duration) -> f64 {
    std::time::Duration::try_from(duration).unwrap_or_default().as_secs_f64()
}

impl From<v1::RestartPolicy> for RestartPolicy {
    fn from(p: v1::RestartPolicy) -> Self {
        Self {
            when: word(When::try_from(p.when).ok().map(|w| w.as_str_name()), "WHEN_"),
            max_retries: Some(p.max_retries).filter(|n| *n > 0),
            min_delay: p.min_delay.map(seconds),
            max_delay: p.max_delay.map(seconds),
            reset_after: p.reset_after.map(seconds),
        }
    }
}

impl From<v1::HealthCheck> for HealthCheck {
    fn from(c: v1::HealthCheck) -> Self {
        let on_unhealthy = OnUnhealthy::try_from(c.on_unhealthy).ok().map(|o| o.as_str_name());
        Self {
            command: c.command,
            interval: c.interval.map(seconds),
            timeout: c.timeout.map(seconds),
            start_period: c.start_period.map(seconds),
            retries: c.retries,
            start_interval: c.start_interval.map(seconds),
            on_unhealthy: word(on_unhealthy, "ON_UNHEALTHY_"),
        }
    }
}

impl From<v1::Health> for Health {
    fn from(h: v1::Health) -> Self {
        Self {
            state: word(State::try_from(h.state).ok().map(|s| s.as_str_name()), "STATE_"),
            failures: h.failures,
            last: h.last.map(Probe::from),
        }
    }
}

impl From<v1::Probe> for Probe {
    fn from(p: v1::Probe) -> Self {
        Self {
            at: p.at.as_ref().map(rfc3339),
            exit: p.exit.map(Exit::from),
            timed_out: p.timed_out,
            output: String::from_utf8_lossy(&p.output).into_owned(),
            error: present(p.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_in_one_line() {
        let code = |code| Some(v1::Exit { how: Some(v1::exit::How::Code(code)), ..Default::default() });
        for (probe, text) in [
            (v1::Probe { exit: code(1), output: b"one\ntwo\n".into(), ..Default::default() }, "exit 1: two"),
            (v1::Probe { exit: code(0), ..Default::default() }, "exit 0"),
            (v1::Probe { exit: code(0), timed_out: true, ..Default::default() }, "timed out"),
            (v1::Probe { error: "ENOENT".into(), ..Default::default() }, "ENOENT"),
        ] {
            assert_eq!(Probe::from(probe).summary(), text);
        }
    }
}
