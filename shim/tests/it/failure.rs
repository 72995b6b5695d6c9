//! What goes wrong, and what is said of it.

use crate::fixture::{Fixture, connect, layout, socket, spawn, until, within};
use sextant_proto::shim::{
    CreateRequest, Event, Failure, KillRequest, StartRequest, StateRequest, Status, event::What, exit::How,
};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tonic::Code;

const BAD_MOUNT: &str = r#"say '{"stage":"load","start_ns":1,"end_ns":2,"pid":7}'
say '{"stage":"mount/3","start_ns":3,"end_ns":4,"pid":1,"failure":{"stage":"mount/3","attempted":"mount /x","errno":19,"pointer":"/mounts/3","hint":"load it"}}'
echo "words of the runtime" >&2
exit 1
"#;

const BAD_EXEC: &str = r#"mkdir -p "$dir"; mkfifo "$dir/go"
(
    read -r go < "$dir/go"
    say '{"stage":"exec","start_ns":3,"end_ns":4,"pid":1,"failure":{"stage":"exec","attempted":"execute /no","errno":2,"pointer":"/process/args/0"}}'
    exit 1
) &
echo $! > "$pid_file"
exit 0
"#;

fn script(f: &Fixture, text: &str) {
    std::fs::write(f.temp.path().join("bundle/runtime-script"), text).unwrap();
}

/// What is decoded of a status: the failure in its details.
fn failure(status: &tonic::Status) -> Failure {
    prost::Message::decode(status.details()).unwrap()
}

#[tokio::test]
async fn a_failed_creation_says_stage_and_pointer() {
    let mut f = Fixture::new("exit 0").await;
    script(&f, BAD_MOUNT);
    let status = f.client.create(CreateRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "/mounts/3: mount /x: ENODEV (No such device) (hint: load it)");
    let said = failure(&status);
    assert_eq!((said.stage.as_str(), said.pointer.as_str(), said.errno), ("mount/3", "/mounts/3", 19));
    let events = f.events(0, 1).await;
    let Event { what: Some(What::CreateFailed(failed)), .. } = &events[0] else { panic!("{events:?}") };
    assert_eq!((failed.failure.as_ref(), failed.trace.len()), (Some(&said), 2));
    let log = std::fs::read_to_string(f.file("shim.log")).unwrap();
    assert!(log.contains("words of the runtime"), "{log}");

    // It may be tried again.
    std::fs::remove_file(f.temp.path().join("bundle/runtime-script")).unwrap();
    f.live().await;
    f.delete().await;
}

#[tokio::test]
async fn a_runtime_without_a_record_is_quoted() {
    let mut f = Fixture::new("exit 0").await;
    script(&f, "echo something is odd >&2; exit 4");
    let status = f.client.create(CreateRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "run the runtime's create: it exited with 4: something is odd");
    f.delete().await;
}

#[tokio::test]
async fn a_pid_that_is_no_orphan_of_the_creation_is_not_taken_over() {
    let mut f = Fixture::new("exit 0").await;
    script(&f, "echo 1 > \"$pid_file\"; exit 0");
    let status = f.client.create(CreateRequest::default()).await.unwrap_err();
    assert!(status.message().starts_with("take over the container's init, pid 1: "), "{status:?}");
    let state = f.client.state(StateRequest::default()).await.unwrap().into_inner();
    assert_eq!((state.status(), state.pid), (Status::Empty, 0));
    std::fs::remove_file(f.file("init.pid")).unwrap();
    f.delete().await;
}

#[tokio::test]
async fn a_failed_start_leaves_the_container_created() {
    let mut f = Fixture::new("exit 0").await;
    f.create().await;
    std::fs::write(f.temp.path().join("root/c1/no-start"), "").unwrap();
    let status = f.client.start(StartRequest {}).await.unwrap_err();
    assert_eq!(status.message(), "run the runtime's start: it exited with 1: will not start");
    let events = f.events(1, 1).await;
    assert!(matches!(events[0].what, Some(What::StartFailed(_))), "{events:?}");
    std::fs::remove_file(f.temp.path().join("root/c1/no-start")).unwrap();
    f.start().await;
    f.wait().await;
    f.delete().await;
}

#[tokio::test]
async fn an_init_that_cannot_execute_says_why() {
    let mut f = Fixture::new("true").await;
    script(&f, BAD_EXEC);
    assert_eq!(f.live().await, How::Code(1));
    let events = f.events(2, 1).await;
    let Event { what: Some(What::Exited(exited)), .. } = &events[0] else { panic!("{events:?}") };
    let said = exited.failure.as_ref().unwrap();
    assert_eq!((said.stage.as_str(), said.pointer.as_str()), ("exec", "/process/args/0"));
    f.delete().await;
}

/// What a shim that does not come up says.
fn refusal(root: &Path) -> String {
    let mut shim = spawn(root);
    let mut said = String::new();
    shim.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!shim.wait().unwrap().success());
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[tokio::test]
async fn a_directory_that_others_may_enter_is_refused() {
    let temp = layout("true");
    let open = socket(temp.path()).parent().unwrap().to_owned();
    std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = refusal(temp.path());
    assert!(said.contains("--socket: its mode is 0755 (make it 0700"), "{said}");
}

#[tokio::test]
async fn a_missing_runtime_is_refused() {
    let temp = layout("true");
    std::fs::remove_file(temp.path().join("runtime")).unwrap();
    let said = refusal(temp.path());
    assert!(said.contains("/runtime for --runtime: No such file or directory"), "{said}");
}

#[tokio::test]
async fn the_socket_is_private_and_taken_once() {
    let f = Fixture::new("true").await;
    let found = std::fs::metadata(socket(f.temp.path())).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    let said = refusal(f.temp.path());
    assert!(said.contains("another shim holds it"), "{said}");
}

#[tokio::test]
async fn a_signal_does_not_wait_behind_a_start_that_hangs() {
    let mut f = Fixture::new("exec sleep 1000").await;
    let pid = f.create().await;
    std::fs::write(f.temp.path().join("root/c1/hang"), "").unwrap();
    let mut hanging = connect(socket(f.temp.path())).await;
    let start = tokio::spawn(async move { hanging.start(StartRequest {}).await });
    // Once the runtime is at work, it has a child for it.
    let children = format!("/proc/{0}/task/{0}/children", f.shim.id());
    until(|| std::fs::read_to_string(&children).unwrap().split(' ').filter(|p| !p.is_empty()).count() > 1)
        .await;
    f.client.kill(KillRequest { signal: 9, all: false }).await.unwrap();
    until(|| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z"))
            || !Path::new(&format!("/proc/{pid}")).exists()
    })
    .await;
    // A forced deletion ends the invocation that hangs.
    f.delete().await;
    assert!(within(start).await.unwrap().is_err());
}

#[tokio::test]
async fn a_forced_deletion_ends_a_creation_that_hangs() {
    let mut f = Fixture::new("true").await;
    script(&f, "exec sleep 1000");
    let mut hanging = connect(socket(f.temp.path())).await;
    let create = tokio::spawn(async move { hanging.create(CreateRequest::default()).await });
    while f.client.state(StateRequest::default()).await.unwrap().into_inner().status() != Status::Creating {}
    f.delete().await;
    let error = within(create).await.unwrap().unwrap_err();
    assert!(failure(&error).message.contains("is to be deleted"), "{error:?}");
    assert!(!f.temp.path().join("root/c1").exists());
}
