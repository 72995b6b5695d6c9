//! Broken bundles: each is refused at the right place, with words that say why.
//!
//! The table is `bundles/broken.json`; each of its entries changes
//! `bundles/base.json`, first by `set` (a JSON pointer and a value; missing
//! objects are made, `-` appends to a list), then by `remove`, in their order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use serde::Deserialize;
use serde_json::{Value, json};
use sextant_runtime::bundle::Bundle;
use sextant_runtime::plan::{Host, plan};
use std::collections::HashMap;
use std::path::Path;

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    set: Vec<(String, Value)>,
    #[serde(default)]
    remove: Vec<String>,
    expect_pointer: String,
    expect_words: Vec<String>,
}

/// A refusal: where, and the whole text.
struct Refusal {
    pointer: String,
    text: String,
}

fn base() -> Value {
    serde_json::from_str(include_str!("bundles/base.json")).unwrap()
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("bundles/broken.json")).unwrap()
}

fn config(case: &Case) -> Value {
    let mut config = base();
    for (pointer, value) in &case.set {
        set(&mut config, pointer, value.clone());
    }
    for pointer in &case.remove {
        remove(&mut config, pointer);
    }
    config
}

fn tokens(pointer: &str) -> (Vec<String>, String) {
    let mut tokens: Vec<String> =
        pointer.split('/').skip(1).map(|t| t.replace("~1", "/").replace("~0", "~")).collect();
    let last = tokens.pop().unwrap();
    (tokens, last)
}

fn set(config: &mut Value, pointer: &str, value: Value) {
    let (parents, last) = tokens(pointer);
    let parent = parents.iter().fold(config, |parent, token| match parent {
        Value::Array(list) => &mut list[token.parse::<usize>().unwrap()],
        other => other.as_object_mut().unwrap().entry(token.clone()).or_insert_with(|| json!({})),
    });
    match parent {
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
        other => {
            other.as_object_mut().unwrap().insert(last, value);
        }
    }
}

fn remove(config: &mut Value, pointer: &str) {
    let (parents, last) = tokens(pointer);
    let parent = parents.iter().fold(config, |parent, token| match parent {
        Value::Array(list) => &mut list[token.parse::<usize>().unwrap()],
        other => &mut other[token.as_str()],
    });
    match parent {
        Value::Array(list) => drop(list.remove(last.parse::<usize>().unwrap())),
        other => {
            other.as_object_mut().unwrap().remove(&last).unwrap_or_else(|| panic!("{pointer} is not there"));
        }
    }
}

/// What loading and planning say against a config.
fn refusals(config: &Value) -> Vec<Refusal> {
    let json = serde_json::to_vec(config).unwrap();
    let bundle = match Bundle::parse(Path::new("/bundle"), &json) {
        Ok(bundle) => bundle,
        Err(failure) => {
            return vec![Refusal { pointer: failure.pointer.clone(), text: failure.to_string() }];
        }
    };
    let problems = plan(&bundle, "x", &Host::sample()).err().unwrap_or_default();
    problems.into_iter().map(|p| Refusal { text: p.to_string(), pointer: p.pointer }).collect()
}

#[test]
fn the_untouched_base_plans_without_a_warning() {
    let bundle = Bundle::parse(Path::new("/bundle"), &serde_json::to_vec(&base()).unwrap()).unwrap();
    let plan = plan(&bundle, "x", &Host::sample()).unwrap();
    assert_eq!(plan.warnings, []);
}

#[test]
fn each_broken_bundle_is_refused_at_its_place() {
    let cases = cases();
    assert!(cases.len() >= 60);
    for case in &cases {
        let found = refusals(&config(case));
        let all: Vec<&str> = found.iter().map(|r| r.text.as_str()).collect();
        let here: Vec<&Refusal> = found.iter().filter(|r| r.pointer == case.expect_pointer).collect();
        assert!(
            here.iter().any(|r| case.expect_words.iter().all(|word| r.text.contains(word))),
            "{}: expected {} {:?}, found {all:#?}",
            case.name,
            case.expect_pointer,
            case.expect_words,
        );
        assert_eq!(found.len(), 1, "{}: one mistake gives one refusal: {all:#?}", case.name);
    }
}

#[test]
fn each_has_a_message_of_its_own() {
    let mut seen: HashMap<String, String> = HashMap::new();
    for case in cases() {
        for refusal in refusals(&config(&case)) {
            if let Some(other) = seen.insert(refusal.text.clone(), case.name.clone()) {
                assert!(is_same_mistake(&other, &case.name), "{other} and {}: {}", case.name, refusal.text);
            }
        }
    }
}

/// Two ways to the same mistake may end in the same words.
fn is_same_mistake(one: &str, other: &str) -> bool {
    [("args missing", "args empty"), ("no mount namespace", "no linux section")].contains(&(one, other))
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let mut config = base();
    let mistakes = [
        ("/ociVersion", json!("9.0.0")),
        ("/process/cwd", json!("x")),
        ("/process/args", json!([])),
        ("/process/user/uid", json!(70_000)),
        ("/process/oomScoreAdj", json!(5000)),
        ("/linux/uidMappings/0/hostID", json!(4_294_967_290_u32)),
        ("/linux/rootfsPropagation", json!("x")),
        ("/mounts/0/destination", json!("/proc/sys")),
        ("/mounts/1/destination", json!("/../x")),
        ("/hooks/poststop", json!([{"path": "x"}])),
        ("/linux/sysctl", json!({"vm.x": "1", "kernel.y": "2"})),
        ("/linux/maskedPaths/0", json!("x")),
        ("/linux/intelRdt", json!({"closID": "."})),
    ];
    for (pointer, value) in mistakes {
        set(&mut config, pointer, value);
    }
    let found = refusals(&config);
    for pointer in [
        "/ociVersion",
        "/process/cwd",
        "/process/args",
        "/process/user/uid",
        "/process/oomScoreAdj",
        "/linux/uidMappings/0/hostID",
        "/linux/rootfsPropagation",
        "/mounts/0/destination",
        "/mounts/1/destination",
        "/hooks/poststop/0/path",
        "/linux/sysctl/vm.x",
        "/linux/sysctl/kernel.y",
        "/linux/maskedPaths/0",
        "/linux/intelRdt/closID",
    ] {
        assert!(found.iter().any(|r| r.pointer == pointer), "{pointer} is not reported");
    }
    assert_eq!(found.len(), 14);
}

#[test]
fn all_mistakes_of_form_are_reported_at_once() {
    let mut config = base();
    set(&mut config, "/process/user/uid", json!("root"));
    set(&mut config, "/linux/namespaces/1/type", json!("a"));
    set(&mut config, "/linux/namespaces/3/type", json!("b"));
    set(&mut config, "/process/cwd", json!(7));
    let found = refusals(&config);
    assert_eq!(found.len(), 1, "the form is judged before the sense");
    for pointer in
        ["/process/user/uid", "/linux/namespaces/1/type", "/linux/namespaces/3/type", "/process/cwd"]
    {
        assert_eq!(found[0].text.matches(pointer).count(), 1, "{pointer}: {}", found[0].text);
    }
}
