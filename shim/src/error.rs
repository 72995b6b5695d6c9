//! The error of the shim's own work: what was attempted, because of what, and
//! what to do about it. It is printed once, in `main`, or answered once, in
//! [`crate::service`]. What the runtime reports is a
//! [`sextant_runtime::contract::report::Failure`] instead.

use std::fmt;

/// What the shim's own functions return.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A failed piece of the shim's own work.
#[derive(Debug)]
pub(crate) struct Error {
    attempted: String,
    because: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: &'static str,
}

impl Error {
    /// `attempted` failed because of `because`: an error, or a sentence.
    pub(crate) fn new(
        attempted: impl Into<String>,
        because: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { attempted: attempted.into(), because: Some(because.into()), hint: "" }
    }

    /// The same error with a remedy.
    pub(crate) fn hint(self, hint: &'static str) -> Self {
        Self { hint, ..self }
    }

    /// The whole as one line: `attempted: because (hint)`.
    pub(crate) fn line(&self) -> String {
        let mut line = self.attempted.clone();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            line.push_str(": ");
            line.push_str(&error.to_string());
            source = error.source();
        }
        if !self.hint.is_empty() {
            line.push_str(&format!(" ({})", self.hint));
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempted)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.because.as_deref().map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// Adds what was attempted to a result of the system.
pub(crate) trait Attempted<T> {
    /// Names what was attempted when this failed.
    fn attempted(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> Attempted<T> for std::result::Result<T, E> {
    fn attempted(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::new(what(), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_why_and_what_to_do_once() {
        let inner = Error::new("open /x", std::io::Error::from_raw_os_error(2));
        let line = Error::new("start", inner).hint("make it").line();
        assert_eq!(line, "start: open /x: No such file or directory (os error 2) (make it)");
    }
}
