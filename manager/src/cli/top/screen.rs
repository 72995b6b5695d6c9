//! What is on the screen, and the bytes that make it something else: only lines that have changed are sent.

use std::fmt::Write;

/// The lines of the screen.
#[derive(Debug, Default)]
pub struct Screen {
    /// As they were sent; empty where the screen is not ours, or has another size now.
    lines: Vec<String>,
}

impl Screen {
    /// From here on nothing is known of what is on the screen.
    pub fn forget(&mut self) {
        self.lines.clear();
    }

    /// The bytes that show `lines`.
    pub fn show(&mut self, lines: Vec<String>) -> String {
        let mut bytes = String::new();
        if self.lines.len() != lines.len() {
            bytes.push_str("\x1b[2J");
            self.lines = vec![String::new(); lines.len()];
        }
        for (row, (before, line)) in self.lines.iter().zip(&lines).enumerate() {
            if before != line {
                // Erased first, for a line may reach the last column, where the cursor waits.
                write!(bytes, "\x1b[{};1H\x1b[2K{line}", row + 1).unwrap_or_default();
            }
        }
        self.lines = lines;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_sent() {
        let mut screen = Screen::default();
        let lines = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        assert_eq!(screen.show(lines(["a", "b"])), "\x1b[2J\x1b[1;1H\x1b[2Ka\x1b[2;1H\x1b[2Kb");
        assert_eq!(screen.show(lines(["a", "c"])), "\x1b[2;1H\x1b[2Kc");
        assert_eq!(screen.show(lines(["a", "c"])), "");
        screen.forget();
        assert!(screen.show(lines(["a", "c"])).starts_with("\x1b[2J"));
        assert!(screen.show(vec!["a".into()]).starts_with("\x1b[2J"), "another size");
    }
}
