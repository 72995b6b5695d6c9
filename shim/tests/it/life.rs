//! Creation, start, exit, deletion; who may end when.

use crate::fixture::{Fixture, connect, ended, socket, until, within};
use sextant_proto::shim::{
    CreateRequest, DeleteRequest, KillRequest, StartRequest, StateRequest, Status, WaitRequest, exit::How,
};
use std::path::Path;
use tonic::Code;

async fn state(f: &mut Fixture) -> (Status, i32, u64) {
    let state = f.client.state(StateRequest::default()).await.unwrap().into_inner();
    (state.status(), state.pid, state.last_seq)
}

fn terminate(f: &Fixture) {
    let pid = nix::unistd::Pid::from_raw(f.shim.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
}

#[tokio::test]
async fn a_normal_life() {
    let mut f = Fixture::new("exit 7").await;
    assert_eq!(state(&mut f).await, (Status::Empty, 0, 0));
    let start = f.client.start(StartRequest {}).await.unwrap_err();
    assert_eq!(
        (start.code(), start.message()),
        (Code::FailedPrecondition, "start the container: it is not created")
    );
    let pid = f.create().await;
    assert_eq!(state(&mut f).await, (Status::Created, pid, 1));
    assert_eq!(f.client.create(CreateRequest::default()).await.unwrap_err().code(), Code::AlreadyExists);
    f.start().await;
    assert_eq!(f.wait().await, How::Code(7));
    assert_eq!(state(&mut f).await, (Status::Stopped, 0, 3));
    let kill = f.client.kill(KillRequest { signal: 9, all: false }).await.unwrap_err();
    assert_eq!(kill.code(), Code::FailedPrecondition);
    f.delete().await;
    assert!(!socket(f.temp.path()).exists());
    assert!(!f.temp.path().join("root/c1").exists());
}

#[tokio::test]
async fn signals_end_a_container_and_are_told() {
    for (signal, all) in [(15, false), (15, true), (40, false)] {
        let mut f = Fixture::new("exec sleep 1000").await;
        f.create().await;
        f.start().await;
        let delete = f.client.delete(DeleteRequest { force: false }).await.unwrap_err();
        assert_eq!(delete.code(), Code::FailedPrecondition);
        assert_eq!(
            f.client.kill(KillRequest { signal: 65, all }).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        f.client.kill(KillRequest { signal, all }).await.unwrap();
        assert_eq!(f.wait().await, How::Signal(signal));
        f.delete().await;
    }
}

#[tokio::test]
async fn an_init_that_dies_before_its_start_is_an_exit() {
    let mut f = Fixture::new("true").await;
    f.create().await;
    f.client.kill(KillRequest { signal: 9, all: false }).await.unwrap();
    assert_eq!(f.wait().await, How::Signal(9));
    assert_eq!(f.client.start(StartRequest {}).await.unwrap_err().code(), Code::FailedPrecondition);
    f.delete().await;
}

#[tokio::test]
async fn an_init_that_is_dead_when_create_returns_is_an_exit_too() {
    let mut f = Fixture::new("true").await;
    // The shim reaps this orphan before it can know that it is the container's init.
    let early = r#"((sleep 0.05; exit 5) & echo $! > "$pid_file"); sleep 0.3; exit 0"#;
    std::fs::write(f.temp.path().join("bundle/runtime-script"), early).unwrap();
    f.create().await;
    assert_eq!(f.wait().await, How::Code(5));
    f.delete().await;
}

#[tokio::test]
async fn a_forced_deletion_kills_and_tells_the_exit() {
    let mut f = Fixture::new("exec sleep 1000").await;
    f.create().await;
    f.start().await;
    let exit = within(f.client.delete(DeleteRequest { force: true })).await.unwrap().into_inner().exit;
    assert_eq!(exit.unwrap().how, Some(How::Signal(9)));
    assert!(within(ended(&mut f.shim)).await);
}

#[tokio::test]
async fn a_container_that_never_was_can_be_deleted() {
    let mut f = Fixture::new("true").await;
    let mut waiter = connect(socket(f.temp.path())).await;
    let wait = tokio::spawn(async move { waiter.wait(WaitRequest {}).await });
    f.delete().await;
    // Its end may come before the wait was even asked.
    assert!(wait.await.unwrap().is_err());
}

#[tokio::test]
async fn the_manager_may_die_at_any_time() {
    let mut f = Fixture::new("exit 3").await;
    std::fs::write(f.temp.path().join("bundle/runtime-script"), "sleep 0.2").unwrap();
    let mut dying = connect(socket(f.temp.path())).await;
    let create = tokio::spawn(async move { dying.create(CreateRequest::default()).await });
    until(|| f.temp.path().join("dir/shim.log").exists()).await;
    while state(&mut f).await.0 == Status::Empty {}
    create.abort();
    while state(&mut f).await.0 == Status::Creating {}
    assert_eq!(state(&mut f).await.0, Status::Created);
    f.start().await;
    assert_eq!(f.wait().await, How::Code(3));
    f.delete().await;
}

#[tokio::test]
async fn sigterm_ends_a_shim_only_when_nothing_lives() {
    let mut f = Fixture::new("exec sleep 1000").await;
    f.create().await;
    terminate(&f);
    until(|| std::fs::read_to_string(f.file("shim.log")).unwrap().contains("SIGTERM is ignored")).await;
    f.client.kill(KillRequest { signal: 9, all: false }).await.unwrap();
    assert_eq!(f.wait().await, How::Signal(9));
    terminate(&f);
    assert!(within(ended(&mut f.shim)).await);
    assert!(!socket(f.temp.path()).exists());
}

#[tokio::test]
async fn orphans_are_reaped() {
    let mut f = Fixture::new("true").await;
    let orphan = f.temp.path().join("orphan");
    let command =
        format!("(sleep 0.1 & echo $! > {o}.new; mv {o}.new {o}); exec sleep 1000", o = orphan.display());
    std::fs::write(f.temp.path().join("bundle/command"), command).unwrap();
    f.create().await;
    f.start().await;
    until(|| orphan.exists()).await;
    let pid = std::fs::read_to_string(orphan).unwrap();
    until(|| !Path::new("/proc").join(pid.trim()).exists()).await;
    f.delete().await;
}

#[tokio::test]
async fn the_container_inherits_neither_signal_mask_nor_descriptors() {
    let mut f = Fixture::new("ls /proc/self/fd; exec grep -E 'SigBlk|SigIgn' /proc/self/status").await;
    f.create().await;
    let init = std::fs::read_to_string(f.file("init.pid")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", init.trim())).unwrap();
    assert!(status.contains("SigBlk:\t0000000000000000\n"), "{status}");
    f.start().await;
    assert_eq!(f.wait().await, How::Code(0));
    let log = std::fs::read_to_string(f.file("log")).unwrap();
    let words: Vec<&str> = log.lines().filter_map(|l| l.split_once(" stdout F ")).map(|(_, w)| w).collect();
    assert_eq!(words[..4], ["0", "1", "2", "3"], "3 is the directory that ls reads");
    assert_eq!(words[4], "SigBlk:\t0000000000000000");
    let ignored = u64::from_str_radix(words[5].trim_start_matches("SigIgn:\t"), 16).unwrap();
    // Who runs the test may ignore some itself (nohup(1)): those are inherited by all.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("SigIgn:\t")).unwrap();
    let sigpipe = 1 << (libc::SIGPIPE - 1); // std ignores it in this very process
    let own = u64::from_str_radix(own, 16).unwrap() & !sigpipe;
    // Of the others, bash leaves two ignored.
    assert_eq!(ignored & 0x7fff_ffff & !own, 0, "standard signals are at their defaults");
    assert_eq!(words.len(), 6, "{log}");
    f.delete().await;
}
