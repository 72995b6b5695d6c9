//! One container that hangs keeps no other waiting, and nobody from ending it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use sextant_integration::calls::{Client, get, list, within};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Bundle, Daemon, skip_unless_root, unique};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    Container, CreateRequest, DeleteRequest, GetRequest, KillRequest, StartRequest, Status, WaitRequest,
};
use std::time::Duration;
use tonic::Code;

/// Until the container is as wanted.
async fn becomes(client: &mut Client, id: &str, wanted: impl Fn(&Container) -> bool) -> Container {
    within(async {
        loop {
            let container = get(client, id).await;
            if wanted(&container) {
                return container;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Create, start, exit with `code`, delete.
async fn life(daemon: &Daemon, id: &str, code: &str) {
    let mut client = daemon.containers().await;
    let id = id.to_owned();
    client.create(daemon.request(&id, &["/bin/probe", "exit", code])).await.unwrap();
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let exit = client
        .wait(WaitRequest { id: id.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .exit
        .unwrap();
    assert_eq!(exit.how, Some(How::Code(code.parse().unwrap())));
    client.delete(DeleteRequest { id, force: false, ..Default::default() }).await.unwrap();
}

fn bundle_request(id: &str, bundle: &Bundle) -> CreateRequest {
    let source = Some(Source::Bundle(bundle.write().display().to_string()));
    CreateRequest { id: id.into(), source, ..CreateRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_shim_delays_neither_list_nor_other_containers_and_recovers() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let (stuck, other) = (unique("stuck"), unique("other"));
    let request = daemon.request(&stuck, &["/bin/probe", "sleep", "1000"]);
    let created = client.create(request).await.unwrap().into_inner().container.unwrap();
    let shim = Pid::from_raw(created.shim_pid);
    kill(shim, Signal::SIGSTOP).unwrap();
    // More than may wait: the rest is refused, and not kept.
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (mut client, id) = (client.clone(), stuck.clone());
        starts.spawn(async move { client.start(StartRequest { id, ..Default::default() }).await });
    }
    let refused = within(starts.join_next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    // All of this ends while the starts wait for a shim that does not answer.
    for code in ["3", "4"] {
        within(life(&daemon, &other, code)).await;
        assert_eq!(list(&mut client).await.len(), 1);
    }
    let silent = becomes(&mut client, &stuck, |c| !c.degraded.is_empty()).await;
    assert!(silent.degraded.contains("no answer"), "{silent:?}");
    assert!(silent.age.is_some_and(|age| age.seconds > 0), "its age says how old the answer is: {silent:?}");
    assert_eq!(silent.status(), Status::Created);

    kill(shim, Signal::SIGCONT).unwrap();
    let mut started = 0;
    while let Some(answer) = within(starts.join_next()).await {
        match answer.unwrap() {
            Ok(_) => started += 1,
            Err(error) => {
                let expected = [Code::ResourceExhausted, Code::FailedPrecondition];
                assert!(expected.contains(&error.code()), "{error:?}");
            }
        }
    }
    assert_eq!(started, 1);
    let heard = becomes(&mut client, &stuck, |c| c.degraded.is_empty()).await;
    assert_eq!((heard.status(), heard.shim_pid), (Status::Running, created.shim_pid));
    client.delete(DeleteRequest { id: stuck.clone(), force: true, ..Default::default() }).await.unwrap();
    daemon.finish(&[&stuck, &other]);
}

#[tokio::test]
async fn a_stopped_shim_does_not_keep_its_container_from_being_deleted() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("frozen"));
    let mut client = daemon.containers().await;
    client.create(daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await.unwrap();
    let started = client
        .start(StartRequest { id: id.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .container
        .unwrap();
    kill(Pid::from_raw(started.shim_pid), Signal::SIGSTOP).unwrap();
    within(client.delete(DeleteRequest { id: id.clone(), force: true, ..Default::default() })).await.unwrap();
    daemon.finish(&[&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_forced_deletion_do_not_wait_behind_a_start_that_hangs() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    for end in ["kill", "delete"] {
        let (id, mut client) = (unique("hang"), daemon.containers().await);
        let mark = format!("sleep 1000 # {id}");
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", mark]});
        let bundle = Bundle::without_user()
            .args(&["/bin/probe", "sleep", "1000"])
            .set("/hooks", json!({"poststart": [hook]}));
        client.create(bundle_request(&id, &bundle)).await.unwrap();
        let (mut starter, starting) = (client.clone(), id.clone());
        let start =
            tokio::spawn(
                async move { starter.start(StartRequest { id: starting, ..Default::default() }).await },
            );
        let hook_runs = || {
            let found = daemon.leftovers_of(&[&mark]).find();
            found.iter().any(|line| line.starts_with("process"))
        };
        assert!(until(DEADLINE, hook_runs), "the hook is at work");
        if end == "kill" {
            within(client.kill(KillRequest { id: id.clone(), signal: 9, all: false })).await.unwrap();
        }
        within(client.delete(DeleteRequest { id: id.clone(), force: true, ..Default::default() }))
            .await
            .unwrap();
        let error = within(start).await.unwrap().unwrap_err();
        assert!([Code::Aborted, Code::FailedPrecondition].contains(&error.code()), "{error:?}");
        let gone = client.get(GetRequest { id: id.clone(), ..Default::default() }).await.unwrap_err();
        assert_eq!(gone.code(), Code::NotFound);
        daemon.leftovers_of(&[&id]).assert_none();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_hangs_is_given_up_and_undone_by_a_forced_deletion() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("hang"));
    let mut client = daemon.containers().await;
    let mark = format!("sleep 1000 # {id}");
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", mark]});
    let bundle = Bundle::without_user().set("/hooks", json!({"createRuntime": [hook]}));
    let (mut creator, request) = (client.clone(), bundle_request(&id, &bundle));
    let create = tokio::spawn(async move { creator.create(request).await });
    assert!(until(DEADLINE, || daemon
        .leftovers_of(&[&mark])
        .find()
        .iter()
        .any(|l| l.starts_with("process"))));
    assert_eq!(get(&mut client, &id).await.status(), Status::Creating);
    within(client.delete(DeleteRequest { id: id.clone(), force: true, ..Default::default() })).await.unwrap();
    let error = within(create).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Aborted, "{error:?}");
    daemon.leftovers_of(&[&id]).assert_none();
    // The name is free.
    within(life(&daemon, &id, "5")).await;
    daemon.finish(&[&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_left_alone_has_no_connection() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    list(&mut client).await;
    // But for those that only keep descriptors for the next shim.
    let sockets = || {
        let of = |what: &str| format!("/proc/{}/{what}", daemon.pid());
        let fds = std::fs::read_dir(of("fd")).unwrap().filter_map(|fd| Some(fd.ok()?.file_name()));
        let is_connection = |fd: &std::ffi::OsString| {
            let fd = fd.to_string_lossy();
            let target = std::fs::read_link(of(&format!("fd/{fd}"))).unwrap_or_default();
            let about = std::fs::read_to_string(of(&format!("fdinfo/{fd}"))).unwrap_or_default();
            let keeps = about.lines().any(|line| line.starts_with("scm_fds:") && !line.ends_with("\t0"));
            target.to_string_lossy().starts_with("socket:") && !keeps
        };
        fds.filter(is_connection).count()
    };
    // Whoever asked whether it is there may hang up late.
    let mut before = sockets();
    until(std::time::Duration::from_millis(300), || {
        before = before.min(sockets());
        false
    });
    let id = unique("alone");
    client.create(daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await.unwrap();
    client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    // The questions for a sign of life have one for a moment, and this must not be that moment for ever.
    assert!(until(DEADLINE, || sockets() <= before), "{} sockets, {before} before", sockets());
    // What it does is still heard of, at once.
    let pid = get(&mut client, &id).await.pid;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    becomes(&mut client, &id, |container| container.status() == Status::Stopped).await;
    client.delete(DeleteRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    daemon.finish(&[&id]);
}
