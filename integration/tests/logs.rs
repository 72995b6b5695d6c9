//! Logs as the shim keeps them and the manager reads them: rotated, limited,
//! moved away, on a full disk, and by offset, time, tail and stream.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sextant_integration::calls::{Client, delete, wait};
use sextant_integration::process::{DEADLINE, until};
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::shim::StateRequest;
use sextant_proto::shim::shim_client::ShimClient;
use sextant_proto::v1::log_entry::Stream;
use sextant_proto::v1::log_missing::Because;
use sextant_proto::v1::{
    Container, KillRequest, LogEntry, LogMissing, LogOptions, LogsRequest, ReopenLogRequest, StartRequest,
    StopRequest, WaitRequest,
};
use std::path::{Path, PathBuf};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::transport::Endpoint;

/// Small files, so that rotations are many.
const FILE: u64 = 64 << 10;

async fn start(
    daemon: &Daemon,
    client: &mut Client,
    id: &str,
    command: &[&str],
    log: LogOptions,
) -> Container {
    let mut request = daemon.request(id, command);
    request.log = Some(log);
    client.create(request).await.unwrap();
    let started = client.start(StartRequest { id: id.into(), ..Default::default() }).await.unwrap();
    started.into_inner().container.unwrap()
}

async fn read(client: &mut Client, request: LogsRequest) -> Vec<LogEntry> {
    let stream = client.logs(request).await.unwrap().into_inner();
    tokio::time::timeout(DEADLINE, stream.map(Result::unwrap).collect()).await.expect("the log ends")
}

/// The whole log, when it has ended.
async fn followed(client: &mut Client, id: &str) -> Vec<LogEntry> {
    read(client, LogsRequest { id: id.into(), follow: true, ..Default::default() }).await
}

fn text(entries: &[LogEntry]) -> String {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.data).into_owned()).collect()
}

/// Numbers of the lines of the probe's `spam`.
fn numbers(entries: &[LogEntry]) -> Vec<u64> {
    text(entries).lines().filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
}

fn missing(entries: &[LogEntry]) -> Vec<LogMissing> {
    entries.iter().filter_map(|entry| entry.missing).collect()
}

fn dir(daemon: &Daemon, id: &str) -> PathBuf {
    daemon.dir().join("root/containers").join(id)
}

/// Sizes of the files of a log.
fn sizes(dir: &Path) -> Vec<u64> {
    let files = dir.read_dir().unwrap().map(Result::unwrap);
    let is_log = |name: &str| name == "log" || name.starts_with("log.");
    files.filter(|f| is_log(f.file_name().to_str().unwrap())).map(|f| f.metadata().unwrap().len()).collect()
}

#[tokio::test]
async fn a_follower_reads_on_over_rotations_and_everything_can_be_found_again() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("rotated"));
    let mut client = daemon.containers().await;
    let log = LogOptions { max_file_bytes: FILE, max_files: 1000, ..Default::default() };
    start(&daemon, &mut client, &id, &["/bin/probe", "spam", "2000000"], log).await;
    let all = followed(&mut client, &id).await;
    let mut seen = numbers(&all);
    let lines = u64::try_from(seen.len()).unwrap();
    assert!(missing(&all).is_empty() && text(&all).len() == 2_000_000);
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..lines), "each line once");
    let files = sizes(&dir(&daemon, &id));
    assert!(files.len() > 30 && files.iter().all(|size| *size <= FILE), "{files:?}");
    let ask = || LogsRequest { id: id.clone(), ..Default::default() };
    // From any entry on, the rest; also for a manager that was not there when it was written.
    let third = all.len() / 3;
    let rest = read(&mut client, LogsRequest { offset: all[third].next_offset, ..ask() }).await;
    assert_eq!(rest, all[third + 1..]);
    assert_eq!(read(&mut client, LogsRequest { tail: Some(7), ..ask() }).await, all[all.len() - 7..]);
    assert_eq!(read(&mut client, LogsRequest { tail: Some(5000), ..ask() }).await, all[all.len() - 5000..]);
    let of = |stream: Stream| all.iter().filter(|e| e.stream() == stream).cloned().collect::<Vec<_>>();
    let stderr = of(Stream::Stderr);
    let request = LogsRequest { stream: Stream::Stderr.into(), ..ask() };
    assert_eq!(read(&mut client, request.clone()).await, stderr);
    let last = read(&mut client, LogsRequest { tail: Some(9), ..request }).await;
    assert_eq!(last, stderr[stderr.len() - 9..]);
    // The times between two entries are a window.
    let (since, until) = (all[third].at, all[2 * third].at);
    let window = read(&mut client, LogsRequest { since, until, ..ask() }).await;
    let time = |at: &Option<prost_types::Timestamp>| at.as_ref().map(|at| (at.seconds, at.nanos));
    let expected = all.iter().filter(|e| time(&e.at) >= time(&since) && time(&e.at) < time(&until));
    assert!(window.iter().eq(expected));
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn what_was_rotated_away_is_told_and_the_disk_holds_no_more_than_was_asked_for() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("bounded"));
    let mut client = daemon.containers().await;
    let log = LogOptions { max_file_bytes: FILE, max_files: 3, ..Default::default() };
    start(&daemon, &mut client, &id, &["/bin/probe", "spam", "2000000"], log).await;
    wait(&mut client, &id).await;
    let all = followed(&mut client, &id).await;
    let files = sizes(&dir(&daemon, &id));
    assert!(files.len() == 3 && files.iter().sum::<u64>() <= 3 * FILE, "{files:?}");
    let [gap] = missing(&all)[..] else { panic!("{:?}", missing(&all)) };
    assert_eq!((gap.because(), gap.bytes), (Because::Rotated, all[0].next_offset));
    let end = all.last().unwrap().next_offset;
    assert_eq!(gap.bytes + files.iter().sum::<u64>(), end, "every byte is there, or is missing");
    // Who asks for the last lines misses nothing.
    let tail = LogsRequest { id: id.clone(), tail: Some(10), ..Default::default() };
    assert_eq!(read(&mut client, tail).await, all[all.len() - 10..]);
    let ran = daemon.sextant(&["logs", &id]).ok();
    assert!(ran.stderr.starts_with("sextant: ") && ran.stderr.contains("rotated away"), "{}", ran.stderr);
    let ran = daemon.sextant(&["logs", "--tail", "1", &id]).ok();
    assert_eq!(
        (ran.stdout.lines().count() + ran.stderr.lines().count(), ran.stderr.contains("missing")),
        (1, false)
    );
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn lines_above_the_rate_are_dropped_and_each_is_counted() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("rate"));
    let mut client = daemon.containers().await;
    let log = LogOptions { max_bytes_per_second: 4096, ..Default::default() };
    // Whole lines: the last piece of one that is dropped is no line.
    const LINES: u64 = 7937;
    let written = LINES * 63;
    start(&daemon, &mut client, &id, &["/bin/probe", "spam", &written.to_string()], log).await;
    let all = followed(&mut client, &id).await;
    let dropped = missing(&all);
    assert!(!dropped.is_empty() && dropped.iter().all(|m| m.because() == Because::RateLimit), "{dropped:?}");
    let bytes: u64 = dropped.iter().map(|m| m.bytes).sum();
    assert_eq!(bytes + u64::try_from(text(&all).len()).unwrap(), written);
    let lines: u64 = dropped.iter().map(|m| m.lines).sum();
    assert_eq!(lines + u64::try_from(numbers(&all).len()).unwrap(), LINES);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

#[tokio::test]
async fn a_log_that_was_moved_away_is_opened_anew_and_followers_miss_nothing() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("moved"));
    let mut client = daemon.containers().await;
    start(&daemon, &mut client, &id, &["/bin/probe", "answer"], LogOptions::default()).await;
    let follow = LogsRequest { id: id.clone(), follow: true, ..Default::default() };
    let mut log = client.logs(follow).await.unwrap().into_inner();
    let mut line = async || {
        let next = tokio::time::timeout(DEADLINE, log.next()).await.expect("a line comes");
        next.unwrap().unwrap().data
    };
    let signal = async |client: &mut Client, signal| {
        client.kill(KillRequest { id: id.clone(), signal, all: false }).await.unwrap();
    };
    const SIGUSR1: i32 = nix::libc::SIGUSR1;
    assert_eq!(line().await, b"line 0\n");
    let (name, moved) = (dir(&daemon, &id).join("log"), daemon.dir().join("moved"));
    std::fs::rename(&name, &moved).unwrap();
    signal(&mut client, SIGUSR1).await;
    assert_eq!(line().await, b"line 1\n", "the moved file is written to until the call");
    client.reopen_log(ReopenLogRequest { id: id.clone() }).await.unwrap();
    signal(&mut client, SIGUSR1).await;
    assert_eq!(line().await, b"line 2\n");
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 2);
    assert_eq!(std::fs::read_to_string(&name).unwrap().lines().count(), 1);
    let all = read(&mut client, LogsRequest { id: id.clone(), ..Default::default() }).await;
    assert_eq!(missing(&all)[0].bytes, std::fs::metadata(&moved).unwrap().len());
    assert_eq!(text(&all), "line 2\n");
    client.stop(StopRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let late = client.reopen_log(ReopenLogRequest { id: id.clone() }).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}

/// A small file system; unmounted when this is dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Self {
        let options = format!("size={size},mode=0700");
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(e) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("unmount {}: {e}", self.0.display());
        }
    }
}

#[tokio::test]
async fn on_a_full_disk_the_container_goes_on_and_what_was_dropped_is_told() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("full"));
    let mut client = daemon.containers().await;
    let disk = Small::mount(daemon.dir().join("root/containers"), "4M");
    start(&daemon, &mut client, &id, &["/bin/probe", "answer"], LogOptions::default()).await;
    let signal = async |client: &mut Client| {
        let signal = nix::libc::SIGUSR1;
        client.kill(KillRequest { id: id.clone(), signal, all: false }).await.unwrap();
    };
    let log = dir(&daemon, &id).join("log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(until(DEADLINE, || lines().contains("line 0")));
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap_err();
    // The page that the log ends in has room for some lines.
    let socket = daemon.dir().join("state/shims").join(&id).join("shim.sock");
    let shim = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
    let mut shim = ShimClient::new(shim.connect().await.unwrap());
    tokio::time::timeout(DEADLINE, async {
        while shim.state(StateRequest::default()).await.unwrap().into_inner().log_dropped_bytes == 0 {
            signal(&mut client).await;
        }
    })
    .await
    .expect("the disk is full");
    std::fs::remove_file(&ballast).unwrap();
    // The shim says it by itself once there is room.
    assert!(until(DEADLINE, || lines().contains("F:dropped:not-written:")), "{}", lines());
    signal(&mut client).await;
    client.stop(StopRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let all = followed(&mut client, &id).await;
    let dropped: u64 = missing(&all).iter().map(|m| m.lines).sum();
    let found = numbers(&all);
    // Signals that come together are one: the numbers say how many lines there were.
    assert!(dropped > 0 && missing(&all).iter().all(|m| m.because() == Because::NotWritten));
    assert_eq!(dropped + u64::try_from(found.len()).unwrap(), found.last().unwrap() + 1, "{all:?}");
    delete(&mut client, &id).await;
    drop(disk);
    daemon.finish(&[&id]);
}

/// CPU time of a process in clock ticks, user and system (proc_pid_stat(5)).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [14, 15].iter().map(|n| fields[n - 3].parse::<u64>().unwrap()).sum()
}

/// The most memory that a process ever had, in KiB.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A gigabyte with `SEXTANT_TEST_FULL` set; else less, which takes the same way.
#[tokio::test]
async fn output_costs_the_manager_no_cpu_and_the_shim_no_memory() {
    if skip_unless_root() {
        return;
    }
    let full = std::env::var_os("SEXTANT_TEST_FULL").is_some_and(|value| !value.is_empty());
    let megabytes: u64 = if full { 1024 } else { 64 };
    let bytes = megabytes << 20;
    let (daemon, id) = (Daemon::start(), unique("much"));
    let mut client = daemon.containers().await;
    let command = ["/bin/probe", "spam", &bytes.to_string()];
    let shim = start(&daemon, &mut client, &id, &command, LogOptions::default()).await.shim_pid;
    let before = (ticks(daemon.pid()), peak(shim));
    let begin = std::time::Instant::now();
    // One call that waits: each question would cost the manager something.
    let wait = client.wait(WaitRequest { id: id.clone(), ..Default::default() });
    tokio::time::timeout(DEADLINE * 5, wait).await.expect("it ends").unwrap();
    let (used, grown) = (ticks(daemon.pid()) - before.0, peak(shim).saturating_sub(before.1));
    println!("{megabytes} MiB of output: {used} ticks of the manager, the shim grew by {grown} KiB");
    // On an emulated processor, where all takes many times as long, a twentieth of the time.
    let allowed = 10.max(u64::try_from(begin.elapsed().as_millis() / 10 / 20).unwrap());
    assert!(used <= allowed, "{used} ticks for {megabytes} MiB");
    assert!(grown <= 4096, "{grown} KiB");
    let files = sizes(&dir(&daemon, &id));
    assert!(files.len() == 5 && files.iter().all(|size| *size <= 16 << 20), "{files:?}");
    delete(&mut client, &id).await;
    daemon.finish(&[&id]);
}
