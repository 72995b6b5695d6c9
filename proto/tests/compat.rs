//! The API as its clients know it: `proto/api.txt` has a line for each name, number and type that
//! one of them may have compiled in. What is in the file has to stay; what is new is added to it by
//!
//! ```sh
//! SEXTANT_API=update cargo test -p sextant-proto --test compat
//! ```
//!
//! which refuses to take a line away: whoever breaks the API on purpose takes it away by hand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod schema;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use schema::lines;
use sextant_proto::DESCRIPTORS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Set to `update`: what is new is added to the promise.
const VARIABLE: &str = "SEXTANT_API";
/// The beginning of the file.
const HEADING: &str = "\
# What clients of sextant.v1 and sextant.shim.v1 rely on: a line that is changed or taken away breaks one.
# Additions are written by: SEXTANT_API=update cargo test -p sextant-proto --test compat
";

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap()
}

fn file_of_promises() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("api.txt")
}

fn promised(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// What is promised and no more there: each line with what has taken its place, if anything has.
fn broken(promised: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<String> {
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let missing = promised.difference(now);
    missing
        .map(|line| match now.iter().find(|other| name(other) == name(line)) {
            Some(other) if !line.starts_with("reserved ") => format!("{line}\n      is now: {other}"),
            _ => format!("{line}\n      is no more"),
        })
        .collect()
}

#[test]
fn the_api_keeps_what_it_has_promised() {
    let text = std::fs::read_to_string(file_of_promises()).unwrap();
    let (promised, now) = (promised(&text), lines(&descriptors()));
    let broken = broken(&promised, &now);
    assert!(
        broken.is_empty(),
        "this breaks clients:\n    {}\nGive what is new a name and a number of its own. Where a break is meant, \
         take the lines out of proto/api.txt by hand, and say so in CHANGELOG.md.",
        broken.join("\n    ")
    );
    let all: Vec<&str> = now.iter().map(String::as_str).collect();
    let current = format!("{HEADING}{}\n", all.join("\n"));
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "update") {
        return std::fs::write(file_of_promises(), current).unwrap();
    }
    let new: Vec<&str> = now.difference(&promised).map(String::as_str).collect();
    assert!(
        text == current,
        "proto/api.txt is not up to date; it lacks:\n    {}\nWrite it anew with\n    {VARIABLE}=update cargo test \
         -p sextant-proto --test compat",
        new.join("\n    ")
    );
}

#[test]
fn both_packages_are_promised_and_nothing_else() {
    let lines = lines(&descriptors());
    for package in ["sextant.v1.", "sextant.shim.v1."] {
        for kind in ["service", "method", "message", "field", "enum", "value"] {
            let begin = format!("{kind} {package}");
            assert!(lines.iter().any(|line| line.starts_with(&begin)), "nothing begins with {begin:?}");
        }
    }
    assert!(lines.iter().all(|line| line.contains(" sextant.")), "only ours is promised");
}

/// The file of the package, as far as it is the one with `message`.
fn file<'a>(set: &'a mut FileDescriptorSet, message: &str) -> &'a mut FileDescriptorProto {
    let has = |file: &FileDescriptorProto| {
        file.package() == "sextant.v1" && file.message_type.iter().any(|m| m.name() == message)
    };
    set.file.iter_mut().find(|file| has(file)).unwrap()
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    file(set, name).message_type.iter_mut().find(|m| m.name() == name).unwrap()
}

fn field<'a>(set: &'a mut FileDescriptorSet, of: &str, name: &str) -> &'a mut FieldDescriptorProto {
    message(set, of).field.iter_mut().find(|f| f.name() == name).unwrap()
}

/// What is said of a set that was changed.
fn breaks(change: impl FnOnce(&mut FileDescriptorSet)) -> Vec<String> {
    let mut set = descriptors();
    change(&mut set);
    broken(&lines(&descriptors()), &lines(&set))
}

#[test]
fn each_kind_of_break_is_found() {
    type Change = fn(&mut FileDescriptorSet);
    let cases: [(&str, Change, &str); 13] = [
        ("a field is removed", |set| message(set, "Mount").field.truncate(1), "Mount.readonly"),
        (
            "a field is renamed",
            |set| field(set, "Mount", "source").name = Some("from".into()),
            "Mount.source",
        ),
        ("a field is renumbered", |set| field(set, "Mount", "source").number = Some(9), "Mount.source = 9"),
        (
            "a field has another type",
            |set| field(set, "Mount", "readonly").r#type = Some(Type::Int32.into()),
            "readonly = 3 int32",
        ),
        (
            "a field has another message",
            |set| field(set, "Container", "exit").type_name = Some(".sextant.v1.Failure".into()),
            "exit = 12 sextant.v1.Failure",
        ),
        (
            "a field is repeated",
            |set| field(set, "Mount", "source").label = Some(Label::Repeated.into()),
            "source = 1 repeated string",
        ),
        (
            "a field loses its presence",
            |set| field(set, "LogsRequest", "tail").proto3_optional = None,
            "tail = 6 uint64",
        ),
        (
            "a field leaves its oneof",
            |set| field(set, "Exit", "code").oneof_index = None,
            "code = 1 int32\n      is now: field sextant.v1.Exit.code = 1 int32",
        ),
        (
            "a value is renumbered",
            |set| file(set, "Mount").enum_type[0].value[1].number = Some(77),
            "STATUS_CREATING = 77",
        ),
        ("a value is removed", |set| drop(file(set, "Mount").enum_type[0].value.pop()), "STATUS_"),
        (
            "a method is removed",
            |set| drop(file(set, "Mount").service[0].method.remove(0)),
            "Containers.Create",
        ),
        (
            "a method streams",
            |set| file(set, "Mount").service[0].method[0].server_streaming = Some(true),
            "returns (stream sextant.v1.CreateResponse)",
        ),
        (
            "a message is removed",
            |set| file(set, "Mount").message_type.retain(|m| m.name() != "Mount"),
            "Mount",
        ),
    ];
    assert!(breaks(|_| {}).is_empty());
    for (what, change, said) in cases {
        let found = breaks(change).join("\n");
        let said = said.split('\n').next_back().unwrap();
        assert!(found.contains(said), "{what}: {said:?} is not in {found:?}");
    }
}

#[test]
fn a_reserved_number_stays_reserved() {
    let mut before = descriptors();
    let range = prost_types::descriptor_proto::ReservedRange { start: Some(40), end: Some(43) };
    let mount = message(&mut before, "Mount");
    mount.reserved_range.push(range);
    mount.reserved_name.push("propagation".into());
    let found = broken(&lines(&before), &lines(&descriptors()));
    assert_eq!(
        found,
        [
            "reserved sextant.v1.Mount \"propagation\"\n      is no more",
            "reserved sextant.v1.Mount 40 to 42\n      is no more"
        ]
    );
}

#[test]
fn an_addition_breaks_nobody() {
    let added = breaks(|set| {
        let new = FieldDescriptorProto {
            name: Some("new".into()),
            number: Some(900),
            r#type: Some(Type::String.into()),
            ..Default::default()
        };
        message(set, "Mount").field.push(new);
        let other = DescriptorProto { name: Some("Other".into()), ..Default::default() };
        file(set, "Mount").message_type.push(other);
    });
    assert!(added.is_empty(), "{added:?}");
}
