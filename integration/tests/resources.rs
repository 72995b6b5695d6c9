//! What containers use, and what can be changed of that: statistics, processes,
//! limits, pause and resume, and the events about them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sextant_integration::calls::{Client, delete, get, within};
use sextant_integration::process::{DEADLINE, json_of, until};
use sextant_integration::{Daemon, cgroup, skip_unless_root, unique};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    Container, CreateRequest, DeleteRequest, Event, EventsRequest, KillRequest, Limits, LimitsUpdate,
    ListRequest, PauseRequest, ProcessesRequest, RestartRequest, ResumeRequest, Sample, StartRequest,
    StatsRequest, Status, StopRequest, StreamStatsRequest, UpdateResourcesRequest, WaitRequest,
};
use std::path::Path;
use tokio_stream::StreamExt;
use tonic::Code;

const SLEEPER: [&str; 5] = ["/bin/probe", "sleep", "1000", "--term-exit", "7"];

fn limited(mut request: CreateRequest, limits: Limits) -> CreateRequest {
    if let Some(Source::Rootfs(source)) = &mut request.source {
        source.limits = Some(limits);
    }
    request
}

/// Created, started, and heard of, where it says something.
async fn start(daemon: &Daemon, client: &mut Client, request: CreateRequest) -> Container {
    let id = request.id.clone();
    let speaks = format!("{:?}", request.source).contains("term-exit");
    client.create(request).await.unwrap();
    let started = client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let log = daemon.dir().join("root/containers").join(&id).join("log");
    assert!(!speaks || until(DEADLINE, || std::fs::metadata(&log).is_ok_and(|m| m.len() > 0)));
    started.into_inner().container.unwrap()
}

async fn pause(client: &mut Client, id: &str) -> Result<Container, tonic::Status> {
    let answer = client.pause(PauseRequest { id: id.into(), ..Default::default() }).await;
    answer.map(|a| a.into_inner().container.unwrap())
}

async fn resume(client: &mut Client, id: &str) -> Result<Container, tonic::Status> {
    let answer = client.resume(ResumeRequest { id: id.into(), ..Default::default() }).await;
    answer.map(|a| a.into_inner().container.unwrap())
}

async fn samples(client: &mut Client, ids: &[&str]) -> Vec<Sample> {
    let request = StatsRequest { ids: ids.iter().map(ToString::to_string).collect(), ..Default::default() };
    within(client.stats(request)).await.unwrap().into_inner().samples
}

async fn events(daemon: &Daemon, id: &str) -> Vec<Event> {
    let mut system = daemon.system().await;
    let stream = system
        .events(EventsRequest { after_seq: 0, follow: false, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    stream.map(Result::unwrap).filter(|e| e.container == id).collect().await
}

async fn kinds(daemon: &Daemon, id: &str) -> Vec<Kind> {
    events(daemon, id).await.iter().map(Event::kind).collect()
}

/// Until there is an event of this kind.
async fn happens(daemon: &Daemon, id: &str, kind: Kind) -> Event {
    within(async {
        loop {
            if let Some(event) = events(daemon, id).await.into_iter().find(|e| e.kind() == kind) {
                return event;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_all_containers_use_is_told_without_any_shim() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let (stuck, other) = (unique("stuck"), unique("used"));
    let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 500, pids: 20 };
    let request = limited(daemon.request(&stuck, &SLEEPER), limits);
    let container = start(&daemon, &mut client, request).await;
    start(&daemon, &mut client, daemon.request(&other, &SLEEPER)).await;
    kill(Pid::from_raw(container.shim_pid), Signal::SIGSTOP).unwrap();
    let all = samples(&mut client, &[]).await;
    let mut ids = [stuck.as_str(), other.as_str()];
    ids.sort_unstable();
    assert!(all.iter().map(|s| s.id.as_str()).eq(ids), "{all:?}");
    let sample = all.iter().find(|s| s.id == stuck).unwrap();
    assert!(sample.stale.is_empty() && sample.age.is_some_and(|age| age.seconds < 5), "{sample:?}");
    let (cpu, memory) = (sample.cpu.as_ref().unwrap(), sample.memory.as_ref().unwrap());
    let pids = sample.pids.unwrap();
    assert!(cpu.usage_ns > 0 && memory.usage_bytes > 0, "{sample:?}");
    assert!(memory.working_set_bytes <= memory.usage_bytes);
    assert_eq!((memory.limit_bytes, memory.oom_kills), (Some(64 << 20), Some(0)));
    assert_eq!((pids.current, pids.limit), (1, Some(20)));
    let free = all.iter().find(|s| s.id == other).unwrap();
    assert_eq!((free.memory.as_ref().unwrap().limit_bytes, free.pids.unwrap().limit), (None, None));
    // Where the kernel has no pressure, there is none, and not 0.
    let psi = cgroup::is_version_2_alone() && Path::new("/proc/pressure/memory").exists();
    assert_eq!((cpu.pressure.is_some(), memory.pressure.is_some()), (psi, psi));
    let cli = daemon.sextant(&["stats", "--json", &stuck]).ok().json();
    assert_eq!((&cli[0]["id"], &cli[0]["pids"]["limit"]), (&stuck.as_str().into(), &20.into()));
    assert!(daemon.sextant(&["stats"]).ok().stdout.contains(&other));

    kill(Pid::from_raw(container.shim_pid), Signal::SIGCONT).unwrap();
    for id in [&stuck, &other] {
        client.stop(StopRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    }
    assert!(samples(&mut client, &[]).await.is_empty(), "only those that live");
    let stopped =
        client.stats(StatsRequest { ids: vec![stuck.clone()], ..Default::default() }).await.unwrap_err();
    assert_eq!(stopped.code(), Code::FailedPrecondition);
    let nobody =
        client.stats(StatsRequest { ids: vec!["nobody".into()], ..Default::default() }).await.unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);
    for id in [&stuck, &other] {
        delete(&mut client, id).await;
    }
    daemon.finish(&[&stuck, &other]);
}

#[tokio::test]
async fn a_stream_of_samples_ends_with_its_containers() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("stream"));
    let mut client = daemon.containers().await;
    start(&daemon, &mut client, daemon.request(&id, &SLEEPER)).await;
    let interval = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let request = StreamStatsRequest { ids: vec![id.clone()], interval, ..Default::default() };
    let mut stream = client.stream_stats(request.clone()).await.unwrap().into_inner();
    let mut last = None;
    for _ in 0..3 {
        let answer = within(stream.next()).await.unwrap().unwrap();
        let at = answer.samples[0].at.map(|at| (at.seconds, at.nanos));
        assert!(at > last, "each is newer");
        last = at;
    }
    let fast = StreamStatsRequest { interval: Some(prost_types::Duration::default()), ..request };
    assert_eq!(client.stream_stats(fast).await.unwrap_err().code(), Code::InvalidArgument);
    client.stop(StopRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    within(async { while stream.next().await.is_some() {} }).await;
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn limits_are_changed_while_it_runs_all_or_none() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("update"));
    let mut client = daemon.containers().await;
    let limits = Limits { memory_bytes: 64 << 20, cpu_millis: 500, pids: 20 };
    let container = start(&daemon, &mut client, limited(daemon.request(&id, &SLEEPER), limits)).await;
    let update = async |client: &mut Client, limits: LimitsUpdate, key: &str| {
        let (limits, idempotency_key) = (Some(limits), key.into());
        client.update_resources(UpdateResourcesRequest { id: id.clone(), limits, idempotency_key }).await
    };
    let in_force = || {
        let file = |controller, v1, v2| cgroup::read(container.pid, controller, v1, v2);
        [file("memory", "memory.limit_in_bytes", "memory.max"), file("pids", "pids.max", "pids.max")]
    };
    let smaller = LimitsUpdate { memory_bytes: Some(32 << 20), pids: Some(30), ..Default::default() };
    update(&mut client, smaller.clone(), "k").await.unwrap();
    assert_eq!(in_force(), ["33554432", "30"]);
    update(&mut client, smaller.clone(), "k").await.unwrap();
    let reused = update(&mut client, LimitsUpdate { pids: Some(31), ..smaller }, "k").await.unwrap_err();
    assert_eq!(reused.code(), Code::InvalidArgument);
    // One of them cannot be: none is changed.
    let bad = LimitsUpdate { pids: Some(40), cpuset_cpus: Some("9999".into()), ..Default::default() };
    assert_eq!(update(&mut client, bad, "").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(in_force(), ["33554432", "30"]);
    for refused in [LimitsUpdate::default(), LimitsUpdate { pids: Some(-1), ..Default::default() }] {
        assert_eq!(update(&mut client, refused, "").await.unwrap_err().code(), Code::InvalidArgument);
    }
    // No limit is a limit as well.
    daemon.sextant(&["update", "--pids-limit", "none", "--cpus", "1.5", &id]).ok();
    assert_eq!(in_force(), ["33554432", "max"]);
    let quota = if cgroup::is_version_1("cpu") { "150000" } else { "150000 100000" };
    assert_eq!(cgroup::read(container.pid, "cpu", "cpu.cfs_quota_us", "cpu.max"), quota);
    daemon.sextant(&["update", &id]).exited(2);
    assert_eq!(kinds(&daemon, &id).await, [Kind::Created, Kind::Started, Kind::Updated, Kind::Updated]);
    // They are those of its further lives as well.
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    let request = RestartRequest { id: id.clone(), ..Default::default() };
    let next = client.restart(request).await.unwrap().into_inner().container.unwrap();
    let file = |controller, v1, v2| cgroup::read(next.pid, controller, v1, v2);
    assert_eq!(file("memory", "memory.limit_in_bytes", "memory.max"), "33554432");
    assert_eq!(file("pids", "pids.max", "pids.max"), "max");
    assert_eq!(file("cpu", "cpu.cfs_quota_us", "cpu.max"), quota);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_paused_container_stays_so_for_the_next_manager_and_the_next_shim() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("paused"));
    let mut client = daemon.containers().await;
    let started = start(&daemon, &mut client, daemon.request(&id, &SLEEPER)).await;
    assert_eq!(pause(&mut client, &id).await.unwrap().status(), Status::Paused);
    assert_eq!(pause(&mut client, &id).await.unwrap().status(), Status::Paused, "it is as wanted");
    let refused = client.delete(DeleteRequest { id: id.clone(), ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    // What is frozen does not heed a signal.
    client.kill(KillRequest { id: id.clone(), signal: 15, all: false }).await.unwrap();
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    let found = get(&mut client, &id).await;
    assert_eq!((found.status(), found.pid), (Status::Paused, started.pid));
    while get(&mut client, &id).await.shim_pid == 0 {}
    kill(Pid::from_raw(started.shim_pid), Signal::SIGKILL).unwrap();
    happens(&daemon, &id, Kind::Adopted).await;
    assert_eq!(get(&mut client, &id).await.status(), Status::Paused);
    assert!(daemon.sextant(&["ps"]).ok().stdout.contains("paused"));
    // It may be over at once: the signal was waiting.
    let resumed = resume(&mut client, &id).await.unwrap().status();
    assert!([Status::Running, Status::Stopped].contains(&resumed), "{resumed:?}");
    let exit = within(client.wait(WaitRequest { id: id.clone(), ..Default::default() }))
        .await
        .unwrap()
        .into_inner()
        .exit;
    // Before Linux 6.15 a shim that is not the parent may not be told.
    let how = exit.unwrap().how;
    assert!(matches!(how, Some(How::Code(7) | How::Unknown(_))), "{how:?}");
    assert_eq!(resume(&mut client, &id).await.unwrap_err().code(), Code::FailedPrecondition);
    let told = [Kind::Created, Kind::Started, Kind::Paused, Kind::Adopted, Kind::Resumed, Kind::Exited];
    assert_eq!(kinds(&daemon, &id).await, told);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_paused_container_is_stopped_killed_and_deleted() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let ids = ["stop", "kill", "delete", "late"].map(unique);
    for id in &ids {
        start(&daemon, &mut client, daemon.request(id, &SLEEPER)).await;
        pause(&mut client, id).await.unwrap();
    }
    let [stop, killed, deleted, late] = &ids;
    // It can heed the signal, since it is let go on.
    let exit = within(client.stop(StopRequest { id: stop.clone(), ..Default::default() })).await.unwrap();
    assert_eq!(exit.into_inner().exit.unwrap().how, Some(How::Code(7)));
    client.kill(KillRequest { id: killed.clone(), signal: 9, all: false }).await.unwrap();
    let exit = within(client.wait(WaitRequest { id: killed.clone(), ..Default::default() })).await.unwrap();
    assert_eq!(exit.into_inner().exit.unwrap().how, Some(How::Signal(9)));
    within(delete(&mut client, deleted)).await;
    let now =
        StopRequest { id: late.clone(), grace: Some(prost_types::Duration::default()), ..Default::default() };
    let exit = within(client.stop(now)).await.unwrap();
    assert_eq!(exit.into_inner().exit.unwrap().how, Some(How::Signal(9)));
    for id in [stop, killed, late] {
        delete(&mut client, id).await;
    }
    daemon.finish(&ids.each_ref().map(String::as_str));
}

#[tokio::test]
async fn processes_are_those_of_the_container() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("procs"));
    let mut client = daemon.containers().await;
    let container = start(&daemon, &mut client, daemon.request(&id, &["/bin/probe", "fork", "2"])).await;
    let list = async |client: &mut Client| {
        let answer = client.processes(ProcessesRequest { id: id.clone() }).await;
        answer.map(|a| a.into_inner().processes)
    };
    let all = within(async {
        loop {
            let found = list(&mut client).await.unwrap();
            // Until both children have executed.
            if found.len() == 3 && found.iter().filter(|p| p.command.contains(&"sleep".into())).count() == 2 {
                return found;
            }
        }
    })
    .await;
    let init = all.iter().find(|p| p.pid == container.pid).unwrap();
    assert_eq!((init.container_pid, init.command.join(" ").as_str()), (1, "/bin/probe fork 2"));
    assert!(init.uid > 0, "its root is nobody of the host");
    assert!(all.iter().filter(|p| p.parent_pid == init.pid).count() == 2, "{all:?}");
    let cli = json_of(&daemon.sextant(&["processes", "--json", &id]).ok().stdout);
    assert_eq!(cli.as_array().unwrap().len(), 3);
    assert!(daemon.sextant(&["processes", &id]).ok().stdout.contains("/bin/probe fork 2"));
    client
        .stop(StopRequest { id: id.clone(), grace: Some(Default::default()), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(list(&mut client).await.unwrap_err().code(), Code::FailedPrecondition);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn an_oom_kill_is_told_while_the_container_lives_on() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("oom"));
    let mut client = daemon.containers().await;
    let limits = Limits { memory_bytes: 32 << 20, ..Limits::default() };
    let request = daemon.request(&id, &["/bin/probe", "feed", "268435456"]);
    start(&daemon, &mut client, limited(request, limits)).await;
    let event = happens(&daemon, &id, Kind::Oom).await;
    assert_eq!(event.oom_kills, 1, "{event:?}");
    assert_eq!(get(&mut client, &id).await.status(), Status::Running);
    assert_eq!(samples(&mut client, &[&id]).await[0].memory.as_ref().unwrap().oom_kills, Some(1));
    assert!(daemon.sextant(&["events"]).ok().stdout.contains("1 killed so far"));
    delete(&mut client, &id).await;
    let kinds = kinds(&daemon, &id).await;
    assert_eq!(kinds, [Kind::Created, Kind::Started, Kind::Oom, Kind::Exited, Kind::Deleted]);
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_silent_shim_is_told_once_and_so_is_its_return() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("silent"));
    let mut client = daemon.containers().await;
    let shim = start(&daemon, &mut client, daemon.request(&id, &SLEEPER)).await.shim_pid;
    kill(Pid::from_raw(shim), Signal::SIGSTOP).unwrap();
    let degraded = happens(&daemon, &id, Kind::Degraded).await;
    assert!(degraded.failure.unwrap().message.contains("no answer"));
    kill(Pid::from_raw(shim), Signal::SIGCONT).unwrap();
    happens(&daemon, &id, Kind::Recovered).await;
    // What one manager has told, the next one takes back: here its shim answers to it alone.
    kill(Pid::from_raw(shim), Signal::SIGSTOP).unwrap();
    let twice = async { while kinds(&daemon, &id).await.len() < 5 {} };
    within(twice).await;
    daemon.kill();
    daemon.restart();
    kill(Pid::from_raw(shim), Signal::SIGCONT).unwrap();
    let told = within(async {
        loop {
            let told = kinds(&daemon, &id).await;
            if told.len() > 5 {
                return told;
            }
        }
    })
    .await;
    let (degraded, recovered) = (Kind::Degraded, Kind::Recovered);
    assert_eq!(told, [Kind::Created, Kind::Started, degraded, recovered, degraded, recovered]);
    let mut client = daemon.containers().await;
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn containers_are_selected_by_labels_and_given_in_pages() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let ids: Vec<String> = (0..5).map(|_| unique("page")).collect();
    for (n, id) in ids.iter().enumerate() {
        let mut request = daemon.request(id, &SLEEPER);
        request.labels = [("parity".into(), (n % 2).to_string()), (format!("n{n}"), "x".into())].into();
        client.create(request).await.unwrap();
    }
    let list = async |client: &mut Client, label: Option<(&str, &str)>, size, token: &str| {
        let labels = label.map(|(k, v)| (k.into(), v.into())).into_iter().collect();
        let request = ListRequest { labels, page_size: size, page_token: token.into(), ..Default::default() };
        let answer = client.list(request).await.unwrap().into_inner();
        let found: Vec<String> = answer.containers.into_iter().map(|c| c.id).collect();
        (found, answer.next_page_token)
    };
    let mut sorted = ids.clone();
    sorted.sort();
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next) = list(&mut client, None, 2, &token).await;
        assert!(page.len() <= 2 && !page.is_empty());
        paged.extend(page);
        if next.is_empty() {
            break;
        }
        token = next;
    }
    assert_eq!(paged, sorted, "each once");
    let (odd, _) = list(&mut client, Some(("parity", "1")), 0, "").await;
    let mut expected = vec![ids[1].clone(), ids[3].clone()];
    expected.sort();
    assert_eq!(odd, expected);
    assert_eq!(list(&mut client, Some(("n4", "")), 0, "").await.0, [ids[4].clone()]);
    assert!(list(&mut client, Some(("parity", "2")), 0, "").await.0.is_empty());
    let ps = daemon.sextant(&["ps", "--all", "--quiet", "--filter", "label=n2=x"]).ok();
    assert_eq!(ps.stdout.trim(), ids[2]);
    for id in &ids {
        delete(&mut client, id).await;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    daemon.finish(&ids);
}
