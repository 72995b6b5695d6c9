//! Properties of a config that the OCI types do not have. The spec wants them
//! ignored ("Extensibility"); a user who mistyped `maskedPaths` wants to know.

use super::form::escape;
use super::problem;
use crate::plan::Problem;
use oci_spec::runtime::Spec;
use serde_json::Value;

/// Warns of each property of `config` that `spec`, which was made of it, lost.
pub(super) fn report(config: &Value, spec: &Spec, warnings: &mut Vec<Problem>) {
    if let Ok(kept) = serde_json::to_value(spec) {
        compare(config, &kept, &mut String::new(), warnings);
    }
}

fn compare(config: &Value, kept: &Value, pointer: &mut String, warnings: &mut Vec<Problem>) {
    let length = pointer.len();
    match (config, kept) {
        (Value::Object(config), Value::Object(kept)) => {
            for (key, value) in config {
                pointer.push('/');
                pointer.push_str(&escape(key));
                match kept.get(key) {
                    Some(kept) => compare(value, kept, pointer, warnings),
                    None if says_nothing(value) => {}
                    None => warnings.push(problem(pointer, "unknown property, it has no effect")),
                }
                pointer.truncate(length);
            }
        }
        // A list that lost elements is reported by `form`; indices would be wrong here.
        (Value::Array(config), Value::Array(kept)) if config.len() == kept.len() => {
            for (index, (value, kept)) in config.iter().zip(kept).enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                compare(value, kept, pointer, warnings);
                pointer.truncate(length);
            }
        }
        _ => {}
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
