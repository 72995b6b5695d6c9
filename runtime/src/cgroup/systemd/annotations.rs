//! Annotations `org.systemd.property.NAME`: properties of the container's unit,
//! their values as GVariant text, as runc takes them.
//!
//! Unlike runc, a list says which. An annotation may come from an image or from
//! whoever may start a container, and most properties of a unit reach beyond it:
//! `Conflicts` stops units of the host, `SuccessAction` reboots it, `Slice` and
//! `MemoryMax` lift limits (rule R5). The list has what concerns the unit alone;
//! limits stand in `/linux/resources`. All else is refused, not dropped: who asked
//! for it learns that he does not get it.

use super::wire::{Property, Value};
use crate::cgroup::resources::Builder;
use std::collections::HashMap;

const PREFIX: &str = "org.systemd.property.";

/// What a property's value may be.
#[derive(Clone, Copy, Debug)]
enum Form {
    Bool,
    /// Microseconds; under the name that ends in `Sec` also seconds.
    Time,
    OneOf(&'static [&'static str]),
    Units,
}

const ALLOWED: [(&str, Form); 6] = [
    ("After", Form::Units),
    ("CollectMode", Form::OneOf(&["inactive", "inactive-or-failed"])),
    ("DefaultDependencies", Form::Bool),
    ("OOMPolicy", Form::OneOf(&["continue", "stop", "kill"])),
    ("RuntimeMaxUSec", Form::Time),
    ("TimeoutStopUSec", Form::Time),
];

/// Most names in a list.
const MOST: usize = 64;

/// The properties that the annotations ask for, sorted by name.
pub(super) fn properties(annotations: &HashMap<String, String>, builder: &mut Builder<'_>) -> Vec<Property> {
    let mut asked: Vec<_> =
        annotations.iter().filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text))).collect();
    asked.sort_unstable();
    let mut properties: Vec<Property> = Vec::new();
    for (name, text) in asked {
        let pointer = format!("/annotations/{PREFIX}{}", crate::bundle::escape(name));
        match property(name, text) {
            Ok(one) if properties.iter().any(|(other, _)| *other == one.0) => {
                builder.refuse(&pointer, format!("{} is set twice, in seconds and in microseconds", one.0));
            }
            Ok(one) => properties.push(one),
            Err((message, hint)) => builder.refuse_hint(&pointer, message, &hint),
        }
    }
    properties
}

fn property(name: &str, text: &str) -> Result<Property, (String, String)> {
    let seconds = name.ends_with("Sec") && !name.ends_with("USec");
    let full = if seconds { format!("{}USec", name.trim_end_matches("Sec")) } else { name.to_owned() };
    let Some((known, form)) = ALLOWED.iter().find(|(allowed, _)| *allowed == full) else {
        let names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
        let hint = format!("it may set {}; limits stand in /linux/resources", names.join(", "));
        return Err((format!("an annotation may not set the systemd property {name:?}"), hint));
    };
    let (value, example) = match form {
        Form::Bool => (boolean(text), "true".to_owned()),
        Form::Time if seconds => {
            (number(text).and_then(|n| n.checked_mul(1_000_000)).map(Value::U64), "uint64 90".into())
        }
        Form::Time => (number(text).map(Value::U64), "uint64 90000000".into()),
        Form::OneOf(words) => {
            let word = string(text).filter(|word| words.contains(&word.as_str()));
            (word.map(Value::Text), format!("'{}'", words.join("' or '")))
        }
        Form::Units => (units(text).map(Value::Texts), "['network.target']".into()),
    };
    value.map(|value| (*known, value)).ok_or_else(|| {
        (format!("{text:?} is not a value of {name}"), format!("a value in GVariant text: {example}"))
    })
}

fn boolean(text: &str) -> Option<Value> {
    match text.trim() {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => None,
    }
}

/// `uint64 5` or `@t 5`. A number without a type is an int32, which systemd does not
/// take for a time.
fn number(text: &str) -> Option<u64> {
    let (_kind, digits) = text.trim().split_once(' ').filter(|(k, _)| matches!(*k, "uint64" | "@t"))?;
    let digits = digits.trim();
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// `'text'` or `"text"`. None of the values has anything to escape.
fn string(text: &str) -> Option<String> {
    let text = text.trim();
    let inner = ['\'', '"'].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q))?;
    let plain = |c: char| !c.is_control() && !matches!(c, '\'' | '"' | '\\');
    (!inner.is_empty() && inner.chars().all(plain)).then(|| inner.to_owned())
}

/// `['a.service', 'b.target']`
fn units(text: &str) -> Option<Vec<String>> {
    let list = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let names: Vec<String> = list.split(',').map(string).collect::<Option<_>>()?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '@');
    let is_unit = |name: &String| name.contains('.') && name.len() < 256 && name.chars().all(good);
    (names.len() <= MOST && names.iter().all(is_unit)).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::plan_on;
    use crate::cgroup::systemd::{Instance, name};
    use crate::plan::Problem;
    use serde_json::json;

    fn planned(name: &str, text: &str) -> Result<Vec<Property>, Vec<Problem>> {
        let key = format!("{PREFIX}{name}");
        let spec = json!({"ociVersion": "1.2.0", "annotations": {key: text}, "linux": {}});
        let host = name::sample(Instance::System, 252);
        let plan = plan_on(&serde_json::from_value(spec).unwrap(), "c", &host, &mut Vec::new());
        plan.map(|plan| plan.unit.unwrap().asked)
    }

    #[test]
    fn values_of_the_list() {
        for (name, text, expected) in [
            (
                "CollectMode",
                "'inactive-or-failed'",
                ("CollectMode", Value::Text("inactive-or-failed".into())),
            ),
            ("TimeoutStopUSec", "uint64 123456789", ("TimeoutStopUSec", Value::U64(123_456_789))),
            ("TimeoutStopSec", "@t 90", ("TimeoutStopUSec", Value::U64(90_000_000))),
            ("DefaultDependencies", "true", ("DefaultDependencies", Value::Bool(true))),
            (
                "After",
                "['a.service', \"b.target\"]",
                ("After", Value::Texts(vec!["a.service".into(), "b.target".into()])),
            ),
        ] {
            assert_eq!(planned(name, text).unwrap(), [expected], "{name}");
        }
    }

    // proves: annotations cannot set arbitrary properties of systemd
    #[test]
    fn what_reaches_beyond_the_unit_is_refused() {
        for name in [
            "Conflicts",
            "OnFailure",
            "SuccessAction",
            "FailureAction",
            "Requires",
            "Slice",
            "MemoryMax",
            "TasksMax",
            "DeviceAllow",
            "DevicePolicy",
            "Delegate",
            "PIDs",
            "ExecStart",
            "User",
            "",
            "collectmode",
            "Sec",
            "USec",
        ] {
            let problems = planned(name, "'x'").unwrap_err();
            assert_eq!(problems[0].pointer, format!("/annotations/{PREFIX}{name}"));
            assert!(problems[0].hint.contains("/linux/resources"), "{}", problems[0]);
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for (name, text) in [
            ("CollectMode", "inactive"),
            ("CollectMode", "'never'"),
            ("CollectMode", "'inactive"),
            ("TimeoutStopUSec", "5"),
            ("TimeoutStopUSec", "int32 5"),
            ("TimeoutStopUSec", "uint64 -5"),
            ("TimeoutStopUSec", "uint64 99999999999999999999"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("DefaultDependencies", "1"),
            ("After", "'a.service'"),
            ("After", "['a.service'"),
            ("After", "['a b.service']"),
            ("After", "['a\nb.service']"),
            ("After", "[]"),
        ] {
            let problems = planned(name, text).unwrap_err();
            assert!(problems[0].message.contains("is not a value of"), "{name} {text}: {}", problems[0]);
        }
    }
}
