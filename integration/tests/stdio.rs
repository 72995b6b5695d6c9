//! Clients attached to the stdio of processes, through the API: input, replay,
//! many of them, slow ones, and ones that vanish.
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
use sextant_integration::calls::{get, within};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::stdio::Attached;
use sextant_integration::{Bundle, Daemon, skip_unless_root, unique};
use sextant_proto::v1::attach_open::From;
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::{
    AttachOpen, AttachRequest, CloseStdinRequest, CreateExecRequest, CreateRequest, DeleteRequest, Exec,
    GetRequest, LogsRequest, ResizeRequest, SlowClient, StartRequest, WaitRequest, WindowSize,
};
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const NAMES: [&str; 9] = ["sh", "cat", "sleep", "yes", "head", "touch", "stty", "seq", "test"];

fn begin(name: &str) -> Option<(Daemon, String)> {
    if skip_unless_root() {
        return None;
    }
    let (daemon, id) = (Daemon::start(), unique(name));
    add_busybox(&daemon.rootfs(), &NAMES).then_some((daemon, id))
}

/// Creates a container, whose id it gives.
async fn create(daemon: &Daemon, request: CreateRequest) -> String {
    let created = daemon.containers().await.create(request).await.unwrap().into_inner();
    created.container.unwrap().id
}

async fn start(daemon: &Daemon, id: &str) {
    let request = StartRequest { id: id.into(), ..Default::default() };
    daemon.containers().await.start(request).await.unwrap();
}

async fn delete(daemon: &Daemon, id: &str) {
    let request = DeleteRequest { id: id.into(), force: true, ..Default::default() };
    daemon.containers().await.delete(request).await.unwrap();
}

async fn log(daemon: &Daemon, id: &str) -> String {
    let request = LogsRequest { id: id.into(), follow: true, ..LogsRequest::default() };
    let stream = daemon.containers().await.logs(request).await.unwrap().into_inner();
    let entries: Vec<_> = tokio::time::timeout(DEADLINE, stream.collect()).await.expect("the log ends");
    entries.into_iter().map(|e| String::from_utf8(e.unwrap().data).unwrap()).collect()
}

fn to(id: &str) -> AttachOpen {
    AttachOpen { container: id.into(), ..Default::default() }
}

async fn attach(daemon: &Daemon, open: AttachOpen) -> Attached {
    Attached::open(daemon, open).await.unwrap()
}

async fn exec(daemon: &Daemon, request: CreateExecRequest) -> Exec {
    daemon.execs().await.create(request).await.unwrap().into_inner().exec.unwrap()
}

fn script(id: &str, text: &str) -> CreateExecRequest {
    let command = ["sh", "-c", text].map(str::to_owned).into();
    CreateExecRequest { container: id.into(), command, hold_output: true, ..Default::default() }
}

#[tokio::test]
async fn cat_gives_back_what_it_is_given_until_its_stdin_is_closed() {
    let Some((daemon, id)) = begin("cat") else { return };
    let request = CreateRequest { stdin: true, ..daemon.request(&id, &["/bin/cat"]) };
    create(&daemon, request).await;
    let mut first = attach(&daemon, to(&id)).await;
    assert!(first.first.stdin && !first.first.terminal);
    start(&daemon, &id).await;
    first.type_in("one\n").await;
    first.until("one\n").await;
    // Another client types as well, and has no part in the output.
    let mut second = attach(&daemon, AttachOpen { no_output: true, ..to(&id) }).await;
    second.type_in("zwei: grüße\n").await;
    first.until("zwei: grüße\n").await;
    let large = "x".repeat(200_000) + "\n";
    first.type_in(&large).await;
    first.until(&large).await;
    second.close_stdin().await;
    assert_eq!((first.code().await, second.code().await), (0, 0));
    assert_eq!((first.dropped, second.stdout.as_str()), (0, ""));
    assert!(first.stdout == log(&daemon, &id).await, "the log has the same");
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_container_without_stdin_reads_the_end_at_once() {
    let Some((daemon, id)) = begin("null") else { return };
    create(&daemon, daemon.request(&id, &["/bin/cat"])).await;
    let mut client = attach(&daemon, to(&id)).await;
    assert!(!client.first.stdin);
    client.type_in("one\n").await;
    let status = client.end().await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let mut client = attach(&daemon, to(&id)).await;
    start(&daemon, &id).await;
    assert_eq!((client.code().await, client.stdout.as_str()), (0, ""));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn many_clients_hear_the_same_from_where_they_want() {
    let Some((daemon, id)) = begin("many") else { return };
    let script = "seq 1 1000; read line; echo $line; echo bad >&2; exit 4";
    let request = CreateRequest { stdin: true, ..daemon.request(&id, &["/bin/sh", "-c", script]) };
    create(&daemon, request).await;
    let mut early = attach(&daemon, to(&id)).await;
    start(&daemon, &id).await;
    early.until("\n1000\n").await;
    let replay = |from| AttachOpen { from: Some(from), ..to(&id) };
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push((attach(&daemon, to(&id)).await, early.stdout.clone()));
    }
    clients.push((attach(&daemon, replay(From::ReplayBytes(5))).await, "1000\n".into()));
    clients.push((attach(&daemon, replay(From::ReplayBytes(0))).await, String::new()));
    let offset = early.offset.unwrap() - 9;
    clients.push((attach(&daemon, replay(From::FromOffset(offset))).await, "999\n1000\n"[0..].into()));
    early.type_in("go on\n").await;
    assert_eq!((early.code().await, early.stderr.as_str()), (4, "bad\n"));
    clients.push((attach(&daemon, to(&id)).await, early.stdout.replace("go on\n", "")));
    for (mut client, before) in clients {
        assert_eq!(client.code().await, 4);
        assert_eq!((client.stdout, client.stderr, client.dropped), (before + "go on\n", "bad\n".into(), 0));
    }
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

/// Resident bytes of a process that are its own (proc_pid_smaps(5), Anonymous).
fn memory(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    // Without the program itself, which is large where it is not optimized.
    let own = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    own.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_client_that_reads_nothing_costs_the_process_nothing() {
    let Some((daemon, id)) = begin("slow") else { return };
    create(&daemon, daemon.request(&id, &["/bin/sleep", "1000"])).await;
    start(&daemon, &id).await;
    let exec = exec(&daemon, script(&id, "yes 0123456789abcde | head -c 64000000; exit 9")).await;
    let open = |slow: SlowClient| AttachOpen { exec: exec.id.clone(), slow: slow.into(), ..to(&id) };
    let mut good = attach(&daemon, open(SlowClient::Block)).await;
    let from = Some(From::FromOffset(0));
    let mut silent = attach(&daemon, AttachOpen { from, ..open(SlowClient::Drop) }).await;
    assert_eq!((good.code().await, good.stdout.len(), good.dropped), (9, 64_000_000, 0));
    let get = GetRequest { id: id.clone(), ..Default::default() };
    let shim = daemon.containers().await.get(get).await.unwrap().into_inner().container.unwrap().shim_pid;
    assert!(memory(shim) < 8 << 20, "{} bytes", memory(shim));
    assert_eq!(silent.code().await, 9);
    assert!(silent.dropped > 1 << 20, "it was told what it has missed");
    assert_eq!(silent.stdout.len() as u64 + silent.dropped, 64_000_000);
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

// A client that goes is noticed by another thread, while this one waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_waits_for_a_client_that_wants_that_and_no_longer_than_it_is_there() {
    let Some((daemon, id)) = begin("block") else { return };
    create(&daemon, daemon.request(&id, &["/bin/sleep", "1000"])).await;
    start(&daemon, &id).await;
    let exec = exec(&daemon, script(&id, "yes | head -c 16000000; touch /tmp/done")).await;
    let open = AttachOpen { exec: exec.id.clone(), slow: SlowClient::Block.into(), ..to(&id) };
    let mut client = attach(&daemon, open.clone()).await;
    client.until("y\n").await;
    let done = daemon.rootfs().join("tmp/done");
    // Everything between is full before the process has written all: it waits.
    let waits = || {
        let wchan = std::fs::read_to_string(format!("/proc/{}/wchan", exec.pid)).unwrap_or_default();
        !wchan.is_empty() && !done.exists()
    };
    assert!(until(DEADLINE, waits));
    let other = attach(&daemon, AttachOpen { no_output: true, ..open }).await;
    drop(other);
    assert!(!done.exists());
    drop(client);
    assert!(until(DEADLINE, || done.exists()), "it waits for nobody");
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_terminal_outlives_the_shim_that_had_it() {
    let Some((daemon, id)) = begin("pty") else { return };
    let request = CreateRequest { stdin: true, terminal: true, ..daemon.request(&id, &["/bin/sh"]) };
    create(&daemon, request).await;
    start(&daemon, &id).await;
    let mut client = attach(&daemon, to(&id)).await;
    client.type_in("echo sum $((3+4))\n").await;
    client.until("sum 7\r\n").await;
    let mut containers = daemon.containers().await;
    let before = get(&mut containers, &id).await;
    kill(Pid::from_raw(before.shim_pid), Signal::SIGKILL).unwrap();
    let adopted = async {
        loop {
            let now = get(&mut containers, &id).await;
            if ![0, before.shim_pid].contains(&now.shim_pid) && now.degraded.is_empty() {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    assert_eq!(within(adopted).await.pid, before.pid, "it was not hung up");
    let mut client = attach(&daemon, to(&id)).await;
    assert!(client.first.terminal && client.first.stdin);
    client.resize(33, 111).await;
    client.type_in("stty size; exit 7\n").await;
    client.until("33 111\r\n").await;
    // Before Linux 6.15 a shim that is not the parent may not be told.
    let how = client.end().await.unwrap().exit.unwrap().how;
    assert!(matches!(how, Some(How::Code(7) | How::Unknown(_))), "{how:?}");
    assert!(log(&daemon, &id).await.contains("sum 7\r\n"));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_terminal_has_the_size_that_it_is_given() {
    let Some((daemon, id)) = begin("tty") else { return };
    let request = CreateRequest { stdin: true, terminal: true, ..daemon.request(&id, &["/bin/sh"]) };
    create(&daemon, request).await;
    let mut client = attach(&daemon, to(&id)).await;
    assert!(client.first.stdin && client.first.terminal);
    client.resize(33, 111).await;
    start(&daemon, &id).await;
    client.type_in("stty size\n").await;
    client.until("33 111\r\n").await;
    let size = Some(WindowSize { rows: 44, columns: 122 });
    let mut stdio = daemon.stdio().await;
    stdio.resize(ResizeRequest { container: id.clone(), size, ..Default::default() }).await.unwrap();
    client.type_in("stty size\n").await;
    client.until("44 122\r\n").await;
    let close = CloseStdinRequest { container: id.clone(), ..Default::default() };
    assert_eq!(stdio.close_stdin(close).await.unwrap_err().code(), Code::FailedPrecondition);
    let tty =
        CreateExecRequest { terminal: true, stdin: true, size, ..script(&id, "stty size; cat; exit 3") };
    let exec = exec(&daemon, tty).await;
    let mut inner = attach(&daemon, AttachOpen { exec: exec.id, ..to(&id) }).await;
    inner.until("44 122\r\n").await;
    inner.type_in("echo\n\u{4}").await;
    assert_eq!(inner.code().await, 3);
    assert!(inner.stdout.ends_with("echo\r\necho\r\n"), "{:?}", inner.stdout);
    client.type_in("exit 5\n").await;
    assert_eq!(client.code().await, 5);
    assert!(log(&daemon, &id).await.contains("33 111\r\n"), "what is written to a terminal is logged");
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_bundle_says_itself_whether_there_is_a_terminal() {
    let Some((daemon, id)) = begin("bundle") else { return };
    let mut bundle = Bundle::new().args(&["/bin/probe", "echo", "hello"]);
    let request = |terminal, bundle: &Bundle| CreateRequest {
        id: id.clone(),
        terminal,
        source: Some(Source::Bundle(bundle.write().display().to_string())),
        ..Default::default()
    };
    let status = daemon.containers().await.create(request(true, &bundle)).await.unwrap_err();
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "/process/terminal", "{status:?}");
    bundle = bundle.edit(|config| config["process"]["terminal"] = true.into());
    create(&daemon, request(false, &bundle)).await;
    start(&daemon, &id).await;
    daemon.containers().await.wait(WaitRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    assert_eq!(log(&daemon, &id).await, "hello\r\n");
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let Some((daemon, id)) = begin("refused") else { return };
    create(&daemon, daemon.request(&id, &["/bin/sleep", "1000"])).await;
    let reason = |status: Status| (status.code(), status.get_details_error_info().unwrap().reason);
    let refused = async |open| reason(Attached::open(&daemon, open).await.unwrap_err());
    assert_eq!(refused(to("nobody")).await, (Code::NotFound, "CONTAINER_NOT_FOUND".into()));
    let unknown = AttachOpen { exec: "nobody".into(), ..to(&id) };
    assert_eq!(refused(unknown).await, (Code::NotFound, "EXEC_NOT_FOUND".into()));
    let mut stdio = daemon.stdio().await;
    let status = stdio.attach(tokio_stream::once(AttachRequest::default())).await.unwrap_err();
    assert_eq!(reason(status), (Code::InvalidArgument, "INVALID_REQUEST".into()));
    let size = |rows| ResizeRequest {
        container: id.clone(),
        size: Some(WindowSize { rows, columns: 1 }),
        ..Default::default()
    };
    let status = stdio.resize(size(1)).await.unwrap_err();
    assert_eq!(reason(status), (Code::FailedPrecondition, "NOT_THERE".into()));
    let status = stdio.resize(size(65_536)).await.unwrap_err();
    assert_eq!(reason(status), (Code::InvalidArgument, "INVALID_REQUEST".into()));
    delete(&daemon, &id).await;
    daemon.finish(&[&id]);
}
