//! The states of a container: random commands, one after the other, against a
//! model of the state machine; and many at once, which must corrupt nothing.
//!
//! `SEXTANT_SEED` repeats a failure, `SEXTANT_ROUNDS` makes a longer run.
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
use sextant_integration::bundle::temp_dir;
use sextant_integration::process::{DEADLINE, Ran, run, until};
use sextant_integration::random::Random;
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};
use std::time::Duration;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Created,
    Running,
    PausedCreated,
    PausedRunning,
    Stopped,
}

/// What is done to the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Create,
    RunDetached,
    Start,
    KillTerm,
    Kill,
    KillAll,
    Pause,
    Resume,
    Exec,
    Update,
    Delete,
    DeleteForce,
    /// SIGKILL of its init by somebody else.
    Murder,
}

const COMMANDS: [Command; 13] = [
    Command::Create,
    Command::RunDetached,
    Command::Start,
    Command::KillTerm,
    Command::Kill,
    Command::KillAll,
    Command::Pause,
    Command::Resume,
    Command::Exec,
    Command::Update,
    Command::Delete,
    Command::DeleteForce,
    Command::Murder,
];

impl State {
    /// The state after a command; `None` when it is refused, and changes nothing.
    fn after(self, command: Command) -> Option<Self> {
        use State::{Absent, Created, PausedCreated, PausedRunning, Running, Stopped};
        let alive = !matches!(self, Absent | Stopped);
        match command {
            Command::Create => (self == Absent).then_some(Created),
            Command::RunDetached => (self == Absent).then_some(Running),
            Command::Start => (self == Created).then_some(Running),
            // A pid 1 without a handler does not mind.
            Command::KillTerm => alive.then_some(self),
            Command::Kill | Command::Murder => alive.then_some(Stopped),
            Command::KillAll => (self != Absent).then_some(Stopped),
            Command::Pause => match self {
                Created => Some(PausedCreated),
                Running => Some(PausedRunning),
                _ => None,
            },
            Command::Resume => match self {
                PausedCreated => Some(Created),
                PausedRunning => Some(Running),
                _ => None,
            },
            Command::Exec => matches!(self, Created | Running).then_some(self),
            Command::Update => alive.then_some(self),
            Command::Delete => matches!(self, Created | Stopped).then_some(Absent),
            Command::DeleteForce => Some(Absent),
        }
    }

    /// What `state` says.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Created => Some("created"),
            Self::Running => Some("running"),
            Self::PausedCreated | Self::PausedRunning => Some("paused"),
            Self::Stopped => Some("stopped"),
        }
    }
}

/// One container, and the runtime that has it.
struct Subject {
    runtime: Runtime,
    bundle: Bundle,
    id: String,
}

impl Subject {
    fn new() -> Self {
        let bundle = Bundle::new().sleeping();
        bundle.write();
        Self { runtime: Runtime::new(), bundle, id: unique("state") }
    }

    /// Its output has files of its own: others may run at the same time. One that hangs has failed
    /// at [`DEADLINE`], which is far longer than commands wait for each other.
    fn call(&self, args: &[&str]) -> Ran {
        run(self.runtime.command().args(args), temp_dir().path())
    }

    fn carry_out(&self, command: Command) -> Ran {
        let (id, bundle) = (self.id.as_str(), self.bundle.dir().to_str().unwrap());
        match command {
            Command::Create => self.call(&["create", "--bundle", bundle, id]),
            Command::RunDetached => self.call(&["run", "--detach", "--bundle", bundle, id]),
            Command::Start => self.call(&["start", id]),
            Command::KillTerm => self.call(&["kill", id, "TERM"]),
            Command::Kill => self.call(&["kill", id, "KILL"]),
            Command::KillAll => self.call(&["kill", "--all", id, "KILL"]),
            Command::Pause => self.call(&["pause", id]),
            Command::Resume => self.call(&["resume", id]),
            Command::Exec => self.call(&["exec", id, "/bin/true"]),
            Command::Update => self.call(&["update", "--pids-limit", "100", id]),
            Command::Delete => self.call(&["delete", id]),
            Command::DeleteForce => self.call(&["delete", "--force", id]),
            Command::Murder => self.murder(),
        }
    }

    /// Fails when there is nobody to be killed, as `kill` does.
    fn murder(&self) -> Ran {
        let pid = self.state().map_or(0, |state| state["pid"].as_i64().unwrap_or(0));
        let pid = i32::try_from(pid).unwrap();
        let done = pid > 0 && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
        Ran { code: if done { 0 } else { 1 }, stdout: String::new(), stderr: String::new() }
    }

    fn state(&self) -> Option<Value> {
        let ran = self.call(&["state", &self.id]);
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).unwrap())
    }

    fn says(&self, expected: State) -> bool {
        self.state().as_ref().map(|state| state["status"].as_str().unwrap()) == expected.name()
    }

    fn end(self) {
        self.call(&["delete", "--force", &self.id]).ok();
        self.runtime.leftovers(&[&self.id]).assert_none();
    }
}

/// One random history.
fn history(seed: u64) {
    let (mut random, subject) = (Random::new(seed), Subject::new());
    let (mut state, mut told) = (State::Absent, Vec::new());
    for _ in 0..40 {
        let command = random.one(&COMMANDS).unwrap();
        // Version 1 keeps a frozen process until it is thawed: its state is then not ours to say.
        if command == Command::Murder && matches!(state, State::PausedCreated | State::PausedRunning) {
            continue;
        }
        let next = state.after(command);
        told.push(command);
        let ran = subject.carry_out(command);
        let story = || format!("SEXTANT_SEED={seed}: {told:?}\nin {state:?}: {ran:?}");
        assert_eq!(ran.code == 0, next.is_some(), "{}", story());
        assert!(ran.code == 0 || ran.code == 1 || ran.code == 255, "{}", story());
        let expected = next.unwrap_or(state);
        let dying = expected == State::Stopped;
        let reached = until(if dying { DEADLINE } else { Duration::ZERO }, || subject.says(expected));
        assert!(reached, "{}\nexpected {expected:?}, state says {:?}", story(), subject.state());
        state = expected;
    }
    subject.end();
}

// proves: states under random commands
#[test]
fn random_histories_follow_the_model() {
    if skip_unless_root() {
        return;
    }
    let rounds = from_env("SEXTANT_ROUNDS", 8);
    if let Some(seed) = std::env::var("SEXTANT_SEED").ok().and_then(|s| s.parse().ok()) {
        return history(seed);
    }
    let first = u64::from(std::process::id()) << 20;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in (thread..rounds).step_by(4) {
                    history(first + round);
                }
            });
        }
    });
}

// proves: two commands on one container at once
#[test]
fn commands_at_once_corrupt_nothing() {
    if skip_unless_root() {
        return;
    }
    let subject = Subject::new();
    let commands = from_env("SEXTANT_ROUNDS", 8) * 4;
    let seed = from_env("SEXTANT_SEED", u64::from(std::process::id()));
    std::thread::scope(|scope| {
        let carry_out = |thread: u64| {
            let subject = &subject;
            move || {
                let mut random = Random::new(seed.wrapping_mul(8).wrapping_add(thread));
                for _ in 0..commands {
                    let command = random.one(&COMMANDS).unwrap();
                    let ran = subject.carry_out(command);
                    // 137: a process of exec whose container was killed.
                    let code = matches!(ran.code, 0 | 1 | 255) || command == Command::Exec && ran.code == 137;
                    assert!(code, "SEXTANT_SEED={seed}: {command:?}: {ran:?}");
                    assert!(!ran.stderr.contains("left behind"), "SEXTANT_SEED={seed}: {command:?}: {ran:?}");
                    assert!(!ran.stderr.contains("panicked"), "SEXTANT_SEED={seed}: {command:?}: {ran:?}");
                }
            }
        };
        let workers = [1, 2, 3, 4, 5, 6].map(|thread| scope.spawn(carry_out(thread)));
        while !workers.iter().all(|worker| worker.is_finished()) {
            // A process of exec waits in a paused container, and the others may be done with it.
            if workers.iter().any(|worker| worker.is_finished()) {
                subject.carry_out(Command::Resume);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    // Whatever came of it, the id can be used again.
    subject.carry_out(Command::DeleteForce).ok();
    for command in [Command::Create, Command::Start, Command::Exec, Command::Kill] {
        subject.carry_out(command).ok();
    }
    subject.end();
}

#[test]
fn two_starts_at_once_start_it_once() {
    if skip_unless_root() {
        return;
    }
    for _ in 0..5 {
        let subject = Subject::new();
        subject.carry_out(Command::Create).ok();
        let codes = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| subject.carry_out(Command::Start)));
            both.map(|one| one.join().unwrap())
        });
        assert_eq!(codes.iter().filter(|ran| ran.code == 0).count(), 1, "{codes:?}");
        let refused = codes.iter().find(|ran| ran.code != 0).unwrap();
        assert!(refused.stderr.contains("cannot start an already running container"), "{refused:?}");
        assert!(subject.says(State::Running));
        subject.end();
    }
}
