//! Health checks: what probes make of a container, and that they leave no trace.
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
use sextant_integration::calls::{Client, delete, events_of, get, start, until_is, within};
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::health::State;
use sextant_proto::v1::health_check::OnUnhealthy;
use sextant_proto::v1::restart_policy::When;
use sextant_proto::v1::{
    Container, CreateExecRequest, CreateRequest, Event, HealthCheck, ListExecsRequest, PauseRequest,
    ProcessesRequest, RestartPolicy, ResumeRequest, StopRequest,
};
use std::time::Duration;

fn millis(millis: u64) -> Option<Wire> {
    Duration::from_millis(millis).try_into().ok()
}

/// A check that is run often, and believed at the second failure.
fn check(script: &str) -> HealthCheck {
    HealthCheck {
        command: ["/bin/sh", "-c", script].map(ToString::to_string).into(),
        interval: millis(20),
        timeout: millis(10_000),
        retries: 2,
        ..Default::default()
    }
}

fn request(daemon: &Daemon, id: &str, check: HealthCheck) -> CreateRequest {
    CreateRequest { health_check: Some(check), ..daemon.request(id, &["/bin/sleep", "1000"]) }
}

/// A daemon with busybox in its root file system, a client and a name.
async fn begin(name: &str) -> Option<(Daemon, Client, String)> {
    if skip_unless_root() {
        return None;
    }
    let daemon = Daemon::start();
    if !add_busybox(&daemon.rootfs(), &["sh", "sleep", "setsid", "test"]) {
        return None;
    }
    let client = daemon.containers().await;
    Some((daemon, client, unique(name)))
}

/// Well as long as there is `/ok`.
const IF_OK: &str = "test -e /ok || { echo it is not ok; exit 4; }";

fn state(container: &Container) -> Option<State> {
    container.health.as_ref().map(|health| health.state())
}

fn changes(events: &[Event]) -> Vec<Kind> {
    let all = events.iter().map(Event::kind);
    all.filter(|kind| !matches!(kind, Kind::Created | Kind::Started)).collect()
}

#[tokio::test]
async fn changes_are_told_once_and_probes_leave_no_trace() {
    let Some((daemon, mut client, id)) = begin("health").await else { return };
    let started = start(&mut client, request(&daemon, &id, check(IF_OK))).await;
    assert_eq!(state(&started), Some(State::Starting));
    let journal = daemon.dir().join("root/containers").join(&id).join("journal");
    let before = std::fs::metadata(&journal).unwrap().len();
    let bad = until_is(&mut client, &id, |c| c.health.as_ref().is_some_and(|h| h.failures > 4)).await;
    assert_eq!(state(&bad), Some(State::Unhealthy));
    let last = bad.health.unwrap().last.unwrap();
    assert_eq!((last.exit.unwrap().how, last.timed_out), (Some(How::Code(4)), false));
    assert_eq!(last.output, b"it is not ok\n");
    std::fs::write(daemon.rootfs().join("ok"), "").unwrap();
    let good = until_is(&mut client, &id, |c| state(c) == Some(State::Healthy)).await;
    assert_eq!(good.health.unwrap().failures, 0);
    std::fs::remove_file(daemon.rootfs().join("ok")).unwrap();
    until_is(&mut client, &id, |c| state(c) == Some(State::Unhealthy)).await;
    let events = events_of(&daemon, &id).await;
    assert_eq!(changes(&events), [Kind::Unhealthy, Kind::Healthy, Kind::Unhealthy], "{events:#?}");
    let probes: Vec<_> = events.iter().filter_map(|e| e.probe.as_ref()?.exit.as_ref()?.how.clone()).collect();
    assert_eq!(probes, [How::Code(4), How::Code(0), How::Code(4)]);
    // Neither execs nor records came of it.
    let execs = daemon.execs().await.list(ListExecsRequest { container: id.clone() }).await.unwrap();
    assert!(execs.into_inner().execs.is_empty());
    assert_eq!(std::fs::metadata(&journal).unwrap().len(), before);
    client.stop(StopRequest { id: id.clone(), grace: millis(0), ..Default::default() }).await.unwrap();
    assert!(get(&mut client, &id).await.health.is_none(), "what does not run is neither well nor ill");
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_probe_whose_time_is_over_ends_with_all_it_has_started_and_nobody_else() {
    let Some((daemon, mut client, id)) = begin("timeout").await else { return };
    let script = "echo begun; setsid sleep 3000 & sleep 3000";
    let check = HealthCheck { timeout: millis(300), retries: 1, interval: millis(600), ..check(script) };
    start(&mut client, request(&daemon, &id, check)).await;
    let exec = CreateExecRequest {
        container: id.clone(),
        command: vec!["/bin/sleep".into(), "2000".into()],
        ..Default::default()
    };
    daemon.execs().await.create(exec).await.unwrap();
    let bad = until_is(&mut client, &id, |c| state(c) == Some(State::Unhealthy)).await;
    let last = bad.health.unwrap().last.unwrap();
    assert!(last.timed_out && last.output == b"begun\n", "{last:?}");
    // Between two probes there are only the others.
    within(async {
        loop {
            let request = ProcessesRequest { id: id.clone() };
            let processes = client.processes(request).await.unwrap().into_inner().processes;
            let mut times: Vec<String> =
                processes.into_iter().filter_map(|p| p.command.last().cloned()).collect();
            times.sort();
            if times == ["1000", "2000"] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_program_that_is_not_there_has_failed_with_a_reason() {
    let Some((daemon, mut client, id)) = begin("missing").await else { return };
    let check = HealthCheck { command: vec!["/bin/nonsense".into()], ..check("") };
    start(&mut client, request(&daemon, &id, check)).await;
    let bad = until_is(&mut client, &id, |c| state(c) == Some(State::Unhealthy)).await;
    let last = bad.health.unwrap().last.unwrap();
    assert!(last.exit.is_none() && last.error.contains("nonsense"), "{last:?}");
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn there_are_no_probes_of_a_paused_container() {
    let Some((daemon, mut client, id)) = begin("paused").await else { return };
    start(&mut client, request(&daemon, &id, check("true"))).await;
    until_is(&mut client, &id, |c| state(c) == Some(State::Healthy)).await;
    client.pause(PauseRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let last = |c: &Container| c.health.clone().unwrap().last.unwrap().at;
    let paused = get(&mut client, &id).await;
    // Many times the interval.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let later = get(&mut client, &id).await;
    assert_eq!((last(&later), state(&later)), (last(&paused), Some(State::Healthy)));
    client.resume(ResumeRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    until_is(&mut client, &id, |c| last(c) != last(&paused)).await;
    let events = events_of(&daemon, &id).await;
    assert_eq!(changes(&events), [Kind::Healthy, Kind::Paused, Kind::Resumed], "{events:#?}");
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn an_unhealthy_container_is_killed_and_its_policy_decides() {
    let Some((daemon, mut client, id)) = begin("kill").await else { return };
    let restart = RestartPolicy {
        when: When::OnFailure.into(),
        max_retries: 1,
        min_delay: millis(10),
        ..Default::default()
    };
    let check = HealthCheck { on_unhealthy: OnUnhealthy::Restart.into(), ..check(IF_OK) };
    let request = CreateRequest { restart: Some(restart), ..request(&daemon, &id, check) };
    start(&mut client, request).await;
    let over = until_is(&mut client, &id, |c| c.life == 2 && c.exit.is_some()).await;
    assert_eq!(over.exit.unwrap().how, Some(How::Signal(9)));
    let expected = [Kind::Unhealthy, Kind::Exited, Kind::Restarting, Kind::Unhealthy, Kind::Exited];
    let events = events_of(&daemon, &id).await;
    assert_eq!(changes(&events), expected, "{events:#?}");
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn the_next_daemon_begins_with_what_was_told() {
    let Some((mut daemon, mut client, id)) = begin("told").await else { return };
    // One early success, and no other probe for long.
    let check = HealthCheck {
        interval: millis(3_600_000),
        start_interval: millis(20),
        start_period: millis(3_600_000),
        ..check(IF_OK)
    };
    start(&mut client, request(&daemon, &id, check)).await;
    // Failures of the start period do not count.
    let early = until_is(&mut client, &id, |c| c.health.as_ref().is_some_and(|h| h.last.is_some())).await;
    assert_eq!((state(&early), early.health.unwrap().failures), (Some(State::Starting), 0));
    std::fs::write(daemon.rootfs().join("ok"), "").unwrap();
    let before = until_is(&mut client, &id, |c| state(c) == Some(State::Healthy)).await;
    daemon.kill();
    daemon.restart();
    let mut client = daemon.containers().await;
    let after = get(&mut client, &id).await;
    assert_eq!(after.health, before.health);
    assert_eq!(changes(&events_of(&daemon, &id).await), [Kind::Healthy]);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_shim_that_hangs_says_nothing_about_the_container() {
    let Some((daemon, mut client, id)) = begin("hangs").await else { return };
    let started = start(&mut client, request(&daemon, &id, check("true"))).await;
    until_is(&mut client, &id, |c| state(c) == Some(State::Healthy)).await;
    let shim = Pid::from_raw(started.shim_pid);
    kill(shim, Signal::SIGSTOP).unwrap();
    let degraded = until_is(&mut client, &id, |c| !c.degraded.is_empty()).await;
    assert_eq!(state(&degraded), Some(State::Healthy));
    kill(shim, Signal::SIGCONT).unwrap();
    let last = degraded.health.unwrap().last;
    let healthy = |c: &Container| state(c) == Some(State::Healthy) && c.health.as_ref().unwrap().last != last;
    until_is(&mut client, &id, |c| c.degraded.is_empty() && healthy(c)).await;
    // With a shim that hangs for good it is deleted all the same.
    kill(shim, Signal::SIGSTOP).unwrap();
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}
