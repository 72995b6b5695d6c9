//! Failure leaves nothing: at every stage that a normal run reports, a fault is
//! injected into a build of the runtime that has the cargo feature `faults`
//! (`scripts/build --faults`): the stage fails, fails after its work, or the
//! process dies there; or the runtime is killed while init is there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod deaths;

use serde_json::{Value, json};
use sextant_integration::process::{DEADLINE, Ran, run, until};
use sextant_integration::{Bundle, Runtime, skip, skip_unless_root, unique};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The build with faults, or `None` with the reason said.
fn faulty() -> Option<Runtime> {
    if skip_unless_root() {
        return None;
    }
    let runtime = Runtime::of("sextant-runtime-faults");
    if runtime.is_none() {
        skip("no sextant-runtime-faults: scripts/build --faults makes it");
    }
    runtime
}

/// Whether a command has taken too long: five seconds, of which none takes a fraction, and, as
/// the machine may be slow or busy just now, as long as a hundred normal creations.
fn is_hang(took: Duration) -> bool {
    took > Duration::from_secs(5) && took > normal_creation() * 100
}

fn normal_creation() -> Duration {
    let place = Place::new(faulty().unwrap(), rich(Bundle::new()));
    let begin = Instant::now();
    run(&mut place.command("", &place.create_args()), place.runtime.dir()).ok();
    let took = begin.elapsed();
    place.delete_by_force();
    took
}

/// Lets who is held at a stage go on.
fn let_go(report: &Path) {
    std::fs::set_permissions(report, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// A stage of a normal run.
#[derive(Clone, Debug)]
struct Stage {
    name: String,
    /// Which of those of this name, from 1.
    nth: usize,
    /// Whether a pid 1 carried it out.
    inits: bool,
    /// Whether a process that the command has cloned carried it out.
    childs: bool,
}

impl Stage {
    fn fault(&self, action: &str) -> String {
        let who = if self.childs { "child" } else { "parent" };
        format!("{action}:{}#{}@{who}", self.name, self.nth)
    }
}

/// The stages in these records, the first of which is the command's own.
fn stages(records: &[Value]) -> Vec<Stage> {
    let command = records.first().map(|record| record["pid"].clone());
    stages_of(records, &command.unwrap_or_default())
}

/// Those of the command with this pid, and of what it has cloned.
fn stages_of(records: &[Value], command: &Value) -> Vec<Stage> {
    let mut seen: BTreeMap<(String, bool), usize> = BTreeMap::new();
    let stage = |record: &Value| {
        let name = record["stage"].as_str().unwrap().to_owned();
        let childs = record["pid"] != *command;
        let nth = seen.entry((name.clone(), childs)).or_insert(0);
        *nth += 1;
        Stage { name, nth: *nth, inits: record["pid"] == 1, childs }
    };
    records.iter().map(stage).collect()
}

/// A config with something at every stage.
fn rich(bundle: Bundle) -> Bundle {
    let hook = |path: &str| json!([{"path": path, "args": ["true"]}]);
    bundle
        .sleeping()
        .set("/linux/namespaces/-", json!({"type": "time"}))
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 5}}))
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "9000"}))
        .set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW"}))
        .set("/linux/memoryPolicy", json!({"mode": "MPOL_DEFAULT"}))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}))
        .set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"}))
        .mount(
            json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "rro"]}),
        )
        .mount(
            json!({"destination": "/mnt", "type": "none", "source": "t", "options": ["remount", "noexec"]}),
        )
        .set("/linux/personality", json!({"domain": "LINUX"}))
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]))
        .set("/process/oomScoreAdj", json!(500))
        .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3}))
        .set("/root/readonly", json!(true))
        .set(
            "/hooks",
            json!({"prestart": hook("/bin/true"), "createRuntime": hook("/bin/true"),
                   "createContainer": hook("/bin/true"), "startContainer": hook("/bin/true"),
                   "poststart": hook("/bin/true"), "poststop": hook("/bin/true")}),
        )
}

fn bundles() -> [Bundle; 2] {
    [rich(Bundle::new()), rich(Bundle::without_user())]
}

/// A container to be: a bundle with a listener for its terminal.
struct Place {
    runtime: Runtime,
    bundle: Bundle,
    console: PathBuf,
    id: String,
    _listener: std::os::unix::net::UnixListener,
}

impl Place {
    fn new(runtime: Runtime, bundle: Bundle) -> Self {
        let console = bundle.dir().join("console.sock");
        let listener = std::os::unix::net::UnixListener::bind(&console).unwrap();
        let bundle = bundle.set("/process/terminal", json!(true));
        bundle.write();
        Self { runtime, bundle, console, id: unique("fault"), _listener: listener }
    }

    fn create_args(&self) -> Vec<&OsStr> {
        let words = ["create", "--bundle"].map(OsStr::new);
        let socket = OsStr::new("--console-socket");
        [&words[..], &[self.bundle.dir().as_os_str(), socket, self.console.as_os_str(), self.id.as_ref()]]
            .concat()
    }

    fn command(&self, fault: &str, args: &[&OsStr]) -> Command {
        let mut command = self.runtime.command();
        command.args(args).env("SEXTANT_FAULT", fault);
        command
    }

    #[track_caller]
    fn with_fault(&self, fault: &str, args: &[&OsStr]) -> Ran {
        let begin = Instant::now();
        let ran = run(&mut self.command(fault, args), self.runtime.dir());
        deaths::assert_by_event(fault, &ran, begin.elapsed());
        ran
    }

    /// Nothing is left, apart from this test's own listener.
    #[track_caller]
    fn assert_clean(&self, fault: &str) {
        let leftovers = sextant_integration::Leftovers::of(self.runtime.dir(), &[&self.id])
            .empty_dir(self.runtime.root());
        let clean = until(DEADLINE, || leftovers.find().is_empty());
        assert!(clean, "{fault} left behind: {:#?}", leftovers.find());
    }

    fn delete_by_force(&self) {
        self.runtime.call(["delete", "--force", &self.id]).ok();
    }
}

/// Runs `test` for each stage, a few at once.
fn each(stages: &[Stage], bundle: impl Fn() -> Bundle + Sync, test: impl Fn(&Place, &Stage) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(stage) = stages.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    test(&Place::new(faulty().unwrap(), bundle()), stage);
                }
            });
        }
    });
}

/// What a normal `create` of this bundle reports.
fn stages_of_create(runtime: Runtime, bundle: Bundle) -> Vec<Stage> {
    let place = Place::new(runtime, bundle);
    let (ran, records) = place.runtime.report(&place.create_args(), place.runtime.dir());
    ran.ok();
    place.delete_by_force();
    place.assert_clean("none");
    let stages = stages(&records);
    for expected in
        ["load", "cgroup", "clone", "mount/3", "hook-create-container/0", "pivot", "console", "ready"]
    {
        assert!(stages.iter().any(|s| s.name == expected), "{expected} is not in {stages:?}");
    }
    stages
}

/// What these stages give is the thing that they have made: after their work there
/// is nothing of it that could fail.
fn gives_what_it_made(stage: &Stage) -> bool {
    stage.nth == 1 && matches!(stage.name.as_str(), "store" | "cgroup" | "clone")
}

/// In a bundle with a user namespace (0), and in one without (1).
fn create_fails_with(action: &'static str, kinds: &[usize]) {
    for &kind in kinds {
        let Some(runtime) = faulty() else { return };
        let [mapped, plain] = bundles();
        let stages = stages_of_create(runtime, if kind == 0 { mapped } else { plain });
        let bundle = || bundles().into_iter().nth(kind).unwrap();
        each(&stages, bundle, |place, stage| {
            if action == "fail-after" && gives_what_it_made(stage) {
                return;
            }
            let fault = stage.fault(action);
            let ran = place.with_fault(&fault, &place.create_args());
            match (action, ran.code) {
                // Init said that it is ready, and died: no different from a death thereafter.
                ("fail-after" | "die", 0) if stage.name == "ready" => {
                    assert_eq!(place.runtime.state(&place.id)["status"], "stopped", "{fault}");
                    place.runtime.call(["delete", &place.id]).ok();
                }
                ("die", 137) if !stage.inits => place.delete_by_force(),
                (_, 1) => assert!(!ran.stderr.is_empty(), "{fault}"),
                (_, code) => panic!("{fault}: exit {code}: {}", ran.stderr),
            }
            place.assert_clean(&fault);
        });
    }
}

// proves: a fault at any stage of create leaves nothing
#[test]
fn a_stage_of_create_that_fails_leaves_nothing() {
    create_fails_with("fail", &[0, 1]);
}

#[test]
fn a_stage_of_create_that_fails_after_its_work_leaves_nothing() {
    create_fails_with("fail-after", &[1]);
}

#[test]
fn a_death_at_a_stage_of_create_leaves_nothing_that_delete_does_not_find() {
    create_fails_with("die", &[0]);
}

/// Kills the runtime as soon as a child of it is held at a stage; gives whether it was.
fn kill_while_held(place: &Place, fault: &str, args: &[&OsStr]) -> bool {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::os::fd::AsRawFd;
    let report = place.runtime.dir().join("report");
    let file = std::fs::File::options().create(true).append(true).open(&report).unwrap();
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let mut command = place.runtime.command();
    command.arg("--report-fd").arg(file.as_raw_fd().to_string()).args(args).env("SEXTANT_FAULT", fault);
    command.stdin(std::process::Stdio::null());
    let mut child =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let held = || std::fs::read_to_string(&report).unwrap().contains("\"held\"");
    let mut ended = false;
    until(DEADLINE, || {
        ended = child.try_wait().unwrap().is_some();
        ended || held()
    });
    child.kill().ok();
    child.wait().unwrap();
    let_go(&report);
    !ended
}

#[test]
fn init_ends_when_the_runtime_is_killed_at_any_stage() {
    let Some(runtime) = faulty() else { return };
    let stages = stages_of_create(runtime, rich(Bundle::new()));
    let stages: Vec<_> = stages.into_iter().filter(|stage| stage.inits).collect();
    each(
        &stages,
        || rich(Bundle::new()),
        |place, stage| {
            let fault = stage.fault("hold");
            assert!(kill_while_held(place, &fault, &place.create_args()), "{fault} was not reached");
            // Whatever was in the container goes by itself; what is on the host is found by its state.
            let inside = || {
                let found = sextant_integration::Leftovers::of(place.bundle.dir(), &[]).find();
                found.into_iter().filter(|line| line.starts_with("process")).collect::<Vec<_>>()
            };
            assert!(until(DEADLINE, || inside().is_empty()), "{fault}: {:?}", inside());
            place.delete_by_force();
            place.assert_clean(&fault);
        },
    );
}

// proves: init dying at any moment of start is an error, never a hang
#[test]
fn start_fails_when_init_does() {
    for stage in ["hook-start-container/0", "seccomp", "exec"] {
        for action in ["fail", "die"] {
            for bundle in bundles() {
                let Some(runtime) = faulty() else { return };
                let place = Place::new(runtime, bundle);
                let fault = format!("{action}:{stage}");
                let created = place.with_fault(&fault, &place.create_args());
                created.ok();
                let started = place.with_fault("", &["start".as_ref(), place.id.as_ref()]);
                // From `Executing` on, a death looks like success, and the container has stopped.
                if started.code == 0 {
                    assert!(action == "die" && stage != "hook-start-container/0", "{fault}");
                }
                place.runtime.wait_stopped(&place.id);
                place.runtime.call(["delete", &place.id]).ok();
                place.assert_clean(&fault);
            }
        }
    }
}

#[test]
fn start_that_fails_or_dies_leaves_a_container_that_can_be_deleted() {
    for action in ["fail", "fail-after", "die"] {
        let Some(runtime) = faulty() else { return };
        let [_, bundle] = bundles();
        let place = Place::new(runtime, bundle);
        let fault = format!("{action}:start");
        place.with_fault("", &place.create_args()).ok();
        let started = place.with_fault(&fault, &["start".as_ref(), place.id.as_ref()]);
        assert_ne!(started.code, 0, "{fault}");
        if action == "fail-after" {
            // Init has heard of it, and may have been faster than the failure.
            place.delete_by_force();
        } else {
            place.runtime.call(["delete", &place.id]).ok();
        }
        place.assert_clean(&fault);
    }
}

// proves: a fault at any stage of delete leaves a container that can be deleted
#[test]
fn a_fault_at_a_stage_of_delete_is_mended_by_the_next_one() {
    let delete: &[&str] = &["delete", "--force"];
    let Some((place, _)) = running(rich(Bundle::without_user())) else { return };
    let args = |place: &Place| -> Vec<std::ffi::OsString> {
        delete.iter().copied().chain([place.id.as_str()]).map(Into::into).collect()
    };
    let words = args(&place);
    let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
    let (ran, records) = place.runtime.report(&words, place.runtime.dir());
    ran.ok();
    let stages = stages(&records);
    for expected in ["delete", "hook-poststop/0"] {
        assert!(stages.iter().any(|s| s.name == expected), "{expected} is not in {stages:?}");
    }
    for stage in &stages {
        for action in ["fail", "fail-after", "die"] {
            let Some((place, _)) = running(rich(Bundle::without_user())) else { return };
            let fault = stage.fault(action);
            let words = args(&place);
            let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
            let ran = place.with_fault(&fault, &words);
            // A hook that fails is a warning.
            assert!(ran.code != 0 || stage.name.starts_with("hook"), "{fault}: {ran:?}");
            place.delete_by_force();
            place.assert_clean(&fault);
        }
    }
}

/// A running container, and the pids in it.
fn running(bundle: Bundle) -> Option<(Place, Value)> {
    let place = Place::new(faulty()?, bundle);
    place.with_fault("", &place.create_args()).ok();
    place.with_fault("", &["start".as_ref(), place.id.as_ref()]).ok();
    let init = place.runtime.state(&place.id)["pid"].take();
    Some((place, init))
}

// proves: a fault at any stage of exec leaves nothing
#[test]
fn a_fault_at_a_stage_of_exec_leaves_the_container_alone() {
    for bundle in bundles() {
        let Some((place, init)) = running(bundle) else { return };
        let args: Vec<&OsStr> = ["exec", "--tty", "--detach", "--console-socket"].map(OsStr::new).to_vec();
        let console = place.console.clone();
        let args = [&args[..], &[console.as_os_str(), place.id.as_ref(), "/bin/true".as_ref()]].concat();
        let (ran, records) = place.runtime.report(&args, place.runtime.dir());
        ran.ok();
        std::fs::remove_file(place.runtime.dir().join("report")).unwrap();
        let stages = stages(&records);
        for expected in ["load", "cgroup-join", "clone", "console", "seccomp", "rlimit/0", "ready", "exec"] {
            assert!(stages.iter().any(|s| s.name == expected), "{expected} is not in {stages:?}");
        }
        let alone = || {
            let pids = place.runtime.call(["ps", "--format", "json", &place.id]).ok().stdout;
            serde_json::from_str::<Value>(&pids).unwrap() == json!([init])
        };
        for stage in &stages {
            for action in ["fail", "fail-after", "die"] {
                let fault = stage.fault(action);
                let ran = place.with_fault(&fault, &args);
                let late = matches!(stage.name.as_str(), "seccomp" | "exec" | "start" | "clone");
                assert!(ran.code != 0 || late, "{fault}: {}", ran.stderr);
                assert!(until(DEADLINE, alone), "{fault}: somebody is left");
            }
            let fault = stage.fault("hold");
            kill_while_held(&place, &fault, &args);
            std::fs::remove_file(place.runtime.dir().join("report")).unwrap();
            assert!(until(DEADLINE, alone), "{fault}: somebody is left");
        }
        assert_eq!(place.runtime.state(&place.id)["status"], "running");
        place.delete_by_force();
        place.assert_clean("exec");
    }
}
