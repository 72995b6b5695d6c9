//! Broken bundles through the public command line: each is refused with its
//! own pointer and words, and leaves nothing. The table is the planner's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use serde::Deserialize;
use serde_json::{Value, json};
use sextant_integration::bundle::{remove, set};
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};
use std::path::Path;

/// A way to break the default bundle, and what has to be said about it.
#[derive(Deserialize)]
struct Broken {
    name: String,
    /// JSON pointers and the values that they get.
    #[serde(default)]
    set: Vec<(String, Value)>,
    /// JSON pointers of what is taken out.
    #[serde(default)]
    remove: Vec<String>,
    expect_pointer: String,
    #[serde(default)]
    expect_words: Vec<String>,
}

/// A file of the planner's tests.
fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/bundles").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).expect(name)
}

/// What is wrong with the refusal; `None` when it is as it should be.
fn check(base: &Value, broken: &Broken) -> Option<String> {
    let runtime = Runtime::new();
    let mut bundle = Bundle::new().edit(|config| *config = base.clone());
    for (pointer, value) in &broken.set {
        set(&mut bundle.config, pointer, value.clone());
    }
    for pointer in &broken.remove {
        remove(&mut bundle.config, pointer);
    }
    let id = unique("broken");
    let ran = runtime.create(&bundle, &id);
    let text = ran.stderr.to_lowercase();
    let missing: Vec<&String> = std::iter::once(&broken.expect_pointer)
        .chain(&broken.expect_words)
        .filter(|word| !text.contains(&word.to_lowercase()))
        .collect();
    let left = runtime.leftovers(&[&id]).find();
    if ran.code == 1 && missing.is_empty() && left.is_empty() {
        return None;
    }
    Some(format!("{}: exit {}, missing {missing:?}, left {left:?} in: {}", broken.name, ran.code, ran.stderr))
}

// proves: every rule has its own message
#[test]
fn every_broken_bundle_is_refused_with_its_place_and_leaves_nothing() {
    if skip_unless_root() {
        return;
    }
    let (base, table): (Value, Vec<Broken>) = (read("base.json"), read("broken.json"));
    assert!(table.len() >= 60, "only {} broken bundles", table.len());
    let problems: Vec<String> = table.iter().filter_map(|broken| check(&base, broken)).collect();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), table.len(), problems.join("\n"));
}

#[test]
fn no_broken_bundle_stands_twice() {
    let table: Vec<Broken> = read("broken.json");
    let mut names: Vec<&str> = table.iter().map(|b| b.name.as_str()).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "a name stands twice");
}

#[test]
fn all_mistakes_are_told_at_once() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new()
        .set("/process/cwd", json!("relative"))
        .set("/hostname", json!("x".repeat(65)))
        .set("/linux/namespaces/0/path", json!("relative/path"));
    let (runtime, id) = (Runtime::new(), unique("three"));
    let ran = runtime.create(&bundle, &id);
    ran.failed_with(&["/process/cwd", "/hostname", "/linux/namespaces/0/path"]);
    runtime.leftovers(&[&id]).assert_none();
}

#[test]
fn a_bundle_that_cannot_be_read() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let empty = sextant_integration::bundle::temp_dir();
    let create =
        |dir: &Path| runtime.call(["create".as_ref(), "--bundle".as_ref(), dir.as_os_str(), "x".as_ref()]);
    create(empty.path()).failed_with(&["config.json"]);
    for (text, words) in [("", "config.json"), ("{\"ociVersion\": 1", "line"), ("[]", "config.json")] {
        std::fs::write(empty.path().join("config.json"), text).unwrap();
        create(empty.path()).failed_with(&[words]);
    }
    create(Path::new("/no/such/bundle")).failed_with(&["/no/such/bundle"]);
    runtime.leftovers(&[]).assert_none();
}
