//! Health checks: what a probe changes (a rule), and who probes (a task beside the
//! actor, so that a probe or a shim that hangs keeps no command waiting).
//!
//! ```text
//!              success                 success
//!   Starting ──────────▶ Healthy ◀──────────────┐
//!      │                    │  failures,        │
//!      │ failures,          │  as many as       │
//!      │ after the start    ▼  retries          │
//!      └───────────────▶ Unhealthy ─────────────┘
//!         period
//! ```
//!
//! Each life begins with Starting. There are no probes but of a running container.

use super::container::Container;
use crate::model::{Event, EventKind, Health, HealthCheck, HealthState, OnUnhealthy, Phase, Probe, Snapshot};
use crate::shims::client::Client;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};

/// What a probe has found, and of which life.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) life: u32,
    pub(super) probe: Probe,
}

/// What a probe makes of a container's health, and which event tells a change.
pub(super) fn judge(
    health: &Health,
    check: &HealthCheck,
    started_at: Option<SystemTime>,
    probe: Probe,
) -> (Health, Option<EventKind>) {
    let before = health.state;
    let (state, failures) = match probe.is_success() {
        true => (HealthState::Healthy, 0),
        false if before == HealthState::Starting && in_start_period(check, started_at, probe.at) => {
            (before, health.failures)
        }
        false => match health.failures.saturating_add(1) {
            failures if failures >= check.retries => (HealthState::Unhealthy, failures),
            failures => (before, failures),
        },
    };
    let event = match state {
        _ if state == before => None,
        HealthState::Healthy => Some(EventKind::Healthy),
        HealthState::Unhealthy => Some(EventKind::Unhealthy),
        HealthState::Starting => None,
    };
    (Health { state, failures, last: Some(probe) }, event)
}

fn in_start_period(check: &HealthCheck, started_at: Option<SystemTime>, at: SystemTime) -> bool {
    // A clock that was set back makes it longer, and never an error.
    started_at.is_some_and(|start| at.duration_since(start).unwrap_or_default() < check.start_period)
}

/// The time until the next probe.
fn pause(check: &HealthCheck, snapshot: &Snapshot) -> Duration {
    let starting = snapshot.health.as_ref().is_none_or(|h| h.state == HealthState::Starting);
    let early = starting && in_start_period(check, snapshot.started_at, SystemTime::now());
    check.start_interval.filter(|_| early).unwrap_or(check.interval)
}

/// Takes in what a probe has found; whether the container is to be killed because of it.
pub(super) async fn take_in(container: &mut Container, found: Found) -> bool {
    let Found { life, probe } = found;
    let (health, started_at) = {
        let snapshot = container.snapshot.borrow();
        if snapshot.life != life || snapshot.phase != Phase::Running {
            return false;
        }
        (snapshot.health.clone().unwrap_or(Health::STARTING), snapshot.started_at)
    };
    let Some(check) = container.record.check.clone() else { return false };
    let (health, change) = judge(&health, &check, started_at, probe);
    if let Some(kind) = change {
        let event = Event { probe: health.last.clone(), ..container.event(kind, SystemTime::now(), 0) };
        if let Err(error) = container.context.events.append(event).await {
            // It stays as it is, and is told with the next probe.
            tracing::warn!(container = container.id(), error = error.chain(), "cannot tell its health");
            return false;
        }
    }
    let kill = health.state == HealthState::Unhealthy && health.failures > 0;
    container.set(|s| s.health = Some(health));
    kill && check.on_unhealthy == OnUnhealthy::Restart
}

/// Begins with what the last event of this life has said.
pub(super) fn remember(container: &Container, told: &[Event]) {
    let life = container.snapshot.borrow().life;
    let of_health = |e: &&Event| matches!(e.kind, EventKind::Healthy | EventKind::Unhealthy);
    let Some(last) = told.iter().rev().filter(of_health).find(|e| e.life == life) else { return };
    let (state, failures) = match last.kind {
        EventKind::Healthy => (HealthState::Healthy, 0),
        _ => (HealthState::Unhealthy, container.record.check.as_ref().map_or(0, |check| check.retries)),
    };
    container.set(|s| {
        s.health = s.health.take().map(|_| Health { state, failures, last: last.probe.clone() });
    });
}

/// Probes the container while it runs, one probe after the other, until it is removed. What was
/// found while it was paused, or in a life that is over, says nothing and is thrown away.
pub(super) async fn watch(
    shim: Client,
    check: HealthCheck,
    mut snapshots: watch::Receiver<Snapshot>,
    found: mpsc::Sender<Found>,
) {
    loop {
        let (life, pause) = match snapshots.wait_for(|s| s.phase == Phase::Running).await {
            Ok(snapshot) => (snapshot.life, pause(&check, &snapshot)),
            Err(_) => return,
        };
        let elsewhere = |s: &Snapshot| s.phase != Phase::Running || s.life != life;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = snapshots.wait_for(elsewhere) => continue,
        }
        let probe = tokio::select! {
            probe = shim.probe(&check) => probe,
            _ = snapshots.wait_for(elsewhere) => continue,
        };
        match probe {
            Ok(probe) => {
                if found.send(Found { life, probe }).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(error = error.chain(), "a health check says nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ending, Exit, OnUnhealthy};

    fn check(retries: u32, start_period: u64) -> HealthCheck {
        HealthCheck {
            command: vec!["true".into()],
            interval: Duration::from_secs(9),
            timeout: Duration::from_secs(1),
            start_period: Duration::from_secs(start_period),
            retries,
            start_interval: Some(Duration::from_secs(1)),
            on_unhealthy: OnUnhealthy::Nothing,
        }
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn probe(code: i32, second: u64) -> Probe {
        let exit = Exit { how: Ending::Code(code), at: at(second), oom_killed: false };
        Probe { at: at(second), result: Ok(exit), timed_out: false, output: Vec::new() }
    }

    /// State, failures and event after each probe of a life that began at second 0.
    fn story(check: &HealthCheck, probes: Vec<Probe>) -> Vec<(HealthState, u32, Option<EventKind>)> {
        let mut health = Health::STARTING;
        let next = |probe| {
            let (next, event) = judge(&health, check, Some(at(0)), probe);
            health = next;
            (health.state, health.failures, event)
        };
        probes.into_iter().map(next).collect()
    }

    #[test]
    fn so_many_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        use HealthState::{Healthy, Starting, Unhealthy};
        let codes = [1, 0, 0, 1, 0, 1, 2, 3, 0];
        let probes = codes.into_iter().map(|code| probe(code, 1)).collect();
        let expected = [
            (Starting, 1, None),
            (Healthy, 0, Some(EventKind::Healthy)),
            (Healthy, 0, None),
            (Healthy, 1, None),
            (Healthy, 0, None),
            (Healthy, 1, None),
            (Unhealthy, 2, Some(EventKind::Unhealthy)),
            (Unhealthy, 3, None),
            (Healthy, 0, Some(EventKind::Healthy)),
        ];
        assert_eq!(story(&check(2, 0), probes), expected);
    }

    #[test]
    fn failures_do_not_count_in_the_start_period_until_the_first_success() {
        use HealthState::{Healthy, Starting, Unhealthy};
        let patient = check(1, 10);
        let early = story(&patient, vec![probe(1, 1), probe(1, 9), probe(1, 10)]);
        let expected = [(Starting, 0, None), (Starting, 0, None), (Unhealthy, 1, Some(EventKind::Unhealthy))];
        assert_eq!(early, expected);
        let after_success = story(&patient, vec![probe(0, 1), probe(1, 2)]);
        assert_eq!(after_success.iter().map(|s| s.0).collect::<Vec<_>>(), [Healthy, Unhealthy]);
    }

    #[test]
    fn what_timed_out_or_could_not_be_executed_has_failed() {
        let late = Probe { timed_out: true, ..probe(0, 1) };
        let missing = Probe { result: Err("ENOENT".into()), ..probe(0, 1) };
        for probe in [late, missing] {
            assert_eq!(story(&check(1, 0), vec![probe])[0].0, HealthState::Unhealthy);
        }
    }

    #[test]
    fn probes_are_more_frequent_in_the_start_period_only() {
        let record = super::super::record::tests::record("a");
        let now = SystemTime::now();
        let snapshot = |started_at, state| Snapshot {
            started_at: Some(started_at),
            health: Some(Health { state, ..Health::STARTING }),
            ..super::super::container::first_snapshot(&record)
        };
        let check = check(1, 1000);
        let long_ago = now - Duration::from_secs(2000);
        for (started_at, state, seconds) in [
            (now, HealthState::Starting, 1),
            (now, HealthState::Healthy, 9),
            (long_ago, HealthState::Starting, 9),
        ] {
            assert_eq!(pause(&check, &snapshot(started_at, state)).as_secs(), seconds, "{state:?}");
        }
    }
}
