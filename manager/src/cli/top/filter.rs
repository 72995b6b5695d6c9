//! Which rows are shown: those whose name, command, state or sandbox has a text, or whose labels are so.

use super::row::Row;
use crate::cli::parse::LabelSelector;
use crate::selector::Selector;

/// A filter as it was typed, understood.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// As typed.
    pub text: String,
    /// What is wrong with it.
    pub wrong: Option<String>,
    means: Means,
}

#[derive(Clone, Debug, Default)]
enum Means {
    #[default]
    All,
    Text(String),
    Label(LabelSelector),
    Selector(Selector),
}

impl Filter {
    /// Of a text: `label=KEY[=VALUE]` as `ps -F`, a selector as `ps -l` where it has `=` or `!` or an `in`,
    /// else a part of what is shown.
    pub fn new(text: &str) -> Self {
        let trimmed = text.trim();
        let selects = trimmed.contains(['=', '!']) || trimmed.contains(" in ") || trimmed.contains(" notin ");
        let (means, wrong) = match () {
            () if trimmed.is_empty() => (Means::All, None),
            () if trimmed.starts_with("label=") => match trimmed.parse() {
                Ok(label) => (Means::Label(label), None),
                Err(wrong) => (Means::All, Some(wrong)),
            },
            () if selects => match Selector::parse(trimmed) {
                Ok(selector) => (Means::Selector(selector), None),
                Err(wrong) => (Means::All, Some(wrong)),
            },
            () => (Means::Text(trimmed.to_lowercase()), None),
        };
        Self { text: text.to_owned(), wrong, means }
    }

    /// Whether the row is shown.
    pub fn takes(&self, row: &Row) -> bool {
        match &self.means {
            Means::All => true,
            Means::Text(text) => [row.id.as_str(), &row.command, &row.status(), &row.sandbox]
                .iter()
                .any(|shown| shown.to_lowercase().contains(text)),
            Means::Label(LabelSelector { key, value }) => {
                row.labels.get(key).is_some_and(|found| value.is_empty() || found == value)
            }
            Means::Selector(selector) => selector.matches(&row.labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_labels() {
        let mut row = Row::unknown("Web-1");
        row.command = "/bin/HTTPD -f".into();
        row.labels.insert("app".into(), "web".into());
        for (text, takes) in [
            ("", true),
            ("web", true),
            ("httpd", true),
            ("creating", true),
            ("db", false),
            ("label=app", true),
            ("label=app=db", false),
            ("app=web", true),
            ("app in (x, web)", true),
            ("!app", false),
            ("app!=web", false),
        ] {
            assert_eq!(Filter::new(text).takes(&row), takes, "{text:?}");
        }
        let wrong = Filter::new("a=(");
        assert!(wrong.wrong.is_some() && wrong.takes(&row), "what makes no sense hides nothing");
    }
}
