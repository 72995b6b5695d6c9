//! The rules of the workspace that no compiler checks: who may import whom,
//! where `unsafe` and wire types may stand, and how files begin. Reads the
//! sources and `cargo metadata`; builds and runs nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates, each with those of ours it may depend on outside its tests.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("sextant-proto", &[]),
    ("sextant-runtime", &[]),
    ("sextant-shim", &["sextant-proto", "sextant-runtime"]),
    ("sextant-manager", &["sextant-proto", "sextant-runtime"]),
    ("sextant-integration", &["sextant-proto"]),
    ("sextant-fuzz", &["sextant-proto", "sextant-runtime"]),
];

/// Directories, each with the modules of `sextant_runtime` that its sources may
/// name; the first that fits counts. A fuzz target calls what parses directly.
const RUNTIME_MODULES: &[(&str, &[&str])] = &[
    ("shim/src", &["contract"]),
    ("manager/src", &["contract", "plan", "bundle", "observe"]),
    ("integration/fuzz", &[""]),
    ("integration", &["contract"]),
];

/// Where `sextant_proto` may be named in the shim and the manager: the faces
/// that decode and encode, what talks to or reads the journal of a shim, and
/// the two places that put services on a socket.
const WIRE_PLACES: &[&str] = &[
    "manager/src/api",
    "manager/src/cri",
    "manager/src/cli",
    "manager/src/shims",
    "manager/src/stress/target",
    "manager/src/bin/sextant.rs",
    "manager/src/daemon/serve.rs",
    "manager/src/faults.rs",
    "shim/src/faults.rs",
    "shim/src/service",
    "shim/src/journal",
    "shim/src/main.rs",
];

/// Crates that bring a runtime for asynchronous code.
const ASYNC: &[&str] = &["tokio", "tonic", "async-std", "smol", "futures-executor", "hyper", "mio"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".into()])
        .exec()
        .unwrap()
}

/// Every Rust file below the crates but this one, relative to the workspace, with its text.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut dirs: Vec<PathBuf> =
        ["proto", "runtime", "shim", "manager", "integration"].iter().map(|d| root.join(d)).collect();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                if entry.file_name() != "target" {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with(file!()) {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no source found");
    found
}

/// The text without comments, line by line, with line numbers from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).enumerate().map(|(n, line)| (n + 1, line))
}

/// Whether `word` stands in `line` as a whole word outside string literals.
fn has_word(line: &str, word: &str) -> bool {
    let outside: String = line.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    outside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

fn assert_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n  {}", problems.join("\n  "));
}

#[test]
fn crates_import_only_what_they_may() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    let members: BTreeSet<String> =
        metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    assert_eq!(members, ours.iter().map(ToString::to_string).collect(), "MAY_IMPORT lists every crate");
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let may = MAY_IMPORT.iter().find(|(name, _)| *name == package.name.as_str()).unwrap().1;
        for dependency in package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            let name = dependency.name.as_str();
            if ours.contains(name) && !may.contains(&name) {
                problems.push(format!("{} depends on {name}", package.name));
            }
        }
    }
    assert_none(&problems, "an import against the layout");
}

#[test]
fn the_runtime_has_no_async_crate_in_its_tree() {
    let metadata = metadata();
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
    let resolve = metadata.resolve.as_ref().unwrap();
    let start = metadata.packages.iter().find(|p| p.name.as_str() == "sextant-runtime").unwrap();
    let mut seen = BTreeSet::new();
    let mut todo = vec![&start.id];
    while let Some(id) = todo.pop() {
        if !seen.insert(names[id]) {
            continue;
        }
        let node = resolve.nodes.iter().find(|n| &n.id == id).unwrap();
        let normal =
            node.deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind == DependencyKind::Normal));
        todo.extend(normal.map(|d| &d.pkg));
    }
    assert!(seen.contains("nix"), "the walk found the dependencies");
    let found: Vec<_> = ASYNC.iter().filter(|name| seen.contains(*name)).collect();
    assert!(found.is_empty(), "the runtime depends on {found:?}");
}

#[test]
fn unsafe_code_stands_below_sys_only() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let below_sys = name.contains("/src/sys/") || name.ends_with("/src/sys.rs");
        if below_sys {
            continue;
        }
        for (line, code) in code_lines(&text) {
            if has_word(code, "unsafe") {
                problems.push(format!("{name}:{line}"));
            }
        }
    }
    assert_none(&problems, "unsafe code outside src/sys");
}

#[test]
fn only_the_contract_of_the_runtime_is_used() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let Some((_, modules)) = RUNTIME_MODULES.iter().find(|(dir, _)| name.starts_with(dir)) else {
            continue;
        };
        for (line, code) in code_lines(&text) {
            for used in code.split("sextant_runtime::").skip(1) {
                if !modules.iter().any(|m| used.starts_with(m) || group_within(used, modules)) {
                    problems.push(format!("{name}:{line}: {}", code.trim()));
                }
            }
        }
    }
    assert_none(&problems, "a module of the runtime that is its own affair");
}

/// Whether `used` is a `{a::…, b::…}` group whose members all begin with one of `modules`.
fn group_within(used: &str, modules: &[&str]) -> bool {
    let Some(group) = used.strip_prefix('{') else { return false };
    let mut depth = 0;
    let top_level: String = group
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        })
        .collect();
    top_level
        .split([',', '}', ';'])
        .map(str::trim)
        .filter(|m| !m.is_empty())
        .all(|m| modules.iter().any(|allowed| m.starts_with(allowed)))
}

#[test]
fn wire_types_stay_at_the_edges() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let inner = name.starts_with("manager/src") || name.starts_with("shim/src");
        if !inner || WIRE_PLACES.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        for (line, code) in code_lines(&text) {
            // Formats of files are no wire types.
            let formats = ["sextant_proto::journal", "sextant_proto::logfile", "sextant_proto::fault_plan"];
            let format = formats.iter().any(|m| code.contains(m));
            if has_word(code, "sextant_proto") && !format {
                problems.push(format!("{name}:{line}: {}", code.trim()));
            }
        }
    }
    assert_none(&problems, "a wire type away from the faces");
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        // What a file called tests.rs is for, its name and its parent say.
        if !name.ends_with("/tests.rs") && !text.starts_with("//!") {
            problems.push(name);
        }
    }
    assert_none(&problems, "a file that does not open with //!");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}", package.manifest_path);
        for key in ["version", "edition", "rust-version", "license"] {
            assert!(manifest.contains(&format!("{key}.workspace = true")), "{}: {key}", package.name);
        }
    }
}

#[test]
fn scripts_parse_and_begin_with_what_they_do() {
    let mut checked = 0;
    for dir in ["scripts", ".ci"] {
        for entry in std::fs::read_dir(root().join(dir)).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.path().display().to_string());
            if !entry.file_type().unwrap().is_file() || path.extension().is_some() {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("#!/usr/bin/env bash"), "{name}");
            assert!(lines.next().is_some_and(|l| l.starts_with("# ")), "{name} begins with a comment");
            assert!(text.contains("\nset -euo pipefail\n"), "{name} stops at the first failure");
            let parsed = Command::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(parsed.status.success(), "{name}: {}", String::from_utf8_lossy(&parsed.stderr));
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} scripts found");
}

#[test]
fn scripts_say_what_they_do_when_asked() {
    for entry in std::fs::read_dir(root().join("scripts")).unwrap().map(Result::unwrap) {
        if !entry.file_type().unwrap().is_file() || entry.path().extension().is_some() {
            continue;
        }
        // From a foreign directory, as a user may call it.
        let help = Command::new(entry.path()).arg("--help").current_dir("/").output().unwrap();
        let text = String::from_utf8_lossy(&help.stdout);
        assert!(help.status.success() && text.starts_with("usage: scripts/"), "{:?}: {text}", entry.path());
    }
}

/// Points at which a program may fail on purpose, by the files that name them: variants of `Point` with their names.
fn fault_points(file: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""));
    names.map(|(variant, name)| (variant.to_owned(), name.trim_end_matches("\",").to_owned())).collect()
}

#[test]
fn every_fault_point_is_reached_documented_and_tested() {
    let (sources, mut problems) = (sources(), Vec::new());
    let documented = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let tested = std::fs::read_to_string(root().join("integration/tests/fault_points.rs")).unwrap();
    for program in ["shim", "manager"] {
        let file = format!("{program}/src/faults.rs");
        let points = fault_points(&file);
        assert!(points.len() > 10, "only {points:?} in {file}");
        for (variant, name) in points {
            let word = format!("Point::{variant}");
            let inside = |of: &str| of.starts_with(&format!("{program}/src/")) && of != file;
            let reached = sources.iter().filter(|(of, _)| inside(of)).any(|(_, text)| {
                code_lines(text).any(|(_, line)| {
                    line.split(&word).skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric))
                })
            });
            if !reached {
                problems.push(format!("{program} does not reach {name}"));
            }
            if !documented.lines().any(|line| line.starts_with(&format!("| {program} `{name}` |"))) {
                problems.push(format!("{program} {name} is not in the table of docs/reliability.md"));
            }
            if !tested.contains(&format!("(\"{program}\", \"{name}")) {
                problems.push(format!("{program} {name} is not in integration/tests/fault_points.rs"));
            }
        }
    }
    assert_none(&problems, "a fault point that is not what it should be");
}
