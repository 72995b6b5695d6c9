//! From a JSON value to the OCI types: what the spec tolerates and the types
//! do not is taken out first, and a value of a wrong type is reported with its
//! JSON pointer. Called by [`super::Bundle::parse`] only.

use super::problem;
use crate::plan::Problem;
use crate::plan::capabilities::bit_of;
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

/// More mistakes of form than this are not looked for.
const MAX_MISTAKES: usize = 64;

/// Takes out of `config` what must not make it fail:
/// nulls (absent, as every Go runtime reads them), unknown capabilities
/// (runtime-spec, "Linux Process": a warning), a missing `process.user` (root,
/// as in runc), spellings that the OCI types do not have, and `resources.pids` without a limit, which the OCI types
/// would read as the limit 0.
pub(super) fn normalize(mut config: Value, warnings: &mut Vec<Problem>) -> Value {
    drop_nulls(&mut config);
    if let Some(Value::Object(process)) = config.get_mut("process") {
        process.entry("user").or_insert_with(|| Value::Object(Map::new()));
        if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
            for (set, names) in sets {
                drop_unknown_capabilities(set, names, warnings);
            }
        }
        name_scheduler_flags(process);
        drop_blanks(process);
    }
    if let Some(Value::Object(resources)) = config.pointer_mut("/linux/resources")
        && resources.get("pids").is_some_and(|pids| pids.as_object().is_some_and(Map::is_empty))
    {
        resources.remove("pids");
    }
    config
}

/// The OCI types spell two flags in a way of their own.
fn name_scheduler_flags(process: &mut Map<String, Value>) {
    let flags = process.get_mut("scheduler").and_then(|s| s.get_mut("flags")).and_then(Value::as_array_mut);
    for flag in flags.into_iter().flatten() {
        match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => *flag = "SCHED_RESET_ON_FORK".into(),
            Some("SCHED_FLAG_DL_OVERRUN") => *flag = "SCHED_FLAG_D_L_OVERRUN".into(),
            _ => {}
        }
    }
}

/// Blanks in a list of CPUs, and empty lists: the OCI types refuse both.
fn drop_blanks(process: &mut Map<String, Value>) {
    let affinity = process.get_mut("execCPUAffinity").and_then(Value::as_object_mut);
    if let Some(lists) = affinity {
        for list in lists.values_mut() {
            if let Value::String(text) = list {
                text.retain(|c| c != ' ');
            }
        }
        lists.retain(|_, list| list != "");
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn drop_unknown_capabilities(set: &str, names: &mut Value, warnings: &mut Vec<Problem>) {
    let Value::Array(names) = names else { return };
    let mut index = 0;
    names.retain(|name| {
        let pointer = format!("/process/capabilities/{}/{index}", escape(set));
        index += 1;
        // Anything but a string is a mistake of form, and reported as such.
        let unknown = name.as_str().filter(|name| bit_of(name).is_none());
        if let Some(name) = unknown {
            warnings.push(problem(&pointer, format!("unknown capability {name:?} is left out")));
        }
        unknown.is_none()
    });
}

/// The spec of a normalized config.
///
/// # Errors
/// All values that have a wrong type, or are missing.
pub(super) fn deserialize(config: &Value) -> Result<Spec, Vec<Problem>> {
    // The path is tracked only when there is something to say.
    Spec::deserialize(config).map_err(|_| mistakes(config.clone()))
}

/// Finds one mistake after the other, each time without the value that was wrong.
fn mistakes(mut config: Value) -> Vec<Problem> {
    let mut found: Vec<Problem> = Vec::new();
    let mut cuts = Cuts::default();
    while found.len() < MAX_MISTAKES {
        let Err(error) = serde_path_to_error::deserialize::<_, Spec>(&config) else { break };
        let segments: Vec<&Segment> = error.path().iter().collect();
        let mistake = describe(cuts.original_pointer(&segments), &error.inner().to_string());
        // A required field that was cut out is missing now: not a second mistake.
        if !found.iter().any(|m| m.pointer == mistake.pointer) {
            found.push(mistake);
        }
        if !cuts.cut(&mut config, &segments) {
            break;
        }
    }
    found
}

/// `message` at `pointer`, which is extended by the field that is said to be missing.
fn describe(pointer: String, message: &str) -> Problem {
    match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        Some(field) => problem(&format!("{pointer}/{}", escape(field)), format!("{field} is required")),
        None => problem(&pointer, message),
    }
}

/// The elements that were taken out of lists, so that those behind them keep
/// the indices that the user knows.
#[derive(Default)]
struct Cuts(Vec<(String, usize)>);

impl Cuts {
    /// The JSON pointer of `segments` in the config as it was at first.
    fn original_pointer(&self, segments: &[&Segment]) -> String {
        segments.iter().fold(String::new(), |pointer, segment| {
            let token = match segment {
                Segment::Seq { index } => self.original_index(&pointer, *index).to_string(),
                other => escape(&name_of(other)),
            };
            format!("{pointer}/{token}")
        })
    }

    fn original_index(&self, list: &str, index: usize) -> usize {
        let mut cut: Vec<usize> = self.0.iter().filter(|(l, _)| l == list).map(|(_, i)| *i).collect();
        cut.sort_unstable();
        cut.into_iter().fold(index, |index, cut| if cut <= index { index + 1 } else { index })
    }

    /// Takes the value at `segments` out of `config`: the innermost element of a
    /// list that holds it, since a field of an element is often required, else
    /// the value itself. False when there is nothing to take.
    fn cut(&mut self, config: &mut Value, segments: &[&Segment]) -> bool {
        let element = segments.iter().rposition(|s| matches!(s, Segment::Seq { .. }));
        let last = element.or(segments.len().checked_sub(1));
        let Some((last, parents)) = last.and_then(|at| segments.get(..=at)).and_then(<[_]>::split_last)
        else {
            return false;
        };
        let parent = parents.iter().try_fold(config, |value, segment| match segment {
            Segment::Seq { index } => value.get_mut(*index),
            other => value.get_mut(name_of(other)),
        });
        match (parent, last) {
            (Some(Value::Array(list)), Segment::Seq { index }) if *index < list.len() => {
                let pointer = self.original_pointer(parents);
                let original = self.original_index(&pointer, *index);
                list.remove(*index);
                self.0.push((pointer, original));
                true
            }
            (Some(Value::Object(map)), other) => map.remove(&name_of(other)).is_some(),
            _ => false,
        }
    }
}

fn name_of(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => index.to_string(),
        Segment::Map { key } => key.clone(),
        Segment::Enum { variant } => variant.clone(),
        Segment::Unknown => "?".into(),
    }
}

/// One reference token of RFC 6901.
pub(crate) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}
