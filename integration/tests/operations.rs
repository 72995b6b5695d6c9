//! Operations with a key: called twice, done once; a deadline takes away who
//! waits and nothing else; cancelling undoes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::json;
use sextant_integration::calls::{list, within};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Bundle, Daemon, skip_unless_root, unique};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::operation::Verb;
use sextant_proto::v1::operations_client::OperationsClient;
use sextant_proto::v1::{
    CancelOperationRequest, CreateRequest, DeleteRequest, Event, EventsRequest, GetOperationRequest,
    GetRequest, ListOperationsRequest, StartRequest, Status, StopRequest,
};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::{Code, Request};
use tonic_types::StatusExt;

fn sleeper(daemon: &Daemon, id: &str, key: &str) -> CreateRequest {
    let request = daemon.request(id, &["/bin/probe", "sleep", "1000"]);
    CreateRequest { idempotency_key: key.into(), ..request }
}

fn start(id: &str, key: &str) -> StartRequest {
    StartRequest { id: id.into(), idempotency_key: key.into() }
}

fn delete(id: &str, key: &str) -> DeleteRequest {
    DeleteRequest { id: id.into(), force: true, idempotency_key: key.into() }
}

async fn kinds(daemon: &Daemon, id: &str) -> Vec<Kind> {
    let mut system = daemon.system().await;
    let stream = system
        .events(EventsRequest { after_seq: 0, follow: false, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let events: Vec<Event> = stream.map(Result::unwrap).collect().await;
    events.iter().filter(|e| e.container == id).map(Event::kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_short_deadlines_leave_whole_containers_or_none_and_no_name_stuck() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let names: Vec<String> = (0..50).map(|_| unique("short")).collect();
    let mut clients = JoinSet::new();
    for n in 0..200 {
        let mut client = daemon.containers().await;
        let name = names[n % names.len()].clone();
        // Some retry with a key, others do not know what that is.
        let key = if n < 100 { name.clone() } else { String::new() };
        let message = sleeper(&daemon, &name, &key);
        clients.spawn(async move {
            for _ in 0..3 {
                let mut request = Request::new(message.clone());
                request.set_timeout(Duration::from_millis(50));
                match client.create(request).await {
                    Ok(_) => return,
                    Err(error) => {
                        let expected = [Code::Cancelled, Code::DeadlineExceeded, Code::AlreadyExists];
                        assert!(expected.contains(&error.code()), "{error:?}");
                    }
                }
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    // Whoever asks again with the key gets the container, made now or before; unless
    // somebody without a key was first: then it is there as well.
    let mut client = daemon.containers().await;
    for name in &names {
        match within(client.create(sleeper(&daemon, name, name))).await {
            Ok(answer) => assert_eq!(answer.into_inner().container.unwrap().status(), Status::Created),
            Err(error) => assert_eq!(error.code(), Code::AlreadyExists, "{error:?}"),
        }
    }
    within(async {
        while list(&mut client).await.iter().any(|c| c.status() == Status::Creating) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let found = list(&mut client).await;
    assert!(found.iter().all(|c| c.status() == Status::Created), "{found:?}");
    assert_eq!(found.len(), names.len());
    for name in &names {
        assert_eq!(kinds(&daemon, name).await, [Kind::Created], "made once");
        // The second call attaches to the first: it succeeds too.
        let (mut one, mut other) = (client.clone(), client.clone());
        let key = format!("delete {name}");
        let (one, other) = tokio::join!(one.delete(delete(name, &key)), other.delete(delete(name, &key)));
        one.and(other).unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    daemon.leftovers_of(&names).assert_none();
    daemon.finish(&names);
}

#[tokio::test]
async fn keys_outlive_the_daemon() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id, other) = (Daemon::start(), unique("keys"), unique("keys"));
    let key = |verb: &str| format!("{verb} {id}");
    let mut client = daemon.containers().await;
    let create = |id: &str| CreateRequest {
        idempotency_key: format!("create {id}"),
        ..daemon.request(id, &["/bin/probe", "sleep", "1000", "--term-exit", "7"])
    };
    let creations = [create(&id), create(&other)];
    for request in creations.clone() {
        client.create(request).await.unwrap();
    }
    client.start(start(&id, &key("start"))).await.unwrap();
    let stop = || StopRequest { id: id.clone(), idempotency_key: key("stop"), ..Default::default() };
    let stopped = client.stop(stop()).await.unwrap().into_inner();
    let failed = client.start(start("it-none", &key("fail"))).await.unwrap_err();
    assert_eq!(failed.code(), Code::NotFound);
    client.delete(delete(&other, &key("delete"))).await.unwrap();
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    // Without the key it would be another life.
    let started = client.start(start(&id, &key("start"))).await.unwrap().into_inner().container.unwrap();
    assert_eq!((started.status(), started.life), (Status::Stopped, 1));
    assert_eq!(client.stop(stop()).await.unwrap().into_inner(), stopped);
    client.delete(delete(&other, &key("delete"))).await.unwrap();
    let [again, _] = creations;
    assert_eq!(client.create(again.clone()).await.unwrap().into_inner().container.unwrap().id, id);
    // The key with anything else is another request, whatever it is about.
    let labels = [("tier".to_owned(), "1".to_owned())].into();
    let grace = Some(prost_types::Duration { seconds: 3, nanos: 0 });
    let reused = [
        client.start(start(&other, &key("start"))).await.unwrap_err(),
        client.stop(StopRequest { grace, ..stop() }).await.unwrap_err(),
        client.create(CreateRequest { labels, ..again }).await.unwrap_err(),
    ];
    for reused in reused {
        assert_eq!(reused.get_error_details().error_info().unwrap().reason, "KEY_REUSED");
    }
    let mut operations = OperationsClient::new(daemon.channel().await);
    for (verb, failed) in [("start", false), ("stop", false), ("delete", false), ("fail", true)] {
        let request = GetOperationRequest { key: key(verb) };
        let operation = operations.get(request).await.unwrap().into_inner().operation.unwrap();
        assert_eq!((operation.ended_at.is_some(), operation.failure.is_some()), (true, failed), "{verb}");
    }
    // After a failure a key is as new.
    let again = client.start(start("it-none", &key("fail"))).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    client.delete(delete(&id, "")).await.unwrap();
    daemon.finish(&[&id, &other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_call_with_the_key_attaches_to_the_first() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    // Also where the name is made up: there is one container.
    let mut creations = JoinSet::new();
    for _ in 0..8 {
        let (mut client, request) = (client.clone(), sleeper(&daemon, "", "one"));
        creations
            .spawn(async move { client.create(request).await.unwrap().into_inner().container.unwrap().id });
    }
    let ids: BTreeSet<String> = creations.join_all().await.into_iter().collect();
    assert_eq!((ids.len(), list(&mut client).await.len()), (1, 1));
    let id = ids.first().unwrap().as_str();
    for _ in 0..2 {
        let started = client.start(start(id, "two")).await.unwrap().into_inner().container.unwrap();
        assert_eq!(started.status(), Status::Running);
    }
    let again = client.start(start(id, "")).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "without the key it is another start");
    let reused = client.start(start("another", "one")).await.unwrap_err();
    let info = reused.get_details_error_info().unwrap();
    assert_eq!((reused.code(), info.reason.as_str()), (Code::InvalidArgument, "KEY_REUSED"), "{reused:?}");

    let mut operations = OperationsClient::new(daemon.channel().await);
    let known = operations.list(ListOperationsRequest {}).await.unwrap().into_inner().operations;
    let known: Vec<_> = known.iter().map(|o| (o.key.as_str(), o.verb(), o.container.as_str())).collect();
    assert_eq!(known, [("one", Verb::Create, id), ("two", Verb::Start, id)]);
    let operation = operations.get(GetOperationRequest { key: "two".into() }).await.unwrap().into_inner();
    let operation = operation.operation.unwrap();
    assert!(operation.ended_at.is_some() && operation.failure.is_none(), "{operation:?}");
    let error = operations.get(GetOperationRequest { key: "three".into() }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    let stop = StopRequest {
        id: id.into(),
        grace: Some(prost_types::Duration::default()),
        idempotency_key: "stop".into(),
        ..StopRequest::default()
    };
    let exits = [client.stop(stop.clone()).await.unwrap(), client.stop(stop).await.unwrap()];
    assert_eq!(exits[0].get_ref(), exits[1].get_ref());
    for _ in 0..2 {
        client.delete(delete(id, "four")).await.unwrap();
    }
    daemon.finish(&[]);
}

// What a shim did that was killed before it could say so is in its journal alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_key_begins_nothing_while_the_journal_cannot_be_read() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("unread"));
    let mut client = daemon.containers().await;
    client.create(sleeper(&daemon, &id, "")).await.unwrap();
    let dir = daemon.dir().join("root/containers").join(&id);
    let (journal, aside) = (dir.join("journal"), dir.join("aside"));
    // The shim writes to it all the same.
    std::fs::rename(&journal, &aside).unwrap();
    std::fs::create_dir(&journal).unwrap();
    let size = || std::fs::metadata(&aside).unwrap().len();
    let before = size();
    let refused = client.start(start(&id, "unread")).await.unwrap_err();
    assert!(refused.message().contains("journal"), "{refused:?}");
    assert_eq!(size(), before, "it was started");
    std::fs::remove_dir(&journal).unwrap();
    std::fs::rename(&aside, &journal).unwrap();
    let mut told = kinds(&daemon, &id).await;
    told.retain(|kind| !matches!(kind, Kind::Degraded | Kind::Recovered));
    assert_eq!(told, [Kind::Created]);
    let started = client.start(start(&id, "unread")).await.unwrap().into_inner().container.unwrap();
    assert_eq!((started.status(), started.life), (Status::Running, 1));
    client.delete(delete(&id, "")).await.unwrap();
    daemon.finish(&[&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_takes_away_who_waits_and_cancelling_undoes() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("cancel"));
    let mut client = daemon.containers().await;
    let mark = format!("sleep 1000 # {id}");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", mark]});
    let bundle = Bundle::without_user().set("/hooks", json!({"createRuntime": [hook]}));
    let source = Some(Source::Bundle(bundle.write().display().to_string()));
    let message = CreateRequest { id: id.clone(), source, idempotency_key: id.clone(), ..Default::default() };
    let mut request = Request::new(message.clone());
    request.set_timeout(Duration::from_millis(300));
    client.create(request).await.unwrap_err();
    assert!(until(DEADLINE, || daemon
        .leftovers_of(&[&mark])
        .find()
        .iter()
        .any(|l| l.starts_with("process"))));
    let found = client
        .get(GetRequest { id: id.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .container
        .unwrap();
    assert_eq!(found.status(), Status::Creating, "it goes on");

    let mut waiter = client.clone();
    let again = tokio::spawn(async move { waiter.create(message).await });
    let mut operations = OperationsClient::new(daemon.channel().await);
    let cancel = CancelOperationRequest { key: id.clone() };
    within(operations.cancel(cancel.clone())).await.unwrap();
    // It had attached, or it has begun anew since; then that is cancelled.
    let answer = within(async {
        while !again.is_finished() {
            drop(operations.cancel(cancel.clone()).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        again.await.unwrap()
    });
    let error = answer.await.unwrap_err();
    let info = error.get_details_error_info().unwrap();
    assert_eq!((error.code(), info.reason.as_str()), (Code::Aborted, "CANCELLED"), "{error:?}");
    daemon.leftovers_of(&[&id]).assert_none();
    assert_eq!(
        client.get(GetRequest { id: id.clone(), ..Default::default() }).await.unwrap_err().code(),
        Code::NotFound
    );

    // The name and the key are free; what has been made cannot be cancelled.
    within(client.create(sleeper(&daemon, &id, &id))).await.unwrap();
    let late = operations.cancel(CancelOperationRequest { key: id.clone() }).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late:?}");
    client.delete(delete(&id, "")).await.unwrap();
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn the_key_of_a_creation_is_known_after_the_daemon_was_killed() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("kept"));
    let request = sleeper(&daemon, &id, "kept");
    daemon.containers().await.create(request.clone()).await.unwrap();
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    let again = client.create(request.clone()).await.unwrap().into_inner().container.unwrap();
    assert_eq!((again.id.as_str(), again.status()), (id.as_str(), Status::Created));
    let other = CreateRequest { idempotency_key: String::new(), ..request };
    assert_eq!(client.create(other).await.unwrap_err().code(), Code::AlreadyExists);
    client.delete(delete(&id, "")).await.unwrap();
    daemon.finish(&[&id]);
}
