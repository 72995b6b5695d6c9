//! Calls that tests of the API make again and again; one that fails is a failed test.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use crate::Daemon;
use crate::process::DEADLINE;
use sextant_proto::v1::containers_client::ContainersClient;
use sextant_proto::v1::{
    Container, CreateRequest, DeleteRequest, Event, EventsRequest, Exit, GetRequest, ListRequest,
    StartRequest, WaitRequest, wait_request::Condition,
};
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::transport::Channel;

/// A client of `sextant.v1.Containers`.
pub type Client = ContainersClient<Channel>;

/// What comes, if it comes in time.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("takes too long")
}

/// Creates and starts; gives the container.
pub async fn start(client: &mut Client, request: CreateRequest) -> Container {
    let created = client.create(request).await.unwrap_or_else(|e| refused("create", &e)).into_inner();
    let id = created.container.expect("a container").id;
    let request = StartRequest { id, ..Default::default() };
    let started = client.start(request).await.unwrap_or_else(|e| refused("start", &e)).into_inner();
    started.container.expect("a container")
}

/// What is known of a container.
pub async fn get(client: &mut Client, id: &str) -> Container {
    let answer = client
        .get(GetRequest { id: id.into(), ..Default::default() })
        .await
        .unwrap_or_else(|e| refused("get", &e));
    answer.into_inner().container.expect("a container")
}

/// What is known of all of them.
pub async fn list(client: &mut Client) -> Vec<Container> {
    let answer = client.list(ListRequest::default()).await.unwrap_or_else(|e| refused("list", &e));
    answer.into_inner().containers
}

/// How it ends.
pub async fn wait(client: &mut Client, id: &str) -> Exit {
    wait_for(client, id, Condition::Exited).await
}

/// How it ends, at the exit that is named.
pub async fn wait_for(client: &mut Client, id: &str, condition: Condition) -> Exit {
    let answer = within(client.wait(WaitRequest { id: id.into(), condition: condition.into() })).await;
    answer.unwrap_or_else(|e| refused("wait", &e)).into_inner().exit.expect("an exit")
}

/// The container, as soon as it is as it shall be.
pub async fn until_is(client: &mut Client, id: &str, is: impl Fn(&Container) -> bool) -> Container {
    let mut last = None;
    let looks = async {
        loop {
            let container = get(client, id).await;
            if is(&container) {
                return container;
            }
            last = Some(container);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, looks).await;
    found.unwrap_or_else(|_| panic!("it does not become as it shall be: {last:#?}"))
}

/// The events so far that a request names.
pub async fn events(daemon: &Daemon, request: EventsRequest) -> Vec<Event> {
    let stream = daemon.system().await.events(request).await.unwrap_or_else(|e| refused("events", &e));
    let events: Vec<_> = stream.into_inner().collect().await;
    events.into_iter().map(|event| event.unwrap_or_else(|e| refused("read an event", &e))).collect()
}

/// The events so far of a container.
pub async fn events_of(daemon: &Daemon, id: &str) -> Vec<Event> {
    events(daemon, EventsRequest { containers: vec![id.into()], ..Default::default() }).await
}

/// Removes it, whatever it does.
pub async fn delete(client: &mut Client, id: &str) {
    let request = DeleteRequest { id: id.into(), force: true, ..Default::default() };
    client.delete(request).await.unwrap_or_else(|e| refused("delete", &e));
}

fn refused(what: &str, status: &Status) -> ! {
    panic!("{what}: {status:?}")
}
