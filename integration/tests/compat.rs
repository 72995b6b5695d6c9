//! What drivers of runc rely on: its flags, the form of its output, and the words of
//! its errors. Compared with the runc that is installed; its absence skips a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::Value;
use sextant_integration::bundle::temp_dir;
use sextant_integration::process::{json_of, run};
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};
use std::collections::BTreeSet;

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
    let Some(runc) = Runtime::runc() else { return };
    // What is told of a flag that is none; the parser says it before anything is done.
    let unknown = ours.call(["state", "--no-such-flag", "x"]).exited(1).stderr;
    assert!(unknown.contains("unexpected argument"), "{unknown}");
    let mut seen = 0;
    for command in std::iter::once(None).chain(COMMANDS.map(Some)) {
        let help = runc.call(command.into_iter().chain(["--help"])).ok().stdout;
        for (flag, spelling) in flags(&help).iter().flat_map(|f| f.spellings.iter().map(move |s| (f, s))) {
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

/// Each member of a value with its type, as a line: `/data/pids object`. Of a list the first entry counts.
fn form(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(list) => {
            list.first().into_iter().for_each(|entry| form(entry, &format!("{at}/0"), found));
            "list"
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| form(value, &format!("{at}/{name}"), found));
            "object"
        }
    };
    found.insert(format!("{at} {kind}"));
}

/// The forms of what the commands that print JSON say of one container.
fn printed(runtime: &Runtime, bundle: &Bundle, id: &str) -> BTreeSet<String> {
    runtime.start(bundle, id);
    let mut found = BTreeSet::new();
    for args in [
        &["state", id][..],
        &["list", "--format", "json"],
        &["ps", "--format", "json", id],
        &["events", "--stats", id],
    ] {
        form(&runtime.call(args).ok().json(), args[0], &mut found);
    }
    runtime.delete(id);
    found
}

/// Numbers that the kernel names, and those that are left out when they are 0.
fn is_by_chance(line: &str) -> bool {
    ["/raw/", "/blkio/", "/hugetlb/", "/cache "].iter().any(|part| line.contains(part))
}

/// What runc lacks: on a hybrid host it does not see the unified hierarchy's hugetlb; on
/// version 2 runc 1.1 has no pressure and no cpuset.
fn is_more_than_runc(line: &str) -> bool {
    ["/usage ", "/max ", "/psi", "/cpuset/"].iter().any(|part| line.contains(part))
}

// proves: form of runc's output
#[test]
fn what_is_printed_has_runcs_form() {
    if skip_unless_root() {
        return;
    }
    let Some(runc) = Runtime::runc() else { return };
    let (runtime, id) = (Runtime::new(), unique("form"));
    let bundle = Bundle::without_user().sleeping();
    let [theirs, ours] = [&runc, &runtime].map(|runtime| printed(runtime, &bundle, &id));
    let missing: Vec<_> = theirs.difference(&ours).filter(|line| !is_by_chance(line)).collect();
    let surplus: Vec<_> =
        ours.difference(&theirs).filter(|line| !is_by_chance(line) && !is_more_than_runc(line)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:?}, surplus {surplus:?}");
    runtime.leftovers(&[&id]).assert_none();
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
    let bundle = Bundle::without_user().sleeping();
    let log = ours.dir().join("log.json");
    let path = log.display().to_string();
    let told = |args: &[&str], words: &str| {
        let ran = ours.call(["--log", &path, "--log-format", "json"].iter().chain(args));
        assert_ne!(ran.code, 0, "{args:?}");
        let text = std::fs::read_to_string(&log).unwrap();
        let entry = json_of(text.lines().last().unwrap());
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
