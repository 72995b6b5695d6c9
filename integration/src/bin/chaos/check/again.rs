//! What must hold of a container that lives more than once.

use super::{FAULT, kinds};
use crate::{Again, Life};
use sextant_proto::v1::Event;
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::restart_policy::When;
use std::collections::BTreeSet;

/// How an init ends that cannot execute its process.
const NOT_EXECUTED: i32 = 1;

/// What contradicts its policy.
pub(super) fn contradictions(life: &Life, again: &Again, events: &[&Event]) -> Vec<String> {
    let mut found = Vec::new();
    let of = |kind| events.iter().filter(move |event| event.kind() == kind);
    let steps = |event: &&&Event| matches!(event.kind(), Kind::Created | Kind::Exited);
    // A life begins when the one before has ended, and has the next number.
    let mut last = (0, Kind::Exited);
    for event in events.iter().filter(steps) {
        let next = match last {
            (life, Kind::Exited) => (life + 1, Kind::Created),
            (life, _) => (life, Kind::Exited),
        };
        if (event.life, event.kind()) != next {
            found.push(format!("{:?} of life {} where {next:?} was to come", event.kind(), event.life));
            break;
        }
        last = next;
    }
    let lives: BTreeSet<u32> = of(Kind::Created).map(|event| event.life).collect();
    let count = u32::try_from(lives.len()).unwrap_or(u32::MAX);
    let attempts = of(Kind::Restarting).map(|event| event.attempt).max().unwrap_or(0);
    if again.when == When::OnFailure {
        // One whose init has died before its start has another life, which that begins.
        if attempts > again.max_retries || count > again.max_retries + 2 {
            found.push(format!("{count} lives and {attempts} restarts, {} at most", again.max_retries));
        }
        for event in of(Kind::Exited) {
            let how = event.exit.as_ref().and_then(|exit| exit.how.as_ref());
            let restarted = of(Kind::Restarting).any(|restart| restart.life == event.life + 1);
            if restarted && how == Some(&How::Code(0)) {
                found.push(format!("life {} has ended well, and was restarted", event.life));
            }
        }
    }
    if let Some(of_last) = again.last
        && lives.iter().any(|number| *number > of_last)
    {
        found.push(format!("a life after {of_last}, the last: {:?}", kinds(events)));
    }
    for event in of(Kind::Exited) {
        let how = event.exit.as_ref().and_then(|exit| exit.how.as_ref());
        let known = match how {
            Some(How::Code(code)) => {
                let starts = [Kind::Started, Kind::StartFailed];
                let begun =
                    events.iter().filter(|e| e.life == event.life).find(|e| starts.contains(&e.kind()));
                // Whoever was to execute the process ends in its place.
                let undone = begun.is_some_and(|event| event.kind() == Kind::StartFailed);
                *code == life.code
                    || *code == super::UNREAD
                    || life.faulty && *code == FAULT
                    || undone && *code == NOT_EXECUTED
            }
            Some(How::Signal(9)) => life.killed,
            Some(How::Unknown(because)) => !because.is_empty(),
            _ => false,
        };
        if !known {
            found.push(format!("life {} exited with {how:?}", event.life));
        }
    }
    found.extend(health(again, events));
    found
}

/// Health is told when it changes, and as the check is.
fn health(again: &Again, events: &[&Event]) -> Option<String> {
    let mut last = None;
    for event in events {
        match event.kind() {
            Kind::Created => last = None,
            kind @ (Kind::Healthy | Kind::Unhealthy) => {
                if last == Some(kind) {
                    return Some(format!("{kind:?} twice in life {}", event.life));
                }
                if again.well != Some(true) && kind == Kind::Healthy {
                    return Some(format!("life {} is well, and cannot be", event.life));
                }
                last = Some(kind);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(steps: &[(Kind, u32)]) -> Vec<Event> {
        let exit = |code| sextant_proto::v1::Exit { how: Some(How::Code(code)), ..Default::default() };
        let event = |(kind, life): &(Kind, u32)| Event {
            kind: (*kind).into(),
            life: *life,
            attempt: if *kind == Kind::Restarting { *life - 1 } else { 0 },
            exit: (*kind == Kind::Exited).then(|| exit(3)),
            ..Event::default()
        };
        steps.iter().map(event).collect()
    }

    fn found(again: &Again, steps: &[(Kind, u32)]) -> Vec<String> {
        let life = Life { code: 3, ..Life::default() };
        contradictions(&life, again, &events(steps).iter().collect::<Vec<_>>())
    }

    const AGAIN: Again = Again { when: When::OnFailure, max_retries: 1, well: None, last: None };

    const TWO: [(Kind, u32); 7] = [
        (Kind::Created, 1),
        (Kind::Started, 1),
        (Kind::Exited, 1),
        (Kind::Restarting, 2),
        (Kind::Created, 2),
        (Kind::Started, 2),
        (Kind::Exited, 2),
    ];

    #[test]
    fn lives_within_the_policy_are_not_blamed() {
        assert_eq!(found(&AGAIN, &TWO), Vec::<String>::new());
        assert_eq!(found(&Again { last: Some(2), ..AGAIN }, &TWO), Vec::<String>::new());
    }

    #[test]
    fn lives_too_many_two_at_once_and_after_the_last_are_found() {
        let one =
            |again: &Again, steps: &[(Kind, u32)]| assert_eq!(found(again, steps).len(), 1, "{steps:?}");
        one(&Again { max_retries: 0, ..AGAIN }, &TWO);
        one(&Again { last: Some(1), ..AGAIN }, &TWO);
        one(&AGAIN, &[(Kind::Created, 1), (Kind::Created, 2), (Kind::Exited, 1)]);
        one(&AGAIN, &[(Kind::Created, 1), (Kind::Exited, 1), (Kind::Exited, 1)]);
        one(&AGAIN, &[(Kind::Created, 1), (Kind::Healthy, 1)]);
    }

    #[test]
    fn who_was_to_execute_the_process_ends_in_its_place_only_where_that_failed() {
        let found = |start| {
            let life = Life { code: 4, ..Life::default() };
            let mut events = events(&[(Kind::Created, 1), (start, 1), (Kind::Exited, 1)]);
            events[2].exit.as_mut().unwrap().how = Some(How::Code(NOT_EXECUTED));
            contradictions(&life, &AGAIN, &events.iter().collect::<Vec<_>>()).len()
        };
        assert_eq!((found(Kind::StartFailed), found(Kind::Started)), (0, 1));
    }
}
