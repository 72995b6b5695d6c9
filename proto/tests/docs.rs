//! docs/api.md has every call of `sextant.v1`: what it does, the reasons of its
//! errors, and an example whose fields exist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde_json::Value;
use sextant_proto::DESCRIPTORS;

const API: &str = include_str!("../../docs/api.md");
const ERRORS: &str = include_str!("../../docs/errors.md");

/// Every call: `Service.Method`, and the full name of its request.
fn calls(set: &FileDescriptorSet) -> Vec<(String, String)> {
    let ours = set.file.iter().filter(|file| file.package() == "sextant.v1");
    ours.flat_map(|file| &file.service)
        .flat_map(|service| {
            let name = |method: &str| format!("{}.{method}", service.name());
            service.method.iter().map(move |method| (name(method.name()), method.input_type().to_owned()))
        })
        .collect()
}

/// What stands below the heading of a call.
fn section(call: &str) -> Option<&'static str> {
    let (_, rest) = API.split_once(&format!("\n### {call}\n"))?;
    Some(rest.split("\n#").next().unwrap_or(rest))
}

/// The words in backquotes that have the form of a reason.
fn reasons(text: &str) -> impl Iterator<Item = &str> {
    let form = |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    text.split('`').skip(1).step_by(2).filter(form)
}

/// The message of a full name such as `.sextant.v1.Mount`; those of other packages are not looked into.
fn message<'a>(set: &'a FileDescriptorSet, name: &str) -> Option<&'a DescriptorProto> {
    let name = name.strip_prefix(".sextant.v1.")?;
    let ours = set.file.iter().filter(|file| file.package() == "sextant.v1");
    ours.flat_map(|file| &file.message_type).find(|message| message.name() == name)
}

/// Fields of an example that the message does not have.
fn unknown(set: &FileDescriptorSet, name: &str, value: &Value) -> Vec<String> {
    let (Some(message), Some(object)) = (message(set, name), value.as_object()) else { return Vec::new() };
    let field = |key: &str| message.field.iter().find(|field: &&FieldDescriptorProto| field.name() == key);
    object
        .iter()
        .flat_map(|(key, value)| match field(key) {
            None => vec![format!("{name} has no field {key}")],
            Some(field) if field.r#type() == Type::Message => unknown(set, field.type_name(), value),
            Some(_) => Vec::new(),
        })
        .collect()
}

/// What is wrong with what is said of a call.
fn mistakes(set: &FileDescriptorSet, call: &str, request: &str) -> Vec<String> {
    let Some(text) = section(call) else { return vec!["has no heading".into()] };
    let mut mistakes = Vec::new();
    match text.split_once("**Errors**:") {
        None => mistakes.push("does not say its **Errors**:".to_owned()),
        Some((_, rest)) => {
            let errors = rest.split("```").next().unwrap_or(rest);
            let strange = reasons(errors).filter(|reason| !ERRORS.contains(&format!("| `{reason}` |")));
            mistakes.extend(strange.map(|reason| format!("{reason} is not in docs/errors.md")));
        }
    }
    let address = format!("$S sextant.v1.{}\n", call.replacen('.', "/", 1));
    match text.split("```sh\n").skip(1).find(|block| block.contains(&address)) {
        None => mistakes.push(format!("has no example with {}", address.trim())),
        Some(block) => {
            let data = block.split_once("-d '").and_then(|(_, rest)| rest.split_once('\''));
            match serde_json::from_str(data.map_or("{}", |(json, _)| json)) {
                Ok(value) => mistakes.extend(unknown(set, request, &value)),
                Err(error) => mistakes.push(format!("its example is no JSON: {error}")),
            }
        }
    }
    mistakes
}

#[test]
fn every_call_is_documented_with_its_errors_and_an_example() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let calls = calls(&set);
    assert!(calls.len() >= 31, "only {} calls were found", calls.len());
    let of = |(call, request): &(String, String)| {
        let said = mistakes(&set, call, request);
        said.into_iter().map(|mistake| format!("{call}: {mistake}")).collect::<Vec<_>>()
    };
    let mistakes: Vec<String> = calls.iter().flat_map(of).collect();
    assert!(mistakes.is_empty(), "docs/api.md:\n  {}", mistakes.join("\n  "));
}

#[test]
fn no_heading_is_left_of_a_call_that_is_no_more() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let calls = calls(&set);
    let headings = API.lines().filter_map(|line| line.strip_prefix("### ")).filter(|name| name.contains('.'));
    for heading in headings {
        assert!(calls.iter().any(|(call, _)| call == heading), "there is no call {heading}");
    }
}

#[test]
fn a_field_that_does_not_exist_is_found() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let wrong = serde_json::json!({"id": "a", "rootfs": {"rootfs": "/r", "comand": []}, "label": {}});
    let found = unknown(&set, ".sextant.v1.CreateRequest", &wrong);
    assert_eq!(
        found,
        [".sextant.v1.CreateRequest has no field label", ".sextant.v1.RootfsSource has no field comand"]
    );
}
