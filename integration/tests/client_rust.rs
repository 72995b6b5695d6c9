//! The Rust client: its example runs a container, and what it follows outlives
//! the daemon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

#[path = "../../proto/examples/hello.rs"]
mod hello;

use sextant_integration::calls::within;
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::client::{Client, Error, Heard, Reason};
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{AttachOpen, CreateExecRequest, EventsRequest};

async fn client(daemon: &Daemon) -> Client {
    Client::connect(&daemon.address().parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_example_runs_a_container() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let (address, rootfs, probe) = (daemon.address(), daemon.rootfs(), ["/bin/probe", "cat"]);
    let told = within(hello::hello(&address, rootfs.to_str().unwrap(), &probe, &probe)).await.unwrap();
    let lines = [
        "exec: to the second",
        "log: to the first",
        "exit: Some(Code(0))",
        "event: 1 KIND_CREATED",
        "KIND_DELETED",
        "refused: INVALID_REQUEST",
        "rootfs.rootfs: \"relative\" is not an absolute path",
        "rootfs.command:",
    ];
    for line in lines {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    daemon.finish(&[]);
}

#[tokio::test]
async fn what_is_followed_goes_on_with_the_next_daemon() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("follow"));
    let client = client(&daemon).await;
    let mut request = daemon.request(&id, &["/bin/probe", "cat"]);
    request.stdin = true;
    let container = client.run(request).await.unwrap();
    let mut log = container.follow();
    let mut events = client.events(EventsRequest { follow: true, ..Default::default() });
    for kind in ["KIND_CREATED", "KIND_STARTED"] {
        assert_eq!(within(events.next()).await.unwrap().unwrap().kind().as_str_name(), kind);
    }
    let (input, output) = container.attach().await.unwrap();
    input.stdin("before\n").await;
    assert_eq!(within(log.next()).await.unwrap().unwrap().data, b"before\n");
    daemon.kill();
    daemon.restart();
    assert!(matches!(within(output.collect()).await, Err(Error::Away(_))));
    let (input, _output) = container.attach().await.unwrap();
    input.stdin("after\n").await;
    assert_eq!(within(log.next()).await.unwrap().unwrap().data, b"after\n");
    let stopped = container.clone();
    let stop = tokio::spawn(async move { stopped.stop().await });
    let exit = within(container.wait()).await.unwrap();
    stop.await.unwrap().unwrap();
    assert_eq!(within(events.next()).await.unwrap().unwrap().exit.unwrap().how, exit.how);
    assert!(within(log.next()).await.unwrap().is_none(), "the log ends with the container");
    container.delete().await.unwrap();
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn errors_have_their_details() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("errors"));
    let client = client(&daemon).await;
    let none = client.container("none").wait().await.unwrap_err();
    assert_eq!(none.reason(), Some(&Reason::ContainerNotFound));
    let Error::Refused(refusal) = client.run(daemon.request(&id, &["/no/such"])).await.unwrap_err() else {
        panic!("it is an answer")
    };
    assert_eq!((&refusal.reason, refusal.resource.as_str()), (&Reason::StepFailed, ""));
    assert_eq!(client.container(&id).wait().await.unwrap_err().reason(), Some(&Reason::ContainerNotFound));
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_process_is_executed_and_attached_to() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("process"));
    let client = client(&daemon).await;
    let container = client.run(daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await.unwrap();
    let ended = within(container.output(&["/bin/probe", "exit", "7"])).await.unwrap().ended;
    assert_eq!(ended.exit.unwrap().how, Some(How::Code(7)));
    let command = vec!["/bin/probe".into(), "cat".into()];
    let request = CreateExecRequest { command, stdin: true, ..Default::default() };
    let mut process = container.exec(request).await.unwrap();
    process.input.stdin("one\n").await;
    let Some(Heard::Output(_)) = within(process.output.next()).await.unwrap() else { panic!("it was heard") };
    let exec = process.exec.id.clone();
    drop(process);
    // Who goes away ends nothing, and another client hears what is kept.
    let open = AttachOpen { container: id.clone(), exec, ..Default::default() };
    let (input, mut output) = client.attach(open, None).await.unwrap();
    assert!(output.attached.stdin && !output.attached.terminal);
    let Some(Heard::Output(piece)) = within(output.next()).await.unwrap() else { panic!("it was heard") };
    assert_eq!((piece.data.as_slice(), piece.offset), (b"one\n".as_slice(), 0));
    input.close_stdin().await;
    let ended = within(output.collect()).await.unwrap().ended;
    assert_eq!(ended.exit.unwrap().how, Some(How::Code(0)));
    container.delete().await.unwrap();
    daemon.finish(&[&id]);
}
