//! Why a call failed, read from a status and its `google.rpc` details
//! (docs/errors.md).

use super::Address;
use super::address::NoAddress;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of the errors that sextantd makes.
const DOMAIN: &str = "sextant";

/// Why something failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A text is no address.
    Address(NoAddress),
    /// No daemon could be reached.
    Connect {
        /// Where.
        address: Address,
        /// Why: of kind `NotFound` when there is no socket, `ConnectionRefused` when nobody listens on it,
        /// `PermissionDenied` when it is somebody else's.
        source: io::Error,
    },
    /// The daemon is gone or going. Containers live on: ask again.
    Away(Box<Status>),
    /// The daemon's answer.
    Refused(Box<Refusal>),
}

/// An error that sextantd has answered with.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What kind of error it is.
    pub reason: Reason,
    /// Each mistake of the request or its bundle; empty when it is about something else.
    pub mistakes: Vec<Mistake>,
    /// The container (or exec) that it is about; empty when it is about none.
    pub resource: String,
    /// What to do; empty when nobody knows.
    pub hint: String,
    /// Where it failed: `stage`, `attempted`, `syscall`, `errno`, `object`, `pointer`, as far as they are known.
    pub metadata: HashMap<String, String>,
    status: Status,
}

/// One mistake of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// A JSON pointer into config.json when it begins with `/`, else a field of the request.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Refusal {
    /// The code of gRPC.
    pub fn code(&self) -> Code {
        self.status.code()
    }

    /// The whole as one sentence.
    pub fn message(&self) -> &str {
        self.status.message()
    }

    /// The errno of the system call that failed, if one did.
    pub fn errno(&self) -> Option<i32> {
        self.metadata.get("errno")?.parse().ok()
    }

    /// The stage of the runtime that failed, such as `mount/3`, if one did.
    pub fn stage(&self) -> Option<&str> {
        self.metadata.get("stage").map(String::as_str)
    }
}

macro_rules! reasons {
    ($($name:ident $text:literal $code:ident $doc:literal),+ $(,)?) => {
        /// Kinds of errors, as docs/errors.md lists them.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $doc] $name,)+
            /// One that this client does not know: of a newer daemon, or not of sextantd itself.
            Other(String),
        }

        impl Reason {
            /// All that this client knows, each with the code of gRPC that it comes with.
            pub const KNOWN: &[(Self, Code)] = &[$((Self::$name, Code::$code)),+];

            /// As it is on the wire; empty where there was none.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)+
                    Self::Other(text) => text,
                }
            }

            fn read(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)+
                    other => Self::Other(other.into()),
                }
            }
        }
    };
}

reasons! {
    InvalidRequest "INVALID_REQUEST" InvalidArgument "The request or its bundle has mistakes; nothing was made.",
    ContainerNotFound "CONTAINER_NOT_FOUND" NotFound "No container has this name.",
    ContainerExists "CONTAINER_EXISTS" AlreadyExists "The name is taken.",
    WrongStatus "WRONG_STATUS" FailedPrecondition "The container's status does not allow it.",
    StepFailed "STEP_FAILED" FailedPrecondition "A step of the runtime or the shim failed.",
    LimitReached "LIMIT_REACHED" ResourceExhausted "A limit of the daemon is reached; nothing has happened.",
    ShimTimeout "SHIM_TIMEOUT" DeadlineExceeded "The shim did not answer in time.",
    ShimUnreachable "SHIM_UNREACHABLE" Unavailable "The shim cannot be reached.",
    HostError "HOST_ERROR" Internal "The operating system refused something to the daemon.",
    ContainerRemoved "CONTAINER_REMOVED" Aborted "It was deleted while it was waited for, and never ran.",
    Cancelled "CANCELLED" Aborted "It was given up on request, and undone.",
    ExecNotFound "EXEC_NOT_FOUND" NotFound "There is no such exec, or it is forgotten.",
    NotThere "NOT_THERE" FailedPrecondition "The process has no such stdin or terminal, or has ended.",
    SandboxNotFound "SANDBOX_NOT_FOUND" NotFound "No sandbox has this name.",
    SandboxExists "SANDBOX_EXISTS" AlreadyExists "The name is taken.",
    SandboxNotReady "SANDBOX_NOT_READY" FailedPrecondition "Containers cannot join the sandbox, for the reason that it tells.",
    SandboxInUse "SANDBOX_IN_USE" FailedPrecondition "Containers are in the sandbox.",
    SandboxInit "SANDBOX_INIT" FailedPrecondition "The container is the init of a sandbox, and goes with that.",
    KeyReused "KEY_REUSED" InvalidArgument "The key belongs to another operation.",
    OperationNotFound "OPERATION_NOT_FOUND" NotFound "No operation of this key is remembered.",
    Stopping "STOPPING" Unavailable "The daemon is ending.",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// The status that it was read from; one that tells the same where there was none.
    pub fn into_status(self) -> Status {
        match self {
            Self::Away(status) => *status,
            Self::Refused(refusal) => refusal.status,
            other => Status::unavailable(other.to_string()),
        }
    }

    /// Why the daemon refused; `None` when it was not the daemon who said something.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Refused(refusal) => Some(&refusal.reason),
            _ => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info.filter(|info| info.domain == DOMAIN).map(|info| Reason::read(&info.reason));
        // An UNAVAILABLE without a reason comes from the connection.
        let gone = status.source().is_some() || status.code() == Code::Unavailable && reason.is_none();
        if gone || reason == Some(Reason::Stopping) {
            return Self::Away(Box::new(status));
        }
        Self::Refused(Box::new(refusal(status, &details, reason)))
    }
}

fn refusal(status: Status, details: &ErrorDetails, reason: Option<Reason>) -> Refusal {
    let mut metadata = details.error_info().map(|info| info.metadata.clone()).unwrap_or_default();
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    let mistake = |(field, description): (&String, &String)| Mistake {
        field: field.clone(),
        description: description.clone(),
    };
    Refusal {
        reason: reason.unwrap_or(Reason::Other(String::new())),
        mistakes: violations.iter().map(|each| mistake((&each.field, &each.description))).collect(),
        resource: details.resource_info().map(|info| info.resource_name.clone()).unwrap_or_default(),
        hint: metadata.remove("hint").unwrap_or_default(),
        metadata,
        status,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(no) => no.fmt(f),
            Self::Connect { address, source } => write!(f, "reach sextantd at {address}: {source}"),
            Self::Away(status) => write!(f, "sextantd is away: {}", status.message()),
            Self::Refused(refusal) => f.write_str(refusal.message()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Address(_) => None,
            Self::Connect { source, .. } => Some(source),
            Self::Away(status) => Some(status.as_ref()),
            Self::Refused(refusal) => Some(&refusal.status),
        }
    }
}

/// The I/O error at the bottom of a transport error, which alone says why.
pub(super) fn io_cause(error: &tonic::transport::Error) -> io::Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(errno) = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(errno);
        }
        source = cause.source();
    }
    // tonic's own words say only that it failed.
    let mut words = Vec::new();
    let mut next: Option<&dyn StdError> = Some(error);
    while let Some(cause) = next {
        words.push(cause.to_string());
        next = cause.source();
    }
    words.dedup();
    io::Error::other(words.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(code: Code, reason: &str, metadata: &[(&str, &str)]) -> ErrorAndDetails {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        (code, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
    }

    type ErrorAndDetails = (Code, ErrorDetails);

    fn read((code, details): ErrorAndDetails) -> Error {
        Error::from(Status::with_error_details(code, "said", details))
    }

    #[test]
    fn an_unreachable_shim_is_an_answer_and_a_daemon_that_ends_is_away() {
        assert!(matches!(Error::from(Status::unavailable("")), Error::Away(_)));
        assert!(matches!(read(with(Code::Unavailable, "STOPPING", &[])), Error::Away(_)));
        let shim = read(with(Code::Unavailable, "SHIM_UNREACHABLE", &[]));
        assert_eq!(shim.reason(), Some(&Reason::ShimUnreachable));
        assert_eq!(Error::from(Status::not_found("")).reason(), Some(&Reason::Other(String::new())));
    }

    #[test]
    fn details_are_read() {
        let (code, mut details) = with(
            Code::FailedPrecondition,
            "STEP_FAILED",
            &[("stage", "mount/3"), ("errno", "2"), ("hint", "make it")],
        );
        details.set_resource_info("container", "web", "", "");
        details.add_bad_request_violation("/mounts/3", "there is none");
        let Error::Refused(refusal) = read((code, details)) else { panic!("it is an answer") };
        assert_eq!((refusal.stage(), refusal.errno()), (Some("mount/3"), Some(2)));
        assert_eq!((refusal.hint.as_str(), refusal.resource.as_str()), ("make it", "web"));
        assert_eq!(
            refusal.mistakes,
            [Mistake { field: "/mounts/3".into(), description: "there is none".into() }]
        );
        assert_eq!((refusal.code(), refusal.message()), (code, "said"));
    }

    #[test]
    fn a_reason_of_another_domain_is_not_taken_for_ours() {
        let details = ErrorDetails::with_error_info("STEP_FAILED", "example.com", HashMap::new());
        let error = Error::from(Status::with_error_details(Code::Internal, "", details));
        assert_eq!(error.reason(), Some(&Reason::Other(String::new())));
        assert_eq!(read(with(Code::Internal, "NEW", &[])).reason(), Some(&Reason::Other("NEW".into())));
    }

    #[test]
    fn every_reason_of_the_documentation_is_known() {
        let text = include_str!("../../../docs/errors.md");
        let row = |line: &str| {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).skip(1);
            cells.next().zip(cells.next())
        };
        let is_code = |text: &str| text.len() > 4 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let rows = text.lines().filter_map(row).filter(|(reason, code)| is_code(reason) && is_code(code));
        let mut documented: Vec<(String, String)> = rows.collect();
        let name = |code: &Code| {
            let camel = format!("{code:?}");
            let snake = camel.chars().enumerate().flat_map(|(n, c)| {
                let gap = (n > 0 && c.is_uppercase()).then_some('_');
                gap.into_iter().chain([c.to_ascii_uppercase()])
            });
            snake.collect::<String>()
        };
        let mut known: Vec<(String, String)> =
            Reason::KNOWN.iter().map(|(reason, code)| (reason.to_string(), name(code))).collect();
        documented.sort();
        known.sort();
        assert_eq!(documented, known);
    }
}
