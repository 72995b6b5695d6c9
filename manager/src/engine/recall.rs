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
        // A life that began after the request is the one that was asked for.
        (None, Verb::Start | Verb::Restart) => snapshot.filter(|s| lives(s) > line.lives).map(container),
        (None, Verb::Stop) => snapshot.and_then(|s| s.exit).map(Answer::Exit),
        (None, Verb::Pause) => snapshot.filter(|s| s.phase == Phase::Paused).map(container),
        (None, Verb::Resume) => snapshot.filter(|s| s.phase == Phase::Running).map(container),
        // Limits can be set twice; a shim knows the keys of its execs, and a record that of its creation.
        (None, Verb::Update | Verb::Exec | Verb::Create | Verb::CreateSandbox) => None,
    };
    answer.map(Ok)
}
