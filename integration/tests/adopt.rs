//! Shims are killed while their containers run: each container goes on, gets
//! another shim, and loses neither its output nor its exit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sextant_integration::calls::{Client, get};
use sextant_integration::process::DEADLINE;
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    Container, DeleteRequest, Event, EventsRequest, KillRequest, LogsRequest, StartRequest, Status,
    StopRequest, WaitRequest,
};
use tokio_stream::StreamExt;

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

/// The container, once a shim answers that is not this one.
async fn adopted(client: &mut Client, id: &str, before: i32) -> Container {
    tokio::time::timeout(DEADLINE, async {
        loop {
            let container = get(client, id).await;
            if ![0, before].contains(&container.shim_pid) && container.degraded.is_empty() {
                return container;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("another shim takes over in time")
}

async fn wait(client: &mut Client, id: &str) -> Option<How> {
    let answer =
        tokio::time::timeout(DEADLINE, client.wait(WaitRequest { id: id.into(), ..Default::default() }))
            .await;
    answer.expect("wait answers in time").unwrap().into_inner().exit.unwrap().how
}

async fn log(client: &mut Client, id: &str) -> String {
    let request = LogsRequest { id: id.into(), offset: 0, follow: true, ..Default::default() };
    let stream = client.logs(request).await.unwrap().into_inner();
    let entries: Vec<_> = tokio::time::timeout(DEADLINE, stream.collect()).await.expect("the log ends");
    entries.into_iter().map(|e| String::from_utf8(e.unwrap().data).unwrap()).collect()
}

async fn events(daemon: &Daemon, id: &str) -> Vec<Event> {
    let mut system = daemon.system().await;
    let stream = system
        .events(EventsRequest { after_seq: 0, follow: false, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let events: Vec<Event> = stream.map(Result::unwrap).collect().await;
    assert!(events.iter().map(|e| e.seq).eq(1..=events.len() as u64), "{events:?}");
    events.into_iter().filter(|e| e.container == id).collect()
}

#[tokio::test]
async fn a_container_is_started_signalled_and_stopped_by_the_next_shim() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("adopt"));
    let mut client = daemon.containers().await;
    let request = daemon.request(&id, &["/bin/probe", "sleep", "1000", "--term-exit", "7"]);
    let created = client.create(request).await.unwrap().into_inner().container.unwrap();
    kill_9(created.shim_pid);
    let adopted_once = adopted(&mut client, &id, created.shim_pid).await;
    assert_eq!((adopted_once.status(), adopted_once.pid), (Status::Created, created.pid));
    // Its init had a report to write, for which nobody waits any more.
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    kill_9(adopted_once.shim_pid);
    let adopted_twice = adopted(&mut client, &id, adopted_once.shim_pid).await;
    assert_eq!((adopted_twice.status(), adopted_twice.pid), (Status::Running, created.pid));
    client.kill(KillRequest { id: id.clone(), signal: 18, all: true }).await.unwrap();
    let stopped = client.stop(StopRequest { id: id.clone(), ..StopRequest::default() }).await.unwrap();
    assert_eq!(stopped.into_inner().exit.unwrap().how, Some(How::Code(7)));
    let kinds: Vec<Kind> = events(&daemon, &id).await.iter().map(Event::kind).collect();
    assert_eq!(kinds, [Kind::Created, Kind::Adopted, Kind::Started, Kind::Adopted, Kind::Exited]);
    client.delete(DeleteRequest { id: id.clone(), force: false, ..Default::default() }).await.unwrap();
    daemon.finish(&[&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_shims_killed_at_once_lose_no_exit() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let ids: Vec<String> = (0..8).map(|_| unique("orphan")).collect();
    let mut containers = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        let command = ["/bin/probe", "sleep", "1000", "--term-exit", &n.to_string()];
        client.create(daemon.request(id, &command)).await.unwrap();
        let started =
            client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap().into_inner();
        containers.push(started.container.unwrap());
        // Until then SIGTERM would find a pid 1 that ignores it.
        let mut log = client
            .logs(LogsRequest { id: id.clone(), offset: 0, follow: true, ..Default::default() })
            .await
            .unwrap();
        assert_eq!(log.get_mut().next().await.unwrap().unwrap().data, b"ready\n");
    }
    for container in &containers {
        kill_9(container.shim_pid);
    }
    // Of half of them the process ends as well, most before another shim is there.
    for container in &containers[..4] {
        kill(Pid::from_raw(container.pid), Signal::SIGTERM).unwrap();
    }
    for (n, id) in ids.iter().enumerate() {
        if n >= 4 {
            adopted(&mut client, id, containers[n].shim_pid).await;
            client.stop(StopRequest { id: id.clone(), ..StopRequest::default() }).await.unwrap();
        }
        assert_eq!(wait(&mut client, id).await, Some(How::Code(i32::try_from(n).unwrap())), "{id}");
        assert_eq!(log(&mut client, id).await, "ready\n");
        client.delete(DeleteRequest { id: id.clone(), force: false, ..Default::default() }).await.unwrap();
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    daemon.finish(&ids);
}

#[tokio::test]
async fn output_goes_on_in_the_log_of_the_next_shim() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("output"));
    let mut client = daemon.containers().await;
    // More than its pipes hold: it must not be ended by them, and must not wait for ever.
    client.create(daemon.request(&id, &["/bin/probe", "spam", "3000000"])).await.unwrap();
    let started =
        client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap().into_inner();
    kill_9(started.container.unwrap().shim_pid);
    assert_eq!(wait(&mut client, &id).await, Some(How::Code(0)));
    let events = events(&daemon, &id).await;
    let adoption = events.iter().find(|e| e.kind() == Kind::Adopted);
    // It may have been over before the shim was killed.
    assert!(adoption.is_none_or(|e| e.output_lost.is_none()), "{events:?}");
    let log = log(&mut client, &id).await;
    // Each line once: also what the shim had read and not logged yet.
    let mut numbers: Vec<u64> = log.lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect();
    numbers.sort_unstable();
    let wrong = numbers.iter().copied().zip(0..).find(|(found, wanted)| found != wanted);
    assert_eq!(wrong, None, "found and wanted, of {}; {events:?}", numbers.len());
    assert_eq!(log.len(), 3_000_000);
    client.delete(DeleteRequest { id: id.clone(), force: false, ..Default::default() }).await.unwrap();
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_shim_that_was_killed_while_the_daemon_was_away_is_replaced() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("away"));
    let mut client = daemon.containers().await;
    client.create(daemon.request(&id, &["/bin/probe", "sleep", "1000", "--term-exit", "5"])).await.unwrap();
    let started =
        client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap().into_inner();
    let before = started.container.unwrap();
    while get(&mut client, &id).await.shim_pid == 0 {}
    daemon.kill();
    kill_9(before.shim_pid);
    daemon.restart();
    let mut client = daemon.containers().await;
    let after = adopted(&mut client, &id, before.shim_pid).await;
    assert_eq!((after.status(), after.pid), (Status::Running, before.pid));
    let stopped = client.stop(StopRequest { id: id.clone(), ..StopRequest::default() }).await.unwrap();
    assert_eq!(stopped.into_inner().exit.unwrap().how, Some(How::Code(5)));
    let events = events(&daemon, &id).await;
    let adoption = events.iter().find(|e| e.kind() == Kind::Adopted).unwrap();
    assert!(adoption.output_lost.as_ref().unwrap().until.is_some(), "{adoption:?}");
    client.delete(DeleteRequest { id: id.clone(), force: false, ..Default::default() }).await.unwrap();
    daemon.finish(&[&id]);
}
