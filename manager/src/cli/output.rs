//! What goes to the terminal: texts, JSON documents, and colours where there
//! is somebody to see them. Layout is in [`super::table`].

use super::error::Error;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// With SGR sequences (ECMA-48).
    Colours,
    /// As they are.
    Plain,
}

/// The few colours in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Something failed.
    Red,
    /// It is as it should be.
    Green,
    /// Between two states.
    Yellow,
    /// A heading.
    Bold,
    /// Less important.
    Dim,
}

impl Paint {
    /// Colours on a terminal, unless `NO_COLOR` is set to something or the
    /// terminal calls itself dumb.
    pub fn detect(is_terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if is_terminal && !set("NO_COLOR") && !dumb { Self::Colours } else { Self::Plain }
    }

    /// Colours for our standard output.
    pub fn stdout() -> Self {
        Self::detect(io::stdout().is_terminal())
    }

    /// `text` in `colour`.
    pub fn colour(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Bold => 1,
            Colour::Dim => 2,
        };
        match self {
            Self::Colours if !text.is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Colours | Self::Plain => text.to_owned(),
        }
    }
}

/// Writes `text` to standard output at once.
///
/// # Errors
/// [`Error::OutputClosed`] when nobody reads it any more; else what write(2) said.
pub fn print(text: &str) -> Result<(), Error> {
    write_all(io::stdout().lock(), text.as_bytes())
}

/// Writes `value` as one line of JSON.
///
/// # Errors
/// As [`print`].
pub fn print_json_line<T: Serialize>(value: &T) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(Error::encode)?;
    print(&(text + "\n"))
}

/// Writes `value` as one indented JSON document.
///
/// # Errors
/// As [`print`].
pub fn print_json<T: Serialize>(value: &T) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(Error::encode)?;
    print(&(text + "\n"))
}

/// Writes `bytes` to `to` and flushes it.
///
/// # Errors
/// As [`print`].
pub fn write_all(mut to: impl Write, bytes: &[u8]) -> Result<(), Error> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(Error::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Paint::Plain.colour(Colour::Red, "x"), "x");
        assert_eq!(Paint::Colours.colour(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Paint::Colours.colour(Colour::Red, ""), "");
        assert_eq!(Paint::detect(false), Paint::Plain);
    }
}
