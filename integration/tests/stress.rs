//! `sextant stress`: each scenario for a moment against a real daemon, its verdict, its reports, its clean-up.
//! How long anything takes is asserted nowhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sextant_integration::bundle::add_busybox;
use sextant_integration::process::{DEADLINE, Ran, json_of, until, wait};
use sextant_integration::tmux::Tmux;
use sextant_integration::{Daemon, binary, skip, skip_unless_root};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the scenarios run.
const PROGRAMS: [&str; 6] = ["sh", "sleep", "true", "yes", "head", "cat"];

/// A daemon whose root directory has all programs; `None` where the test cannot run.
fn daemon() -> Option<Daemon> {
    if skip_unless_root() {
        return None;
    }
    let daemon = Daemon::start();
    add_busybox(&daemon.rootfs(), &PROGRAMS).then_some(daemon)
}

/// `stress` with a scenario, few units and these flags.
#[track_caller]
fn stress(daemon: &Daemon, scenario: &str, flags: &[&str]) -> Ran {
    let rootfs = daemon.rootfs().display().to_string();
    let few = ["stress", scenario, "--rootfs", &rootfs, "--quiet", "--seed", "7"];
    daemon.sextant(&[&few, flags].concat())
}

fn file(daemon: &Daemon, name: &str) -> (PathBuf, String) {
    let path = daemon.dir().join(name);
    let text = path.display().to_string();
    (path, text)
}

#[track_caller]
fn report(path: &Path) -> Value {
    json_of(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn every_scenario_runs_without_errors_and_leaves_nothing() {
    let Some(daemon) = daemon() else { return };
    for (scenario, operations) in [
        ("churn", &["create", "start", "wait", "delete", "life"][..]),
        ("density", &["create", "start", "delete", "up"]),
        ("exec", &["exec", "storm"]),
        ("logs", &["logs", "life"]),
        ("attach", &["attach", "echo"]),
        ("list", &["list", "stats", "look"]),
        ("bombs", &["life"]),
        ("forks", &["life"]),
        ("kills", &["kill", "life"]),
        ("sandbox", &["sandbox-create", "sandbox-delete", "create", "start", "pod"]),
    ] {
        let (path, name) = file(&daemon, "report.json");
        let few = ["--count", "4", "--clients", "2", "--hold", "100ms", "--standing", "2", "--json", &name];
        let strict = ["--max-errors", "0", "--max-leaks", "0"];
        let ran = stress(&daemon, scenario, &[&few[..], &strict].concat()).ok();
        assert!(ran.stdout.contains("PASS: 2 of 2 thresholds are kept"), "{scenario}: {}", ran.stdout);
        let report = report(&path);
        assert_eq!(
            (&report["run"]["units"], &report["errors"]),
            (&4.into(), &Value::Array(vec![])),
            "{scenario}"
        );
        for operation in operations {
            let count = report["operations"][operation]["count"].as_u64();
            assert!(
                count.is_some_and(|count| count >= 4),
                "{scenario} {operation}: {}",
                report["operations"]
            );
        }
        assert_eq!(daemon.sextant(&["ps", "-aq"]).ok().stdout, "", "{scenario}");
    }
    daemon.finish(&[]);
}

#[test]
fn the_verdict_is_the_exit_status() {
    let Some(daemon) = daemon() else { return };
    let few = ["--count", "3", "--max-errors", "0"];
    let ran = stress(&daemon, "churn", &[&few[..], &["--max-p99", "create=1h"]].concat()).ok();
    assert!(ran.stdout.contains("pass  p99 of create: "), "{}", ran.stdout);
    let hard = ["--max-p99", "create=0.0001ms", "--max-shim-pss", "1K", "--min-rate", "100000/s"];
    let ran = stress(&daemon, "churn", &[&few[..], &hard].concat()).exited(1);
    assert!(
        ran.stdout.contains("FAIL  p99 of create: ") && ran.stdout.contains("(at most 100 ns)"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("FAIL: 3 of 4 thresholds are not kept\n"), "{}", ran.stdout);
    // What fails is counted, by its cause, and the run goes on.
    let rootfs = daemon.rootfs().display().to_string();
    let line = [
        "stress",
        "churn",
        "--rootfs",
        &rootfs,
        "-q",
        "--count",
        "3",
        "--max-errors",
        "2",
        "--",
        "/bin/nothing",
    ];
    let ran = daemon.sextant(&line).exited(1);
    assert!(
        ran.stdout.contains("STEP_FAILED") && ran.stdout.contains("FAIL  errors: 3 (at most 2)"),
        "{}",
        ran.stdout
    );
    for wrong in [
        &["--rate", "fast"][..],
        &["--max-p99", "create"],
        &["--steps", "3"],
        &["--kill", "host=1s"],
        &["--kill", "manager=1s"],
        &["--clients", "2", "--concurrency", "3"],
        &["--cri", "/run/nobody.sock"],
    ] {
        stress(&daemon, "churn", wrong).exited(2);
    }
    daemon.finish(&[]);
}

#[test]
fn an_open_loop_keeps_its_rate_and_tells_what_it_was_behind() {
    let Some(daemon) = daemon() else { return };
    let (path, name) = file(&daemon, "open.json");
    let load = ["--rate", "20/s", "--arrivals", "poisson", "--duration", "2s", "--json", &name];
    stress(&daemon, "churn", &load).ok();
    let run = report(&path)["run"].clone();
    let due = run["begun"].as_u64().unwrap() + run["behind"].as_u64().unwrap();
    assert!((20..=60).contains(&due), "{run}");
    assert_eq!((&run["seed"], &run["interrupted"]), (&7.into(), &false.into()));
    daemon.finish(&[]);
}

#[test]
fn the_report_has_what_the_documentation_says() {
    let Some(daemon) = daemon() else { return };
    let (path, name) = file(&daemon, "fields.json");
    stress(&daemon, "density", &["--count", "6", "--clients", "3", "--hold", "1500ms", "--json", &name]).ok();
    let report = report(&path);
    assert_eq!((&report["format"], &report["version"]), (&"sextant.stress".into(), &1.into()));
    let documented = include_str!("../../docs/stress.md");
    let mut missing = Vec::new();
    named(&report, &mut |key| {
        if !documented.contains(&format!("`{key}`")) && !missing.contains(&key.to_owned()) {
            missing.push(key.to_owned());
        }
    });
    assert!(missing.is_empty(), "not in docs/stress.md: {missing:?}");
    let sample = report["samples"].as_array().unwrap().iter().max_by_key(|s| s["shims"].as_u64()).unwrap();
    assert_eq!(sample["shims"], 6);
    assert!(sample["shim_pss_kib"].as_u64() > Some(0) && sample["manager_pss_kib"].as_u64() > Some(0));
    assert!(report["stages"].as_object().unwrap().keys().any(|stage| stage.starts_with("create/")));
    let create = &report["operations"]["create"];
    let count =
        |pairs: &Value| pairs.as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap()).sum::<u64>();
    assert_eq!(count(&create["histogram"]), 6);
    let seconds = create["seconds"].as_array().unwrap();
    assert_eq!(seconds.iter().map(|second| count(&second["histogram"])).sum::<u64>(), 6);
    // It compares with itself, and is no worse.
    let ran = daemon.sextant(&["stress", "compare", "--max-ratio", "1.1", &name, &name]).ok();
    assert!(ran.stdout.contains("PASS") && ran.stdout.contains("create p99"), "{}", ran.stdout);
    let ran = daemon.sextant(&["stress", "compare", "--json", "--base", &name, "--new", &name]).ok();
    assert_eq!(ran.json()[0]["rows"][0]["ratio"], 1.0);
    let unequal = ["stress", "compare", "--paired", "--base", &name, "--base", &name, "--new", &name];
    assert!(daemon.sextant(&unequal).exited(2).stderr.contains("as many --new as --base"));
    daemon.sextant(&["stress", "compare", &name, "/nonexistent"]).exited(2);
    daemon.finish(&[]);
}

/// Calls `tell` with each key that is a name of a field, and not that of an operation or a stage.
fn named(value: &Value, tell: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                tell(key);
                match (key.as_str(), value) {
                    ("operations" | "stages", Value::Object(each)) => {
                        each.values().for_each(|v| named(v, tell))
                    }
                    _ => named(value, tell),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|each| named(each, tell)),
        _ => {}
    }
}

#[test]
fn a_browser_shows_the_html_report() {
    let Some(daemon) = daemon() else { return };
    let (_, name) = file(&daemon, "report.html");
    stress(&daemon, "churn", &["--count", "20", "--clients", "2", "--html", &name, "--max-errors", "0"]).ok();
    let Ok(seen) = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", daemon.dir().join("browser").display()))
        .arg(format!("file://{name}"))
        .stderr(Stdio::null())
        .output()
    else {
        skip("chromium is not installed");
        daemon.finish(&[]);
        return;
    };
    let page = String::from_utf8_lossy(&seen.stdout);
    assert!(page.contains("Passed: all thresholds are kept"), "{page}");
    let plots = page.matches("role=\"img\"").count();
    assert!(plots >= 5 && page.matches("<desc id=").count() == plots, "{plots}: {page}");
    assert!(page.contains("<h2>Stages of the start-up</h2>") && !page.contains("NaN"), "{page}");
    daemon.finish(&[]);
}

#[test]
fn a_runtime_without_a_manager_is_a_target() {
    if skip_unless_root() {
        return;
    }
    let dir = sextant_integration::bundle::temp_dir();
    sextant_integration::bundle::make_rootfs(&dir.path().join("rootfs"));
    if !add_busybox(&dir.path().join("rootfs"), &PROGRAMS) {
        return;
    }
    let ours = binary("sextant-runtime").display().to_string();
    for runtime in [ours.as_str(), "runc"] {
        if Command::new(runtime).arg("--version").output().is_err() {
            skip(&format!("{runtime} is not installed"));
            continue;
        }
        let rootfs = dir.path().join("rootfs").display().to_string();
        let stress = |scenario: &str, flags: &[&str]| {
            let mut command = Command::new(binary("sextant"));
            command.args(["--address", "unix:/nonexistent", "stress", scenario, "--runtime", runtime]);
            command.args(["--rootfs", &rootfs, "-q", "--max-errors", "0", "--max-leaks", "0"]).args(flags);
            sextant_integration::process::run(&mut command, dir.path())
        };
        for scenario in ["churn", "density", "exec", "kills", "forks", "list", "bombs"] {
            let few = ["--count", "4", "--clients", "2", "--hold", "50ms", "--standing", "2"];
            let ran = stress(scenario, &few).ok();
            assert!(ran.stdout.contains("PASS"), "{runtime} {scenario}: {}", ran.stdout);
        }
        for scenario in ["logs", "attach", "sandbox"] {
            let ran = stress(scenario, &[]).exited(2);
            assert!(ran.stderr.contains("this target cannot"), "{}", ran.stderr);
        }
        stress("churn", &["--kill", "shim=1s"]).exited(2);
    }
}

/// A containerd of its own, as scripts/bench has it, until our end of its stdin is closed.
const CRI: &str = r#"
    set -euo pipefail
    pids=()
    wait_for() { for _ in $(seq 200); do [ ! -S "$1" ] || return 0; sleep 0.05; done; cat "$dir/cri.log"; return 1; }
    trap 'kill "${pids[@]}"; wait' EXIT
    . scripts/bench-stress.sh
    start_cri sextant.test/stress:latest
    echo ready
    read -r _ || true
"#;

#[test]
fn a_cri_endpoint_is_a_target() {
    let Some(daemon) = daemon() else { return };
    if ["containerd", "ctr", "jq"]
        .iter()
        .any(|program| Command::new(program).arg("--version").output().is_err())
    {
        skip("containerd or jq is not installed");
        daemon.finish(&[]);
        return;
    }
    let mut script = Command::new("bash");
    script.args(["-c", CRI]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    script.env("dir", daemon.dir()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut containerd = script.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(containerd.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if said == "ready\n" {
        let address = format!("unix://{}", daemon.dir().join("cri.sock").display());
        let stress = |scenario: &str, flags: &[&str]| {
            let target =
                ["stress", scenario, "--cri", &address, "--image", "sextant.test/stress:latest", "-q"];
            daemon.sextant(&[&target, flags].concat())
        };
        for scenario in ["churn", "exec", "kills", "list", "sandbox", "density"] {
            let few =
                ["--count", "2", "--clients", "2", "--hold", "50ms", "--standing", "1", "--containers", "2"];
            let ran = stress(scenario, &[&few[..], &["--max-errors", "0", "--max-leaks", "0"]].concat()).ok();
            assert!(ran.stdout.contains("PASS"), "{scenario}: {}", ran.stdout);
        }
        let refused = stress("bombs", &[]).exited(2);
        assert!(refused.stderr.contains("CRI has no limit of processes"), "{}", refused.stderr);
    } else {
        skip(&format!("the CRI of containerd does not start: {said}"));
    }
    drop(containerd.stdin.take());
    wait(&mut containerd).expect("containerd ends");
    daemon.finish(&[]);
}

#[test]
fn an_interrupt_removes_everything() {
    let Some(daemon) = daemon() else { return };
    let (path, name) = file(&daemon, "interrupted.json");
    let rootfs = daemon.rootfs().display().to_string();
    let mut command = daemon.command();
    command.args(["stress", "density", "--rootfs", &rootfs, "-q", "--count", "8", "--clients", "4"]);
    command.args(["--hold", "1h", "--json", &name, "--max-errors", "0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let running = || daemon.sextant(&["ps", "-q", "-F", "label=sextant.stress"]).ok().stdout.lines().count();
    assert!(until(DEADLINE, || running() == 8), "{} run", running());
    let names = daemon.sextant(&["ps", "-q"]).ok().stdout;
    assert!(names.lines().all(|name| name.starts_with("stress-")), "{names}");
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(wait(&mut child).expect("it ends").code(), Some(130));
    assert_eq!(daemon.sextant(&["ps", "-aq"]).ok().stdout, "");
    let report = report(&path);
    assert_eq!((&report["run"]["interrupted"], &report["leaks"]), (&true.into(), &Value::Array(vec![])));
    daemon.finish(&[]);
}

#[test]
fn shims_are_killed_and_containers_go_on() {
    let Some(daemon) = daemon() else { return };
    let (path, name) = file(&daemon, "kills.json");
    let load = ["--count", "4", "--clients", "2", "--hold", "3s", "--kill", "shim=300ms", "--json", &name];
    stress(&daemon, "density", &[&load[..], &["--max-errors", "0", "--max-leaks", "0"]].concat()).ok();
    let killed = report(&path)["operations"]["shim-kill"]["count"].as_u64();
    assert!(killed.is_some_and(|killed| killed > 0), "{killed:?}");
    daemon.finish(&[]);
}

/// A line of shell that starts this daemon again.
fn again(daemon: &Daemon, program: &Path) -> String {
    let (dir, address) = (daemon.dir().display(), daemon.address());
    let program = program.display();
    format!("exec {program} --root {dir}/root --state {dir}/state --listen {address} 2>>{dir}/log")
}

/// Ends the daemon that somebody else has started, and starts one that is ours.
#[track_caller]
fn back_to_us(daemon: &mut Daemon) {
    let info = daemon.sextant(&["info", "--json"]).ok().json();
    let pid = Pid::from_raw(i32::try_from(info["pid"].as_i64().unwrap()).unwrap());
    kill(pid, Signal::SIGKILL).unwrap();
    assert!(until(DEADLINE, || kill(pid, None).is_err()));
    daemon.kill();
    daemon.restart();
}

#[test]
fn a_manager_that_is_killed_is_latency_and_no_error() {
    let Some(mut daemon) = daemon() else { return };
    let (path, name) = file(&daemon, "manager.json");
    let again = again(&daemon, &binary("sextantd"));
    let load = ["--duration", "4s", "--rate", "5/s", "--kill", "manager=1500ms", "--restart-command", &again];
    let strict = ["--json", &name, "--max-errors", "0", "--max-leaks", "0"];
    stress(&daemon, "churn", &[&load[..], &strict].concat()).ok();
    let back = report(&path)["operations"]["manager-back"]["count"].as_u64();
    assert!(back.is_some_and(|back| back > 0), "{back:?}");
    back_to_us(&mut daemon);
    daemon.finish(&[]);
}

/// A daemon that fails by a plan, with an empty one.
fn faulty(base: &Path) -> Option<Daemon> {
    if skip_unless_root() {
        return None;
    }
    let plan = base.join("plan");
    std::fs::write(&plan, "").unwrap();
    let Some(daemon) = Daemon::start_faulty(base, &plan, &[]) else {
        skip("there is no build with fault points: scripts/build --faults");
        return None;
    };
    add_busybox(&daemon.rootfs(), &PROGRAMS).then_some(daemon)
}

/// What the report says of a fault: times, unnoticed, and errors as `OPERATION CAUSE`.
#[track_caller]
fn reaction(report: &Value, what: &str) -> (u64, u64, Vec<String>) {
    let word = |of: &Value, name: &str| of[name].as_str().unwrap().to_owned();
    let name = |of: &Value| ["program", "action", "point"].map(|part| word(of, part)).join(" ");
    let faults = report["faults"].as_array().unwrap();
    let found =
        faults.iter().find(|fault| name(fault) == what).unwrap_or_else(|| panic!("{what}: {faults:?}"));
    let heard = found["errors"].as_array().unwrap().iter();
    let heard = heard.map(|error| format!("{} {}", word(error, "operation"), word(error, "cause"))).collect();
    (found["times"].as_u64().unwrap(), found["unnoticed"].as_u64().unwrap(), heard)
}

#[test]
fn what_fails_on_purpose_is_in_the_report_with_what_came_of_it() {
    let base = sextant_integration::bundle::temp_dir();
    let Some(daemon) = faulty(base.path()) else { return };
    let (path, name) = file(&daemon, "faults.json");
    let (html, page) = file(&daemon, "faults.html");
    let plan = base.path().join("of-the-run");
    std::fs::write(&plan, "# twice in a life: creation and start\nshim:fail:runtime.spawn%1/4\n").unwrap();
    let plan = plan.display().to_string();
    let flags = [
        "--count",
        "24",
        "--clients",
        "2",
        "--max-leaks",
        "0",
        "--faults",
        &plan,
        "--fault",
        "shim:die:exit.record%1/2; shim:delay=1:socket.bind",
        "--json",
        &name,
        "--html",
        &page,
    ];
    let ran = stress(&daemon, "churn", &flags).ok();
    let report = report(&path);
    let (times, unnoticed, heard) = reaction(&report, "shim fail runtime.spawn");
    assert!(times > 0 && unnoticed < times, "{report}");
    assert!(heard.iter().any(|error| error.ends_with(" STEP_FAILED")), "{heard:?}");
    // The next shim asks the kernel how the process ended: nobody hears of it, but who has not been told yet
    // that it was started.
    let (times, _, heard) = reaction(&report, "shim die exit.record");
    assert!(times > 0 && heard.iter().all(|error| error == "start SHIM_UNREACHABLE"), "{heard:?} {report}");
    let (times, ..) = reaction(&report, "shim delay socket.bind");
    assert!(times >= 24, "{report}");
    assert!(
        ran.stdout.contains("shim die exit.record") && ran.stdout.contains("UNNOTICED"),
        "{}",
        ran.stdout
    );
    assert!(std::fs::read_to_string(html).unwrap().contains("shim die exit.record"));
    assert_eq!(std::fs::read_to_string(base.path().join("plan")).unwrap(), "", "it is in force no longer");
    daemon.finish(&[]);
}

#[test]
fn a_call_whose_shim_dies_on_purpose_is_asked_again_and_counted() {
    let base = sextant_integration::bundle::temp_dir();
    let Some(daemon) = faulty(base.path()) else { return };
    let (path, name) = file(&daemon, "again.json");
    // Each shim of the one container serves one exec, and dies of the second before it is written down.
    let load = ["--count", "4", "--clients", "1", "--standing", "1", "--json", &name];
    let strict = ["--max-errors", "0", "--max-leaks", "0", "--fault", "shim:die:exec.record#2"];
    let ran = stress(&daemon, "exec", &[&load[..], &strict].concat()).ok();
    let report = report(&path);
    let (times, unnoticed, heard) = reaction(&report, "shim die exec.record");
    assert_eq!((times, unnoticed, heard), (3, 3, vec![]), "{report}");
    assert_eq!(report["run"]["units"], 4);
    let again = report["again"].as_array().unwrap();
    let kind = |asked: &Value| (asked["operation"].as_str() == Some("exec"), asked["cause"].clone());
    assert!(again.iter().all(|asked| kind(asked) == (true, "SHIM_UNREACHABLE".into())), "{again:?}");
    let counted: u64 = again.iter().map(|asked| asked["count"].as_u64().unwrap()).sum();
    assert!(counted >= 3, "{again:?}");
    assert!(ran.stdout.contains(&format!("asked again: {counted} times")), "{}", ran.stdout);
    daemon.finish(&[]);
}

#[test]
fn a_manager_that_dies_on_purpose_is_started_again() {
    let base = sextant_integration::bundle::temp_dir();
    let Some(mut daemon) = faulty(base.path()) else { return };
    let (path, name) = file(&daemon, "faults.json");
    let plan = base.path().join("plan");
    let restart =
        format!("SEXTANT_FAULTS=@{} {}", plan.display(), again(&daemon, &binary("sextantd-faults")));
    let restart = restart.replace(" exec ", " ");
    let flags = [
        "--count",
        "20",
        "--clients",
        "2",
        "--max-errors",
        "0",
        "--max-leaks",
        "0",
        "--fault",
        "manager:die:shim.spawn%1/6",
        "--restart-command",
        &restart,
        "--json",
        &name,
    ];
    stress(&daemon, "churn", &flags).ok();
    let (times, ..) = reaction(&report(&path), "manager die shim.spawn");
    assert!(times > 0);
    back_to_us(&mut daemon);
    daemon.finish(&[]);
}

#[test]
fn a_plan_that_cannot_be_is_refused_before_anything_is_made() {
    let Some(daemon) = daemon() else { return };
    let ran = stress(&daemon, "churn", &["--fault", "shim:die:exit.reap"]).exited(2);
    assert!(ran.stderr.contains("a build without fault points"), "{}", ran.stderr);
    let ran = stress(&daemon, "churn", &["--fault", "ship:die:exit.reap", "--fault", "shim:burn:log.write"]);
    let ran = ran.exited(2);
    assert!(
        ran.stderr.contains("runtime, shim, manager") && ran.stderr.contains("no action"),
        "{}",
        ran.stderr
    );
    daemon.finish(&[]);
}

#[test]
fn a_mix_is_read_from_a_file_and_its_mistakes_are_told_at_once() {
    let Some(daemon) = daemon() else { return };
    let (path, name) = file(&daemon, "mix.toml");
    let rootfs = daemon.rootfs().display().to_string();
    let mix = |flags: &[&str]| {
        let line = ["stress", "mix", &name, "--rootfs", &rootfs, "-q", "--seed", "1"];
        daemon.sextant(&[&line, flags].concat())
    };
    std::fs::write(&path, "[churn]\nweight = 1\n[exec]\nweight = 2\n[list]\nweight = 1\n").unwrap();
    let ran = mix(&["--count", "20", "--clients", "2", "--max-errors", "0", "--max-leaks", "0"]).ok();
    assert!(["storm", "life", "look"].iter().all(|unit| ran.stdout.contains(unit)), "{}", ran.stdout);
    std::fs::write(&path, "[churn]\nweight = 'a'\n[dance]\nweight = 1\n").unwrap();
    let ran = mix(&[]).exited(2);
    for place in ["mix.toml:2:10: churn.weight", "mix.toml:3:2: dance"] {
        assert!(ran.stderr.contains(place), "{}", ran.stderr);
    }
    daemon.finish(&[]);
}

#[test]
fn a_terminal_shows_a_picture_that_is_redrawn() {
    let Some(daemon) = daemon() else { return };
    let Some(tmux) = Tmux::start(daemon.dir()) else { return };
    let sextant = binary("sextant").display().to_string();
    let (address, rootfs) = (daemon.address(), daemon.rootfs().display().to_string());
    tmux.line(&format!(
        "{sextant} --address {address} stress churn --rootfs {rootfs} --duration 3s --clients 2"
    ));
    tmux.wait_for("OPERATION");
    tmux.wait_for("units/s");
    assert!(tmux.visible().contains("churn on sextantd"), "{}", tmux.visible());
    // What comes at the end stands below the last picture, and the shell is as it was.
    tmux.wait_for("no thresholds were given");
    tmux.wait_for_prompt();
    assert_eq!(tmux.screen().matches("ctrl-c ends it").count(), 1, "{}", tmux.screen());
    drop(tmux);
    daemon.finish(&[]);
}

#[test]
fn a_run_ends_with_the_audit_of_the_daemon() {
    let Some(daemon) = daemon() else { return };
    let state = |name: &str| daemon.dir().join("state/runtime").join(name);
    std::fs::create_dir(state("left-before")).unwrap();
    let (path, name) = file(&daemon, "audited.json");
    let rootfs = daemon.rootfs().display().to_string();
    let mut command = daemon.command();
    command.args(["stress", "density", "--rootfs", &rootfs, "-q", "--count", "2", "--clients", "2"]);
    command.args(["--hold", "2s", "--json", &name, "--max-errors", "0", "--max-leaks", "0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let running = || daemon.sextant(&["ps", "-q", "-F", "label=sextant.stress"]).ok().stdout.lines().count();
    assert!(until(DEADLINE, || running() == 2), "{} run", running());
    // Not of a name of the run: only an audit finds it.
    std::fs::create_dir(state("left-meanwhile")).unwrap();
    assert_ne!(wait(&mut child).expect("it ends").code(), Some(0), "a leak fails it");
    let report = report(&path);
    let leaks = report["leaks"].as_array().unwrap();
    assert_eq!(leaks.len(), 1, "{leaks:?}");
    assert_eq!(leaks[0]["kind"], "runtime-state");
    assert_eq!(leaks[0]["name"], state("left-meanwhile").display().to_string());
    assert_eq!(leaks[0]["reason"], "there is no container left-meanwhile");
    let audit = daemon.sextant(&["audit", "--fix"]).ok().stdout;
    assert!(audit.contains("2 removed"), "{audit}");
    daemon.finish(&[]);
}
