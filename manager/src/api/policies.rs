//! Restart policies, health checks and what they say, from and to the wire. What is
//! absent becomes the default here, so that an answer shows what holds.

use super::convert::{duration, exit_from_wire, exit_to_wire, time, time_from_wire};
use crate::engine::error::{Error, Violation};
use crate::model::{
    Health, HealthCheck, HealthState, NewContainer, OnUnhealthy, Probe, RestartPolicy, RestartWhen,
    Restarting, WaitFor,
};
use prost_types::Duration as WireDuration;
use sextant_proto::v1;
use sextant_proto::v1::{health::State, health_check, restart_policy::When, wait_request::Condition};
use std::time::Duration;

/// Interval and timeout of a health check that names none, as Docker has them.
const INTERVAL: Duration = Duration::from_secs(30);
/// Its failures in a row.
const RETRIES: u32 = 3;

/// A request with these policies.
///
/// # Errors
/// [`Error::Refused`] with every duration that is none; what else may be wrong, the engine says.
pub(super) fn with_policies(
    new: NewContainer,
    restart: Option<v1::RestartPolicy>,
    check: Option<v1::HealthCheck>,
) -> Result<NewContainer, Error> {
    let mut durations = Durations(Vec::new());
    let restart = restart.map(|policy| restart_from_wire(policy, &mut durations)).unwrap_or_default();
    let check = check.map(|check| check_from_wire(check, &mut durations));
    match durations.0.is_empty() {
        true => Ok(NewContainer { restart, check, ..new }),
        false => Err(Error::Refused { attempted: "create a container".into(), violations: durations.0 }),
    }
}

/// Reads durations, and keeps what is wrong with them.
struct Durations(Vec<Violation>);

impl Durations {
    fn read(&mut self, field: &str, given: Option<WireDuration>) -> Option<Duration> {
        let given = given?;
        let read = duration(given);
        if read.is_none() {
            let message = "it is negative or too long".into();
            self.0.push(Violation { field: field.into(), message, hint: String::new() });
        }
        read
    }
}

fn restart_from_wire(policy: v1::RestartPolicy, durations: &mut Durations) -> RestartPolicy {
    let when = match policy.when() {
        When::Unspecified | When::Never => RestartWhen::Never,
        When::OnFailure => RestartWhen::OnFailure,
        When::Always => RestartWhen::Always,
        When::UnlessStopped => RestartWhen::UnlessStopped,
    };
    let usual = RestartPolicy::default();
    let mut read = |field: &str, given, usual| durations.read(field, given).unwrap_or(usual);
    RestartPolicy {
        when,
        max_retries: Some(policy.max_retries).filter(|n| *n > 0),
        min_delay: read("restart.min_delay", policy.min_delay, usual.min_delay),
        max_delay: read("restart.max_delay", policy.max_delay, usual.max_delay),
        reset_after: read("restart.reset_after", policy.reset_after, usual.reset_after),
    }
}

fn check_from_wire(check: v1::HealthCheck, durations: &mut Durations) -> HealthCheck {
    let on_unhealthy = match check.on_unhealthy() {
        health_check::OnUnhealthy::Restart => OnUnhealthy::Restart,
        health_check::OnUnhealthy::Nothing | health_check::OnUnhealthy::Unspecified => OnUnhealthy::Nothing,
    };
    let mut read = |field: &str, given| durations.read(field, given);
    HealthCheck {
        command: check.command,
        interval: read("health_check.interval", check.interval).unwrap_or(INTERVAL),
        timeout: read("health_check.timeout", check.timeout).unwrap_or(INTERVAL),
        start_period: read("health_check.start_period", check.start_period).unwrap_or_default(),
        retries: if check.retries == 0 { RETRIES } else { check.retries },
        start_interval: read("health_check.start_interval", check.start_interval),
        on_unhealthy,
    }
}

fn wire(duration: Duration) -> Option<WireDuration> {
    WireDuration::try_from(duration).ok()
}

/// A policy; `None` when it is never restarted.
pub(super) fn restart_to_wire(policy: &RestartPolicy) -> Option<v1::RestartPolicy> {
    let when = match policy.when {
        RestartWhen::Never => return None,
        RestartWhen::OnFailure => When::OnFailure,
        RestartWhen::Always => When::Always,
        RestartWhen::UnlessStopped => When::UnlessStopped,
    };
    Some(v1::RestartPolicy {
        when: when.into(),
        max_retries: policy.max_retries.unwrap_or(0),
        min_delay: wire(policy.min_delay),
        max_delay: wire(policy.max_delay),
        reset_after: wire(policy.reset_after),
    })
}

/// A health check.
pub(super) fn check_to_wire(check: &HealthCheck) -> v1::HealthCheck {
    let on_unhealthy = match check.on_unhealthy {
        OnUnhealthy::Nothing => health_check::OnUnhealthy::Nothing,
        OnUnhealthy::Restart => health_check::OnUnhealthy::Restart,
    };
    v1::HealthCheck {
        command: check.command.clone(),
        interval: wire(check.interval),
        timeout: wire(check.timeout),
        start_period: wire(check.start_period),
        retries: check.retries,
        start_interval: check.start_interval.and_then(wire),
        on_unhealthy: on_unhealthy.into(),
    }
}

/// What a health check says.
pub(super) fn health_to_wire(health: &Health) -> v1::Health {
    let state = match health.state {
        HealthState::Starting => State::Starting,
        HealthState::Healthy => State::Healthy,
        HealthState::Unhealthy => State::Unhealthy,
    };
    let last = health.last.clone().map(probe_to_wire);
    v1::Health { state: state.into(), failures: health.failures, last }
}

/// A run of a health check.
pub(super) fn probe_to_wire(probe: Probe) -> v1::Probe {
    let Probe { at, result, timed_out, output } = probe;
    let (exit, error) = match result {
        Ok(exit) => (Some(exit_to_wire(exit)), String::new()),
        Err(error) => (None, error),
    };
    v1::Probe { at: time(at), exit, timed_out, output, error }
}

/// The same, as an event has it.
pub(super) fn probe_from_wire(probe: v1::Probe) -> Probe {
    let v1::Probe { at, exit, timed_out, output, error } = probe;
    Probe { at: time_from_wire(at), result: exit.map(exit_from_wire).ok_or(error), timed_out, output }
}

/// A restart that is to come, as an event has it: attempt, delay, time.
pub(super) fn restarting_from_wire(event: &v1::Event) -> Option<Restarting> {
    let at = event.next_at.map(|at| time_from_wire(Some(at)))?;
    let delay = event.delay.and_then(duration).unwrap_or_default();
    Some(Restarting { attempt: event.attempt, delay, at })
}

/// An event with a restart that is to come.
pub(super) fn with_restarting(event: v1::Event, restarting: Option<Restarting>) -> v1::Event {
    let Some(Restarting { attempt, delay, at }) = restarting else { return event };
    v1::Event { attempt, delay: wire(delay), next_at: time(at), ..event }
}

/// Which end is waited for.
pub(super) fn wait_for(condition: Condition) -> WaitFor {
    match condition {
        Condition::Unspecified | Condition::Exited => WaitFor::Exit,
        Condition::NextExit => WaitFor::NextExit,
        Condition::Settled => WaitFor::Settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogOptions, Source, Stdio};

    fn new() -> NewContainer {
        NewContainer {
            id: None,
            source: Source::Bundle("/b".into()),
            labels: Default::default(),
            log: LogOptions::default(),
            stdio: Stdio::default(),
            key: None,
            restart: RestartPolicy::default(),
            check: None,
            placement: Default::default(),
        }
    }

    #[test]
    fn what_is_absent_is_the_default_and_an_answer_shows_it() {
        let policy = v1::RestartPolicy { when: When::Always.into(), ..Default::default() };
        let check = v1::HealthCheck { command: vec!["true".into()], ..Default::default() };
        let new = with_policies(new(), Some(policy), Some(check)).unwrap();
        let shown = restart_to_wire(&new.restart).unwrap();
        assert_eq!((shown.when(), shown.min_delay.unwrap().nanos), (When::Always, 100_000_000));
        assert_eq!((shown.max_delay.unwrap().seconds, shown.reset_after.unwrap().seconds), (60, 10));
        let shown = check_to_wire(new.check.as_ref().unwrap());
        assert_eq!((shown.interval.unwrap().seconds, shown.timeout.unwrap().seconds), (30, 30));
        assert_eq!((shown.retries, shown.start_interval), (3, None));
        assert_eq!(restart_to_wire(&RestartPolicy::default()), None);
    }

    #[test]
    fn every_duration_that_is_none_is_told() {
        let negative = Some(WireDuration { seconds: -1, nanos: 0 });
        let policy = v1::RestartPolicy { min_delay: negative, ..Default::default() };
        let check = v1::HealthCheck { timeout: negative, ..Default::default() };
        let Err(Error::Refused { violations, .. }) = with_policies(new(), Some(policy), Some(check)) else {
            panic!("it was taken")
        };
        let fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(fields, ["restart.min_delay", "health_check.timeout"]);
    }
}
