//! Deaths and failures at every stage that `run` and `start` report, and init
//! killed from outside at every stage of a creation. Whoever waits for the dead
//! hears of it: no deadline of the runtime's own ends anything here.

use super::*;

/// What the runtime says when one of its own deadlines has passed.
const DEADLINES: [&str; 5] =
    ["after 10 s", "for 10 s", "another command is at work", "ETIMEDOUT", "is still in the cgroup"];

/// The command ended by an event, and not by a deadline of its own.
#[track_caller]
pub(super) fn assert_by_event(fault: &str, ran: &Ran, took: Duration) {
    let deadline = DEADLINES.iter().find(|words| ran.stderr.contains(**words));
    assert!(deadline.is_none(), "{fault}: a deadline has passed: {}", ran.stderr);
    assert!(!is_hang(took), "{fault}: it took {took:?}");
}

fn words<'a>(place: &'a Place, verb: &'a str) -> Vec<&'a OsStr> {
    let mut args = place.create_args();
    args[0] = verb.as_ref();
    args
}

/// A rich bundle whose process ends at once.
fn brief(bundle: Bundle) -> Bundle {
    bundle.args(&["/bin/true"])
}

fn stages_of_run(bundle: Bundle) -> Option<Vec<Stage>> {
    let place = Place::new(faulty()?, bundle);
    let (ran, records) = place.runtime.report(&words(&place, "run"), place.runtime.dir());
    ran.ok();
    place.assert_clean("none");
    let stages = stages(&records);
    for expected in
        ["load", "store", "start", "hook-start-container/0", "seccomp", "hook-poststart/0", "wait"]
    {
        assert!(stages.iter().any(|s| s.name == expected), "{expected} is not in {stages:?}");
    }
    Some(stages)
}

// proves: init dying at any moment of run is an error, never a hang
#[test]
fn a_stage_of_run_that_fails_or_dies_leaves_nothing() {
    for (kind, actions) in [(0, &["fail", "die"][..]), (1, &["fail", "fail-after"])] {
        let bundle = || brief(bundles().into_iter().nth(kind).unwrap());
        let Some(stages) = stages_of_run(bundle()) else { return };
        for action in actions {
            each(&stages, bundle, |place, stage| {
                if *action == "fail-after" && gives_what_it_made(stage) {
                    return;
                }
                let fault = stage.fault(action);
                let begin = Instant::now();
                let ran = place.with_fault(&fault, &words(place, "run"));
                assert_by_event(&fault, &ran, begin.elapsed());
                // What dies as the last thing, or is a warning, is no failure of the run.
                let late = matches!(stage.name.as_str(), "exec" | "seccomp" | "wait")
                    || stage.name.starts_with("hook-poststop");
                assert!(ran.code != 0 || late, "{fault}: {}", ran.stderr);
                if ran.code == 137 || stage.name == "wait" {
                    // The runtime itself was killed: what it leaves is found.
                    place.delete_by_force();
                }
                place.assert_clean(&fault);
            });
        }
    }
}

// proves: init dying at any moment of start is an error, never a hang
#[test]
fn a_stage_of_start_that_fails_or_dies_leaves_a_container_that_can_be_deleted() {
    let [_, bundle] = bundles();
    let Some(runtime) = faulty() else { return };
    let place = Place::new(runtime, bundle);
    // Init's stages come down the descriptor that `create` was given, those of `start` down its own.
    let (created, of_create) = place.runtime.report(&place.create_args(), place.runtime.dir());
    created.ok();
    std::fs::rename(place.runtime.dir().join("report"), place.runtime.dir().join("of-init")).unwrap();
    let start: [&OsStr; 2] = ["start".as_ref(), place.id.as_ref()];
    let (started, of_start) = place.runtime.report(&start, place.runtime.dir());
    started.ok();
    let text = std::fs::read_to_string(place.runtime.dir().join("of-init")).unwrap();
    let of_init: Vec<Value> =
        text.lines().skip(of_create.len()).map(|l| serde_json::from_str(l).unwrap()).collect();
    place.delete_by_force();
    place.assert_clean("none");
    // Init counts from what it was cloned with.
    let (of_start, of_init) = (stages(&of_start), after(&of_create, &of_init));
    assert!(of_start.iter().any(|s| s.name == "hook-poststart/0"), "{of_start:?}");
    assert!(of_init.iter().any(|s| s.name == "hook-start-container/0"), "{of_init:?}");
    let stages: Vec<Stage> = of_start.into_iter().chain(of_init).collect();
    for action in ["fail", "fail-after", "die"] {
        each(
            &stages,
            || bundles().into_iter().nth(1).unwrap(),
            |place, stage| {
                let fault = stage.fault(action);
                // Init has the fault from `create`, the command itself from its own environment.
                place.with_fault(&fault, &place.create_args()).ok();
                let begin = Instant::now();
                let ran = place.with_fault(&fault, &["start".as_ref(), place.id.as_ref()]);
                assert_by_event(&fault, &ran, begin.elapsed());
                let late = matches!(stage.name.as_str(), "exec" | "seccomp");
                assert!(ran.code != 0 || late, "{fault}: {}", ran.stderr);
                place.delete_by_force();
                place.assert_clean(&fault);
            },
        );
    }
}

/// Init's stages from `start` on, counted with those that it had before.
fn after(of_create: &[Value], later: &[Value]) -> Vec<Stage> {
    let all: Vec<Value> = of_create.iter().chain(later).cloned().collect();
    let command = of_create.first().map(|record| record["pid"].clone());
    stages_of(&all, &command.unwrap_or_default()).split_off(of_create.len())
}

/// The children of a process.
fn children(pid: u32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a process is a zombie, or gone.
fn has_ended(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Kills init as soon as somebody is held at the stage of the fault; gives what became of the
/// command, and how long it took from then on. `None` where there was no init yet.
fn kill_init_while_held(place: &Place, fault: &str, args: &[&OsStr]) -> Option<(Ran, Duration)> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use nix::sys::signal::{Signal, kill};
    use std::os::fd::AsRawFd;
    let dir = place.runtime.dir();
    let (report, errors) = (dir.join("report"), dir.join("errors"));
    let file = std::fs::File::options().create(true).append(true).open(&report).unwrap();
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let mut command = place.runtime.command();
    command.arg("--report-fd").arg(file.as_raw_fd().to_string()).args(args).env("SEXTANT_FAULT", fault);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut child = command.stderr(std::fs::File::create(&errors).unwrap()).spawn().unwrap();
    let held = || std::fs::read_to_string(&report).unwrap().contains("\"held\"");
    assert!(until(DEADLINE, held), "{fault} was not reached");
    let inits = children(child.id());
    for init in &inits {
        kill(nix::unistd::Pid::from_raw(*init), Signal::SIGKILL).unwrap();
    }
    assert!(until(DEADLINE, || inits.iter().all(|init| has_ended(*init))), "{fault}: init does not die");
    let_go(&report);
    let begin = Instant::now();
    let status = sextant_integration::process::wait(&mut child).unwrap_or_else(|| panic!("{fault}: a hang"));
    let stderr = std::fs::read_to_string(&errors).unwrap();
    let ran = Ran { code: status.code().unwrap_or(-1), stdout: String::new(), stderr };
    (!inits.is_empty()).then(|| (ran, begin.elapsed()))
}

// proves: init dying at any moment of create is an error, never a hang
#[test]
fn init_killed_from_outside_at_any_stage_of_create_is_an_event() {
    for kind in [0, 1] {
        let bundle = || bundles().into_iter().nth(kind).unwrap();
        let Some(runtime) = faulty() else { return };
        let stages = stages_of_create(runtime, bundle());
        let killed = std::sync::atomic::AtomicUsize::new(0);
        each(&stages, bundle, |place, stage| {
            let fault = stage.fault("hold");
            match kill_init_while_held(place, &fault, &place.create_args()) {
                None => place.delete_by_force(),
                Some((ran, took)) => {
                    killed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    assert_by_event(&fault, &ran, took);
                    // Killed after its last word, it is no different from a container that has stopped.
                    if ran.code == 0 {
                        assert!(matches!(stage.name.as_str(), "ready" | "store"), "{fault}: it went on");
                        place.runtime.call(["delete", &place.id]).ok();
                    } else {
                        assert!(!ran.stderr.is_empty(), "{fault}");
                    }
                }
            }
            place.assert_clean(&fault);
        });
        let killed = killed.into_inner();
        assert!(killed * 2 > stages.len(), "only {killed} of {} stages had an init", stages.len());
    }
}
