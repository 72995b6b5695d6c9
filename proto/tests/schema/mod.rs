//! Descriptors as lines of text, one for each thing that a client can have compiled in.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use std::collections::BTreeSet;

/// The packages of ours in `set`, as lines that begin with the kind of the thing and its full name:
///
/// ```text
/// field sextant.v1.Exit.code = 1 int32, of how
/// method sextant.v1.System.Info (sextant.v1.InfoRequest) returns (sextant.v1.InfoResponse)
/// ```
pub(crate) fn lines(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for file in set.file.iter().filter(|file| file.package().starts_with("sextant.")) {
        let package = file.package();
        file.message_type.iter().for_each(|each| message(package, each, &mut lines));
        file.enum_type.iter().for_each(|each| enumeration(package, each, &mut lines));
        file.service.iter().for_each(|each| service(package, each, &mut lines));
    }
    lines
}

fn message(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", message.name());
    lines.insert(format!("message {name}"));
    for each in &message.field {
        lines.insert(format!("field {name}.{} = {} {}", each.name(), each.number(), kind(message, each)));
    }
    for range in &message.reserved_range {
        // Its end is exclusive.
        lines.insert(format!("reserved {name} {} to {}", range.start(), range.end() - 1));
    }
    for reserved in &message.reserved_name {
        lines.insert(format!("reserved {name} {reserved:?}"));
    }
    for nested in message.nested_type.iter().filter(|nested| !is_entry(nested)) {
        self::message(&name, nested, lines);
    }
    message.enum_type.iter().for_each(|each| enumeration(&name, each, lines));
}

fn enumeration(scope: &str, each: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", each.name());
    lines.insert(format!("enum {name}"));
    for value in &each.value {
        lines.insert(format!("value {name}.{} = {}", value.name(), value.number()));
    }
    for range in &each.reserved_range {
        // Its end is inclusive, unlike that of a message.
        lines.insert(format!("reserved {name} {} to {}", range.start(), range.end()));
    }
    for reserved in &each.reserved_name {
        lines.insert(format!("reserved {name} {reserved:?}"));
    }
}

fn service(scope: &str, service: &ServiceDescriptorProto, lines: &mut BTreeSet<String>) {
    let name = format!("{scope}.{}", service.name());
    lines.insert(format!("service {name}"));
    lines.extend(service.method.iter().map(|each| method(&name, each)));
}

fn method(service: &str, method: &MethodDescriptorProto) -> String {
    let side = |streams: bool, message: &str| {
        format!("{}{}", if streams { "stream " } else { "" }, message.trim_start_matches('.'))
    };
    let request = side(method.client_streaming(), method.input_type());
    let answer = side(method.server_streaming(), method.output_type());
    format!("method {service}.{} ({request}) returns ({answer})", method.name())
}

/// Whether it is the message that the compiler makes of a map's entries.
fn is_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

/// Type, label and oneof of a field.
fn kind(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message
        .nested_type
        .iter()
        .find(|nested| is_entry(nested) && field.type_name().ends_with(&format!(".{}", nested.name())));
    if let Some([key, value]) = entry.map(|entry| entry.field.as_slice()) {
        return format!("map<{}, {}>", scalar(key), scalar(value));
    }
    let plain = scalar(field);
    if field.label() == Label::Repeated {
        return format!("repeated {plain}");
    }
    if field.proto3_optional() {
        return format!("optional {plain}");
    }
    let oneof = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
    oneof.map_or_else(|| plain.clone(), |oneof| format!("{plain}, of {}", oneof.name()))
}

/// The type without its label.
fn scalar(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().trim_start_matches('.').to_owned(),
        other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}
