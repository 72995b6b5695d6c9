//! One life of a container for each named point of shim and manager and everything that can happen
//! there: what a client is told has a type and says where, a daemon that died is started again, no
//! exit is lost or invented, and nothing is left. The points are those of `shim/src/faults.rs` and
//! `manager/src/faults.rs`; docs/reliability.md says what becomes of each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use sextant_integration::calls::{self, Client};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Daemon, skip, skip_unless_root, unique};
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::execs_client::ExecsClient;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::restart_policy::When;
use sextant_proto::v1::sandboxes_client::SandboxesClient;
use sextant_proto::v1::system_client::SystemClient;
use sextant_proto::v1::wait_request::Condition;
use sextant_proto::v1::{
    CreateExecRequest, CreateRequest, CreateSandboxRequest, DeleteRequest, DeleteSandboxRequest, Event,
    EventsRequest, GetRequest, LogOptions, PauseRequest, RestartPolicy, RestartRequest, ResumeRequest,
    SharedNamespaces, StartRequest, Status as ContainerStatus, StopRequest, WaitExecRequest, WaitRequest,
};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

/// What has to happen so that a point is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// A life with an exec is enough.
    Life,
    /// The shim is killed.
    ShimKilled,
    /// The daemon is killed and started again.
    DaemonKilled,
    /// So much is written that the log is rotated.
    Output,
    /// The shim's journal grows to its bound.
    Records,
    /// The journal of events grows to its bound.
    Events,
    /// There is a sandbox.
    Sandbox,
}
use Needs::{DaemonKilled, Life, Output, Records, Sandbox, ShimKilled};

/// What the client hears of a failure there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It names this.
    Names(&'static str),
    /// Nothing: it is no failure of what the client wanted.
    Nothing,
    /// Nothing, or it names this: whose call of two at once fails is not known.
    Perhaps(&'static str),
}
use Told::{Names, Nothing, Perhaps};

/// Program, point (and which time), what it needs, what is told.
type Place = (&'static str, &'static str, Needs, Told);

const STEP: &[&str] = &["fail", "delay=50", "die"];
const WRITE: &[&str] = &["fail", "short", "delay=50", "die"];
const MOMENT: &[&str] = &["delay=50", "die"];

const SHIM: &[(Place, &[&str])] = &[
    (("shim", "journal.append#1", Life, Names("journal")), WRITE),
    (("shim", "journal.append#2", Life, Nothing), WRITE),
    (("shim", "journal.append#3", Life, Names("journal")), WRITE),
    (("shim", "journal.append#4", Life, Nothing), WRITE),
    (("shim", "journal.append#5", Life, Nothing), WRITE),
    (("shim", "journal.sync", Life, Nothing), STEP),
    (("shim", "journal.compact", Records, Nothing), STEP),
    (("shim", "log.write", Output, Nothing), WRITE),
    (("shim", "log.rotate", Output, Nothing), STEP),
    (("shim", "hand.store", Life, Nothing), MOMENT),
    (("shim", "hand.store#2", Life, Nothing), MOMENT),
    (("shim", "runtime.spawn#1", Life, Names("Input/output error")), STEP),
    (("shim", "runtime.spawn#2", Life, Names("Input/output error")), STEP),
    (("shim", "runtime.report#1", Life, Names("report")), STEP),
    (("shim", "runtime.report#2", Life, Nothing), STEP),
    (("shim", "runtime.report#3", Life, Names("report")), STEP),
    (("shim", "init.claim", Life, Names("pid file")), STEP),
    (("shim", "exit.reap#1", Life, Nothing), STEP),
    (("shim", "exit.reap#5", Life, Nothing), STEP),
    (("shim", "exit.record", Life, Nothing), MOMENT),
    (("shim", "exec.spawn", Life, Names("execute")), STEP),
    (("shim", "exec.record", Life, Nothing), MOMENT),
    (("shim", "exec.end", Life, Nothing), MOMENT),
    (("shim", "adopt.takeover", ShimKilled, Nothing), STEP),
    (("shim", "socket.bind", Life, Names("listen on")), STEP),
];

const MANAGER: &[(Place, &[&str])] = &[
    (("manager", "record.write#1", Life, Names("record")), WRITE),
    (("manager", "record.write#2", Life, Names("intent.delete")), WRITE),
    (("manager", "record.sync", Life, Names("sync")), STEP),
    (("manager", "events.append#1", Life, Names("events")), WRITE),
    (("manager", "events.append#2", Life, Nothing), WRITE),
    (("manager", "events.append#5", Life, Nothing), WRITE),
    (("manager", "events.sync#1", Life, Names("events")), STEP),
    (("manager", "events.sync#3", Life, Nothing), STEP),
    (("manager", "events.compact", Needs::Events, Nothing), STEP),
    (("manager", "operations.append", Life, Names("operation")), WRITE),
    (("manager", "operations.append#2", Life, Nothing), WRITE),
    (("manager", "shim.spawn", Life, Names("start the shim")), STEP),
    (("manager", "shim.call#1", Life, Names("call its shim")), STEP),
    (("manager", "shim.call#2", Life, Perhaps("call its shim")), STEP),
    (("manager", "shim.adopt", ShimKilled, Nothing), STEP),
    (("manager", "runtime.spawn", Sandbox, Names("namespaces of sandbox")), STEP),
    (("manager", "delete.remove", Life, Names("remove")), STEP),
    (("manager", "sandbox.make", Sandbox, Names("make sandbox")), STEP),
    (("manager", "sandbox.remove", Sandbox, Names("remove sandbox")), STEP),
    (("manager", "reconcile.container", DaemonKilled, Nothing), STEP),
];

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the process exits with.
const CODE: i32 = 7;

/// One case: a daemon of its own, with a plan of one fault.
struct Case {
    name: String,
    needs: Needs,
    daemon: Daemon,
    plan: PathBuf,
    log: PathBuf,
    id: String,
    /// What was told, in order.
    errors: Vec<Status>,
    /// How often the daemon has died.
    deaths: u32,
    asked: u32,
}

impl Case {
    fn new(base: &Path, (program, point, needs, _): Place, action: &str) -> Option<Self> {
        let (at, nth) = point.split_once('#').unwrap_or((point, "1"));
        let name = format!("{program}:{action}:{at}#{nth}");
        let (plan, log) = (base.join("plan"), base.join("faults"));
        std::fs::write(&plan, format!("log={}\n{name}\n", log.display())).unwrap();
        let args: &[&str] = if needs == Needs::Events { &["--events-limit", "4096"] } else { &[] };
        let daemon = Daemon::start_faulty(base, &plan, args)?;
        let (errors, id) = (Vec::new(), unique("point"));
        Some(Self { name, needs, daemon, plan, log, id, errors, deaths: 0, asked: 0 })
    }

    /// Whether the fault has come about; there is none from then on.
    fn fired(&self) -> bool {
        end_plan(&self.plan, &self.log)
    }

    /// The errors, for who reads them.
    fn told(&self) -> Vec<(Code, &str)> {
        self.errors.iter().map(|status| (status.code(), status.message())).collect()
    }

    fn channel(&self) -> Channel {
        Endpoint::from_shared(self.daemon.address()).unwrap().connect_lazy()
    }

    /// Starts the daemon again where it has died.
    fn mind(&mut self) {
        self.fired();
        if self.daemon.has_ended() {
            self.deaths += 1;
            self.restart();
        }
    }

    fn restart(&mut self) {
        let up = until(PATIENCE, || {
            self.fired();
            self.daemon.try_restart().is_ok()
        });
        assert!(up, "{}: {}", self.name, self.daemon.log());
        self.fired();
    }

    /// Asks until the answer is yes, with a key that is new after each step that failed; `done` is an
    /// answer that says that it was done before.
    async fn ask<A, F>(&mut self, what: &str, done: Code, call: impl Fn(Channel, String) -> F) -> Option<A>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.mind();
            let key = format!("{}-{what}-{}", self.id, self.asked);
            match tokio::time::timeout(PATIENCE, call(self.channel(), key)).await {
                Ok(Ok(answer)) => return Some(answer.into_inner()),
                Ok(Err(status)) => {
                    if status.code() == done {
                        return None;
                    }
                    let step = matches!(status.code(), Code::FailedPrecondition | Code::Aborted);
                    self.asked += u32::from(step);
                    self.errors.push(status);
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
                Err(_) => break,
            }
        }
        panic!("{}: {what}: no answer; {:?}\n{}", self.name, self.told(), self.daemon.log());
    }

    fn request(&self) -> CreateRequest {
        let command: &[&str] = match self.needs {
            Output => &["/bin/probe", "work", "700", "7", "2000"],
            Records | Needs::Events => &["/bin/probe", "sleep", "1000", "--term-exit", "7"],
            _ => &["/bin/probe", "sleep", "0.8", "--then-exit", "7"],
        };
        let log = LogOptions { max_file_bytes: 64 << 10, max_files: 100, ..LogOptions::default() };
        CreateRequest { log: Some(log), ..self.daemon.request(&self.id, command) }
    }

    /// The whole life; what is known of its exit, and the exec that was started.
    async fn live(&mut self) -> (Option<How>, Option<String>) {
        let sandbox = format!("{}-box", self.id);
        if self.needs == Sandbox {
            let shared = Some(SharedNamespaces { ipc: true, uts: true, ..SharedNamespaces::default() });
            let request = CreateSandboxRequest { id: sandbox.clone(), shared, ..Default::default() };
            self.ask("sandbox", Code::AlreadyExists, move |channel, _| {
                let request = request.clone();
                async move { SandboxesClient::new(channel).create(request).await }
            })
            .await;
        }
        let mut request = self.request();
        if self.needs == Sandbox {
            request.sandbox.clone_from(&sandbox);
        }
        self.ask("create", Code::AlreadyExists, move |channel, _| {
            let request = request.clone();
            async move { ContainersClient::new(channel).create(request).await }
        })
        .await;
        let id = self.id.clone();
        self.ask("start", Code::Ok, move |channel, idempotency_key| {
            let request = StartRequest { id: id.clone(), idempotency_key };
            async move { ContainersClient::new(channel).start(request).await }
        })
        .await;
        let exec = self.exec().await;
        self.meanwhile().await;
        let id = self.id.clone();
        let exit = self
            .ask("wait", Code::Ok, move |channel, _| {
                let request = WaitRequest { id: id.clone(), ..Default::default() };
                async move { ContainersClient::new(channel).wait(request).await }
            })
            .await;
        let how = exit.and_then(|answer| answer.exit?.how);
        let id = self.id.clone();
        self.ask("delete", Code::NotFound, move |channel, _| {
            let request = DeleteRequest { id: id.clone(), ..Default::default() };
            async move { ContainersClient::new(channel).delete(request).await }
        })
        .await;
        if self.needs == Sandbox {
            self.ask("sandbox", Code::NotFound, move |channel, _| {
                let request = DeleteSandboxRequest { id: sandbox.clone(), ..Default::default() };
                async move { SandboxesClient::new(channel).delete(request).await }
            })
            .await;
        }
        (how, exec)
    }

    /// Executes a process and waits for it. The container may have ended before it comes to that.
    async fn exec(&mut self) -> Option<String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.mind();
            let request = CreateExecRequest {
                container: self.id.clone(),
                command: ["/bin/probe", "sleep", "0.1", "--then-exit", "3"].map(str::to_owned).into(),
                idempotency_key: format!("{}-exec-{}", self.id, self.asked),
                ..CreateExecRequest::default()
            };
            match ExecsClient::new(self.channel()).create(request).await {
                Ok(made) => {
                    let exec = made.into_inner().exec.unwrap().id;
                    let (container, name) = (self.id.clone(), exec.clone());
                    let over = self
                        .ask("wait for the exec", Code::Ok, move |channel, _| {
                            let request =
                                WaitExecRequest { container: container.clone(), exec: name.clone() };
                            async move { ExecsClient::new(channel).wait(request).await }
                        })
                        .await;
                    let how = over.and_then(|over| over.exit?.how);
                    let known = matches!(how, Some(How::Code(3) | How::Signal(9) | How::Unknown(_)));
                    assert!(known, "{}: the exec: {how:?}", self.name);
                    return Some(exec);
                }
                Err(status) => {
                    let reason = status.get_details_error_info().map(|info| info.reason);
                    if reason.as_deref() == Some("WRONG_STATUS") {
                        return None;
                    }
                    self.asked += u32::from(status.code() == Code::FailedPrecondition);
                    self.errors.push(status);
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            }
        }
        panic!("{}: no exec: {:?}", self.name, self.told());
    }

    /// What it takes to come to the point, while the process runs.
    async fn meanwhile(&mut self) {
        match self.needs {
            ShimKilled => {
                let request = GetRequest { id: self.id.clone(), ..Default::default() };
                let got = ContainersClient::new(self.channel()).get(request).await.unwrap().into_inner();
                let pid = got.container.unwrap().shim_pid;
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                    .unwrap();
                let fired = || self.fired() && !self.is_orphan();
                until(Duration::from_secs(3), fired);
            }
            DaemonKilled => {
                self.daemon.kill();
                self.restart();
            }
            // Each life is some kilobytes in one journal, and three events in the other.
            Records | Needs::Events => {
                for _ in 0..300 {
                    if self.fired() {
                        break;
                    }
                    self.mind();
                    let request = RestartRequest { id: self.id.clone(), ..RestartRequest::default() };
                    let restarted = ContainersClient::new(self.channel()).restart(request).await;
                    self.errors.extend(restarted.err().filter(|e| e.code() != Code::Unavailable));
                }
                self.mind();
                let id = self.id.clone();
                self.ask("stop", Code::Ok, move |channel, idempotency_key| {
                    let request = StopRequest { id: id.clone(), idempotency_key, ..StopRequest::default() };
                    async move { ContainersClient::new(channel).stop(request).await }
                })
                .await;
            }
            Life | Output | Sandbox => {}
        }
    }

    /// Whether nobody has taken over yet.
    fn is_orphan(&self) -> bool {
        self.daemon.log().matches("another has taken over").count() == 0
    }

    async fn events(&mut self) -> Vec<Event> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.mind();
            let Ok(answer) = SystemClient::new(self.channel()).events(EventsRequest::default()).await else {
                continue;
            };
            let (mut stream, mut all) = (answer.into_inner(), Vec::new());
            while let Ok(event) = stream.message().await {
                match event {
                    Some(event) if event.container == self.id => all.push(event),
                    Some(_) => {}
                    None => return all,
                }
            }
        }
        panic!("{}: no events", self.name);
    }

    fn check(&self, told: Told, how: Option<How>, exec: Option<&str>, events: &[Event]) {
        let context = || format!("{}: {:?}; events {:?}", self.name, self.told(), kinds(events));
        // Those of this creation: one that failed before is told as such.
        let failed = events.iter().rposition(|event| event.kind() == Kind::CreateFailed);
        let events = &events[failed.map_or(0, |n| n + 1)..];
        let of = |kind| events.iter().filter(move |event| event.kind() == kind);
        let whole = self.needs != Needs::Events;
        for life in events.iter().map(|event| event.life).filter(|life| *life > 0) {
            let steps = [Kind::Created, Kind::Started, Kind::Exited];
            let own = events.iter().filter(|event| event.life == life);
            let places: Vec<_> =
                own.filter_map(|event| steps.iter().position(|step| *step == event.kind())).collect();
            assert!(places.is_sorted_by(|a, b| a < b), "{}", context());
            assert!(!whole || places == [0, 1, 2] || places == [0, 2], "{}", context());
        }
        for kind in [Kind::Created, Kind::Started, Kind::Exited, Kind::Deleted] {
            assert!(!whole || of(kind).count() > 0, "{kind:?} is missing: {}", context());
        }
        assert_eq!(of(Kind::Deleted).count(), 1, "{}", context());
        let ends: Vec<Option<How>> = of(Kind::Exited).map(|event| event.exit.clone()?.how).collect();
        assert!(ends.contains(&how), "Wait answered {how:?}: {}", context());
        for end in ends {
            // A stop that comes before the process listens to signals ends with this one.
            let stopped = matches!(self.needs, Records | Needs::Events);
            let known = matches!(&end, Some(How::Code(CODE)))
                || stopped && matches!(&end, Some(How::Signal(9)))
                || matches!(&end, Some(How::Unknown(because)) if !because.is_empty());
            assert!(known, "{end:?}: {}", context());
        }
        if let Some(exec) = exec.filter(|_| whole) {
            let own: Vec<Kind> = events.iter().filter(|e| e.exec == *exec).map(Event::kind).collect();
            assert_eq!(own, [Kind::ExecStarted, Kind::ExecExited], "{}", context());
        }
        self.check_errors(told);
    }

    /// Each has a type, unless the daemon was away; and the place is named where it is to be known.
    fn check_errors(&self, told: Told) {
        for status in &self.errors {
            let typed = status.get_details_error_info().is_some();
            assert!(typed || self.deaths > 0, "{}: {status:?}", self.name);
        }
        let failing = [":fail:", ":short:"].iter().any(|action| self.name.contains(action));
        match told {
            Names(word) if failing => {
                let named = self.errors.iter().any(|status| status.message().contains(word));
                assert!(named, "{}: {word:?} is not in {:?}", self.name, self.told());
            }
            Perhaps(word) if failing => {
                let named = self.errors.iter().all(|status| status.message().contains(word));
                assert!(named, "{}: {:?}", self.name, self.told());
            }
            Nothing if failing => assert!(self.errors.is_empty(), "{}: {:?}", self.name, self.told()),
            _ => {}
        }
    }
}

/// Once a fault was written down, the plan is empty for whatever is started; whether that is so.
fn end_plan(plan: &Path, log: &Path) -> bool {
    let fired = std::fs::metadata(log).is_ok_and(|m| m.len() > 0);
    if fired {
        // The directory may have gone with its case.
        std::fs::write(plan, "").unwrap_or_default();
    }
    fired
}

fn kinds(events: &[Event]) -> Vec<(Kind, u32, String)> {
    events.iter().map(|event| (event.kind(), event.life, event.exec.clone())).collect()
}

/// One case from its beginning to its end.
async fn run(place: Place, action: &'static str) -> bool {
    let base = sextant_integration::bundle::temp_dir();
    let Some(mut case) = Case::new(base.path(), place, action) else { return false };
    let (plan, log) = (case.plan.clone(), case.log.clone());
    let minder = tokio::spawn(async move {
        while !end_plan(&plan, &log) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let begin = Instant::now();
    let (how, exec) = case.live().await;
    minder.abort();
    assert!(case.fired(), "{}: it was not reached; {:?}", case.name, case.told());
    let events = case.events().await;
    case.check(place.3, how, exec.as_deref(), &events);
    println!("{} in {:?}, {} errors, {} deaths", case.name, begin.elapsed(), case.errors.len(), case.deaths);
    let (daemon, id) = (case.daemon, case.id);
    tokio::task::block_in_place(|| daemon.finish(&[&id]));
    true
}

/// All cases of a list, `$SEXTANT_POINT` alone where it is set, some at once; what went wrong at the end.
async fn all(places: &'static [(Place, &'static [&'static str])]) {
    if skip_unless_root() {
        return;
    }
    let only = std::env::var("SEXTANT_POINT").unwrap_or_default();
    let cases = places.iter().flat_map(|(place, actions)| actions.iter().map(|action| (*place, *action)));
    let mut cases: Vec<_> =
        cases.filter(|(place, action)| format!("{}:{action}:{}", place.0, place.1).contains(&only)).collect();
    let (mut running, mut wrong) = (tokio::task::JoinSet::new(), Vec::new());
    cases.reverse();
    loop {
        while running.len() < 3
            && let Some((place, action)) = cases.pop()
        {
            running.spawn(async move {
                let case = tokio::spawn(run(place, action));
                (format!("{}:{action}:{}", place.0, place.1), case.await)
            });
        }
        match running.join_next().await {
            None => break,
            Some(Ok((_, Ok(true)))) => {}
            Some(Ok((_, Ok(false)))) => {
                return skip("no sextantd-faults and sextant-shim-faults: scripts/build --faults makes them");
            }
            Some(Ok((name, Err(_)))) => wrong.push(name),
            Some(Err(error)) => wrong.push(error.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{} cases: {wrong:#?}", wrong.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_survives_whatever_happens_at_a_point_of_the_shim() {
    all(SHIM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_survives_whatever_happens_at_a_point_of_the_manager() {
    all(MANAGER).await;
}

/// A daemon with this plan, a container that was created in it, and the directory that has both.
async fn created(plan: &str, command: &[&str]) -> Option<(tempfile::TempDir, Daemon, Client, String)> {
    created_as(plan, |daemon, id| daemon.request(id, command)).await
}

/// The same of this request.
async fn created_as(
    plan: &str,
    request: impl FnOnce(&Daemon, &str) -> CreateRequest,
) -> Option<(tempfile::TempDir, Daemon, Client, String)> {
    if skip_unless_root() {
        return None;
    }
    let base = sextant_integration::bundle::temp_dir();
    let file = base.path().join("plan");
    std::fs::write(&file, plan).unwrap();
    let Some(daemon) = Daemon::start_faulty(base.path(), &file, &[]) else {
        skip("no sextantd-faults and sextant-shim-faults: scripts/build --faults makes them");
        return None;
    };
    let (mut client, id) = (daemon.containers().await, unique("point"));
    client.create(request(&daemon, &id)).await.unwrap();
    if plan.starts_with("shim:") {
        // A next shim is to do better. The daemon would as well.
        std::fs::write(&file, "").unwrap();
    }
    Some((base, daemon, client, id))
}

async fn finish(daemon: Daemon, mut client: Client, id: &str) {
    client.delete(DeleteRequest { id: id.into(), force: true, ..Default::default() }).await.unwrap();
    tokio::task::block_in_place(|| daemon.finish(&[id]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_of_which_the_killed_shim_could_not_tell_is_told_although_the_process_has_ended() {
    // It dies when the runtime has started the process, which ends at once.
    let command = ["/bin/probe", "sleep", "0", "--then-exit", "7"];
    let plan = "shim:die:runtime.report#2";
    let Some((_base, daemon, mut client, id)) = created(plan, &command).await else { return };
    let request = StartRequest { id: id.clone(), idempotency_key: format!("{id}-start") };
    // Its answer is lost, or that of the next shim.
    drop(client.start(request).await);
    let exit = calls::wait(&mut client, &id).await;
    let known = matches!(exit.how, Some(How::Code(CODE) | How::Unknown(_)));
    assert!(known, "{exit:?}");
    let events = calls::events_of(&daemon, &id).await;
    let steps: Vec<Kind> = events.iter().map(Event::kind).filter(|kind| *kind != Kind::Adopted).collect();
    assert_eq!(steps, [Kind::Created, Kind::Started, Kind::Exited], "{events:#?}");
    finish(daemon, client, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_asked_for_again_while_another_shim_takes_over_is_not_done_twice() {
    let command = ["/bin/probe", "sleep", "0", "--then-exit", "7"];
    let plan = "shim:die:runtime.report#2";
    let Some((base, daemon, mut client, id)) = created(plan, &command).await else { return };
    // So that who asks again comes before what the next shim finds is known.
    std::fs::write(base.path().join("plan"), "manager:delay=1000:shim.adopt").unwrap();
    let request = StartRequest { id: id.clone(), idempotency_key: format!("{id}-start") };
    let mut asked = 0;
    let started = loop {
        asked += 1;
        match client.start(request.clone()).await {
            Ok(started) => break started.into_inner().container.unwrap(),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    };
    assert!(asked > 1, "the shim did not die");
    assert_eq!(started.life, 1, "{started:?}");
    calls::wait(&mut client, &id).await;
    let events = calls::events_of(&daemon, &id).await;
    let steps = events.iter().map(Event::kind).filter(|kind| *kind != Kind::Adopted);
    assert!(steps.eq([Kind::Created, Kind::Started, Kind::Exited]), "{events:#?}");
    finish(daemon, client, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_resume_have_come_about_whatever_becomes_of_who_says_so() {
    // The third and the fifth invocation: after each comes a question for the state.
    let plan = "shim:fail:runtime.report#3;shim:fail:runtime.report#5";
    let Some((_base, daemon, mut client, id)) = created(plan, &["/bin/probe", "sleep", "1000"]).await else {
        return;
    };
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    client.pause(PauseRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    assert_eq!(calls::get(&mut client, &id).await.status(), ContainerStatus::Paused);
    client.resume(ResumeRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    assert_eq!(calls::get(&mut client, &id).await.status(), ContainerStatus::Running);
    // It goes on, or an exec would not end.
    let ran = daemon.sextant(&["exec", &id, "--", "/bin/probe", "sleep", "0", "--then-exit", "3"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    finish(daemon, client, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_deleted_without_its_shim_has_an_exit() {
    let Some((_base, daemon, mut client, id)) = created("", &["/bin/probe", "sleep", "1000"]).await else {
        return;
    };
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let running = calls::until_is(&mut client, &id, |container| container.shim_pid > 0).await;
    // It does not answer: the deletion goes on without it.
    let shim = nix::unistd::Pid::from_raw(running.shim_pid);
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGSTOP).unwrap();
    client.delete(DeleteRequest { id: id.clone(), force: true, ..Default::default() }).await.unwrap();
    let events = calls::events_of(&daemon, &id).await;
    let steps = [Kind::Created, Kind::Started, Kind::Exited, Kind::Deleted];
    let told: Vec<&Event> = events.iter().filter(|event| steps.contains(&event.kind())).collect();
    assert!(told.iter().map(|event| event.kind()).eq(steps), "{events:#?}");
    let how = told[2].exit.clone().unwrap().how;
    assert!(matches!(&how, Some(How::Signal(9) | How::Unknown(_))), "{how:?}");
    tokio::task::block_in_place(|| daemon.finish(&[&id]));
}

#[test]
fn a_program_does_not_start_with_a_plan_that_is_none() {
    let programs = [
        ("sextantd-faults", "manager"),
        ("sextant-shim-faults", "shim"),
        ("sextant-runtime-faults", "runtime"),
    ];
    for (binary, program) in programs {
        let Some(binary) = sextant_integration::binary_if_built(binary) else {
            return skip("no build with fault points");
        };
        let dir = sextant_integration::bundle::temp_dir();
        let mut command = std::process::Command::new(binary);
        command.env("SEXTANT_FAULTS", format!("{program}:fail:no.such"));
        match program {
            "shim" => {
                let path = dir.path();
                let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                std::fs::set_permissions(path, private).unwrap();
                for (flag, value) in [("--dir", path), ("--bundle", path), ("--runtime-root", path)] {
                    command.arg(flag).arg(value);
                }
                let runtime = sextant_integration::binary("sextant-runtime");
                command.args(["--id", "it-plan"]).arg("--runtime").arg(runtime);
                command.arg("--socket").arg(path.join("socket"));
            }
            "runtime" => drop(command.args(["state", "it-plan"])),
            _ => {}
        }
        let ran = sextant_integration::process::run(&mut command, dir.path());
        let entry = format!("{program}:fail:no.such");
        assert!(ran.code != 0 && ran.stderr.contains(&entry), "{ran:?}");
        let known = if program == "runtime" { "namespace-open" } else { "." };
        assert!(ran.stderr.contains(known), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_no_life_is_to_come_is_told_when_it_is_written_down() {
    let again = |daemon: &Daemon, id: &str| CreateRequest {
        restart: Some(RestartPolicy { when: When::OnFailure.into(), max_retries: 1, ..Default::default() }),
        ..daemon.request(id, &["/bin/probe", "sleep", "1000"])
    };
    // The first is that of its creation, and the second that of the life to come.
    let Some((base, mut daemon, mut client, id)) = created_as("manager:fail:record.write#3", again).await
    else {
        return;
    };
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    // That cannot be made.
    let (rootfs, aside) = (daemon.rootfs(), base.path().join("aside"));
    std::fs::rename(&rootfs, &aside).unwrap();
    let pid = calls::get(&mut client, &id).await.pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    calls::wait_for(&mut client, &id, Condition::Settled).await;
    assert!(daemon.log().contains("that it stays stopped is not on disk"), "{}", daemon.log());
    std::fs::rename(&aside, &rootfs).unwrap();
    daemon.kill();
    std::fs::write(base.path().join("plan"), "").unwrap();
    daemon.restart();
    let mut client = daemon.containers().await;
    let now = calls::get(&mut client, &id).await;
    assert!(now.status() == ContainerStatus::Stopped && now.next_restart_at.is_none(), "{now:?}");
    finish(daemon, client, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_overlooks_no_life_of_which_could_not_be_told() {
    let (seconds, nanos) = (2, 0);
    let again = |daemon: &Daemon, id: &str| CreateRequest {
        restart: Some(RestartPolicy {
            when: When::UnlessStopped.into(),
            min_delay: Some(prost_types::Duration { seconds, nanos }),
            ..Default::default()
        }),
        ..daemon.request(id, &["/bin/probe", "sleep", "1000"])
    };
    let Some((base, daemon, mut client, id)) = created_as("", again).await else { return };
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let pid = calls::get(&mut client, &id).await.pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    while calls::get(&mut client, &id).await.next_restart_at.is_none() {}
    // It begins, and nobody can be told so.
    std::fs::write(base.path().join("plan"), "manager:fail:events.append%1/1").unwrap();
    let overlooked = || daemon.log().contains("to be looked at again");
    assert!(tokio::task::block_in_place(|| until(DEADLINE, overlooked)), "{}", daemon.log());
    let grace = Some(prost_types::Duration::default());
    let stop = StopRequest { id: id.clone(), grace, ..Default::default() };
    client.stop(stop.clone()).await.unwrap_err();
    std::fs::write(base.path().join("plan"), "").unwrap();
    client.stop(stop).await.unwrap();
    let events = calls::events_of(&daemon, &id).await;
    let steps: Vec<(Kind, u32)> = events.iter().map(|event| (event.kind(), event.life)).collect();
    let (kind, life) = steps.last().unwrap();
    assert_eq!((*kind, *life), (Kind::Exited, 2), "{steps:?}");
    assert!(steps.contains(&(Kind::Created, 2)), "{steps:?}");
    assert_eq!(calls::get(&mut client, &id).await.status(), ContainerStatus::Stopped);
    finish(daemon, client, &id).await;
}
