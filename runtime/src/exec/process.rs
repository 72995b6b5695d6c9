//! What `exec` executes, as a config: the container's own process changed by
//! flags, or a process file. What the file does not say is the container's, as
//! with runc: capabilities, labels, limits, umask. No new privileges, the
//! environment and the terminal are what the file says.

use crate::bundle;
use crate::contract::report::Failure;
use crate::plan::Host;
use crate::plan::exec::Exec;
use crate::report::{Outcome, refuse, refuse_all};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Where the process comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A file (`--process`).
    File(&'a Path),
    /// The command line.
    Flags(&'a Changes),
}

/// What flags change of the container's own process.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// The working directory, if another.
    pub cwd: Option<String>,
    /// More of the environment.
    pub env: Vec<String>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Rows and columns of that, if others.
    pub console_size: Option<(u16, u16)>,
    /// User id and group id, if others.
    pub user: Option<(u32, Option<u32>)>,
    /// More groups.
    pub groups: Vec<u32>,
    /// The SELinux label, if another.
    pub label: Option<String>,
    /// The AppArmor profile, if another.
    pub apparmor: Option<String>,
    /// Forbids new privileges, if the container's own process may gain some.
    pub no_new_privileges: bool,
    /// More capabilities.
    pub capabilities: Vec<String>,
}

/// Properties that a process file leaves to the container's process.
const INHERITED: [&str; 8] = [
    "capabilities",
    "apparmorProfile",
    "selinuxLabel",
    "rlimits",
    "oomScoreAdj",
    "ioPriority",
    "scheduler",
    "execCPUAffinity",
];

/// Decides the process that is executed in the container of this reduced config.
///
/// # Errors
/// All mistakes; those of a file with their pointers in it.
pub fn plan(mut config: Value, source: &Source<'_>, id: &str) -> Outcome<Exec> {
    let own = config.get_mut("process").map(Value::take).unwrap_or_default();
    let (process, place) = match source {
        Source::File(path) => (from_file(path, own)?, path.to_path_buf()),
        Source::Flags(changes) => (changed(own, changes), PathBuf::from(format!("of {id}"))),
    };
    if let Value::Object(config) = &mut config {
        config.insert("process".into(), process);
    }
    let (spec, warnings) = bundle::spec_of(config, &place).map_err(|f| in_file(Box::new(f), source))?;
    crate::plan::exec::plan(&spec, &Host::probe_caller(), warnings)
        .map_err(|problems| in_file(refuse_all("plan the process", &problems), source))
}

fn from_file(path: &Path, own: Value) -> Outcome<Value> {
    let (Value::Object(mut process), Value::Object(mut own)) = (bundle::read_json(path)?, own) else {
        return Err(refuse(format!("read the process {}", path.display()), "it is not a JSON object"));
    };
    for name in INHERITED {
        if process.get(name).is_none_or(says_nothing)
            && let Some(value) = own.remove(name)
        {
            process.insert(name.into(), value);
        }
    }
    if let Some(umask) = own.get("user").and_then(|user| user.get("umask")) {
        let user = process.entry("user").or_insert_with(|| json!({}));
        if let Value::Object(user) = user {
            user.entry("umask").or_insert_with(|| umask.clone());
        }
    }
    Ok(Value::Object(process))
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn changed(own: Value, changes: &Changes) -> Value {
    let Value::Object(mut process) = own else { return own };
    process.insert("args".into(), json!(changes.args));
    process.insert("terminal".into(), changes.terminal.into());
    if !changes.terminal {
        process.remove("consoleSize");
    }
    if let Some((rows, columns)) = changes.console_size {
        process.insert("consoleSize".into(), json!({"height": rows, "width": columns}));
    }
    let texts =
        [("cwd", &changes.cwd), ("selinuxLabel", &changes.label), ("apparmorProfile", &changes.apparmor)];
    for (name, text) in texts {
        if let Some(text) = text {
            process.insert(name.into(), text.as_str().into());
        }
    }
    if changes.no_new_privileges {
        process.insert("noNewPrivileges".into(), true.into());
    }
    append(&mut process, "env", &changes.env);
    if let Value::Object(user) = process.entry("user").or_insert_with(|| json!({})) {
        if let Some((uid, gid)) = changes.user {
            user.insert("uid".into(), uid.into());
            gid.map(|gid| user.insert("gid".into(), gid.into()));
        }
        append(user, "additionalGids", &changes.groups);
    }
    if !changes.capabilities.is_empty()
        && let Value::Object(sets) = process.entry("capabilities").or_insert_with(|| json!({}))
    {
        // Not the inheritable set (CVE-2022-29162), and so not the ambient one.
        for set in ["bounding", "effective", "permitted"] {
            append(sets, set, &changes.capabilities);
        }
    }
    Value::Object(process)
}

/// Appends to a list, which is made where there is none.
fn append<T: Clone + Into<Value>>(map: &mut Map<String, Value>, name: &str, more: &[T]) {
    if !more.is_empty()
        && let Value::Array(list) = map.entry(name).or_insert_with(|| json!([]))
    {
        list.extend(more.iter().cloned().map(Into::into));
    }
}

/// The root of a process file is what a config has at `/process`.
fn in_file(mut failure: Box<Failure>, source: &Source<'_>) -> Box<Failure> {
    if let (Source::File(path), Some(pointer)) = (source, failure.pointer.strip_prefix("/process")) {
        failure.pointer = pointer.to_owned();
        failure.object = path.display().to_string();
    }
    failure
}
