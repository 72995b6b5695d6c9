//! Metrics: what Prometheus reads over HTTP and what the API gives are one text,
//! that holds what was done; and a request can be followed through the log by its id.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use sextant_integration::calls::{delete, start, wait, within};
use sextant_integration::process::{DEADLINE, json_of, until};
use sextant_integration::{Daemon, skip, skip_unless_root, unique};
use sextant_proto::v1::{CreateRequest, GetRequest, LogOptions, MetricsRequest};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A request over HTTP/1.1; head and body of the answer.
fn http(socket: &Path, request: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: sextantd\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.into(), body.into())
}

async fn metrics(daemon: &Daemon) -> String {
    daemon.system().await.metrics(MetricsRequest {}).await.unwrap().into_inner().text
}

/// The value of a series, which is named with its labels.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn what_was_done_is_counted_and_what_there_is_is_measured() {
    if skip_unless_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("metrics");
    let (daemon, id) =
        (Daemon::start_with(&["--metrics-listen", &format!("unix:{}", socket.display())]), unique("metrics"));
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = daemon.containers().await;
    start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    client.get(GetRequest { id: "none".into(), ..Default::default() }).await.unwrap_err();
    let refused = daemon.request("not a name", &["/bin/probe"]);
    client.create(refused).await.unwrap_err();

    let (head, text) = http(&socket, "GET /metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains(&format!("content-type: {OPEN_METRICS}")), "{head}");
    for (series, expected) in [
        ("sextant_containers{status=\"running\"}", 1.0),
        ("sextant_containers{status=\"stopped\"}", 0.0),
        ("sextant_containers_degraded", 0.0),
        ("sextant_operations_total{verb=\"create\",outcome=\"ok\"}", 1.0),
        ("sextant_operations_total{verb=\"start\",outcome=\"ok\"}", 1.0),
        ("sextant_operation_duration_seconds_count{verb=\"start\"}", 1.0),
        ("sextant_startup_stage_duration_seconds_count{command=\"create\",stage=\"clone\"}", 1.0),
        ("sextant_startup_stage_duration_seconds_count{command=\"start\",stage=\"exec\"}", 1.0),
        ("sextant_container_events_total{kind=\"started\"}", 1.0),
        ("sextant_grpc_requests_total{method=\"sextant.v1.Containers/Get\",code=\"NOT_FOUND\"}", 1.0),
        (
            "sextant_grpc_requests_total{method=\"sextant.v1.Containers/Create\",code=\"INVALID_ARGUMENT\"}",
            1.0,
        ),
        ("sextant_last_event_sequence", 2.0),
        ("sextant_shims", 1.0),
        ("sextant_mailbox_commands_max", 0.0),
    ] {
        assert!((value(&text, series) - expected).abs() < 1e-9, "{series} is not {expected}\n{text}");
    }
    let shim = format!("sextant_shim_resident_memory_bytes{{container=\"{id}\"}}");
    assert!(value(&text, &shim) > 65536.0);
    assert!(value(&text, "sextant_event_journal_bytes") > 0.0);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6);
    assert!(http(&socket, "GET /").0.starts_with("HTTP/1.1 404"));
    assert!(http(&socket, "POST /metrics").0.starts_with("HTTP/1.1 405"));

    // The command line gives the same, and the parser of others reads it.
    let printed = daemon.sextant(&["metrics"]).ok().stdout;
    let families = |text: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE ").map(str::to_owned));
        lines.collect::<Vec<String>>()
    };
    assert_eq!(families(&printed), families(&text));
    parse_elsewhere(&text, families(&text).len());
    delete(&mut client, &id).await;
    assert!((value(&metrics(&daemon).await, "sextant_shims")).abs() < 1e-9);
    daemon.finish(&[&id]);
}

/// Lets Prometheus's own parser read it.
fn parse_elsewhere(text: &str, families: usize) {
    let parser = "import prometheus_client.openmetrics.parser";
    let python = std::env::var_os("SEXTANT_PYTHON").filter(|python| {
        Command::new(python).args(["-c", parser]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    });
    let Some(python) = python else {
        return skip("SEXTANT_PYTHON names no interpreter with prometheus_client");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/metrics.py");
    let mut child = Command::new(python);
    child.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let read = String::from_utf8(output.stdout).unwrap();
    assert_eq!(read.lines().count(), families, "{read}");
    assert!(read.contains("sextant_grpc_requests counter"), "{read}");
    assert!(read.contains("sextant_startup_stage_duration_seconds histogram"), "{read}");
}

#[tokio::test]
async fn a_shim_that_does_not_answer_keeps_no_scrape_waiting() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start_with(&["--metrics-per-container=false"]), unique("stuck"));
    let mut client = daemon.containers().await;
    let made = start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    let shim = Pid::from_raw(made.shim_pid);
    kill(shim, Signal::SIGSTOP).unwrap();
    // A pause hangs in the shim, and the actor with it.
    let mut other = daemon.containers().await;
    let name = id.clone();
    let hangs = tokio::spawn(async move {
        other.pause(sextant_proto::v1::PauseRequest { id: name, ..Default::default() }).await
    });
    let in_flight = "sextant_grpc_requests_in_flight{method=\"sextant.v1.Containers/Pause\"}";
    let mut text = metrics(&daemon).await;
    while !text.contains(&format!("{in_flight} 1")) {
        text = metrics(&daemon).await;
    }
    assert!((value(&text, "sextant_shims") - 1.0).abs() < 1e-9);
    assert!(!text.contains(&id), "names of containers are switched off");
    assert!(!hangs.is_finished(), "the shim hangs still");
    kill(shim, Signal::SIGCONT).unwrap();
    hangs.await.unwrap().unwrap();
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn output_that_is_not_in_the_logs_is_counted() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, id) = (Daemon::start(), unique("dropped"));
    let mut client = daemon.containers().await;
    let log = Some(LogOptions { max_bytes_per_second: 4096, ..Default::default() });
    let request = CreateRequest { log, ..daemon.request(&id, &["/bin/probe", "spam", "500000"]) };
    start(&mut client, request).await;
    wait(&mut client, &id).await;
    // The next one asks for a sign of life at once.
    daemon.kill();
    daemon.restart();
    let of = |text: &str, cause: &str| {
        value(text, &format!("sextant_log_dropped_bytes_total{{cause=\"{cause}\"}}"))
    };
    let text = within(async {
        loop {
            let text = metrics(&daemon).await;
            if text.contains("sextant_log_dropped_bytes_total{") && of(&text, "rate") > 0.0 {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(of(&text, "rate") > 400_000.0 && of(&text, "disk") < 1.0, "{text}");
    delete(&mut daemon.containers().await, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_request_is_found_in_the_log_by_its_id() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start_with(&["--log-format=json"]), unique("traced"));
    let mut client = daemon.containers().await;
    let mut create = daemon.request(&id, &["/bin/probe", "exit", "0"]);
    create.idempotency_key = "the-key".into();
    let mut request = tonic::Request::new(create);
    request.metadata_mut().insert("x-request-id", "my-request".parse().unwrap());
    let answer = client.create(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "my-request");
    let found = || {
        let log = daemon.log();
        let lines = log.lines().filter(|line| line.contains("\"request\":\"my-request\""));
        lines.map(json_of).collect::<Vec<_>>()
    };
    assert!(until(DEADLINE, || found().iter().any(|line| line["message"] == "done")), "{}", daemon.log());
    let lines = found();
    let created = lines.iter().find(|line| line["message"] == "created").expect("its creation is told");
    assert_eq!(created["container"], id.as_str());
    let done = lines.iter().find(|line| line["message"] == "done").unwrap();
    assert_eq!(done["outcome"], "ok");
    let spans = done["spans"].as_array().unwrap();
    let of = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    assert_eq!(of("request")["method"], "sextant.v1.Containers/Create");
    assert_eq!(of("request")["uid"], nix::unistd::geteuid().as_raw());
    assert_eq!(of("request")["pid"], std::process::id());
    let operation = of("operation");
    assert_eq!(
        (&operation["verb"], &operation["container"], &operation["key"]),
        (&"create".into(), &id.as_str().into(), &"the-key".into())
    );
    // What comes later is not of that request.
    client.start(sextant_proto::v1::StartRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    wait(&mut client, &id).await;
    assert!(found().iter().all(|line| line["message"] != "started"), "{:?}", found());
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}
