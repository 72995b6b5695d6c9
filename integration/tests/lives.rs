//! What is killed, stopped or deleted at the very moment when the next life of a
//! container is made: a hook holds the creation until the test lets it go on.
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
use sextant_integration::calls::{Client, delete, events_of, get, start, until_is, wait_for, within};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Bundle, Daemon, skip_unless_root, unique};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::restart_policy::When;
use sextant_proto::v1::wait_request::Condition;
use sextant_proto::v1::{Container, CreateRequest, RestartPolicy, Status, StopRequest};
use std::path::PathBuf;

/// A container whose next life is being made, and waits in a hook.
struct Held {
    daemon: Daemon,
    client: Client,
    id: String,
    hold: PathBuf,
    _bundle: Bundle,
}

impl Held {
    async fn begin(name: &str) -> Option<Self> {
        if skip_unless_root() {
            return None;
        }
        let (daemon, id) = (Daemon::start(), unique(name));
        let mut client = daemon.containers().await;
        let (hold, held) = (daemon.dir().join("hold"), daemon.dir().join("held"));
        let script =
            format!("while test -e {0}; do : > {1}; sleep 0.02; done", hold.display(), held.display());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
        let bundle = Bundle::without_user().sleeping().set("/hooks", json!({"createRuntime": [hook]}));
        let request = CreateRequest {
            id: id.clone(),
            source: Some(Source::Bundle(bundle.write().display().to_string())),
            restart: Some(RestartPolicy { when: When::Always.into(), ..Default::default() }),
            ..Default::default()
        };
        let first = start(&mut client, request).await;
        std::fs::write(&hold, "").unwrap();
        kill(Pid::from_raw(first.pid), Signal::SIGKILL).unwrap();
        assert!(until(DEADLINE, || held.exists()));
        let now = get(&mut client, &id).await;
        assert!(now.status() == Status::Stopped && now.next_restart_at.is_some(), "{now:?}");
        Some(Self { daemon, client, id, hold, _bundle: bundle })
    }

    fn let_go(&self) {
        std::fs::remove_file(&self.hold).unwrap();
    }

    async fn second_life(&mut self) -> Container {
        let runs = |c: &Container| c.life == 2 && c.status() == Status::Running;
        until_is(&mut self.client, &self.id, runs).await
    }

    /// What was told of it, but for takeovers.
    async fn told(&self) -> Vec<(Kind, u32)> {
        let events = events_of(&self.daemon, &self.id).await;
        let told = events.iter().map(|e| (e.kind(), e.life));
        told.filter(|(kind, _)| !matches!(kind, Kind::Adopted | Kind::Degraded | Kind::Recovered)).collect()
    }

    async fn end(mut self) {
        delete(&mut self.client, &self.id).await;
        self.daemon.finish(&[&self.id]);
    }
}

const FIRST: [(Kind, u32); 4] =
    [(Kind::Created, 1), (Kind::Started, 1), (Kind::Exited, 1), (Kind::Restarting, 2)];
const SECOND: [(Kind, u32); 2] = [(Kind::Created, 2), (Kind::Started, 2)];

#[tokio::test]
async fn the_daemon_is_killed() {
    let Some(mut held) = Held::begin("daemon").await else { return };
    held.daemon.kill();
    // The next daemon asks for the same life, which its shim is at.
    held.daemon.restart();
    held.client = held.daemon.containers().await;
    held.let_go();
    held.second_life().await;
    assert_eq!(held.told().await, [&FIRST[..], &SECOND].concat());
    held.end().await;
}

#[tokio::test]
async fn the_shim_is_killed() {
    let Some(mut held) = Held::begin("shim").await else { return };
    let shim = get(&mut held.client, &held.id).await.shim_pid;
    kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
    held.let_go();
    let second = held.second_life().await;
    assert_ne!(second.shim_pid, shim);
    // That attempt has failed, and another was made: of one life, in the end.
    let told = held.told().await;
    assert!(told.starts_with(&FIRST) && told.ends_with(&SECOND), "{told:?}");
    let created = told.iter().filter(|(kind, _)| *kind == Kind::Created).count();
    assert_eq!(created, 2, "{told:?}");
    held.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stops_it() {
    let Some(mut held) = Held::begin("stop").await else { return };
    let request = StopRequest { id: held.id.clone(), ..Default::default() };
    let mut other = held.client.clone();
    let stopped = tokio::spawn(async move { other.stop(request).await });
    let mark = held.daemon.dir().join("root/containers").join(&held.id).join("halted");
    assert!(until(DEADLINE, || mark.exists()), "a stop is on disk before it is answered");
    held.let_go();
    within(stopped).await.unwrap().unwrap();
    wait_for(&mut held.client, &held.id, Condition::Settled).await;
    let told = held.told().await;
    assert_eq!(told, [&FIRST[..], &[(Kind::Created, 2), (Kind::Exited, 2)]].concat());
    held.end().await;
}

#[tokio::test]
async fn a_client_deletes_it() {
    let Some(held) = Held::begin("delete").await else { return };
    // It is not waited for; what the hook has started ends as well.
    held.end().await;
}
