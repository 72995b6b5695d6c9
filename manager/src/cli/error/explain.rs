//! Why a request failed, in words: the daemon's status and its google.rpc
//! details (ErrorInfo, BadRequest), or the reason that there is no daemon.
//! Pure; printing is up to [`super::Report`].

use crate::cli::args::DEFAULT_ADDRESS;
use crate::cli::client::Address;
use nix::errno::Errno;
use std::error::Error as _;
use std::io;
use tonic::{Code, Status};
use tonic_types::{FieldViolation, StatusExt};

/// The parts of an explanation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Why {
    /// Because of what.
    pub(super) because: String,
    /// Key and value, each on a line of its own.
    pub(super) details: Vec<(String, String)>,
    /// What to do about it; may be empty.
    pub(super) hint: String,
}

/// What the daemon's answer says.
pub(super) fn status(status: &Status) -> Why {
    let mut why = Why { because: message(status), ..Why::default() };
    if let Some(info) = status.get_details_error_info() {
        let get = |key: &str| info.metadata.get(key).map(String::as_str).filter(|v| !v.is_empty());
        if let Some(hint) = get("hint") {
            why.because = why.because.replace(&format!(" (hint: {hint})"), "");
            why.hint = hint.to_owned();
        }
        for key in ["stage", "pointer", "syscall", "object"] {
            if let Some(value) = get(key) {
                why.add(key, value);
            }
        }
        if let Some(errno) = get("errno").and_then(|errno| errno.parse().ok()).filter(|n| *n != 0) {
            let errno = Errno::from_raw(errno);
            if !why.because.contains(&format!("{errno:?}")) {
                why.add("errno", &format!("{errno:?} ({})", errno.desc()));
            }
        }
    }
    let violations = status.get_details_bad_request().map(|request| request.field_violations);
    why.add_violations(&violations.unwrap_or_default());
    if why.hint.is_empty() {
        why.hint = general_hint(status).to_owned();
    }
    why
}

impl Why {
    /// Adds a detail, unless the sentence before it has it already.
    fn add(&mut self, key: &str, value: &str) {
        if !self.because.contains(value) {
            self.details.push((key.to_owned(), value.to_owned()));
        }
    }

    /// A line for each mistake of a request, in place of their list in the
    /// daemon's sentence; a single one stays there.
    fn add_violations(&mut self, violations: &[FieldViolation]) {
        if let [FieldViolation { field, description, .. }] = violations {
            let (text, hint) = split_hint(description);
            if self.because.contains(field.as_str()) && self.because.contains(text) {
                if self.hint.is_empty() {
                    self.hint = hint.to_owned();
                }
                return;
            }
        }
        let list = violations.first().and_then(|first| self.because.find(&format!(": {}: ", first.field)));
        if let Some(list) = list {
            self.because.truncate(list);
            self.because += &format!(": {} mistakes", violations.len());
        }
        self.details.extend(violations.iter().map(|v| (v.field.clone(), v.description.clone())));
    }
}

/// `text (hint: hint)` in its two parts.
fn split_hint(description: &str) -> (&str, &str) {
    let parts = description.strip_suffix(')').and_then(|whole| whole.split_once(" (hint: "));
    parts.unwrap_or((description, ""))
}

/// The status's message; that of its innermost cause when the transport failed.
fn message(status: &Status) -> String {
    let mut source = status.source();
    let mut innermost = None;
    while let Some(cause) = source {
        innermost = Some(cause.to_string());
        source = cause.source();
    }
    match innermost {
        Some(cause) => format!("the connection to sextantd broke: {cause}"),
        None if status.message().is_empty() => status.code().description().to_owned(),
        None => status.message().to_owned(),
    }
}

/// What to do about a kind of failure when the daemon gave no hint.
fn general_hint(status: &Status) -> &'static str {
    match status.code() {
        Code::Unimplemented => "sextant and sextantd are of different versions; see sextant info",
        _ if status.source().is_some() => {
            "containers live on without sextantd; start it again and see sextant ps -a"
        }
        _ => "",
    }
}

/// Why nobody answers at `address`.
pub(super) fn connect(address: &Address, source: &io::Error) -> Why {
    let flag = match address.to_string() {
        default if default == DEFAULT_ADDRESS => String::new(),
        other => format!(" --listen {other}"),
    };
    let (because, hint) = match source.kind() {
        io::ErrorKind::NotFound => ("there is no such socket", format!("start the daemon: sextantd{flag}")),
        io::ErrorKind::ConnectionRefused => {
            ("nobody listens on the socket", format!("start the daemon: sextantd{flag}"))
        }
        io::ErrorKind::PermissionDenied => (
            "permission denied",
            "the socket is its owner's; run sextant as the user that started sextantd, or name a group of \
             yours when starting it (--group)"
                .to_owned(),
        ),
        _ => return Why { because: format!("{address}: {source}"), ..Why::default() },
    };
    Why { because: format!("{address}: {because}"), hint, ..Why::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    fn lines(why: &Why) -> Vec<String> {
        why.details.iter().map(|(key, value)| format!("{key}: {value}")).collect()
    }

    #[test]
    fn details_of_a_failed_stage_are_shown_once() {
        let metadata = [
            ("stage", "mount/3"),
            ("pointer", "/mounts/3"),
            ("syscall", "fsopen(\"nofs\")"),
            ("errno", "19"),
            ("object", ""),
            ("hint", "load it"),
        ];
        let metadata: Vec<(String, String)> = metadata.map(|(k, v)| (k.into(), v.into())).into();
        let mut details = ErrorDetails::new();
        details.set_error_info(
            "STAGE_FAILED",
            "sextant",
            metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
        );
        let whole = "/mounts/3: mount /x: fsopen(\"nofs\"): ENODEV (No such device) (hint: load it)";
        let why = status(&Status::with_error_details(Code::Internal, whole, details.clone()));
        assert_eq!(why.because, "/mounts/3: mount /x: fsopen(\"nofs\"): ENODEV (No such device)");
        assert_eq!((lines(&why), why.hint.as_str()), (vec!["stage: mount/3".into()], "load it"));

        let why = status(&Status::with_error_details(Code::Internal, "mount /x", details));
        assert_eq!(
            lines(&why),
            [
                "stage: mount/3",
                "pointer: /mounts/3",
                "syscall: fsopen(\"nofs\")",
                "errno: ENODEV (No such device)"
            ]
        );
    }

    #[test]
    fn each_mistake_of_a_request_has_a_line() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("/process/cwd", "is not absolute");
        details.add_bad_request_violation("/root/path", "does not exist");
        let why =
            status(&Status::with_error_details(Code::InvalidArgument, "the bundle is refused", details));
        assert_eq!(lines(&why), ["/process/cwd: is not absolute", "/root/path: does not exist"]);
    }

    #[test]
    fn mistakes_are_not_said_twice() {
        let refused = |message: &str, mistakes: &[(&str, &str)]| {
            let mut details = ErrorDetails::new();
            for (field, description) in mistakes {
                details.add_bad_request_violation(*field, *description);
            }
            status(&Status::with_error_details(Code::InvalidArgument, message, details))
        };
        let why = refused("create it: rootfs.cwd: not absolute", &[("rootfs.cwd", "not absolute (hint: /)")]);
        assert_eq!((why.because.as_str(), why.hint.as_str()), ("create it: rootfs.cwd: not absolute", "/"));
        assert!(why.details.is_empty());
        let why = refused("create it: /a: x; /b: y", &[("/a", "x"), ("/b", "y (hint: z)")]);
        assert_eq!(why.because, "create it: 2 mistakes");
        assert_eq!(lines(&why), ["/a: x", "/b: y (hint: z)"]);
    }

    #[test]
    fn a_status_without_words_is_explained_by_its_code() {
        assert_eq!(status(&Status::new(Code::NotFound, "")).because, Code::NotFound.description());
        let old = status(&Status::unimplemented("no such call"));
        assert!(old.hint.contains("different versions"));
    }

    #[test]
    fn a_missing_daemon_can_be_started_with_the_hint() {
        let address: Address = "unix:/tmp/x.sock".parse().unwrap();
        let why = connect(&address, &io::ErrorKind::NotFound.into());
        assert_eq!(why.because, "unix:/tmp/x.sock: there is no such socket");
        assert_eq!(why.hint, "start the daemon: sextantd --listen unix:/tmp/x.sock");
        let default: Address = DEFAULT_ADDRESS.parse().unwrap();
        assert_eq!(
            connect(&default, &io::ErrorKind::ConnectionRefused.into()).hint,
            "start the daemon: sextantd"
        );
        assert!(connect(&default, &io::ErrorKind::PermissionDenied.into()).hint.contains("run sextant as"));
    }
}
