//! The manager is killed at random while containers run and exit. Afterwards
//! every exit code is known, and no event is doubled or missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use sextant_integration::process::DEADLINE;
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    DeleteRequest, EventsRequest, ListRequest, LogsRequest, StartRequest, Status, WaitRequest,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_stream::StreamExt;

/// A small generator (xorshift64*), so that a failed run can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

/// `$SEXTANT_SEED`, or one of the clock, which is printed.
fn seed() -> u64 {
    let given = std::env::var("SEXTANT_SEED").ok().and_then(|s| s.parse().ok());
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = given.unwrap_or_else(|| u64::from(now()) | 1);
    println!("SEXTANT_SEED={seed} repeats this run");
    seed
}

/// What has to be known of a container: its code.
type Expected = BTreeMap<String, i32>;

/// Asserts that every container has exited with its code.
async fn assert_exits(daemon: &Daemon, expected: &Expected) {
    let mut client = daemon.containers().await;
    for (id, code) in expected {
        let answer =
            tokio::time::timeout(DEADLINE, client.wait(WaitRequest { id: id.clone(), ..Default::default() }))
                .await;
        let exit = answer
            .unwrap_or_else(|_| panic!("{id}: wait does not answer"))
            .unwrap()
            .into_inner()
            .exit
            .unwrap();
        assert_eq!(exit.how, Some(How::Code(*code)), "{id}");
    }
    for container in client.list(ListRequest::default()).await.unwrap().into_inner().containers {
        assert_eq!(container.status(), Status::Stopped, "{container:?}");
        assert_eq!(container.degraded, "", "{container:?}");
    }
}

/// Asserts that events are numbered without a gap, and that each container has
/// created, started and exited exactly once.
async fn assert_events(daemon: &Daemon, expected: &Expected) {
    let mut system = daemon.system().await;
    let stream = system
        .events(EventsRequest { after_seq: 0, follow: false, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let events: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert!(events.iter().map(|e| e.seq).eq(1..=events.len() as u64), "{events:?}");
    assert!(events.iter().all(|e| e.kind() != Kind::Gap), "{events:?}");
    for (id, code) in expected {
        let own: Vec<_> = events.iter().filter(|e| e.container == *id).collect();
        let kinds: Vec<Kind> = own.iter().map(|e| e.kind()).collect();
        assert_eq!(kinds, [Kind::Created, Kind::Started, Kind::Exited], "{id}");
        assert_eq!(own[2].exit.as_ref().unwrap().how, Some(How::Code(*code)), "{id}");
    }
}

async fn delete_all(daemon: &Daemon, expected: &Expected) {
    let mut client = daemon.containers().await;
    for id in expected.keys() {
        client.delete(DeleteRequest { id: id.clone(), force: true, ..Default::default() }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_exit_is_known_after_kill_9_at_random_points() {
    if skip_unless_root() {
        return;
    }
    let mut random = Random(seed());
    let mut daemon = Daemon::start();
    let mut expected = Expected::new();
    for round in 0..6 {
        // Some that exit while the manager lives, some while it is away, some after.
        let mut client = daemon.containers().await;
        for _ in 0..4 {
            let (id, code) = (unique("crash"), random.below(200));
            let seconds = format!("0.{:03}", random.below(600));
            let command = ["/bin/probe", "sleep", &seconds, "--then-exit", &code.to_string()];
            client.create(daemon.request(&id, &command)).await.unwrap();
            client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
            expected.insert(id, i32::try_from(code).unwrap());
        }
        tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        daemon.kill();
        tokio::time::sleep(Duration::from_millis(random.below(400))).await;
        daemon.restart();
        println!("round {round} done");
    }
    assert_exits(&daemon, &expected).await;
    assert_events(&daemon, &expected).await;
    delete_all(&daemon, &expected).await;
    let ids: Vec<&str> = expected.keys().map(String::as_str).collect();
    daemon.finish(&ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_was_cut_off_is_finished_or_undone() {
    if skip_unless_root() {
        return;
    }
    let mut random = Random(seed());
    let mut daemon = Daemon::start();
    let ids: Vec<String> = (0..12).map(|_| unique("cut")).collect();
    for id in &ids {
        let mut client = daemon.containers().await;
        let request = daemon.request(id, &["/bin/probe", "sleep", "1000"]);
        let asked = tokio::spawn(async move { client.create(request).await.map(drop) });
        tokio::time::sleep(Duration::from_millis(random.below(40))).await;
        daemon.kill();
        drop(asked.await.unwrap());
        daemon.restart();
    }
    // Whatever became of each: it is listed and can be deleted, or it is not there at all.
    let mut client = daemon.containers().await;
    for container in client.list(ListRequest::default()).await.unwrap().into_inner().containers {
        assert!(ids.contains(&container.id), "{container:?}");
        client.delete(DeleteRequest { id: container.id, force: true, ..Default::default() }).await.unwrap();
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    daemon.leftovers_of(&ids).assert_none();
    daemon.finish(&ids);
}

#[tokio::test]
async fn shims_and_logs_are_found_again() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("again"));
    let mut client = daemon.containers().await;
    client.create(daemon.request(&id, &["/bin/probe", "sleep", "1000", "--term-exit", "9"])).await.unwrap();
    let before = client
        .start(StartRequest { id: id.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .container
        .unwrap();
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    // What it is, is known at once; its shim answers a moment later.
    let mut last = None;
    for _ in 0..500 {
        last = client.list(ListRequest::default()).await.unwrap().into_inner().containers.pop();
        if last.as_ref().is_some_and(|c| c.shim_pid != 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = last.unwrap();
    assert_eq!((after.status(), after.pid, after.shim_pid), (Status::Running, before.pid, before.shim_pid));
    let follow = LogsRequest { id: id.clone(), offset: 0, follow: true, ..Default::default() };
    let mut log = client.logs(follow).await.unwrap().into_inner();
    assert_eq!(log.next().await.unwrap().unwrap().data, b"ready\n");
    let exit =
        client.stop(sextant_proto::v1::StopRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    assert_eq!(exit.into_inner().exit.unwrap().how, Some(How::Code(9)));
    client.delete(DeleteRequest { id: id.clone(), force: false, ..Default::default() }).await.unwrap();
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_directories_is_refused() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let dir = daemon.dir();
    let mut second = std::process::Command::new(sextant_integration::binary("sextantd"));
    second.arg("--root").arg(dir.join("root")).arg("--state").arg(dir.join("state"));
    second.arg("--listen").arg(format!("unix:{}", dir.join("second").display()));
    let ran = sextant_integration::process::run(&mut second, dir);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(!ran.stderr.is_empty(), "it says why");
    daemon.containers().await.list(ListRequest::default()).await.unwrap();
}
