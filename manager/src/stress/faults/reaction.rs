//! What the system made of each fault, as far as its clients could tell: which calls failed of it, and
//! how long they waited.

use super::noted::Call;
use serde::{Deserialize, Serialize};
use sextant_proto::fault_plan::{self, Told};
use std::collections::{BTreeMap, HashMap};

/// What came of the faults at one point.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Reaction {
    /// `runtime`, `shim` or `manager`.
    pub(crate) program: String,
    /// `fail`, `short`, `delay`, `die`, `fail-after`.
    pub(crate) action: String,
    pub(crate) point: String,
    pub(crate) times: u64,
    /// Those of which no call failed.
    pub(crate) unnoticed: u64,
    /// Errors that were heard of the others.
    pub(crate) errors: Vec<Heard>,
    /// The longest call that was under way in one of these moments.
    pub(crate) longest_ns: u64,
    pub(crate) longest_operation: String,
}

/// Errors of one kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Heard {
    pub(crate) operation: String,
    pub(crate) cause: String,
    pub(crate) count: u64,
    pub(crate) example: String,
}

/// What came of each, by the log of faults and the calls.
///
/// A fault that is about a container of a call is heard of by the first call for it that fails and has ended
/// after it; any other by the calls that were under way.
pub(crate) fn reactions(log: &str, calls: &[Call]) -> Vec<Reaction> {
    let mut by_id: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in calls {
        by_id.entry(&call.id).or_default().push(call);
    }
    for calls in by_id.values_mut() {
        calls.sort_by_key(|call| call.ended_ns);
    }
    let mut reactions: BTreeMap<&str, Reaction> = BTreeMap::new();
    for told in log.lines().filter_map(fault_plan::told) {
        let mut words = told.what.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let reaction = reactions.entry(told.what).or_insert_with(|| Reaction {
            program: word(),
            action: word(),
            point: word(),
            ..Reaction::default()
        });
        add(reaction, &told, &by_id, calls);
    }
    reactions.into_values().collect()
}

fn add(reaction: &mut Reaction, told: &Told<'_>, by_id: &HashMap<&str, Vec<&Call>>, calls: &[Call]) {
    let own: Option<&Vec<&Call>> = told.about.iter().find_map(|word| by_id.get(word));
    let concerned: Vec<&Call> = match own {
        Some(own) => own.clone(),
        None => calls.iter().filter(|call| call.begun_ns <= told.at_ns).collect(),
    };
    let after = || concerned.iter().filter(|call| call.ended_ns >= told.at_ns);
    reaction.times += 1;
    let heard: Vec<&Call> = match own {
        Some(_) => after().find(|call| call.fault.is_some()).copied().into_iter().collect(),
        None => after().filter(|call| call.fault.is_some()).copied().collect(),
    };
    if heard.is_empty() {
        reaction.unnoticed += 1;
    }
    for call in heard {
        let Some(fault) = &call.fault else { continue };
        let known = |heard: &&mut Heard| heard.operation == call.operation && heard.cause == fault.cause;
        match reaction.errors.iter_mut().find(known) {
            Some(heard) => heard.count += 1,
            None => reaction.errors.push(Heard {
                operation: call.operation.to_owned(),
                cause: fault.cause.clone(),
                count: 1,
                example: fault.message.clone(),
            }),
        }
    }
    for call in after().filter(|call| call.begun_ns <= told.at_ns) {
        let took = call.ended_ns - call.begun_ns;
        if took > reaction.longest_ns {
            (reaction.longest_ns, reaction.longest_operation) = (took, call.operation.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::target::Fault;

    fn call(operation: &'static str, id: &str, (begun_ns, ended_ns): (u64, u64), cause: &str) -> Call {
        let fault = (!cause.is_empty()).then(|| Fault::new(cause, "because"));
        Call { operation, id: id.into(), begun_ns, ended_ns, fault }
    }

    #[test]
    fn a_fault_is_heard_of_by_the_next_failure_of_its_container_alone() {
        let calls = [
            call("create", "a", (0, 10), ""),
            call("create", "b", (0, 10), "STEP_FAILED"),
            call("start", "a", (10, 40), "STEP_FAILED"),
            call("delete", "a", (40, 50), "SHIM_TIMEOUT"),
            call("create", "c", (15, 30), "OTHER"),
        ];
        let log = "shim die exit.reap 20 a\nshim die exit.reap 60 a\nshim die exit.reap 21 c\nnonsense\n";
        let found = reactions(log, &calls);
        let [reaction] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((reaction.program.as_str(), reaction.action.as_str()), ("shim", "die"));
        assert_eq!((reaction.point.as_str(), reaction.times, reaction.unnoticed), ("exit.reap", 3, 1));
        let heard: Vec<_> =
            reaction.errors.iter().map(|h| (h.operation.as_str(), h.cause.as_str(), h.count)).collect();
        assert_eq!(heard, [("start", "STEP_FAILED", 1), ("create", "OTHER", 1)]);
        assert_eq!((reaction.longest_ns, reaction.longest_operation.as_str()), (30, "start"));
    }

    #[test]
    fn a_fault_of_all_is_heard_of_by_whatever_is_under_way() {
        let calls = [
            call("list", "", (0, 10), ""),
            call("create", "b", (5, 25), "AWAY"),
            call("start", "a", (21, 30), "AWAY"),
            call("wait", "d", (1, 90), ""),
        ];
        let found = reactions("manager die events.sync 20\n", &calls);
        assert_eq!((found[0].times, found[0].unnoticed, found[0].errors.len()), (1, 0, 1));
        assert_eq!((found[0].errors[0].operation.as_str(), found[0].longest_ns), ("create", 89));
    }

    #[test]
    fn a_runtime_is_known_by_the_words_of_its_command() {
        let calls = [call("create", "b", (0, 10), "STEP_FAILED")];
        let found = reactions("runtime fail mount/0 5 --root /x create --bundle /y b\n", &calls);
        assert_eq!((found[0].errors.len(), found[0].point.as_str()), (1, "mount/0"));
    }
}
