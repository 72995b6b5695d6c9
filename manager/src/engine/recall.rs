//! What became of operations of a manager before this one: what its file says of those that
//! had ended, and what their containers show of those that were under way when it was killed.

use super::error::Error;
use super::operations::book::{End, Line};
use super::operations::{Answer, Asked};
use super::{Context, Engine};
use crate::model::{Phase, Snapshot, Verb};

/// Remembers the operations that had ended, once their containers are known.
pub(super) fn ended(context: &Context, lines: Vec<Line>) {
    for line in lines {
        if let Some(result) = outcome(context, &line) {
            let begun = line.begun;
            context.operations.remember(asked(line), begun, result);
        }
    }
}

impl Engine {
    /// Settles a doubt about the operation with this key, if its effect is there by now: of one that was under
    /// way when a manager was killed, or has failed. Otherwise the key is
    /// as new: it has had no effect, or its shim sees to it that it is not done twice.
    pub(super) fn recall(&self, key: &str) {
        let operations = &self.context.operations;
        let Some(line) = operations.doubt(key).or_else(|| operations.failed(key)) else { return };
        if let Some(result) = outcome(&self.context, &line) {
            let begun = line.begun;
            operations.remember(asked(line), begun, result);
        }
    }
}

fn asked(line: Line) -> Asked {
    let Line { key, verb, container, lives, request, .. } = line;
    Asked { key, verb, container, lives, request }
}

/// How many lives of a container have begun.
pub(super) fn lives(snapshot: &Snapshot) -> u32 {
    if snapshot.started_at.is_some() { snapshot.life } else { snapshot.life.saturating_sub(1) }
}

/// Whether a life that began after a request, when `before` of them had, is the one that was asked for: it was
/// started. A next one that is only created is not, though one that has never begun may be before it:
/// who asks again starts it then.
pub(super) fn is_started(snapshot: &Snapshot, before: u32) -> bool {
    snapshot.started_at.is_some() && snapshot.life > before
}

/// What the operation has come to; `None` when nothing shows it.
fn outcome(context: &Context, line: &Line) -> Option<Result<Answer, Error>> {
    let snapshot = context.directory.get(&line.container).map(|handle| handle.snapshot());
    let container = |snapshot: Snapshot| Answer::Container(Box::new(snapshot));
    let answer = match (line.ended.as_ref().map(|(_, end)| end), line.verb) {
        (Some(End::Failed(failure)), verb) => {
            let attempted = format!("{verb} {} {:?}", verb.object(), line.container);
            return Some(Err(Error::Failed { attempted, failure: Box::new(failure.clone()) }));
        }
        (Some(End::Exit(exit)), _) => Some(Answer::Exit(exit.clone())),
        // Its shim knows the key.
        (Some(End::Exec(_)), _) => None,
        (Some(End::Sandbox(sandbox)), _) => Some(Answer::Sandbox(sandbox.clone())),
        (Some(End::Done), Verb::Delete | Verb::DeleteSandbox) => Some(Answer::Done),
        (Some(End::Done), _) => snapshot.map(container),
        (None, Verb::Delete) => snapshot.is_none().then_some(Answer::Done),
        (None, Verb::DeleteSandbox) => {
            context.sandboxes.get(&line.container).is_err().then_some(Answer::Done)
        }
        (None, Verb::Start | Verb::Restart) => snapshot.filter(|s| is_started(s, line.lives)).map(container),
        (None, Verb::Stop) => snapshot.and_then(|s| s.exit).map(Answer::Exit),
        (None, Verb::Pause) => snapshot.filter(|s| s.phase == Phase::Paused).map(container),
        (None, Verb::Resume) => snapshot.filter(|s| s.phase == Phase::Running).map(container),
        // Limits can be set twice; a shim knows the keys of its execs, and a record that of its creation.
        (None, Verb::Update | Verb::Exec | Verb::Create | Verb::CreateSandbox) => None,
    };
    answer.map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{record, snapshot_for_tests};
    use std::time::SystemTime;

    #[test]
    fn a_start_is_settled_by_a_life_that_was_started_and_by_no_other() {
        let of = |life, started: bool| Snapshot {
            life,
            started_at: started.then_some(SystemTime::UNIX_EPOCH),
            ..snapshot_for_tests(&record::tests::record("a"))
        };
        // The first life, as it is asked for and once it runs; the second after that.
        assert!(!is_started(&of(1, false), lives(&of(1, false))));
        assert!(is_started(&of(1, true), lives(&of(1, false))));
        assert!(!is_started(&of(1, true), lives(&of(1, true))));
        assert!(is_started(&of(2, true), lives(&of(1, true))));
        // The init of the first was killed before it was started: a second is created for the request.
        assert!(!is_started(&of(2, false), lives(&of(1, false))));
        assert!(is_started(&of(2, true), lives(&of(1, false))));
    }
}
