//! `sextant.v1` through a real daemon: each call, its errors, and many
//! containers at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::json;
use sextant_integration::calls::{Client, delete, get, start, wait};
use sextant_integration::process::{DEADLINE, parse_seen, until};
use sextant_integration::{Bundle, Daemon, skip_unless_root, unique};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::log_entry::Stream;
use sextant_proto::v1::{
    CreateRequest, DeleteRequest, EventsRequest, Exit, GetRequest, InfoRequest, KillRequest, Limits,
    ListRequest, LogEntry, LogsRequest, Mount, NamespacesRequest, RootfsSource, StartRequest, Status,
    StopRequest, TraceRequest,
};
use std::collections::BTreeSet;
use tokio_stream::StreamExt;
use tonic::Code;
use tonic_types::StatusExt;

/// Everything logged from `offset` on.
async fn logs(client: &mut Client, id: &str, offset: u64, follow: bool) -> Vec<LogEntry> {
    let stream = client
        .logs(LogsRequest { id: id.into(), offset, follow, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    tokio::time::timeout(DEADLINE, stream.map(Result::unwrap).collect()).await.expect("the log ends")
}

fn text(entries: &[LogEntry], stream: Stream) -> String {
    let bytes: Vec<u8> =
        entries.iter().filter(|e| e.stream() == stream).flat_map(|e| e.data.clone()).collect();
    String::from_utf8(bytes).unwrap()
}

/// Runs a command to its end; its exit and log.
async fn run(client: &mut Client, request: CreateRequest) -> (Exit, Vec<LogEntry>) {
    let id = start(client, request).await.id;
    let exit = wait(client, &id).await;
    let entries = logs(client, &id, 0, true).await;
    delete(client, &id).await;
    (exit, entries)
}

fn rootfs(request: &mut CreateRequest) -> &mut RootfsSource {
    match request.source.as_mut() {
        Some(Source::Rootfs(rootfs)) => rootfs,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_containers_at_once_leave_nothing() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let ids: Vec<String> = (0..50).map(|_| unique("fifty")).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (n, id) in ids.iter().enumerate() {
        let (request, channel, id) =
            (daemon.request(id, &["/bin/probe", "exit", &n.to_string()]), daemon.channel().await, id.clone());
        tasks.spawn(async move {
            let mut client = Client::new(channel);
            start(&mut client, request).await;
            let exit = wait(&mut client, &id).await;
            assert_eq!(exit.how, Some(How::Code(i32::try_from(n).unwrap())), "{id}");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut client = daemon.containers().await;
    let listed = client.list(ListRequest::default()).await.unwrap().into_inner().containers;
    assert_eq!(listed.len(), 50);
    assert!(listed.iter().all(|c| c.status() == Status::Stopped), "{listed:?}");
    let ranges: BTreeSet<u32> = listed.iter().map(|c| c.ids.unwrap().host_id).collect();
    assert_eq!(ranges.len(), 50, "each has a range of its own");
    for id in &ids {
        delete(&mut client, id).await;
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    daemon.leftovers_of(&ids).assert_none();
    daemon.finish(&ids);
}

#[tokio::test]
async fn a_life_call_by_call() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("life"));
    let mut client = daemon.containers().await;
    let mut request = daemon.request(&id, &["/bin/probe", "sleep", "1000", "--term-exit", "7"]);
    request.labels.insert("team".into(), "blue".into());
    let created = client.create(request).await.unwrap().into_inner().container.unwrap();
    assert_eq!((created.id.as_str(), created.status()), (id.as_str(), Status::Created));
    assert!(created.pid > 0 && created.shim_pid > 0 && created.created_at.is_some(), "{created:?}");
    assert_eq!(created.labels["team"], "blue");
    assert_eq!(created.command, ["/bin/probe", "sleep", "1000", "--term-exit", "7"]);

    let started = client
        .start(StartRequest { id: id.clone(), ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .container
        .unwrap();
    assert_eq!((started.status(), started.pid), (Status::Running, created.pid));
    assert!(started.started_at.is_some());
    while logs(&mut client, &id, 0, false).await.is_empty() {
        tokio::task::yield_now().await;
    }
    let stopped = client
        .stop(StopRequest { id: id.clone(), grace: None, signal: 0, ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .exit
        .unwrap();
    assert_eq!(stopped.how, Some(How::Code(7)));
    let again = client.stop(StopRequest { id: id.clone(), ..StopRequest::default() }).await.unwrap();
    assert_eq!(again.into_inner().exit.unwrap().how, Some(How::Code(7)), "stopping twice succeeds");
    assert_eq!(get(&mut client, &id).await.status(), Status::Stopped);
    client.delete(DeleteRequest { id: id.clone(), force: false, ..Default::default() }).await.unwrap();
    assert_eq!(
        client.get(GetRequest { id: id.clone(), ..Default::default() }).await.unwrap_err().code(),
        Code::NotFound
    );
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_container_that_does_not_mind_sigterm_is_killed_after_the_grace() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("grace"));
    let mut client = daemon.containers().await;
    start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    let grace = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let exit = client
        .stop(StopRequest { id: id.clone(), grace, signal: 0, ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .exit
        .unwrap();
    assert_eq!(exit.how, Some(How::Signal(9)));
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn kill_sends_the_signal_that_was_named() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("kill"));
    let mut client = daemon.containers().await;
    start(&mut client, daemon.request(&id, &["/bin/probe", "fork", "3"])).await;
    client.kill(KillRequest { id: id.clone(), signal: 9, all: true }).await.unwrap();
    assert_eq!(wait(&mut client, &id).await.how, Some(How::Signal(9)));
    let error = client.kill(KillRequest { id: id.clone(), signal: 9, all: false }).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error:?}");
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_bundle_and_a_rootfs_run_with_what_was_asked_for() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let bundle = Bundle::new().set("/hostname", json!("of-the-bundle"));
    let source = Some(Source::Bundle(bundle.write().display().to_string()));
    let id = unique("bundle");
    let (exit, entries) =
        run(&mut client, CreateRequest { id: id.clone(), source, ..CreateRequest::default() }).await;
    assert_eq!(exit.how, Some(How::Code(0)), "{}", text(&entries, Stream::Stderr));
    assert_eq!(parse_seen(&text(&entries, Stream::Stdout)).unwrap().hostname, "of-the-bundle");

    let shared = sextant_integration::bundle::temp_dir();
    let file = shared.path().join("file");
    std::fs::write(&file, "shared").unwrap();
    // Writable for everybody, so that only the mount can refuse.
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let mut request = daemon.request(
        &unique("rootfs"),
        &["/bin/probe", "--read", "/mnt/file", "--write", "/mnt/file", "--mkdir", "/new"],
    );
    let wanted = rootfs(&mut request);
    wanted.env = vec!["COLOUR=green".into()];
    wanted.cwd = "/home".into();
    wanted.hostname = "asked-for".into();
    wanted.readonly = true;
    wanted.mounts = vec![Mount {
        source: shared.path().display().to_string(),
        destination: "/mnt".into(),
        readonly: true,
    }];
    let (exit, entries) = run(&mut client, request).await;
    assert_eq!(exit.how, Some(How::Code(0)), "{}", text(&entries, Stream::Stderr));
    let seen = parse_seen(&text(&entries, Stream::Stdout)).unwrap();
    assert_eq!((seen.pid, seen.hostname.as_str(), seen.cwd.as_str()), (1, "asked-for", "/home"));
    assert!(seen.env.contains(&"COLOUR=green".to_owned()), "{:?}", seen.env);
    assert_eq!(seen.contents["/mnt/file"], sextant_integration::seen::Answer::Ok("shared".into()));
    let readonly = sextant_integration::seen::Answer::Errno(nix::libc::EROFS);
    assert_eq!((&seen.writes["/mnt/file"], &seen.mkdirs["/new"]), (&readonly, &readonly));
    assert_ne!(seen.uid_map[0][1], 0, "its root is not the host's");
}

#[tokio::test]
async fn limits_take_effect() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let mut request = daemon.request(&unique("oom"), &["/bin/probe", "eat", "134217728"]);
    rootfs(&mut request).limits = Some(Limits { memory_bytes: 16 << 20, cpu_millis: 500, pids: 10 });
    let (exit, _) = run(&mut client, request).await;
    assert_eq!(exit.how, Some(How::Signal(9)));
    assert!(exit.oom_killed, "{exit:?}");
}

#[tokio::test]
async fn logs_are_whole_by_offset_and_while_it_runs() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("logs"));
    let mut client = daemon.containers().await;
    start(&mut client, daemon.request(&id, &["/bin/probe", "spam", "500000"])).await;
    // Follows from the beginning while it is written.
    let followed = logs(&mut client, &id, 0, true).await;
    wait(&mut client, &id).await;
    let whole = logs(&mut client, &id, 0, false).await;
    for stream in [Stream::Stdout, Stream::Stderr] {
        assert_eq!(text(&followed, stream), text(&whole, stream));
    }
    let (out, err) = (text(&whole, Stream::Stdout), text(&whole, Stream::Stderr));
    assert_eq!(out.len() + err.len(), 500_000);
    let number = |l: &str| l.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap();
    let mut numbers: Vec<u64> = out.lines().chain(err.lines()).map(number).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "a line is missing or doubled");
    // From the middle: the rest, exactly.
    let middle = whole.len() / 2;
    let rest = logs(&mut client, &id, whole[middle].next_offset, false).await;
    assert_eq!(rest, whole[middle + 1..]);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn events_are_numbered_without_a_gap() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let (mut client, mut system) = (daemon.containers().await, daemon.system().await);
    let following = system
        .events(EventsRequest { after_seq: 0, follow: true, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    let ids = [unique("event"), unique("event")];
    for id in &ids {
        run(&mut client, daemon.request(id, &["/bin/probe", "exit", "3"])).await;
    }
    let events: Vec<_> =
        tokio::time::timeout(DEADLINE, following.map(Result::unwrap).take(8).collect()).await.unwrap();
    assert!(events.iter().map(|e| e.seq).eq(1..=8), "{events:?}");
    for id in &ids {
        let own: Vec<_> = events.iter().filter(|e| e.container == *id).collect();
        let kinds: Vec<Kind> = own.iter().map(|e| e.kind()).collect();
        assert_eq!(kinds, [Kind::Created, Kind::Started, Kind::Exited, Kind::Deleted]);
        assert_eq!(own[2].exit.as_ref().unwrap().how, Some(How::Code(3)));
    }
    let later: Vec<_> = system
        .events(EventsRequest { after_seq: 6, follow: false, ..Default::default() })
        .await
        .unwrap()
        .into_inner()
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(later, events[6..]);
    let info = system.info(InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((info.last_event_seq, info.containers, info.running), (8, 0, 0));
    assert!(!info.version.is_empty() && !info.kernel.is_empty(), "{info:?}");
    assert!(["v1", "hybrid", "v2"].contains(&info.cgroup.as_str()), "{info:?}");
    assert_eq!(u32::try_from(info.pid).unwrap(), daemon.pid());
}

#[tokio::test]
async fn namespaces_and_trace() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("ns"));
    let mut client = daemon.containers().await;
    let container = start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    let answer = client.namespaces(NamespacesRequest { id: id.clone() }).await.unwrap().into_inner();
    for kind in ["pid", "network", "mount", "uts", "user", "ipc", "cgroup"] {
        let found =
            answer.namespaces.iter().find(|n| n.r#type == kind).unwrap_or_else(|| panic!("no {kind}"));
        assert!(found.inode > 0 && found.inode != found.host_inode, "{found:?}");
    }
    let range = container.ids.unwrap();
    for map in [&answer.uid_mappings, &answer.gid_mappings] {
        assert_eq!((map[0].container_id, map[0].host_id, map[0].size), (0, range.host_id, range.size));
    }
    assert_ne!(answer.hostname, answer.host_hostname);

    let stages = client.trace(TraceRequest { id: id.clone() }).await.unwrap().into_inner().stages;
    let of = |command: &str| {
        stages.iter().filter(|s| s.command == command).map(|s| s.stage.as_str()).collect::<Vec<_>>()
    };
    for stage in ["load", "plan", "clone", "namespace-network", "mount/0", "pivot", "ready"] {
        assert!(of("create").contains(&stage), "{stage}: {stages:?}");
    }
    assert!(!of("start").is_empty(), "{stages:?}");
    assert!(
        stages.iter().all(|s| s.start_ns > 0 && s.start_ns <= s.end_ns && s.failure.is_none()),
        "{stages:?}"
    );
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn errors_say_what_failed_and_where() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let error = client.get(GetRequest { id: "nobody".into(), ..Default::default() }).await.unwrap_err();
    let info = error.get_details_error_info().unwrap();
    assert_eq!(
        (error.code(), info.reason.as_str(), info.domain.as_str()),
        (Code::NotFound, "CONTAINER_NOT_FOUND", "sextant")
    );

    // Every mistake of the bundle at once, each with its pointer.
    let bundle = Bundle::new().set("/process/cwd", json!("relative")).set("/hostname", json!("x".repeat(65)));
    let source = Some(Source::Bundle(bundle.write().display().to_string()));
    let error = client
        .create(CreateRequest { id: unique("bad"), source, ..CreateRequest::default() })
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.get_details_error_info().unwrap().reason.as_str()),
        (Code::InvalidArgument, "INVALID_REQUEST")
    );
    let violations = error.get_details_bad_request().unwrap().field_violations;
    let fields: BTreeSet<&str> = violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, BTreeSet::from(["/hostname", "/process/cwd"]), "{violations:?}");

    for id in ["", "../x", "a b", &"x".repeat(65)] {
        let request = CreateRequest { source: None, ..daemon.request(id, &["/bin/true"]) };
        assert_eq!(client.create(request).await.unwrap_err().code(), Code::InvalidArgument, "{id:?}");
    }

    let id = unique("taken");
    start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    let error = client.create(daemon.request(&id, &["/bin/true"])).await.unwrap_err();
    assert_eq!(
        (error.code(), error.get_details_error_info().unwrap().reason.as_str()),
        (Code::AlreadyExists, "CONTAINER_EXISTS")
    );
    let error = client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap_err();
    assert_eq!(
        (error.code(), error.get_details_error_info().unwrap().reason.as_str()),
        (Code::FailedPrecondition, "WRONG_STATUS")
    );
    let error = client
        .delete(DeleteRequest { id: id.clone(), force: false, ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_program_that_is_missing_is_told_by_name_and_pointer() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("missing"));
    let mut client = daemon.containers().await;
    let created = client.create(daemon.request(&id, &["/no/such/program"])).await;
    let error = match created {
        Err(error) => error,
        Ok(_) => client.start(StartRequest { id: id.clone(), ..Default::default() }).await.unwrap_err(),
    };
    let info = error.get_details_error_info().unwrap();
    assert_eq!((error.code(), info.reason.as_str()), (Code::FailedPrecondition, "STEP_FAILED"), "{error:?}");
    assert_eq!(info.metadata.get("pointer").map(String::as_str), Some("/process/args/0"), "{info:?}");
    assert_eq!(info.metadata.get("errno").map(String::as_str), Some("2"), "{info:?}");
    assert!(error.message().contains("/no/such/program"), "{error:?}");
    let there = client.delete(DeleteRequest { id: id.clone(), force: true, ..Default::default() }).await;
    assert!(there.is_ok() || there.unwrap_err().code() == Code::NotFound);
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_failed_creation_leaves_nothing_and_frees_the_name() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("undone"));
    let mut client = daemon.containers().await;
    let bundle = Bundle::new().mount(json!({"destination": "/mnt/x", "type": "nosuchfs", "source": "none"}));
    let source = Some(Source::Bundle(bundle.write().display().to_string()));
    let error = client
        .create(CreateRequest { id: id.clone(), source, ..CreateRequest::default() })
        .await
        .unwrap_err();
    let info = error.get_details_error_info().unwrap();
    assert!(info.metadata.get("stage").is_some_and(|s| s.starts_with("mount/")), "{info:?}");
    assert!(info.metadata.get("pointer").is_some_and(|p| p.starts_with("/mounts/")), "{info:?}");
    daemon.leftovers_of(&[&id]).assert_none();
    run(&mut client, daemon.request(&id, &["/bin/true"])).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn health_and_reflection() {
    if skip_unless_root() {
        return;
    }
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let daemon = Daemon::start();
    let mut health = HealthClient::new(daemon.channel().await);
    for service in ["", "sextant.v1.Containers", "sextant.v1.Sandboxes", "sextant.v1.System"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service:?} is serving");
    }
    let mut reflection = ServerReflectionClient::new(daemon.channel().await);
    let ours =
        ["Containers", "Execs", "Stdio", "Operations", "System"].map(|name| format!("sextant.v1.{name}"));
    let ask = |what| ServerReflectionRequest { message_request: Some(what), ..Default::default() };
    let asked = std::iter::once(MessageRequest::ListServices(String::new()))
        .chain(ours.iter().cloned().map(MessageRequest::FileContainingSymbol));
    let asked = tokio_stream::iter(asked.map(ask).collect::<Vec<_>>());
    let mut answers = reflection.server_reflection_info(asked).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list of services");
    };
    let names: Vec<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
    for name in ours.iter().map(String::as_str).chain(["grpc.health.v1.Health"]) {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(!names.contains(&"sextant.shim.v1.Shim"), "it is not served here: {names:?}");
    for name in &ours {
        let described = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::FileDescriptorResponse(files)) = described else {
            panic!("{name}: {described:?}")
        };
        assert!(!files.file_descriptor_proto.is_empty(), "{name} is described");
    }
}

#[tokio::test]
async fn the_socket_and_the_directories_are_for_their_owner_only() {
    if skip_unless_root() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let daemon = Daemon::start();
    for (path, mode) in [("socket", 0o600), ("root", 0o700), ("state", 0o700)] {
        let meta = std::fs::metadata(daemon.dir().join(path)).unwrap();
        assert_eq!(meta.mode() & 0o777 & !mode, 0, "{path}: {:o}", meta.mode());
    }
}

#[tokio::test]
async fn a_shim_that_does_not_answer_hurts_nobody_else() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let (stuck, other) = (unique("stuck"), unique("other"));
    let container = start(&mut client, daemon.request(&stuck, &["/bin/probe", "sleep", "1000"])).await;
    let shim = nix::unistd::Pid::from_raw(container.shim_pid);
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let (exit, _) = run(&mut client, daemon.request(&other, &["/bin/probe", "exit", "4"])).await;
    assert_eq!(exit.how, Some(How::Code(4)));
    assert_eq!(client.list(ListRequest::default()).await.unwrap().into_inner().containers.len(), 1);
    nix::sys::signal::kill(shim, nix::sys::signal::Signal::SIGCONT).unwrap();
    delete(&mut client, &stuck).await;
    assert!(until(DEADLINE, || daemon.leftovers_of(&[&stuck, &other]).find().is_empty()));
    daemon.finish(&[&stuck, &other]);
}
