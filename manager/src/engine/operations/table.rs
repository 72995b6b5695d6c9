//! What is remembered of operations with a key: of one that is under way, where its end is told; of one that has
//! ended, how. Bounded in number and in bytes, for a request may have a megabyte of arguments, which its answer
//! repeats.

use super::book::{End, Line};
use super::{Answer, Asked, Outcome};
use crate::engine::error::Error;
use crate::model::Operation;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// All that are known, at most; beyond, the older half of those that have ended is forgotten.
pub(super) const KNOWN: usize = 4096;
/// Bytes of all that have ended, at most; beyond, the oldest are forgotten until half of it is left.
pub(super) const BYTES: usize = 8 << 20;
/// How long an ended one is remembered.
pub(super) const MEMORY: Duration = Duration::from_secs(600);

/// An operation.
#[derive(Debug)]
pub(super) struct Entry {
    /// Without its key, which the table has.
    asked: Asked,
    begun: SystemTime,
    state: State,
}

#[derive(Debug)]
enum State {
    UnderWay(watch::Receiver<Option<Outcome>>),
    /// And the bytes that this takes.
    Ended(Box<Outcome>, usize),
}

/// All of them, by key.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<String, Entry>,
    /// Of those that have ended.
    bytes: usize,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// One that is under way from now on; its end is told by `outcome`.
    pub(super) fn begin(&mut self, asked: Asked, outcome: watch::Receiver<Option<Outcome>>) {
        if self.entries.len() >= KNOWN {
            let ended = self.entries.values().filter(|entry| entry.outcome().is_some()).count();
            self.forget(ended - ended / 2, 0);
        }
        self.put(asked, SystemTime::now(), State::UnderWay(outcome));
    }

    /// The one that was under way has ended.
    pub(super) fn end(&mut self, key: &str, outcome: Outcome) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let bytes = entry.asked.bytes() + key.len() + outcome.bytes();
        if matches!(entry.state, State::UnderWay(_)) {
            entry.state = State::Ended(Box::new(outcome), bytes);
            self.bytes += bytes;
            self.keep_bound();
        }
    }

    /// One that has ended, as it turns out.
    pub(super) fn remember(&mut self, asked: Asked, begun: SystemTime, outcome: Outcome) {
        let bytes = asked.bytes() + asked.key.len() + outcome.bytes();
        self.put(asked, begun, State::Ended(Box::new(outcome), bytes));
        self.bytes += bytes;
        self.keep_bound();
    }

    fn put(&mut self, mut asked: Asked, begun: SystemTime, state: State) {
        let key = std::mem::take(&mut asked.key);
        if let Some(Entry { state: State::Ended(_, bytes), .. }) =
            self.entries.insert(key, Entry { asked, begun, state })
        {
            self.bytes -= bytes;
        }
    }

    fn keep_bound(&mut self) {
        if self.bytes > BYTES {
            self.forget(0, self.bytes - BYTES / 2);
        }
    }

    /// Forgets the oldest that have ended: as many as `number`, and more until `bytes` are free.
    fn forget(&mut self, number: usize, bytes: usize) {
        let ended = |(key, entry): (&String, &Entry)| Some((entry.outcome()?.ended, key.clone()));
        let mut oldest: Vec<(Instant, String)> = self.entries.iter().filter_map(ended).collect();
        oldest.sort_unstable();
        let left = self.bytes.saturating_sub(bytes);
        for (index, (_, key)) in oldest.iter().enumerate() {
            if index >= number && self.bytes <= left {
                return;
            }
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(Entry { state: State::Ended(_, bytes), .. }) = self.entries.remove(key) {
            self.bytes -= bytes;
        }
    }

    /// Forgets those that ended too long ago to be remembered at `now`.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let old = |(key, entry): (&String, &Entry)| entry.is_old(now).then(|| key.clone());
        let old: Vec<String> = self.entries.iter().filter_map(old).collect();
        old.iter().for_each(|key| self.remove(key));
    }

    /// What is known of the one with this key.
    pub(super) fn view(&self, key: &str) -> Option<Operation> {
        self.get(key).filter(|entry| !entry.is_old(Instant::now())).map(|entry| entry.view(key))
    }

    /// What is known of all, by key.
    pub(super) fn views(&self) -> Vec<Operation> {
        let now = Instant::now();
        self.entries.iter().filter(|(_, entry)| !entry.is_old(now)).map(|(key, e)| e.view(key)).collect()
    }

    /// All as the file has them.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.entries.iter().map(|(key, entry)| entry.line(key)).collect()
    }

    /// Those that are known, and the bytes of those among them that have ended.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }
}

impl Entry {
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Where its end is told; at once where it has ended.
    pub(super) fn attach(&self) -> watch::Receiver<Option<Outcome>> {
        match &self.state {
            State::UnderWay(outcome) => outcome.clone(),
            State::Ended(outcome, _) => watch::channel(Some((**outcome).clone())).1,
        }
    }

    fn outcome(&self) -> Option<&Outcome> {
        match &self.state {
            State::UnderWay(_) => None,
            State::Ended(outcome, _) => Some(outcome),
        }
    }

    pub(super) fn line(&self, key: &str) -> Line {
        let Asked { verb, container, lives, request, .. } = self.asked.clone();
        let ended = self.outcome().map(|outcome| (outcome.at, End::of(&outcome.result)));
        Line { key: key.into(), verb, container, lives, request, begun: self.begun, ended }
    }

    pub(super) fn is_old(&self, now: Instant) -> bool {
        self.outcome().is_some_and(|outcome| now.saturating_duration_since(outcome.ended) >= MEMORY)
    }

    pub(super) fn failed(&self) -> bool {
        match &self.state {
            // Nobody is there any more who would tell.
            State::UnderWay(outcome) => outcome.has_changed().is_err(),
            State::Ended(outcome, _) => outcome.result.is_err(),
        }
    }

    fn view(&self, key: &str) -> Operation {
        let outcome = self.outcome();
        Operation {
            key: key.into(),
            verb: self.asked.verb,
            container: self.asked.container.clone(),
            begun_at: self.begun,
            ended_at: outcome.map(|outcome| outcome.at),
            failure: outcome.and_then(|outcome| outcome.result.as_ref().err().map(Error::to_failure)),
        }
    }
}

impl Asked {
    /// About what it takes, without its key.
    fn bytes(&self) -> usize {
        size_of::<Entry>() + self.container.len()
    }
}

impl Outcome {
    /// About what it takes.
    fn bytes(&self) -> usize {
        let beyond = match &self.result {
            // What was given belongs to all answers about the container, and to the container while it exists;
            // it is counted for each, as each alone may keep it.
            Ok(Answer::Container(snapshot)) => size_of_val(&**snapshot) + snapshot.given.bytes(),
            Ok(Answer::Exec(exec)) => {
                size_of_val(&**exec)
                    + exec.command.iter().map(|word| word.len() + size_of::<String>()).sum::<usize>()
            }
            Ok(Answer::Sandbox(name)) => name.len(),
            Ok(Answer::Exit(_) | Answer::Done) => 0,
            Err(error) => error.chain().len() * 2,
        };
        size_of::<Self>() + beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{record, snapshot_for_tests};
    use crate::model::{Given, Snapshot, Verb};
    use std::sync::Arc;

    fn asked(key: &str) -> Asked {
        Asked { key: key.into(), verb: Verb::Create, container: key.into(), lives: 0, request: None }
    }

    fn made(command: Vec<String>) -> Outcome {
        let snapshot = snapshot_for_tests(&record::tests::record("a"));
        let given = Given { command, ..Given::clone(&snapshot.given) };
        Outcome::now(Ok(Answer::Container(Box::new(Snapshot { given: Arc::new(given), ..snapshot }))))
    }

    #[test]
    fn large_answers_are_bounded_by_their_bytes() {
        let mut table = Table::default();
        for n in 0..100 {
            let key = n.to_string();
            table.begin(asked(&key), watch::channel(None).1);
            table.end(&key, made(vec!["x".repeat(1 << 20)]));
            assert!(table.size().1 <= BYTES, "{:?}", table.size());
        }
        let (known, bytes) = table.size();
        assert!((4..8).contains(&known) && bytes > BYTES / 2 - (2 << 20), "{known} {bytes}");
        assert!(table.get("99").is_some() && table.get("0").is_none(), "the last ones stay");
        // What takes the place of another is counted in its place.
        table.remember(asked("99"), SystemTime::now(), Outcome::now(Ok(Answer::Done)));
        assert!(table.size().1 < bytes - (1 << 20), "{:?}", table.size());
    }

    #[test]
    fn an_answer_as_most_are_takes_little_and_what_was_given_once() {
        let words = ["/usr/bin/server", "--listen", "0.0.0.0:8080"].map(str::to_owned).to_vec();
        let outcome = made(words);
        let size = outcome.bytes() + asked("7f3c9d7e-1c1b-4c53-9d5e-0d8f8f0a4f11").bytes();
        // 1500 are remembered for certain: docs/api.md.
        assert!(size * 1500 <= BYTES / 2, "{size}");
        let Ok(Answer::Container(snapshot)) = &outcome.result else { panic!("it is one") };
        let again = snapshot.clone();
        assert!(Arc::ptr_eq(&again.given, &snapshot.given));
        assert!(size_of::<Snapshot>() + size_of::<Outcome>() + size_of::<Entry>() < 1 << 10);
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_nothing_of_it_is_left() {
        let mut table = Table::default();
        table.begin(asked("under way"), watch::channel(None).1);
        for n in 0..50 {
            table.remember(asked(&n.to_string()), SystemTime::now(), made(vec![]));
        }
        table.forget_old(Instant::now());
        assert_eq!(table.size().0, 51);
        table.forget_old(Instant::now() + MEMORY);
        assert_eq!(table.size(), (1, 0));
        assert!(table.get("under way").is_some());
    }
}
