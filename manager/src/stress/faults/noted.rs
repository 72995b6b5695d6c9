//! A target of which every call is noted: for whom, when, and how it ended.

use crate::stress::leaks::Leak;
use crate::stress::target::again::Asked;
use crate::stress::target::{Doing, Ended, Facts, Fault, Target, Verb, Wish};
use nix::time::{ClockId, clock_gettime};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Calls that are kept: some hundred bytes each.
const MOST: usize = 1_000_000;

/// A call that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// As operations of the report are called.
    pub(crate) operation: &'static str,
    /// The container or sandbox; empty where it is about all.
    pub(crate) id: String,
    /// CLOCK_MONOTONIC, as in the log of faults.
    pub(crate) begun_ns: u64,
    pub(crate) ended_ns: u64,
    pub(crate) fault: Option<Fault>,
}

/// Another target with a memory.
#[derive(Debug)]
pub(crate) struct Noted {
    of: Arc<dyn Target>,
    calls: Mutex<Vec<Call>>,
}

/// Nanoseconds of CLOCK_MONOTONIC.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Noted {
    pub(crate) fn new(of: Arc<dyn Target>) -> Self {
        Self { of, calls: Mutex::default() }
    }

    /// All calls that have ended. While they are read, those that end wait.
    pub(crate) fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        id: &'a str,
        doing: Doing<'a, T>,
    ) -> Doing<'a, T> {
        Box::pin(async move {
            let begun_ns = now();
            let result = doing.await;
            let fault = result.as_ref().err().cloned();
            let call = Call { operation, id: id.to_owned(), begun_ns, ended_ns: now(), fault };
            let mut calls = self.calls();
            if calls.len() < MOST {
                calls.push(call);
            }
            result
        })
    }
}

impl Target for Noted {
    fn facts(&self) -> Doing<'_, Facts> {
        self.of.facts()
    }

    fn lacks(&self, verb: Verb) -> Option<String> {
        self.of.lacks(verb)
    }

    fn create<'a>(&'a self, wish: &'a Wish) -> Doing<'a, ()> {
        self.note("create", &wish.id, self.of.create(wish))
    }

    fn start<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        self.note("start", id, self.of.start(id))
    }

    fn wait<'a>(&'a self, id: &'a str) -> Doing<'a, Ended> {
        self.note("wait", id, self.of.wait(id))
    }

    fn kill<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        self.note("kill", id, self.of.kill(id))
    }

    fn delete<'a>(&'a self, id: &'a str, force: bool) -> Doing<'a, ()> {
        self.note("delete", id, self.of.delete(id, force))
    }

    fn ours(&self) -> Doing<'_, Vec<String>> {
        self.of.ours()
    }

    fn exec<'a>(&'a self, id: &'a str, command: &'a [String]) -> Doing<'a, Ended> {
        self.note("exec", id, self.of.exec(id, command))
    }

    fn list(&self) -> Doing<'_, usize> {
        self.note("list", "", self.of.list())
    }

    fn stats(&self) -> Doing<'_, usize> {
        self.note("stats", "", self.of.stats())
    }

    fn logs<'a>(&'a self, id: &'a str) -> Doing<'a, u64> {
        self.note("logs", id, self.of.logs(id))
    }

    fn attach<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        self.note("attach", id, self.of.attach(id))
    }

    fn make_sandbox<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        self.note("sandbox-create", id, self.of.make_sandbox(id))
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Doing<'a, ()> {
        self.note("sandbox-delete", id, self.of.remove_sandbox(id))
    }

    fn stages<'a>(&'a self, id: &'a str) -> Doing<'a, Vec<(String, Duration)>> {
        self.of.stages(id)
    }

    fn orphans(&self) -> Doing<'_, Vec<Leak>> {
        self.of.orphans()
    }

    fn again(&self) -> Vec<Asked> {
        self.of.again()
    }

    fn marks(&self) -> Vec<String> {
        self.of.marks()
    }

    fn clean(&self) -> Doing<'_, usize> {
        self.of.clean()
    }
}
