//! What a restart policy and a health check may say.

use super::{Mistakes, check_command};
use crate::model::{HealthCheck, RestartPolicy, RestartWhen};
use std::time::Duration;

/// Shortest time between two lives or two probes: below, a machine does nothing else.
const LEAST: Duration = Duration::from_millis(10);
/// Longest of all these times.
const MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Checks a restart policy.
pub(super) fn check_restart(policy: &RestartPolicy, mistakes: &mut Mistakes) {
    let counted = policy.when == RestartWhen::OnFailure || policy.max_retries.is_none();
    mistakes.unless(counted, "restart.max_retries", || "only ON_FAILURE has retries to count".into());
    between("restart.min_delay", policy.min_delay, LEAST, mistakes);
    between("restart.max_delay", policy.max_delay, LEAST, mistakes);
    between("restart.reset_after", policy.reset_after, Duration::ZERO, mistakes);
    mistakes.unless(policy.min_delay <= policy.max_delay, "restart.max_delay", || {
        format!("{:?} is below min_delay, {:?}", policy.max_delay, policy.min_delay)
    });
}

/// Checks a health check.
pub(super) fn check_health(check: &HealthCheck, mistakes: &mut Mistakes) {
    check_command("health_check.", &check.command, &[], mistakes);
    mistakes.unless(
        !check.command.first().is_some_and(|c| c.starts_with('-')),
        "health_check.command",
        || "a program whose name begins with - cannot be told from a flag: name it with its directory".into(),
    );
    between("health_check.interval", check.interval, LEAST, mistakes);
    between("health_check.timeout", check.timeout, LEAST, mistakes);
    between("health_check.start_period", check.start_period, Duration::ZERO, mistakes);
    if let Some(interval) = check.start_interval {
        between("health_check.start_interval", interval, LEAST, mistakes);
    }
    mistakes.unless(check.retries > 0, "health_check.retries", || "it is 0".into());
}

fn between(field: &str, time: Duration, least: Duration, mistakes: &mut Mistakes) {
    mistakes.unless((least..=MOST).contains(&time), field, || {
        format!("{time:?} is not between {least:?} and {} days", MOST.as_secs() / (24 * 3600))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OnUnhealthy;

    fn fields(mistakes: Mistakes) -> Vec<String> {
        mistakes.0.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn policies() {
        let mistakes_of = |policy: RestartPolicy| {
            let mut mistakes = Mistakes::default();
            check_restart(&policy, &mut mistakes);
            fields(mistakes)
        };
        assert!(mistakes_of(RestartPolicy::default()).is_empty());
        let counted = RestartPolicy { max_retries: Some(3), ..RestartPolicy::default() };
        assert_eq!(mistakes_of(counted.clone()), ["restart.max_retries"]);
        assert!(mistakes_of(RestartPolicy { when: RestartWhen::OnFailure, ..counted }).is_empty());
        let odd = RestartPolicy {
            min_delay: Duration::ZERO,
            max_delay: Duration::MAX,
            reset_after: Duration::MAX,
            ..RestartPolicy::default()
        };
        assert_eq!(mistakes_of(odd), ["restart.min_delay", "restart.max_delay", "restart.reset_after"]);
        let crossed = RestartPolicy { max_delay: LEAST, ..RestartPolicy::default() };
        assert_eq!(mistakes_of(crossed), ["restart.max_delay"]);
    }

    #[test]
    fn checks() {
        let mistakes_of = |check: HealthCheck| {
            let mut mistakes = Mistakes::default();
            check_health(&check, &mut mistakes);
            fields(mistakes)
        };
        let good = HealthCheck {
            command: vec!["true".into()],
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            start_period: Duration::ZERO,
            retries: 1,
            start_interval: None,
            on_unhealthy: OnUnhealthy::Nothing,
        };
        assert!(mistakes_of(good.clone()).is_empty());
        let bad = HealthCheck {
            command: vec![],
            interval: Duration::ZERO,
            timeout: Duration::ZERO,
            retries: 0,
            start_interval: Some(Duration::ZERO),
            ..good
        };
        assert_eq!(
            mistakes_of(bad),
            [
                "health_check.command",
                "health_check.interval",
                "health_check.timeout",
                "health_check.start_interval",
                "health_check.retries"
            ]
        );
    }
}
