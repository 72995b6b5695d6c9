//! The journal of events keeps within its bound, and tells nothing twice for that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::{CreateRequest, DeleteRequest, Event, EventsRequest, StartRequest, WaitRequest};
use tokio_stream::StreamExt;

async fn events(daemon: &Daemon, after_seq: u64) -> Vec<Event> {
    let mut system = daemon.system().await;
    let stream = system
        .events(EventsRequest { after_seq, follow: false, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    stream.map(Result::unwrap).collect().await
}

#[tokio::test]
async fn what_was_forgotten_is_a_gap_and_what_was_told_is_not_told_again() {
    if skip_unless_root() {
        return;
    }
    let mut daemon = Daemon::start_with(&["--events-limit", "4096"]);
    let (lives, short) = (unique("lives"), unique("short"));
    let mut client = daemon.containers().await;
    client.create(daemon.request(&lives, &["/bin/probe", "sleep", "1000"])).await.unwrap();
    client.start(StartRequest { id: lives.clone(), ..Default::default() }).await.unwrap();
    let before = events(&daemon, 0).await;
    // Failed creations have the largest events, and cost the least.
    let bundle = sextant_integration::Bundle::new()
        .mount(serde_json::json!({"destination": "/mnt/x", "type": "nosuchfs", "source": "none"}));
    let source = sextant_proto::v1::create_request::Source::Bundle(bundle.write().display().to_string());
    let failing = CreateRequest { id: short.clone(), source: Some(source), ..CreateRequest::default() };
    for _ in 0..20 {
        client.create(failing.clone()).await.unwrap_err();
    }
    client.create(daemon.request(&short, &["/bin/probe", "exit", "3"])).await.unwrap();
    client.start(StartRequest { id: short.clone(), ..Default::default() }).await.unwrap();
    client.wait(WaitRequest { id: short.clone(), ..Default::default() }).await.unwrap();

    let now = events(&daemon, 0).await;
    let kinds: Vec<Kind> = now.iter().map(Event::kind).collect();
    assert!(std::fs::metadata(daemon.dir().join("root/events")).unwrap().len() <= 4096);
    assert!(kinds.contains(&Kind::Gap), "{kinds:?}");
    assert!(now.windows(2).all(|two| two[0].seq < two[1].seq), "{now:?}");
    for two in now.windows(2) {
        assert!(two[0].seq + 1 == two[1].seq || two[1].kind() == Kind::Gap, "{two:?}");
    }
    assert_eq!(now.last().unwrap().seq, 2 + 20 + 3);
    // A shim's journal is read again at each start; what it says was told before.
    for _ in 0..2 {
        daemon.kill();
        daemon.restart();
        assert_eq!(events(&daemon, 0).await, now);
    }
    let started = now.iter().find(|e| e.container == lives).unwrap();
    assert_eq!(Some(started), before.iter().find(|e| e.kind() == Kind::Started));
    let mut client = daemon.containers().await;
    for id in [&lives, &short] {
        client.delete(DeleteRequest { id: id.clone(), force: true, ..Default::default() }).await.unwrap();
    }
    let last = now.last().unwrap().seq;
    let later: Vec<(u64, Kind)> = events(&daemon, last).await.iter().map(|e| (e.seq, e.kind())).collect();
    // The forced deletion kills the one that lives.
    assert_eq!(later, [(last + 1, Kind::Exited), (last + 2, Kind::Deleted), (last + 3, Kind::Deleted)]);
    daemon.finish(&[&lives, &short]);
}
