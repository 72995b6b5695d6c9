//! What is told of a sandbox: its record, and what the kernel has of it now. A
//! sandbox is ready as long as each file holds its namespace and its init runs.

use super::record::Record;
use super::{Entry, Phase, joining, remove};
use crate::engine::Context;
use crate::engine::pins::{Holder, inode, open};
use crate::model::{Ending, Phase as Of, Sandbox, Snapshot};
use sextant_runtime::plan::NamespaceKind;
use std::path::Path;

/// The sandbox as it is; reads files.
pub(super) fn of(context: &Context, sandbox: &Entry) -> Sandbox {
    let (record, phase) = {
        let state = sandbox.lock();
        (state.record.clone(), state.phase.clone())
    };
    let place = context.pins.place(Holder::Sandbox, &record.id);
    let (namespaces, missing) = held(&place, &record);
    let init = context.directory.get(&record.id).map(|handle| handle.snapshot());
    let because = match phase {
        Phase::Kept => missing.or_else(|| record.shared.pid.then(|| without_init(init.as_ref())).flatten()),
        phase => Some(words(&phase)),
    };
    let containers =
        remove::members(context, &record.id).iter().map(|handle| handle.snapshot().id.clone()).collect();
    Sandbox {
        because,
        namespaces,
        containers,
        init_pid: init.and_then(|init| init.pid),
        pins: place,
        id: record.id,
        labels: record.labels,
        hostname: record.hostname,
        shared: record.shared,
        created_at: record.created_at,
        ids: record.ids,
    }
}

/// Why nobody can join it in this phase.
pub(super) fn words(phase: &Phase) -> String {
    match phase {
        Phase::Creating => "it is being made".into(),
        Phase::Kept => "it is ready".into(),
        Phase::Deleting(None) => "it is being deleted".into(),
        Phase::Deleting(Some(error)) => {
            format!("it was to be deleted, and that failed: {error}; delete it again")
        }
    }
}

/// The namespaces that its files hold, and what is wrong when one does not.
fn held(place: &Path, record: &Record) -> (Vec<(NamespaceKind, u64)>, Option<String>) {
    let (mut namespaces, mut missing) = (Vec::new(), Vec::new());
    for kind in record.shared.kinds() {
        let found = open(&place.join(kind.proc_name())).ok().flatten();
        match found.and_then(|ns| inode(&ns).ok()) {
            Some(inode) => namespaces.push((kind, inode)),
            None => missing.push(kind.name()),
        }
    }
    let because = (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!(
            "the files in {} no more hold its namespaces ({missing}): the machine was restarted, or somebody \
             has unmounted them; delete it and make it again",
            place.display()
        )
    });
    (namespaces, because)
}

/// What is wrong with its init.
pub(super) fn without_init(init: Option<&Snapshot>) -> Option<String> {
    let Some(init) = init else {
        return Some("its init is gone; delete it and make it again".into());
    };
    match (init.phase, &init.exit) {
        (Of::Running | Of::Paused, None) => None,
        (_, Some(exit)) => {
            let how = match &exit.how {
                Ending::Code(code) => format!("with {code}"),
                Ending::Signal(signal) => format!("by signal {signal}"),
                Ending::Unknown(because) => format!("in an unknown way, {because}"),
            };
            Some(format!(
                "its init has ended {how}, and with it its pid namespace; delete it and make it again"
            ))
        }
        (phase, None) => Some(format!("its init is {phase}")),
    }
}

impl Context {
    /// Why a container cannot join the namespaces of a sandbox that is kept; `None`: it can.
    pub(super) fn unready(&self, record: &Record, kinds: &[NamespaceKind]) -> Option<String> {
        let missing = held(&self.pins.place(Holder::Sandbox, &record.id), record).1;
        missing.or_else(|| {
            if !kinds.contains(&NamespaceKind::Pid) {
                return None;
            }
            // Whoever asks has no other way to hear of an init that ended a moment ago.
            joining::open_of(self, &record.id, NamespaceKind::Pid).err().map(|because| {
                let init = self.directory.get(&record.id).map(|handle| handle.snapshot());
                without_init(init.as_ref()).unwrap_or_else(|| format!("its init cannot be joined: {because}"))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{record::tests::record, snapshot_for_tests};
    use crate::model::Exit;
    use std::time::SystemTime;

    #[test]
    fn an_init_that_does_not_run_is_told_with_its_reason() {
        assert!(without_init(None).is_some_and(|because| because.contains("gone")));
        let mut init = snapshot_for_tests(&record("pod"));
        assert_eq!(without_init(Some(&init)).as_deref(), Some("its init is being created"));
        init.phase = Of::Running;
        assert_eq!(without_init(Some(&init)), None);
        let ended = |how| Some(Exit { how, at: SystemTime::UNIX_EPOCH, oom_killed: false });
        for (how, words) in [
            (Ending::Signal(9), "by signal 9"),
            (Ending::Code(0), "with 0"),
            (Ending::Unknown("because the shim was killed".into()), "in an unknown way, because the shim"),
        ] {
            init.exit = ended(how);
            assert!(without_init(Some(&init)).is_some_and(|because| because.contains(words)), "{words}");
        }
    }
}
