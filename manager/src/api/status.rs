//! A domain error becomes a `tonic::Status` here and nowhere else: code,
//! reason and details (`google.rpc.ErrorInfo`, `BadRequest`, `ResourceInfo`).
//!
//! | reason | code |
//! |---|---|
//! | `INVALID_REQUEST` | INVALID_ARGUMENT |
//! | `CONTAINER_NOT_FOUND` | NOT_FOUND |
//! | `CONTAINER_EXISTS` | ALREADY_EXISTS |
//! | `WRONG_STATUS` | FAILED_PRECONDITION |
//! | `LIMIT_REACHED` | RESOURCE_EXHAUSTED |
//! | `STEP_FAILED` | FAILED_PRECONDITION |
//! | `SHIM_TIMEOUT` | DEADLINE_EXCEEDED |
//! | `SHIM_UNREACHABLE` | UNAVAILABLE |
//! | `HOST_ERROR` | INTERNAL |
//! | `CONTAINER_REMOVED` | ABORTED |
//! | `CANCELLED` | ABORTED |
//! | `KEY_REUSED` | INVALID_ARGUMENT |
//! | `OPERATION_NOT_FOUND` | NOT_FOUND |
//! | `EXEC_NOT_FOUND` | NOT_FOUND |
//! | `NOT_THERE` | FAILED_PRECONDITION |
//! | `SANDBOX_NOT_FOUND` | NOT_FOUND |
//! | `SANDBOX_EXISTS` | ALREADY_EXISTS |
//! | `SANDBOX_NOT_READY` | FAILED_PRECONDITION |
//! | `SANDBOX_IN_USE` | FAILED_PRECONDITION |
//! | `SANDBOX_INIT` | FAILED_PRECONDITION |
//! | `STOPPING` | UNAVAILABLE |

use crate::engine::error::{Error, Violation};
use crate::model::Failure;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "sextant";

/// The status of an error, with all details.
pub fn status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(error.reason(), DOMAIN, metadata(error));
    match error {
        Error::Refused { violations, .. } => {
            details.set_bad_request(violations.iter().map(violation).collect::<Vec<_>>());
        }
        Error::Failed { failure, .. } if !failure.pointer.is_empty() => {
            details.set_bad_request(vec![FieldViolation::new(&failure.pointer, &failure.message)]);
        }
        Error::NotFound { id }
        | Error::Exists { id }
        | Error::WrongPhase { id, .. }
        | Error::Removed { id }
        | Error::Cancelled { id, .. } => {
            details.set_resource_info("container", id, "", error.to_string());
        }
        Error::NoSandbox { id }
        | Error::SandboxExists { id }
        | Error::SandboxNotReady { id, .. }
        | Error::SandboxInUse { id, .. }
        | Error::IsInit { id } => {
            details.set_resource_info("sandbox", id, "", error.to_string());
        }
        Error::NoExec { exec, .. } => {
            details.set_resource_info("exec", exec, "", error.to_string());
        }
        _ => {}
    }
    // Details travel in an HTTP/2 header; so does the message.
    Status::with_error_details(code(error), clipped(error.chain()), details)
}

/// Longest message; headers have a limit of their own (16 KiB in most clients).
const MESSAGE: usize = 2048;

fn clipped(mut text: String) -> String {
    if text.len() > MESSAGE {
        text.truncate(text.floor_char_boundary(MESSAGE));
        text.push('…');
    }
    text
}

fn code(error: &Error) -> Code {
    match error {
        Error::Refused { .. } | Error::KeyReused { .. } => Code::InvalidArgument,
        Error::NotFound { .. }
        | Error::NoOperation { .. }
        | Error::NoExec { .. }
        | Error::NoSandbox { .. } => Code::NotFound,
        Error::Exists { .. } | Error::SandboxExists { .. } => Code::AlreadyExists,
        Error::WrongPhase { .. }
        | Error::Failed { .. }
        | Error::Without { .. }
        | Error::SandboxNotReady { .. }
        | Error::SandboxInUse { .. }
        | Error::IsInit { .. } => Code::FailedPrecondition,
        Error::Exhausted { .. } => Code::ResourceExhausted,
        Error::Timeout { .. } => Code::DeadlineExceeded,
        Error::Unreachable { .. } | Error::Stopping => Code::Unavailable,
        Error::Io { .. } => Code::Internal,
        Error::Removed { .. } | Error::Cancelled { .. } => Code::Aborted,
    }
}

fn violation(violation: &Violation) -> FieldViolation {
    let Violation { field, message, hint } = violation;
    let text = if hint.is_empty() { message.clone() } else { format!("{message} (hint: {hint})") };
    FieldViolation::new(field, clipped(text))
}

/// Where it failed, for programs; absent where it is not known.
fn metadata(error: &Error) -> HashMap<String, String> {
    let mut pairs: Vec<(&str, String)> = match error {
        Error::Failed { .. } | Error::Io { .. } | Error::Timeout { .. } | Error::Unreachable { .. } => {
            let Failure { stage, attempted, syscall, errno, object, pointer, hint, .. } = error.to_failure();
            let hint = match error {
                Error::Timeout { .. } => {
                    "its shim does not answer: wait, or delete the container with force".into()
                }
                _ => hint,
            };
            let errno = if errno == 0 { String::new() } else { errno.to_string() };
            vec![
                ("stage", stage),
                ("attempted", attempted),
                ("syscall", syscall),
                ("errno", errno),
                ("object", object),
                ("pointer", pointer),
                ("hint", hint),
            ]
        }
        Error::KeyReused { .. } => {
            vec![(
                "hint",
                "give each operation a key of its own, and the same one only to a repeated call".into(),
            )]
        }
        Error::SandboxInUse { .. } => {
            vec![("hint", "delete its containers first, or delete it with force".into())]
        }
        Error::IsInit { .. } => vec![("hint", "delete the sandbox".into())],
        Error::WrongPhase { hint, .. } | Error::Exhausted { hint, .. } => vec![("hint", (*hint).into())],
        _ => Vec::new(),
    };
    pairs.retain(|(_, value)| !value.is_empty());
    pairs.into_iter().map(|(key, value)| (key.into(), clipped(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Phase;

    #[test]
    fn a_failed_step_says_where() {
        let failure = Failure {
            stage: "mount/3".into(),
            errno: 2,
            pointer: "/mounts/3".into(),
            hint: "make it".into(),
            message: "mount /x: ENOENT".into(),
            ..Failure::default()
        };
        let status = status(&Error::Failed { attempted: "create it".into(), failure: Box::new(failure) });
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, "create it: mount /x: ENOENT")
        );
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("STEP_FAILED", "sextant"));
        assert_eq!((info.metadata["stage"].as_str(), info.metadata["errno"].as_str()), ("mount/3", "2"));
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "/mounts/3");
    }

    #[test]
    fn every_mistake_is_a_violation() {
        let violation =
            |field: &str| Violation { field: field.into(), message: "m".into(), hint: "h".into() };
        let error =
            Error::Refused { attempted: "create".into(), violations: vec![violation("a"), violation("/b")] };
        let details = status(&error).get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["a", "/b"]);
        assert_eq!(violations[0].description, "m (hint: h)");
    }

    #[test]
    fn a_wrong_phase_names_the_container_and_what_to_do() {
        let error =
            Error::WrongPhase { id: "a".into(), attempted: "start it", phase: Phase::Running, hint: "wait" };
        let details = status(&error).get_error_details();
        assert_eq!(details.resource_info().unwrap().resource_name, "a");
        assert_eq!(details.error_info().unwrap().metadata["hint"], "wait");
    }
}
