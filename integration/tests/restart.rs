//! Containers that live more than once: restarted by their policy or by a client,
//! whatever is killed meanwhile, with every exit told once and in one log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost_types::Duration as Wire;
use sextant_integration::bundle::add_busybox;
use sextant_integration::calls::{
    Client, delete, events, events_of, get, start, until_is, wait, wait_for, within,
};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::random::Random;
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::restart_policy::When;
use sextant_proto::v1::wait_request::Condition;
use sextant_proto::v1::{
    Container, CreateRequest, Event, EventsRequest, KillRequest, LogEntry, LogsRequest, RestartPolicy,
    RestartRequest, StartRequest, Status, StopRequest, WaitRequest,
};
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::{Code, Streaming};

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

fn millis(millis: u64) -> Option<Wire> {
    Duration::from_millis(millis).try_into().ok()
}

/// Restarts that come soon.
fn policy(when: When) -> RestartPolicy {
    RestartPolicy { when: when.into(), min_delay: millis(10), max_delay: millis(30), ..Default::default() }
}

fn request(daemon: &Daemon, id: &str, policy: RestartPolicy, command: &[&str]) -> CreateRequest {
    CreateRequest { restart: Some(policy), ..daemon.request(id, command) }
}

/// `$SEXTANT_SEED`, or one of the clock, which is printed.
fn seed() -> u64 {
    let given = std::env::var("SEXTANT_SEED").ok().and_then(|s| s.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = given.unwrap_or_else(|| u64::from(now()));
    println!("SEXTANT_SEED={seed} repeats this run");
    seed
}

/// A daemon, a client and a name.
async fn begin(name: &str) -> Option<(Daemon, Client, String)> {
    if skip_unless_root() {
        return None;
    }
    let daemon = Daemon::start();
    let client = daemon.containers().await;
    Some((daemon, client, unique(name)))
}

const SLEEP: &[&str] = &["/bin/probe", "sleep", "1000", "--term-exit", "7"];

async fn stop(client: &mut Client, id: &str) -> Option<How> {
    let request = StopRequest { id: id.into(), ..Default::default() };
    within(client.stop(request)).await.unwrap().into_inner().exit.unwrap().how
}

/// Waits until the process of [`SLEEP`] heeds SIGTERM, for the so manyth time.
async fn is_ready(client: &mut Client, id: &str, times: usize) {
    let said = |mut log: Streaming<LogEntry>| async move {
        let mut text = Vec::new();
        while let Ok(Some(entry)) = log.message().await {
            text.extend(entry.data);
        }
        String::from_utf8_lossy(&text).matches("ready").count()
    };
    within(async {
        let request = LogsRequest { id: id.into(), ..Default::default() };
        while said(client.logs(request.clone()).await.unwrap().into_inner()).await < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn kill_init(client: &mut Client, id: &str) {
    client.kill(KillRequest { id: id.into(), signal: 9, all: false }).await.unwrap();
}

fn kinds(events: &[Event]) -> Vec<Kind> {
    events.iter().map(Event::kind).collect()
}

fn is_running(container: &Container) -> bool {
    container.status() == Status::Running
}

/// Asserts that each life was created, perhaps started, and has exited, once and in this order,
/// and that no record of its shim is missing or told twice.
fn assert_lives(events: &[Event]) {
    let records: Vec<u64> = events.iter().map(|e| e.container_seq).filter(|seq| *seq > 0).collect();
    assert!(records.iter().copied().eq(1..=records.len() as u64), "{events:#?}");
    let mut life = 0;
    let mut last = Kind::Exited;
    for event in events {
        match event.kind() {
            Kind::Created => {
                assert_eq!(last, Kind::Exited, "two lives at once: {events:#?}");
                life += 1;
            }
            Kind::Started => assert_eq!(last, Kind::Created, "{events:#?}"),
            Kind::Exited => assert!(matches!(last, Kind::Created | Kind::Started), "{events:#?}"),
            Kind::Restarting => {
                assert_eq!((last, event.life), (Kind::Exited, life + 1), "{events:#?}");
                continue;
            }
            _ => continue,
        }
        assert_eq!(event.life, life, "{events:#?}");
        last = event.kind();
    }
}

/// Entries of the log, to its end.
async fn follow(client: &mut Client, id: &str) -> Vec<LogEntry> {
    let request = LogsRequest { id: id.into(), follow: true, ..Default::default() };
    let stream = client.logs(request).await.unwrap().into_inner();
    within(stream.map(Result::unwrap).collect()).await
}

#[tokio::test]
async fn failures_are_restarted_up_to_the_bound_with_growing_delays_in_one_log() {
    let Some((daemon, mut client, id)) = begin("failing").await else { return };
    if !add_busybox(&daemon.rootfs(), &["sh"]) {
        return;
    }
    let policy = RestartPolicy { max_retries: 4, ..policy(When::OnFailure) };
    let command = ["/bin/sh", "-c", "echo one of several lives; exit 3"];
    start(&mut client, request(&daemon, &id, policy, &command)).await;
    // A reader that follows goes on over all lives.
    let entries = follow(&mut client, &id).await;
    assert_eq!(entries.len(), 5, "{entries:?}");
    assert!(entries.windows(2).all(|two| two[0].next_offset < two[1].next_offset), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.data == b"one of several lives\n"), "{entries:?}");
    assert_eq!(wait_for(&mut client, &id, Condition::Settled).await.how, Some(How::Code(3)));
    let container = get(&mut client, &id).await;
    assert_eq!((container.status(), container.life, container.restart_count), (Status::Stopped, 5, 4));
    assert!(container.next_restart_at.is_none());
    let events = events_of(&daemon, &id).await;
    assert_lives(&events);
    let restarts: Vec<&Event> = events.iter().filter(|e| e.kind() == Kind::Restarting).collect();
    let told: Vec<_> = restarts.iter().map(|e| (e.attempt, e.delay.unwrap().nanos / 1_000_000)).collect();
    assert_eq!(told, [(1, 10), (2, 20), (3, 30), (4, 30)]);
    assert!(restarts.iter().all(|e| e.next_at.is_some()));
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_policy_has_its_exits_and_a_stop_is_not_restarted() {
    let Some((daemon, mut client, good)) = begin("good").await else { return };
    let always = unique("always");
    let exit = |code: &'static str| ["/bin/probe", "exit", code];
    start(&mut client, request(&daemon, &good, policy(When::OnFailure), &exit("0"))).await;
    assert_eq!(wait_for(&mut client, &good, Condition::Settled).await.how, Some(How::Code(0)));
    let end = events_of(&daemon, &good).await;
    assert_eq!(kinds(&end), [Kind::Created, Kind::Started, Kind::Exited]);
    // The same exit with another policy.
    start(&mut client, request(&daemon, &always, policy(When::UnlessStopped), &exit("0"))).await;
    until_is(&mut client, &always, |c| c.life >= 3).await;
    stop(&mut client, &always).await;
    let stopped = get(&mut client, &always).await;
    assert_eq!(stopped.status(), Status::Stopped);
    assert!(stopped.next_restart_at.is_none() && stopped.last_exit.is_some());
    wait_for(&mut client, &always, Condition::Settled).await;
    // A client starts it: the next life, and the policy holds again.
    let next = client.start(StartRequest { id: always.clone(), ..Default::default() }).await.unwrap();
    assert!(next.into_inner().container.unwrap().life > stopped.life);
    until_is(&mut client, &always, |c| c.life >= stopped.life + 2).await;
    stop(&mut client, &always).await;
    assert_lives(&events_of(&daemon, &always).await);
    for id in [&good, &always] {
        delete(&mut client, id).await;
    }
    daemon.finish(&[&good, &always]);
}

#[tokio::test]
async fn a_container_that_waits_can_be_stopped_started_and_deleted() {
    let Some((daemon, mut client, id)) = begin("waits").await else { return };
    let patient =
        RestartPolicy { min_delay: millis(3_600_000), max_delay: millis(3_600_000), ..policy(When::Always) };
    start(&mut client, request(&daemon, &id, patient, &["/bin/probe", "exit", "5"])).await;
    let waits = until_is(&mut client, &id, |c| c.next_restart_at.is_some()).await;
    assert_eq!((waits.status(), waits.restart_count), (Status::Stopped, 0));
    assert_eq!(wait(&mut client, &id).await.how, Some(How::Code(5)));
    // It is not settled: whoever waits for that waits on.
    let settled = WaitRequest { id: id.clone(), condition: Condition::Settled.into() };
    let mut other = client.clone();
    let settles =
        tokio::spawn(async move { other.wait(settled).await.unwrap().into_inner().exit.unwrap().how });
    assert_eq!(stop(&mut client, &id).await, Some(How::Code(5)));
    assert_eq!(within(settles).await.unwrap(), Some(How::Code(5)));
    assert!(get(&mut client, &id).await.next_restart_at.is_none());
    // Started anew it ends and waits again, as the first in a row.
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    until_is(&mut client, &id, |c| c.life == 2 && c.next_restart_at.is_some()).await;
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    until_is(&mut client, &id, |c| c.life == 3 && c.next_restart_at.is_some()).await;
    let events = events_of(&daemon, &id).await;
    assert_lives(&events);
    assert!(events.iter().filter(|e| e.kind() == Kind::Restarting).all(|e| e.attempt == 1), "{events:#?}");
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_client_restarts_what_runs_and_what_does_not() {
    let Some((daemon, mut client, id)) = begin("client").await else { return };
    start(&mut client, daemon.request(&id, SLEEP)).await;
    is_ready(&mut client, &id, 1).await;
    let keyed = RestartRequest { id: id.clone(), idempotency_key: unique("key"), ..Default::default() };
    for _ in 0..2 {
        let restarted = within(client.restart(keyed.clone())).await.unwrap().into_inner().container.unwrap();
        assert_eq!((restarted.status(), restarted.life), (Status::Running, 2), "once with one key");
        assert_eq!(restarted.last_exit.unwrap().how, Some(How::Code(7)));
    }
    stop(&mut client, &id).await;
    let again = RestartRequest { id: id.clone(), ..Default::default() };
    let restarted = client.restart(again.clone()).await.unwrap().into_inner().container.unwrap();
    assert_eq!((restarted.status(), restarted.life), (Status::Running, 3));
    // There was no policy, and there is none now.
    kill_init(&mut client, &id).await;
    assert_eq!(wait_for(&mut client, &id, Condition::Settled).await.how, Some(How::Signal(9)));
    let events = events_of(&daemon, &id).await;
    assert_lives(&events);
    assert!(!kinds(&events).contains(&Kind::Restarting), "{events:#?}");
    let running = client.start(StartRequest { id: id.clone(), ..Default::default() }).await;
    assert_eq!(running.unwrap().into_inner().container.unwrap().life, 4);
    let twice = client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap_err();
    assert_eq!(twice.code(), Code::FailedPrecondition);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn waits_tell_the_lives_apart() {
    let Some((daemon, mut client, id)) = begin("wait").await else { return };
    start(&mut client, request(&daemon, &id, policy(When::Always), SLEEP)).await;
    is_ready(&mut client, &id, 1).await;
    assert_eq!(stop(&mut client, &id).await, Some(How::Code(7)));
    // What is over is not the next exit; how the lives after it end, is.
    let next = WaitRequest { id: id.clone(), condition: Condition::NextExit.into() };
    let mut other = client.clone();
    let next = tokio::spawn(async move { other.wait(next).await.unwrap().into_inner().exit.unwrap().how });
    assert_eq!(wait(&mut client, &id).await.how, Some(How::Code(7)));
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    within(async {
        while !next.is_finished() {
            until_is(&mut client, &id, is_running).await;
            kill_init(&mut client, &id).await;
            wait(&mut client, &id).await;
        }
    })
    .await;
    assert_eq!(next.await.unwrap(), Some(How::Signal(9)));
    // The next one never comes.
    stop(&mut client, &id).await;
    let never = WaitRequest { id: id.clone(), condition: Condition::NextExit.into() };
    let mut other = client.clone();
    let never = tokio::spawn(async move { other.wait(never).await });
    delete(&mut client, &id).await;
    let code = within(never).await.unwrap().unwrap_err().code();
    assert!(matches!(code, Code::Aborted | Code::NotFound), "{code:?}");
    daemon.finish(&[&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_is_killed_while_containers_are_restarted() {
    let Some((mut daemon, mut client, _)) = begin("killed").await else { return };
    let mut random = Random::new(seed());
    let ids: Vec<String> = (0..4).map(|_| unique("killed")).collect();
    for (id, command) in ids.iter().zip([["exit", "3"], ["exit", "0"], ["exit", "4"], ["sleep", "0.05"]]) {
        let command = [&["/bin/probe"], &command[..]].concat();
        start(&mut client, request(&daemon, id, policy(When::Always), &command)).await;
    }
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        daemon.kill();
        daemon.restart();
    }
    let mut client = daemon.containers().await;
    for id in &ids {
        let now = get(&mut client, id).await.life;
        until_is(&mut client, id, |c| c.life > now + 1).await;
        stop(&mut client, id).await;
        wait_for(&mut client, id, Condition::Settled).await;
    }
    let all = events(&daemon, EventsRequest::default()).await;
    assert!(all.iter().map(|e| e.seq).eq(1..=all.len() as u64), "{all:#?}");
    for id in &ids {
        assert_lives(&events_of(&daemon, id).await);
        delete(&mut client, id).await;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    daemon.finish(&ids);
}

#[tokio::test]
async fn what_exits_while_the_daemon_is_away_is_restarted_by_the_next() {
    let Some((mut daemon, mut client, id)) = begin("away").await else { return };
    let running = start(&mut client, request(&daemon, &id, policy(When::OnFailure), SLEEP)).await;
    daemon.kill();
    kill_9(running.pid);
    let gone = format!("/proc/{}", running.pid);
    assert!(until(DEADLINE, || !std::path::Path::new(&gone).exists()));
    daemon.restart();
    let mut client = daemon.containers().await;
    let next = until_is(&mut client, &id, |c| c.life == 2 && is_running(c)).await;
    assert_eq!(next.last_exit.unwrap().how, Some(How::Signal(9)));
    let events = events_of(&daemon, &id).await;
    assert_lives(&events);
    let expected =
        [Kind::Created, Kind::Started, Kind::Exited, Kind::Restarting, Kind::Created, Kind::Started];
    assert_eq!(kinds(&events), expected);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn what_a_client_has_stopped_stays_so_over_a_restart_of_the_daemon_unless_always() {
    let Some((mut daemon, mut client, always)) = begin("always").await else { return };
    let (unless, failing) = (unique("unless"), unique("failing"));
    let all = [(&always, When::Always), (&unless, When::UnlessStopped), (&failing, When::OnFailure)];
    for (id, when) in all {
        start(&mut client, request(&daemon, id, policy(when), SLEEP)).await;
        stop(&mut client, id).await;
    }
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    until_is(&mut client, &always, |c| c.life == 2 && is_running(c)).await;
    for id in [&unless, &failing] {
        wait_for(&mut client, id, Condition::Settled).await;
        assert_eq!(get(&mut client, id).await.life, 1);
    }
    for (id, _) in all {
        delete(&mut client, id).await;
    }
    daemon.finish(&[&always, &unless, &failing]);
}

#[tokio::test]
async fn shims_are_killed_with_their_containers_and_without() {
    let Some((daemon, mut client, id)) = begin("shim").await else { return };
    let first = start(&mut client, request(&daemon, &id, policy(When::Always), SLEEP)).await;
    let shim = until_is(&mut client, &id, |c| c.shim_pid != 0).await.shim_pid;
    kill_9(shim);
    kill_9(first.pid);
    let second = until_is(&mut client, &id, |c| c.life == 2 && is_running(c)).await;
    // Of one that is stopped nobody takes over; the next life finds another.
    stop(&mut client, &id).await;
    let shim = until_is(&mut client, &id, |c| c.shim_pid != 0).await.shim_pid;
    assert_ne!(shim, first.shim_pid);
    kill_9(shim);
    until_is(&mut client, &id, |c| c.shim_pid == 0).await;
    let third = client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let third = third.into_inner().container.unwrap();
    assert_eq!((third.life, third.status()), (3, Status::Running));
    assert_ne!((third.pid, third.shim_pid), (second.pid, shim));
    assert_lives(&events_of(&daemon, &id).await);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_life_that_cannot_begin_is_tried_again() {
    let Some((daemon, mut client, id)) = begin("tries").await else { return };
    start(&mut client, request(&daemon, &id, policy(When::Always), SLEEP)).await;
    let (rootfs, away) = (daemon.rootfs(), daemon.dir().join("away"));
    std::fs::rename(&rootfs, &away).unwrap();
    kill_init(&mut client, &id).await;
    let mut failed = Vec::new();
    within(async {
        while failed.len() < 2 {
            let all = events_of(&daemon, &id).await;
            failed = all.into_iter().filter(|e| e.kind() == Kind::StartFailed).collect();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(failed.iter().all(|e| e.life == 2 && e.failure.is_some()), "{failed:#?}");
    // A client is told why.
    let refused = client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    std::fs::rename(&away, &rootfs).unwrap();
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    until_is(&mut client, &id, |c| c.life == 2 && is_running(c)).await;
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_a_client_goes_on_when_the_daemon_is_killed() {
    let Some((mut daemon, mut client, id)) = begin("goes-on").await else { return };
    // Its pid 1 heeds no SIGTERM.
    start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    let request = RestartRequest { id: id.clone(), grace: millis(700), ..Default::default() };
    let asked = tokio::spawn(async move { client.restart(request).await });
    let record = daemon.dir().join("root/containers").join(&id).join("record.json");
    let is_begun = || std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"life\": 2"));
    assert!(until(DEADLINE, is_begun));
    daemon.kill();
    assert!(within(asked).await.unwrap().is_err());
    daemon.restart();
    let mut client = daemon.containers().await;
    until_is(&mut client, &id, |c| c.life == 2 && is_running(c)).await;
    assert_lives(&events_of(&daemon, &id).await);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_journal_of_many_lives_is_made_shorter_and_nobody_notices() {
    let Some((mut daemon, mut client, id)) = begin("journal").await else { return };
    let soon = RestartPolicy { max_delay: millis(10), ..policy(When::Always) };
    start(&mut client, request(&daemon, &id, soon, &["/bin/probe", "exit", "0"])).await;
    let journal = daemon.dir().join("root/containers").join(&id).join("journal");
    let length = || std::fs::metadata(&journal).unwrap().len();
    let mut last = 0;
    // However long that is: it grows.
    loop {
        let now = within(async {
            while length() == last {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            length()
        })
        .await;
        if now < last {
            break;
        }
        last = now;
    }
    stop(&mut client, &id).await;
    let before = get(&mut client, &id).await;
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    // `always`: the next daemon begins another life.
    until_is(&mut client, &id, |c| c.life > before.life).await;
    stop(&mut client, &id).await;
    assert_lives(&events_of(&daemon, &id).await);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_stop_gives_up_the_restart_of_another_client() {
    let Some((daemon, mut client, id)) = begin("gives-up").await else { return };
    // Its pid 1 heeds no SIGTERM.
    start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    let request = RestartRequest { id: id.clone(), grace: millis(3_600_000), ..Default::default() };
    let mut other = client.clone();
    let restarted = tokio::spawn(async move { other.restart(request).await });
    until_is(&mut client, &id, |c| c.next_restart_at.is_some()).await;
    let request = StopRequest { id: id.clone(), grace: millis(0), ..Default::default() };
    let stopped = within(client.stop(request)).await.unwrap().into_inner().exit.unwrap();
    assert_eq!(stopped.how, Some(How::Signal(9)));
    assert_eq!(within(restarted).await.unwrap().unwrap_err().code(), Code::Aborted);
    let container = get(&mut client, &id).await;
    assert_eq!((container.life, container.status()), (1, Status::Stopped));
    assert!(container.next_restart_at.is_none());
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}
