//! When a container lives again: the rule of its restart policy, and what of it has
//! to survive the manager. Pure; who acts on it is [`super::lives`].

use crate::model::{Ending, Exit, RestartPolicy, RestartWhen};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// Where a container is in a row of restarts; a part of its record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Course {
    /// Restarts by the policy in a row, with the one that is to come.
    pub row: u32,
    /// Restarts by the policy since a client has started it, with the one that is to come.
    pub count: u32,
    /// The next life. Done with as soon as the journal has a life of its number that was started.
    pub next: Option<Next>,
}

/// A life that is to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Next {
    /// Its number.
    pub life: u32,
    /// When.
    pub at: SystemTime,
    /// Who wants it.
    pub cause: Cause,
}

/// Who wants a life to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The restart policy.
    Policy,
    /// A client, for a container that is stopped.
    Start,
    /// A client, once this signal and, after this time, SIGKILL have ended the life before.
    Restart(i32, Duration),
}

/// How a life ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    /// Its exit; `None` when it could not even begin.
    pub(super) exit: Option<&'a Exit>,
    /// When its process was executed, if it was.
    pub(super) started_at: Option<SystemTime>,
    /// A client has stopped the container.
    pub(super) halted: bool,
}

impl Course {
    /// Which restart in a row comes after this end, and how long after it; `None`: no restart.
    pub(super) fn after(&self, policy: &RestartPolicy, end: &End<'_>) -> Option<(u32, Duration)> {
        let failed = end.exit.is_none_or(|exit| exit.how != Ending::Code(0));
        let wanted = match policy.when {
            RestartWhen::Never => false,
            RestartWhen::OnFailure => failed,
            RestartWhen::Always | RestartWhen::UnlessStopped => true,
        };
        // What a client could not start, it was told; only restarts are tried again.
        let by_client = end.started_at.is_none() && self.row == 0;
        if !wanted || end.halted || by_client {
            return None;
        }
        let lasted = match (end.started_at, end.exit) {
            (Some(from), Some(exit)) => exit.at.duration_since(from).ok(),
            _ => None,
        };
        let row = match lasted {
            Some(lasted) if lasted >= policy.reset_after => 1,
            _ => self.row.saturating_add(1),
        };
        let most = policy.max_retries.filter(|_| policy.when == RestartWhen::OnFailure);
        most.is_none_or(|most| row <= most).then(|| (row, delay(policy, row)))
    }

    /// Restarts by the policy that have been, for a container whose current life is this one.
    pub(super) fn done(&self, life: u32) -> u32 {
        let to_come = self.next.as_ref().is_some_and(|n| n.cause == Cause::Policy && n.life > life);
        self.count.saturating_sub(u32::from(to_come))
    }
}

/// The time before a restart in a row: doubled with each, up to the bound.
fn delay(policy: &RestartPolicy, row: u32) -> Duration {
    let factor = 1_u32.checked_shl(row.saturating_sub(1)).unwrap_or(u32::MAX);
    policy.min_delay.saturating_mul(factor).min(policy.max_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(when: RestartWhen) -> RestartPolicy {
        RestartPolicy { when, ..RestartPolicy::default() }
    }

    fn exit(how: Ending, second: u64) -> Exit {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        Exit { how, at, oom_killed: false }
    }

    fn end(exit: &Exit) -> End<'_> {
        End { exit: Some(exit), started_at: Some(SystemTime::UNIX_EPOCH), halted: false }
    }

    #[test]
    fn each_policy_has_its_exits() {
        use RestartWhen::{Always, Never, OnFailure, UnlessStopped};
        let good = exit(Ending::Code(0), 1);
        let bad = [Ending::Code(1), Ending::Signal(9), Ending::Unknown("it is".into())].map(|e| exit(e, 1));
        for (when, after_good, after_bad) in [
            (Never, false, false),
            (OnFailure, false, true),
            (Always, true, true),
            (UnlessStopped, true, true),
        ] {
            let course = Course::default();
            assert_eq!(course.after(&policy(when), &end(&good)).is_some(), after_good, "{when:?}");
            for bad in &bad {
                assert_eq!(course.after(&policy(when), &end(bad)).is_some(), after_bad, "{when:?} {bad:?}");
                let halted = End { halted: true, ..end(bad) };
                assert_eq!(course.after(&policy(when), &halted), None, "{when:?}");
            }
        }
    }

    #[test]
    fn delays_double_up_to_the_bound_and_begin_anew_after_a_long_life() {
        let policy = RestartPolicy { max_delay: Duration::from_millis(500), ..policy(RestartWhen::Always) };
        let mut course = Course::default();
        let mut delays = Vec::new();
        for _ in 0..5 {
            let (row, delay) = course.after(&policy, &end(&exit(Ending::Code(1), 9))).unwrap();
            course.row = row;
            delays.push(delay.as_millis());
        }
        assert_eq!(delays, [100, 200, 400, 500, 500]);
        let long = exit(Ending::Code(1), 10);
        assert_eq!(course.after(&policy, &end(&long)), Some((1, Duration::from_millis(100))));
        let late = Course { row: u32::MAX, ..course };
        assert_eq!(late.after(&policy, &end(&exit(Ending::Code(1), 9))).unwrap().1.as_millis(), 500);
    }

    #[test]
    fn failures_in_a_row_have_a_bound() {
        let policy = RestartPolicy { max_retries: Some(2), ..policy(RestartWhen::OnFailure) };
        let bad = exit(Ending::Code(1), 1);
        let after = |row| Course { row, ..Course::default() }.after(&policy, &end(&bad)).map(|(row, _)| row);
        assert_eq!((after(0), after(1), after(2)), (Some(1), Some(2), None));
        let always = RestartPolicy { when: RestartWhen::Always, ..policy };
        assert!(Course { row: 2, ..Course::default() }.after(&always, &end(&bad)).is_some());
    }

    #[test]
    fn what_a_client_could_not_start_is_not_tried_again_and_a_restart_is() {
        let bad = exit(Ending::Code(127), 1);
        let never_executed = End { started_at: None, ..end(&bad) };
        let could_not_begin = End { exit: None, ..never_executed };
        for end in [never_executed, could_not_begin] {
            assert_eq!(Course::default().after(&policy(RestartWhen::Always), &end), None);
            let course = Course { row: 1, ..Course::default() };
            assert_eq!(course.after(&policy(RestartWhen::Always), &end).map(|(row, _)| row), Some(2));
        }
    }

    #[test]
    fn a_restart_counts_when_its_life_has_come() {
        let next = Next { life: 3, at: SystemTime::UNIX_EPOCH, cause: Cause::Policy };
        let course = Course { row: 2, count: 2, next: Some(next) };
        assert_eq!((course.done(2), course.done(3)), (1, 2));
    }
}
