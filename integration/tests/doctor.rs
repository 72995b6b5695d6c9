//! `sextant doctor`: what it says of this host, to root, to a user, and through the daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::Value;
use sextant_integration::bundle::{copy_program, temp_dir};
use sextant_integration::process::{Ran, run};
use sextant_integration::{Daemon, binary, skip, skip_unless_root, unique};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where no daemon is.
const NOBODY: &str = "unix:/nowhere/sextantd.sock";

fn local(args: &[&str]) -> Ran {
    run(Command::new(binary("sextant")).args(["--address", NOBODY, "doctor"]).args(args), Path::new("/tmp"))
}

/// Runs it with at most so many open files.
fn with_files(files: u32, args: &[&str]) -> Ran {
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={files}")).arg(binary("sextant")).args(["doctor", "--local"]).args(args);
    run(&mut command, Path::new("/tmp"))
}

/// The check of a name.
fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}: {report}"))
}

/// The names of all fields, with those of the first element of lists.
fn keys(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            found.insert(format!("{at}/{key}"));
            keys(value, &format!("{at}/{key}"), found);
        }),
        Value::Array(elements) => elements.iter().take(1).for_each(|value| keys(value, at, found)),
        _ => {}
    }
}

#[test]
fn what_this_host_lacks_is_told_with_its_remedy() {
    if skip_unless_root() {
        return;
    }
    let report = local(&["--json"]).ok().json();
    assert_eq!((&report["view"], &report["able"]), (&"local".into(), &true.into()));
    assert!(report["because"].as_str().unwrap().contains(NOBODY), "{report}");
    let layout = check(&report, "layout");
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert_eq!(layout["level"], if unified { "ok" } else { "limited" }, "{layout}");
    assert_eq!(layout["found"], report["cgroup"]);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let there = u64::from_str_radix(mask, 16).unwrap() >> 24 & 1 == 1;
    let resource = check(&report, "CAP_SYS_RESOURCE");
    assert_eq!(resource["level"], if there { "ok" } else { "limited" }, "{resource}");
    assert_eq!(resource["follows"].as_str().unwrap().contains("oom_score_adj"), !there);
    let text = local(&[]).ok().stdout;
    assert_eq!(text.contains("limited CAP_SYS_RESOURCE"), !there, "{text}");
    assert_eq!(text.contains("limited layout: hybrid"), report["cgroup"] == "hybrid", "{text}");
    assert!(text.contains("more containers fit here"), "{text}");
    let all = local(&["--all"]).ok().stdout;
    assert!(all.contains("ok      openat2 with RESOLVE_IN_ROOT: there"), "{all}");
    for line in text.lines().chain(all.lines()) {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
}

#[test]
fn the_estimate_and_the_remedy_follow_the_limit_of_open_files() {
    if skip_unless_root() {
        return;
    }
    let [few, more] = [512, 1024].map(|files| with_files(files, &["--json"]).ok().json());
    for (report, files) in [(&few, 512), (&more, 1024)] {
        assert_eq!(report["capacity"]["containers"], (files - 64) / 4, "{}", report["capacity"]);
        assert_eq!(report["capacity"]["bounds"][0]["name"], "RLIMIT_NOFILE");
        let check = check(report, "RLIMIT_NOFILE");
        assert_eq!(check["level"], "limited");
        assert!(check["remedy"][0].as_str().unwrap().starts_with("ulimit -n "), "{check}");
    }
    let text = with_files(512, &[]).ok().stdout;
    assert!(text.contains("about 112 more containers fit here") && text.contains("$ ulimit -n "), "{text}");
    let large = with_files(1024, &["--json", "--memory", "8G"]).ok().json();
    let containers = large["capacity"]["containers"].as_u64().unwrap();
    assert!(containers < more["capacity"]["containers"].as_u64().unwrap(), "memory counts: {containers}");
}

#[test]
fn too_few_open_files_for_any_container_are_missing() {
    if skip_unless_root() {
        return;
    }
    let ran = with_files(40, &[]).exited(1);
    assert!(ran.stdout.contains("missing RLIMIT_NOFILE"), "{ran:?}");
}

#[test]
fn a_user_without_ranges_is_told_what_to_do() {
    if skip_unless_root() {
        return;
    }
    let dir = temp_dir();
    for name in ["sextant", "sextant-runtime", "sextant-shim"] {
        copy_program(&binary(name), &dir.path().join(name));
    }
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "12345", "--regid", "12345", "--clear-groups"]).arg(dir.path().join("sextant"));
    let ran = run(command.args(["--address", NOBODY, "doctor", "--json"]), dir.path());
    let report = ran.json();
    assert_eq!(report["user"], "12345 (uid 12345)");
    let ranges = check(&report, "/etc/subuid");
    assert_eq!(
        (&ranges["level"], &ranges["remedy"][0]),
        (&"limited".into(), &"usermod --add-subuids 100000-165535 12345".into())
    );
    assert_eq!(check(&report, "privileges")["level"], "limited");
    let delegation = check(&report, "delegation");
    assert_eq!(delegation["level"], "limited", "{delegation}");
    assert!(!report["checks"].as_array().unwrap().iter().any(|check| check["name"] == "CAP_SYS_RESOURCE"));
    assert!(
        report["capacity"]["bounds"].as_array().unwrap().iter().any(|bound| bound["name"] == "RLIMIT_NPROC")
    );
}

#[test]
fn a_user_whose_user_namespaces_are_off_can_make_nothing() {
    if skip_unless_root() {
        return;
    }
    // A user namespace of its own, where limits are its own as well.
    let script = "echo 0 > /proc/sys/user/max_uts_namespaces && exec \"$0\" doctor --local --json";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(binary("sextant"));
    let ran = run(&mut command, Path::new("/tmp"));
    if !ran.stdout.starts_with('{') {
        return skip("user namespaces cannot be made here");
    }
    assert_eq!(ran.code, 1, "{ran:?}");
    let report = ran.json();
    assert_eq!(report["able"], false);
    let uts = check(&report, "uts namespaces");
    assert_eq!(
        (&uts["level"], &uts["remedy"][0]),
        (&"missing".into(), &"sysctl -w user.max_uts_namespaces=15000".into())
    );
    assert_eq!(check(&report, "own user namespace")["level"], "note");
}

#[tokio::test]
async fn the_daemon_tells_its_own_view_in_the_same_form() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("doctor"));
    let theirs = daemon.sextant(&["doctor", "--json"]).ok().json();
    let own = daemon.sextant(&["doctor", "--local", "--json"]).ok().json();
    assert_eq!((&theirs["view"], &own["view"]), (&"daemon".into(), &"local".into()));
    assert_eq!(theirs["pid"], daemon.pid());
    let of = |report: &Value| {
        let mut found = BTreeSet::new();
        keys(report, "", &mut found);
        found.remove("/because");
        found
    };
    assert_eq!(of(&theirs), of(&own));
    assert!(of(&theirs).contains("/capacity/bounds/containers"));
    let root = daemon.dir().join("root").display().to_string();
    assert!(check(&theirs, "root directory")["found"].as_str().unwrap().contains(&root));
    let answer =
        daemon.system().await.doctor(sextant_proto::v1::DoctorRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.checks.len(), theirs["checks"].as_array().unwrap().len());
    let text = daemon.sextant(&["doctor"]).ok().stdout;
    assert!(text.contains(&format!("pid {}", daemon.pid())), "{text}");
    // A container takes its part of what is left.
    daemon.sextant_run(&["-d", "--name", &id], &["/bin/probe", "sleep", "1000"]).ok();
    let ranges = |report: &Value| check(report, "id-range")["found"].as_str().unwrap().to_owned();
    let later = daemon.sextant(&["doctor", "--json"]).ok().json();
    assert_ne!(ranges(&later), ranges(&theirs));
    daemon.sextant(&["rm", "-f", &id]).ok();
    daemon.finish(&[&id]);
}
