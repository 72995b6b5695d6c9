//! docs/conformance.md: each capability of an OCI runtime with the tests that
//! prove it. The rows are in `conformance/rows.tsv`; the tests say with a
//! comment `// proves: NAME` right above them what they prove.
//! `scripts/conformance` writes the file, the test here keeps it true.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const ROWS: &str = include_str!("../conformance/rows.tsv");
const MARK: &str = "// proves: ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// By what is proved: the tests, as `file::function`.
type Proofs = BTreeMap<String, Vec<String>>;

fn collect(dir: &Path, proofs: &mut Proofs) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, proofs);
        } else if path.extension().is_some_and(|e| e == "rs") {
            collect_file(&path, proofs);
        }
    }
}

fn collect_file(path: &Path, proofs: &mut Proofs) {
    let text = fs::read_to_string(path).unwrap();
    let file = path.strip_prefix(root()).unwrap().display().to_string();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix(MARK) else { continue };
        let function = lines.by_ref().find_map(|l| l.strip_prefix("fn ")).unwrap();
        let function = function.split('(').next().unwrap();
        proofs.entry(name.to_owned()).or_default().push(format!("`{file}`: `{function}`"));
    }
}

/// The document, and the rows that have neither a test nor a reason.
fn render() -> (String, Vec<String>) {
    let mut proofs = Proofs::new();
    for dir in ["runtime/src", "integration/tests", "integration/fuzz/tests"] {
        collect(&root().join(dir), &mut proofs);
    }
    let mut text =
        "# Conformance\n\nWritten by `scripts/conformance`. A row is proved by the tests beside it.\n"
            .to_owned();
    let (mut unproved, mut area_before) = (Vec::new(), "");
    for line in ROWS.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [area, row, names, why] = fields[..] else { panic!("not four fields: {line}") };
        if area != area_before {
            write!(text, "\n## {area}\n\n| Capability | Tests | Not shown |\n|---|---|---|\n").unwrap();
            area_before = area;
        }
        let mut tests = Vec::new();
        for name in names.split(" + ") {
            match proofs.get(name) {
                Some(found) => tests.extend(found.iter().cloned()),
                None if why.is_empty() => unproved.push(format!("{row}: {name}")),
                None => {}
            }
        }
        writeln!(text, "| {row} | {} | {why} |", tests.join("<br>")).unwrap();
    }
    (text, unproved)
}

#[test]
fn the_document_is_up_to_date_and_every_row_has_a_test_or_a_reason() {
    let (text, unproved) = render();
    assert!(unproved.is_empty(), "rows without a test: {unproved:#?}");
    let path = root().join("docs/conformance.md");
    if std::env::var_os("WRITE_CONFORMANCE").is_some() {
        return fs::write(path, text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "docs/conformance.md is out of date: run scripts/conformance");
}
