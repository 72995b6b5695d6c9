//! Further processes of a container, through the API: what they are, how they end,
//! and that their end is known whatever happens to the daemon and the shim.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sextant_integration::bundle::add_busybox;
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::stdio::{Attached, code};
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    AttachOpen, CreateExecRequest, CreateRequest, DeleteRequest, Event, EventsRequest, Exec, GetExecRequest,
    GetRequest, KillExecRequest, ListExecsRequest, SlowClient, StartRequest, StopRequest, WaitExecRequest,
    WaitExecResponse,
};
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const NAMES: [&str; 12] =
    ["sh", "cat", "sleep", "id", "env", "pwd", "ps", "seq", "grep", "setsid", "touch", "yes"];

/// A daemon with busybox in its root file system, and a container that sleeps.
async fn begin(name: &str) -> Option<(Daemon, String)> {
    if skip_unless_root() {
        return None;
    }
    let (daemon, id) = (Daemon::start(), unique(name));
    if !add_busybox(&daemon.rootfs(), &NAMES) {
        return None;
    }
    run(&daemon, daemon.request(&id, &["/bin/sleep", "1000"])).await;
    Some((daemon, id))
}

async fn run(daemon: &Daemon, request: CreateRequest) {
    let mut client = daemon.containers().await;
    let id = client.create(request).await.unwrap().into_inner().container.unwrap().id;
    client.start(StartRequest { id, ..Default::default() }).await.unwrap();
}

async fn delete(daemon: &Daemon, id: &str) {
    let request = DeleteRequest { id: id.into(), force: true, ..Default::default() };
    daemon.containers().await.delete(request).await.unwrap();
}

fn request(id: &str, command: &[&str]) -> CreateExecRequest {
    CreateExecRequest {
        container: id.into(),
        command: command.iter().map(ToString::to_string).collect(),
        hold_output: true,
        ..Default::default()
    }
}

async fn create(daemon: &Daemon, request: CreateExecRequest) -> Result<Exec, Status> {
    Ok(daemon.execs().await.create(request).await?.into_inner().exec.unwrap())
}

async fn attach(daemon: &Daemon, exec: &Exec) -> Attached {
    let open = AttachOpen {
        container: exec.container.clone(),
        exec: exec.id.clone(),
        slow: SlowClient::Block.into(),
        ..Default::default()
    };
    Attached::open(daemon, open).await.unwrap()
}

/// Executes to the end; what came from stdout, and its code.
async fn output(daemon: &Daemon, request: CreateExecRequest) -> (String, i32) {
    let exec = create(daemon, request).await.unwrap();
    let mut attached = attach(daemon, &exec).await;
    let code = attached.code().await;
    (attached.stdout, code)
}

async fn wait(daemon: &Daemon, id: &str, exec: &str) -> WaitExecResponse {
    let request = WaitExecRequest { container: id.into(), exec: exec.into() };
    let answer = tokio::time::timeout(DEADLINE, async { daemon.execs().await.wait(request).await });
    answer.await.expect("wait answers in time").unwrap().into_inner()
}

async fn events(daemon: &Daemon, exec: &str) -> Vec<Event> {
    let mut system = daemon.system().await;
    let stream = system
        .events(EventsRequest { after_seq: 0, follow: false, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    stream.map(Result::unwrap).filter(|e| e.exec == exec).collect().await
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn it_is_who_where_and_with_what_it_was_asked_to_be() {
    let Some((daemon, id)) = begin("exec").await else { return };
    let script = |text: &str| request(&id, &["sh", "-c", text]);
    assert_eq!(output(&daemon, script("exit 42")).await, (String::new(), 42));
    assert_eq!(output(&daemon, script("kill -9 $$")).await.1, 137);
    let changed = CreateExecRequest {
        user: "5:6".into(),
        additional_gids: vec![7],
        cwd: "/tmp".into(),
        env: vec!["A=b".into(), "PATH=/bin:/x".into()],
        ..script("id -u; id -G; pwd; echo $A $PATH")
    };
    assert_eq!(output(&daemon, changed).await, ("5\n6 7\n/tmp\nb /bin:/x\n".into(), 0));
    let own = output(&daemon, script("id -u; pwd; echo $A; cat /proc/self/fdinfo/0 | grep -c flags")).await;
    assert_eq!(own, ("0\n/\n\n1\n".into(), 0));
    let effective = "grep CapEff /proc/self/status";
    let bits = |text: &str| u64::from_str_radix(text.split_whitespace().nth(1).unwrap(), 16).unwrap();
    let before = bits(&output(&daemon, script(effective)).await.0);
    let more = CreateExecRequest { capabilities: vec!["CAP_NET_RAW".into()], ..script(effective) };
    assert_eq!(bits(&output(&daemon, more).await.0), before | 1 << 13);
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn both_streams_come_apart_whole_and_the_exit_last() {
    let Some((daemon, id)) = begin("streams").await else { return };
    let exec =
        create(&daemon, request(&id, &["sh", "-c", "seq 1 300000; echo oops >&2; exit 3"])).await.unwrap();
    assert!(exec.pid > 0 && exec.exit.is_none(), "it waits to be read: {exec:?}");
    let mut attached = attach(&daemon, &exec).await;
    assert_eq!((attached.first.terminal, attached.first.stdin), (false, false));
    assert_eq!(attached.code().await, 3);
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(attached.stdout == expected && attached.dropped == 0);
    assert_eq!(attached.stderr, "oops\n");
    let known = daemon.execs().await.list(ListExecsRequest { container: id.clone() }).await.unwrap();
    let known = known.into_inner().execs;
    assert_eq!((known.len(), known[0].pid, &known[0].command[0]), (1, 0, &"sh".to_string()));
    assert_eq!(known[0].exit.as_ref().unwrap().how, Some(How::Code(3)));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let Some((daemon, id)) = begin("refused").await else { return };
    let refused = async |request| create(&daemon, request).await.unwrap_err();
    let status = refused(request(&id, &["nonsense"])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "STEP_FAILED"));
    assert!(status.message().contains("nonsense"), "{status:?}");
    let status = refused(request("nobody", &["true"])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "CONTAINER_NOT_FOUND"));
    let mistakes = CreateExecRequest {
        env: vec!["x".into()],
        cwd: "here".into(),
        user: "root".into(),
        capabilities: vec!["net".into()],
        ..request(&id, &[])
    };
    let status = refused(mistakes).await;
    let fields: Vec<String> =
        status.get_details_bad_request().unwrap().field_violations.into_iter().map(|v| v.field).collect();
    assert_eq!(fields, ["command", "env[0]", "cwd", "user", "capabilities[0]"]);
    let mut execs = daemon.execs().await;
    let unknown = GetExecRequest { container: id.clone(), exec: "nobody".into() };
    let status = execs.get(unknown).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "EXEC_NOT_FOUND"));
    let unknown = WaitExecRequest { container: id.clone(), exec: "nobody".into() };
    assert_eq!(execs.wait(unknown).await.unwrap_err().code(), Code::NotFound);
    let stop =
        StopRequest { id: id.clone(), grace: Some(prost_types::Duration::default()), ..Default::default() };
    daemon.containers().await.stop(stop).await.unwrap();
    let status = refused(request(&id, &["true"])).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "WRONG_STATUS"));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_timeout_ends_all_that_it_has_started_and_nobody_else() {
    let Some((daemon, id)) = begin("timeout").await else { return };
    let other = create(&daemon, request(&id, &["sh", "-c", "sleep 801 & sleep 802"])).await.unwrap();
    // One of its processes leaves its session, one its parent.
    let script = "setsid sleep 901 & (sleep 902 &) ; sleep 903 & echo started; wait";
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 700_000_000 });
    let exec =
        create(&daemon, CreateExecRequest { timeout, ..request(&id, &["sh", "-c", script]) }).await.unwrap();
    let ended = wait(&daemon, &id, &exec.id).await;
    assert!(ended.timed_out && code(&ended) == 137, "{ended:?}");
    let (ps, _) = output(&daemon, request(&id, &["ps", "-o", "args"])).await;
    for (seconds, lives) in [(801, true), (802, true), (901, false), (902, false), (903, false), (1000, true)]
    {
        assert_eq!(ps.contains(&format!("sleep {seconds}")), lives, "{seconds}: {ps}");
    }
    let state = GetExecRequest { container: id.clone(), exec: exec.id.clone() };
    assert!(daemon.execs().await.get(state).await.unwrap().into_inner().exec.unwrap().timed_out);
    let signal = KillExecRequest { container: id.clone(), exec: other.id.clone(), signal: 0 };
    daemon.execs().await.kill(signal.clone()).await.unwrap();
    assert_eq!(code(&wait(&daemon, &id, &other.id).await), 128 + 15);
    let status = daemon.execs().await.kill(signal).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "NOT_THERE"));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn output_has_a_bound_where_one_is_asked_for() {
    let Some((daemon, id)) = begin("limit").await else { return };
    let limited = CreateExecRequest { output_limit: 1000, ..request(&id, &["seq", "1", "100000"]) };
    let exec = create(&daemon, limited).await.unwrap();
    let mut attached = attach(&daemon, &exec).await;
    assert_eq!(attached.code().await, 0, "it is not kept from ending");
    assert_eq!((attached.stdout.len(), attached.dropped), (1000, 588_895 - 1000));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn start_and_end_are_events_and_outlive_the_daemon() {
    let Some((mut daemon, id)) = begin("events").await else { return };
    let script = "while ! test -e /tmp/go; do sleep 0.02; done; exit 5";
    let keyed = CreateExecRequest {
        idempotency_key: "one".into(),
        hold_output: false,
        ..request(&id, &["sh", "-c", script])
    };
    let exec = create(&daemon, keyed.clone()).await.unwrap();
    assert_eq!(create(&daemon, keyed.clone()).await.unwrap().id, exec.id);
    let other = CreateExecRequest { cwd: "/tmp".into(), ..keyed.clone() };
    assert_eq!(reason(&create(&daemon, other.clone()).await.unwrap_err()), "KEY_REUSED");
    daemon.kill();
    std::fs::write(daemon.rootfs().join("tmp/go"), "").unwrap();
    let gone = || !std::path::Path::new(&format!("/proc/{}", exec.pid)).exists();
    assert!(until(DEADLINE, gone), "it goes on, and ends, without the daemon");
    daemon.restart();
    assert_eq!(code(&wait(&daemon, &id, &exec.id).await), 5);
    assert_eq!(create(&daemon, keyed).await.unwrap().id, exec.id, "the key is known to the shim");
    assert_eq!(reason(&create(&daemon, other).await.unwrap_err()), "KEY_REUSED");
    let told = events(&daemon, &exec.id).await;
    assert_eq!(told.iter().map(Event::kind).collect::<Vec<_>>(), [Kind::ExecStarted, Kind::ExecExited]);
    assert_eq!((told[0].pid, told[0].container.as_str()), (exec.pid, id.as_str()));
    assert_eq!(told[1].exit.as_ref().unwrap().how, Some(How::Code(5)));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn execs_end_with_their_container_and_their_end_is_told_before_its_deletion() {
    let Some((daemon, id)) = begin("with").await else { return };
    let execs = [create(&daemon, request(&id, &["sleep", "1000"])), create(&daemon, request(&id, &["yes"]))];
    for exec in execs {
        let exec = exec.await.unwrap().id;
        if exec.is_empty() {
            panic!("it has no name");
        }
    }
    let list = ListExecsRequest { container: id.clone() };
    let execs = daemon.execs().await.list(list).await.unwrap().into_inner().execs;
    delete(&daemon, &id).await;
    for exec in execs {
        let told = events(&daemon, &exec.id).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[1].exit.as_ref().unwrap().how, Some(How::Signal(9)));
    }
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn the_next_shim_knows_how_an_exec_ended_and_executes() {
    let Some((daemon, id)) = begin("shim").await else { return };
    let script = "while ! test -e /tmp/go; do sleep 0.02; done; exit 6";
    let unheld = CreateExecRequest { hold_output: false, ..request(&id, &["sh", "-c", script]) };
    let exec = create(&daemon, unheld).await.unwrap();
    let mut client = daemon.containers().await;
    let get = GetRequest { id: id.clone(), ..Default::default() };
    let before = client.get(get.clone()).await.unwrap().into_inner().container.unwrap().shim_pid;
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    let adopted = tokio::time::timeout(DEADLINE, async {
        loop {
            let now = client.get(get.clone()).await.unwrap().into_inner().container.unwrap();
            if ![0, before].contains(&now.shim_pid) && now.degraded.is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    adopted.await.expect("another shim takes over in time");
    let known = daemon.execs().await.list(ListExecsRequest { container: id.clone() }).await.unwrap();
    assert_eq!(known.into_inner().execs[0].pid, exec.pid);
    assert_eq!(output(&daemon, request(&id, &["sh", "-c", "echo again"])).await, ("again\n".into(), 0));
    std::fs::write(daemon.rootfs().join("tmp/go"), "").unwrap();
    let ended = wait(&daemon, &id, &exec.id).await;
    // An older kernel says that it does not know; never something else.
    match ended.exit.unwrap().how.unwrap() {
        How::Code(code) => assert_eq!(code, 6),
        How::Unknown(because) => assert!(because.starts_with("because"), "{because}"),
        How::Signal(signal) => panic!("signal {signal}"),
    }
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

/// Nobody takes over what has stopped, until it is asked for.
#[tokio::test]
async fn what_execs_of_a_stopped_container_came_to_is_known_without_its_shim() {
    let Some((daemon, id)) = begin("stopped").await else { return };
    let ended = create(&daemon, request(&id, &["sh", "-c", "exit 3"])).await.unwrap();
    assert_eq!(code(&wait(&daemon, &id, &ended.id).await), 3);
    let killed = create(&daemon, request(&id, &["sleep", "1000"])).await.unwrap();
    let mut client = daemon.containers().await;
    client.stop(StopRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let get = GetRequest { id: id.clone(), ..Default::default() };
    let shim = client.get(get).await.unwrap().into_inner().container.unwrap().shim_pid;
    kill(Pid::from_raw(shim), Signal::SIGKILL).unwrap();
    assert!(until(DEADLINE, || !std::path::Path::new(&format!("/proc/{shim}")).exists()));
    assert_eq!(code(&wait(&daemon, &id, &ended.id).await), 3);
    match wait(&daemon, &id, &killed.id).await.exit.unwrap().how.unwrap() {
        How::Signal(signal) => assert_eq!(signal, 9),
        // The shim may not have come to it; then nobody has.
        How::Unknown(because) => assert!(because.starts_with("because"), "{because}"),
        How::Code(code) => panic!("code {code}"),
    }
    let known = daemon.execs().await.list(ListExecsRequest { container: id.clone() }).await.unwrap();
    assert!(known.into_inner().execs.iter().all(|exec| exec.exit.is_some()));
    for exec in [&ended, &killed] {
        let told = events(&daemon, &exec.id).await;
        assert_eq!(told.iter().map(Event::kind).collect::<Vec<_>>(), [Kind::ExecStarted, Kind::ExecExited]);
    }
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}
