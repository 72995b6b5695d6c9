//! What became of a config's values in the OCI types. A property that they do
//! not have is ignored, as the spec wants it ("Extensibility"), but a user who
//! mistyped `maskedPaths` is told. A list where an object belongs would be read
//! as the object's fields in their order, so it is a mistake.

use super::form::escape;
use super::problem;
use crate::plan::Problem;
use oci_spec::runtime::Spec;
use serde_json::Value;

/// Compares `config` with `spec`, which was made of it: warns of each property
/// that was lost, and gives back the mistakes.
pub(super) fn report(config: &Value, spec: &Spec, warnings: &mut Vec<Problem>) -> Vec<Problem> {
    let mut comparison = Comparison { pointer: String::new(), warnings, mistakes: Vec::new() };
    if let Ok(kept) = serde_json::to_value(spec) {
        comparison.compare(config, &kept);
    }
    comparison.mistakes
}

struct Comparison<'a> {
    pointer: String,
    warnings: &'a mut Vec<Problem>,
    mistakes: Vec<Problem>,
}

impl Comparison<'_> {
    fn compare(&mut self, config: &Value, kept: &Value) {
        match (config, kept) {
            (Value::Object(config), Value::Object(kept)) => {
                for (key, value) in config {
                    self.at(key, |this| match kept.get(key) {
                        Some(kept) => this.compare(value, kept),
                        None if says_nothing(value) => {}
                        None => {
                            this.warnings.push(problem(&this.pointer, "unknown property, it has no effect"));
                        }
                    });
                }
            }
            (Value::Array(config), Value::Array(kept)) => {
                for (index, (value, kept)) in config.iter().zip(kept).enumerate() {
                    self.at(&index.to_string(), |this| this.compare(value, kept));
                }
            }
            (Value::Array(_), Value::Object(_)) => {
                self.mistakes.push(problem(&self.pointer, "an object belongs here, not a list"));
            }
            _ => {}
        }
    }

    fn at(&mut self, token: &str, then: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escape(token));
        then(self);
        self.pointer.truncate(length);
    }
}

/// Whether a property with this value means the same as its absence.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    }
}
