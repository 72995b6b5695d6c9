//! Calls that are asked again. Where shims or the manager are killed on purpose, a call that one of them took with
//! it is repeated, as docs/errors.md has it: with its key, for a while, and each time is counted.

use serde::{Deserialize, Serialize};
use sextant_proto::client::{Error, Reason};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a call is asked again, from its first failure on.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two times.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is killed on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Killed {
    pub(crate) manager: bool,
    pub(crate) shims: bool,
}

impl Killed {
    /// Whether anybody is: calls have keys then.
    pub(crate) fn any(self) -> bool {
        self.manager || self.shims
    }

    /// Why a call that has failed so may be asked again: the absence is meant. `None` where it is an answer.
    fn excuses(self, error: &Error) -> Option<&str> {
        match error {
            Error::Away(_) if self.manager => Some("AWAY"),
            Error::Refused(refusal) if self.shims => match &refusal.reason {
                reason @ (Reason::ShimUnreachable | Reason::ShimTimeout) => Some(reason.as_str()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Calls of one kind that were asked again.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Asked {
    pub(crate) operation: String,
    /// `AWAY` (the manager), or the reason of an ErrorInfo.
    pub(crate) cause: String,
    /// How many times; several for a call that took several.
    pub(crate) count: u64,
}

/// What was asked again so far.
#[derive(Debug, Default)]
pub(crate) struct Again {
    killed: Killed,
    counts: Mutex<BTreeMap<(&'static str, String), u64>>,
}

/// Until when one call is asked again.
#[derive(Debug, Default)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Whether the call was asked more than once.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }
}

impl Again {
    pub(crate) fn new(killed: Killed) -> Self {
        Self { killed, counts: Mutex::default() }
    }

    /// Whether calls are to have keys.
    pub(crate) fn has_keys(&self) -> bool {
        self.killed.any()
    }

    /// Waits a moment and counts the next attempt, or gives the error back where it is none to be asked again,
    /// or the deadline is over.
    pub(crate) async fn wait(
        &self,
        operation: &'static str,
        error: Error,
        deadline: &mut Deadline,
    ) -> Result<(), Error> {
        let Some(cause) = self.killed.excuses(&error).map(str::to_owned) else { return Err(error) };
        let now = Instant::now();
        if now >= *deadline.0.get_or_insert(now + PATIENCE) {
            return Err(error);
        }
        self.count(operation, cause);
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }

    fn count(&self, operation: &'static str, cause: String) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((operation, cause)).or_default() += 1;
    }

    /// By operation and cause.
    pub(crate) fn all(&self) -> Vec<Asked> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = |((operation, cause), count): (&(&str, String), &u64)| Asked {
            operation: (*operation).to_owned(),
            cause: cause.clone(),
            count: *count,
        };
        counts.iter().map(asked).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    fn refused(code: Code, reason: &str) -> Error {
        let details = ErrorDetails::with_error_info(reason, "sextant", HashMap::new());
        Error::from(Status::with_error_details(code, "", details))
    }

    fn away() -> Error {
        Error::from(Status::unavailable("gone"))
    }

    #[test]
    fn only_the_absence_of_who_is_killed_on_purpose_is_excused() {
        let both = Killed { manager: true, shims: true };
        let shims = Killed { manager: false, shims: true };
        let manager = Killed { manager: true, shims: false };
        let lost = || refused(Code::Unavailable, "SHIM_UNREACHABLE");
        let late = || refused(Code::DeadlineExceeded, "SHIM_TIMEOUT");
        let ending = || refused(Code::Unavailable, "STOPPING");
        for (error, by_both, by_shims, by_manager) in [
            (away(), Some("AWAY"), None, Some("AWAY")),
            (ending(), Some("AWAY"), None, Some("AWAY")),
            (lost(), Some("SHIM_UNREACHABLE"), Some("SHIM_UNREACHABLE"), None),
            (late(), Some("SHIM_TIMEOUT"), Some("SHIM_TIMEOUT"), None),
            (refused(Code::FailedPrecondition, "STEP_FAILED"), None, None, None),
            (refused(Code::Internal, "HOST_ERROR"), None, None, None),
            (refused(Code::NotFound, "EXEC_NOT_FOUND"), None, None, None),
            (Error::from(Status::internal("")), None, None, None),
        ] {
            assert_eq!(
                (both.excuses(&error), shims.excuses(&error), manager.excuses(&error)),
                (by_both, by_shims, by_manager),
                "{error:?}"
            );
            assert_eq!(Killed::default().excuses(&error), None, "{error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_time_is_counted_and_a_call_is_given_up_after_its_deadline() {
        let again = Again::new(Killed { manager: true, shims: true });
        let (begun, mut deadline, mut times) = (Instant::now(), Deadline::default(), 0);
        assert!(!deadline.is_set());
        while again.wait("exec", away(), &mut deadline).await.is_ok() {
            times += 1;
        }
        assert!(deadline.is_set() && begun.elapsed() == PATIENCE, "{:?}", begun.elapsed());
        // Another call has a deadline of its own, and an answer ends it at once.
        let mut another = Deadline::default();
        again.wait("wait", refused(Code::Unavailable, "SHIM_UNREACHABLE"), &mut another).await.unwrap();
        again.wait("wait", refused(Code::NotFound, "CONTAINER_NOT_FOUND"), &mut another).await.unwrap_err();
        let asked = |operation: &str, cause: &str, count| Asked {
            operation: operation.into(),
            cause: cause.into(),
            count,
        };
        assert_eq!(again.all(), [asked("exec", "AWAY", times), asked("wait", "SHIM_UNREACHABLE", 1)]);
    }
}
