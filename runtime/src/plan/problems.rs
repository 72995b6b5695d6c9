//! Collecting mistakes and warnings, so that a config is judged to its end.

use super::Problem;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    mistakes: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// Begins with what was found before.
    pub(super) fn new(warnings: Vec<Problem>) -> Self {
        Self { mistakes: Vec::new(), warnings }
    }

    /// The config is refused because of `message`.
    pub(super) fn refuse(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.refuse_hint(pointer, message, "");
    }

    /// As [`Problems::refuse`], with a remedy.
    pub(super) fn refuse_hint(
        &mut self,
        pointer: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (pointer, message, hint) = (pointer.into(), message.into(), hint.into());
        self.mistakes.push(Problem { pointer, message, hint });
    }

    /// Something has no effect, which is said and does no harm.
    pub(super) fn warn(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Problem { pointer: pointer.into(), message: message.into(), hint: String::new() });
    }

    /// The result of a part that collects its own mistakes and warnings.
    pub(super) fn absorb<T: Default>(
        &mut self,
        part: impl FnOnce(&mut Vec<Problem>) -> Result<T, Vec<Problem>>,
    ) -> T {
        part(&mut self.warnings).unwrap_or_else(|mistakes| {
            self.mistakes.extend(mistakes);
            T::default()
        })
    }

    /// The warnings when there was no mistake, else the mistakes.
    pub(super) fn finish(self) -> Result<Vec<Problem>, Vec<Problem>> {
        if self.mistakes.is_empty() { Ok(self.warnings) } else { Err(self.mistakes) }
    }

    #[cfg(test)]
    pub(super) fn mistakes(&self) -> Vec<String> {
        self.mistakes.iter().map(ToString::to_string).collect()
    }

    #[cfg(test)]
    pub(super) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(ToString::to_string).collect()
    }
}
