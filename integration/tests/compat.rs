//! What drivers of runc rely on: its flags, the form of its output, and the words of
//! its errors. Compared with the runc that is installed; its absence skips a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::bundle::temp_dir;
use sextant_integration::process::{DEADLINE, Ran, run, until};
use sextant_integration::{Bundle, Runtime, skip, skip_unless_root, unique};
use std::path::Path;
use std::process::Command;

const COMMANDS: [&str; 17] = [
    "create",
    "run",
    "start",
    "exec",
    "state",
    "kill",
    "delete",
    "pause",
    "resume",
    "ps",
    "update",
    "events",
    "checkpoint",
    "restore",
    "list",
    "spec",
    "features",
];

/// Runs runc; `None`, and it is said, when it is not installed.
fn runc(args: &[&str], dir: &Path) -> Option<Ran> {
    if Command::new("runc").arg("--version").output().is_err() {
        skip("runc is not installed");
        return None;
    }
    Some(run(Command::new("runc").args(args), dir))
}

/// One flag of a help text, in each of its spellings.
#[derive(Debug)]
struct Flag {
    spellings: Vec<String>,
    takes_value: bool,
}

/// The flags below OPTIONS: `   --bundle value, -b value   what it does`.
fn flags(help: &str) -> Vec<Flag> {
    let options = help.split_once("OPTIONS:").map_or("", |(_, options)| options);
    let flags = options.lines().filter_map(|line| {
        let line = line.trim_start();
        if !line.starts_with("--") {
            return None;
        }
        let names = line.split("  ").next()?;
        let spellings = names.split(", ").filter_map(|n| Some(n.split(' ').next()?.to_owned())).collect();
        Some(Flag { spellings, takes_value: names.contains(" value") })
    });
    flags.collect()
}

/// A value that the flag can have.
fn value_of(flag: &str) -> &'static str {
    match flag {
        "--preserve-fds" | "--additional-gids" | "-g" | "--cpu-period" => "0",
        "--format" | "-f" | "--log-format" => "json",
        "--interval" => "1s",
        "--status-fd" => "-1",
        "--rootless" => "false",
        "--user" | "-u" => "0:0",
        "--env" | "-e" => "A=b",
        "--manage-cgroups-mode" => "soft",
        "--log" => "/dev/null",
        _ => "x",
    }
}

// proves: flags of runc
#[test]
fn every_flag_of_runc_is_known() {
    let (ours, dir) = (Runtime::new(), temp_dir());
    // What is told of a flag that is none; the parser says it before anything is done.
    let unknown = ours.call(["state", "--no-such-flag", "x"]).exited(1).stderr;
    assert!(unknown.contains("unexpected argument"), "{unknown}");
    let mut seen = 0;
    for command in std::iter::once(None).chain(COMMANDS.map(Some)) {
        let Some(help) = runc(&command.into_iter().chain(["--help"]).collect::<Vec<_>>(), dir.path()) else {
            return;
        };
        for (flag, spelling) in
            flags(&help.ok().stdout).iter().flat_map(|f| f.spellings.iter().map(move |s| (f, s)))
        {
            let mut args: Vec<&str> = command.into_iter().chain([spelling.as_str()]).collect();
            if flag.takes_value {
                args.push(value_of(spelling));
            }
            match command {
                None => args.extend(["state", "nobody"]),
                Some("list" | "spec" | "features") => {}
                Some(_) => args.push("nobody"),
            }
            let said = run(ours.command().current_dir(dir.path()).args(&args), dir.path()).stderr;
            assert!(!said.contains("Usage:"), "{args:?}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} flags were found in runc's help");
}

#[test]
fn a_flag_may_be_given_again() {
    let ours = Runtime::new();
    let args = [
        "--debug",
        "--debug",
        "--log-format",
        "text",
        "--log-format",
        "json",
        "list",
        "-q",
        "-f",
        "json",
        "-f",
        "table",
    ];
    ours.call(args).ok();
}

/// Each member of `theirs` is in `ours`, with a value of the same type; the values differ.
fn same_form(theirs: &Value, ours: &Value, at: &str) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                let own = ours.get(name).unwrap_or_else(|| panic!("{at}/{name} is missing, as {value}"));
                same_form(value, own, &format!("{at}/{name}"));
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if let (Some(their), Some(our)) = (theirs.first(), ours.first()) {
                same_form(their, our, &format!("{at}/0"));
            }
        }
        _ => {
            assert_eq!(std::mem::discriminant(theirs), std::mem::discriminant(ours), "{at}: {theirs}, {ours}")
        }
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// What the commands that print JSON say of one container.
fn printed(command: impl Fn() -> Command, bundle: &Bundle, id: &str) -> Vec<(&'static str, Value)> {
    let dir = temp_dir();
    let call = |args: &[&str]| run(command().args(args), dir.path());
    let bundle = bundle.write().display().to_string();
    call(&["run", "--detach", "--bundle", &bundle, id]).ok();
    let running = until(DEADLINE, || parse(&call(&["state", id]).ok().stdout)["status"] == "running");
    assert!(running);
    let commands: [(&str, &[&str]); 4] = [
        ("state", &["state", id]),
        ("list", &["list", "--format", "json"]),
        ("ps", &["ps", "--format", "json", id]),
        ("events", &["events", "--stats", id]),
    ];
    let mut said: Vec<(&str, Value)> =
        commands.iter().map(|(name, args)| (*name, parse(&call(args).ok().stdout))).collect();
    call(&["delete", "--force", id]).ok();
    for (_, value) in &mut said {
        without_what_has_no_fixed_members(value);
    }
    said
}

/// Numbers that are left out when they are 0, and those that the kernel names.
fn without_what_has_no_fixed_members(value: &mut Value) {
    for pointer in ["/data/memory", "/data/hugetlb", "/data/blkio"] {
        if let Some(part) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
            part.retain(|name, _| name != "raw" && name != "cache");
        }
    }
}

// proves: form of runc's output
#[test]
fn what_is_printed_has_runcs_form() {
    if skip_unless_root() {
        return;
    }
    let (ours, id) = (Runtime::new(), unique("form"));
    let root = ours.dir().join("runc");
    if runc(&["--version"], ours.dir()).is_none() {
        return;
    }
    let bundle = || Bundle::without_user().args(&["/bin/probe", "sleep", "1000"]);
    let theirs = printed(
        || {
            let mut command = Command::new("runc");
            command.arg("--root").arg(&root);
            command
        },
        &bundle(),
        &id,
    );
    let said = printed(|| ours.command(), &bundle(), &id);
    for ((name, theirs), (_, ours)) in theirs.iter().zip(&said) {
        same_form(theirs, ours, name);
    }
    ours.leftovers(&[&id]).assert_none();
}

#[test]
fn features_name_what_runc_names() {
    let ours = Runtime::new();
    let Some(theirs) = runc(&["features"], ours.dir()) else { return };
    let (mut theirs, features) = (parse(&theirs.ok().stdout), parse(&ours.call(["features"]).ok().stdout));
    // Its own annotations speak of itself and of the library that it is linked to.
    theirs["annotations"] = json!({});
    same_form(&theirs, &features, "features");
    for list in [
        "/hooks",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
    ] {
        let names =
            |value: &Value| value.pointer(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let missing: Vec<Value> =
            names(&theirs).into_iter().filter(|n| !names(&features).contains(n)).collect();
        assert_eq!(missing, Vec::<Value>::new(), "{list}");
    }
}

#[test]
fn the_version_is_told_in_lines_that_are_parsed() {
    let said = Runtime::new().call(["--version"]).ok().stdout;
    let mut lines = said.lines();
    let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
    assert_eq!(first[..2], ["sextant-runtime", "version"]);
    assert!(lines.any(|line| line.starts_with("spec: 1.")), "{said}");
}

/// containerd's shim reads the last line of level `error` of `--log`; podman and
/// CRI-O have stderr. All of them look for these words.
// proves: words that drivers look for
#[test]
fn errors_are_told_in_words_that_drivers_look_for() {
    if skip_unless_root() {
        return;
    }
    let (ours, id) = (Runtime::new(), unique("words"));
    let bundle = Bundle::without_user().args(&["/bin/probe", "sleep", "1000"]);
    let log = ours.dir().join("log.json");
    let path = log.display().to_string();
    let told = |args: &[&str], words: &str| {
        let ran = ours.call(["--log", &path, "--log-format", "json"].iter().chain(args));
        assert_ne!(ran.code, 0, "{args:?}");
        let text = std::fs::read_to_string(&log).unwrap();
        let entry = parse(text.lines().last().unwrap());
        assert_eq!(entry["level"], "error", "{entry}");
        assert!(entry["time"].is_string(), "{entry}");
        assert!(entry["msg"].as_str().unwrap().contains(words), "{words:?} is not in {entry}");
        assert!(ran.stderr.contains(words), "{words:?} is not in {}", ran.stderr);
    };
    for command in ["state", "start", "kill", "delete", "pause", "resume", "ps", "events"] {
        told(&[command, "nobody"], "container does not exist");
    }
    told(&["exec", "nobody", "true"], "container does not exist");
    ours.start(&bundle, &id);
    told(&["start", &id], "cannot start an already running container");
    told(&["create", "--bundle", &bundle.dir().display().to_string(), &id], "already exists");
    told(&["exec", &id, "nothing"], "executable file not found in $PATH");
    told(&["exec", &id, "/bin/nothing"], "no such file or directory");
    told(&["exec", &id, "/etc/passwd"], "permission denied");
    told(&["exec", &id, "/etc"], "permission denied");
    told(&["resume", &id], "container not paused");
    ours.call(["kill", &id, "KILL"]).ok();
    ours.wait_stopped(&id);
    told(&["kill", &id, "TERM"], "container not running");
    told(&["exec", &id, "true"], "stopped");
    told(&["pause", &id], "container not running");
    ours.delete(&id);
    ours.leftovers(&[&id]).assert_none();
}
