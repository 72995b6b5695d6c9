//! Sandboxes: containers share namespaces that no process holds, by choice each
//! of them; nothing is left of a sandbox that was deleted, and a manager that was
//! killed finds each as it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use sextant_integration::calls::{self, Client, get, within};
use sextant_integration::process::{DEADLINE, Ran, json_of, until};
use sextant_integration::{Daemon, skip_unless_root, unique};
use sextant_proto::v1::create_request::Source;
use sextant_proto::v1::exit::How;
use sextant_proto::v1::namespace_mode::Kind;
use sextant_proto::v1::operations_client::OperationsClient;
use sextant_proto::v1::sandboxes_client::SandboxesClient;
use sextant_proto::v1::{
    Container, CreateRequest, CreateSandboxRequest, DeleteRequest, DeleteSandboxRequest, GetOperationRequest,
    GetSandboxRequest, KillRequest, ListSandboxesRequest, NamespaceMode, NamespaceModes, NamespacesRequest,
    ProcessesRequest, Sandbox, SandboxStatus, SharedNamespaces, namespace_owner, operation,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Sleeps until it is killed.
const SLEEP: &[&str] = &["/bin/probe", "sleep", "1000"];
/// All that a sandbox can share.
const ALL: SharedNamespaces = SharedNamespaces { network: true, ipc: true, uts: true, user: true, pid: true };
/// Without a process.
const DEFAULT: SharedNamespaces = SharedNamespaces { pid: false, ..ALL };

async fn sandboxes(daemon: &Daemon) -> SandboxesClient<Channel> {
    SandboxesClient::new(daemon.channel().await)
}

async fn make(daemon: &Daemon, id: &str, shared: SharedNamespaces) -> Sandbox {
    let request = CreateSandboxRequest { id: id.into(), shared: Some(shared), ..Default::default() };
    let made = sandboxes(daemon).await.create(request).await.unwrap_or_else(|e| panic!("{id}: {e:?}"));
    let sandbox = made.into_inner().sandbox.unwrap();
    assert_eq!((sandbox.status(), sandbox.because.as_str()), (SandboxStatus::Ready, ""));
    sandbox
}

async fn look(daemon: &Daemon, id: &str) -> Sandbox {
    let found = sandboxes(daemon).await.get(GetSandboxRequest { id: id.into() }).await;
    found.unwrap().into_inner().sandbox.unwrap()
}

async fn remove(daemon: &Daemon, id: &str, force: bool) -> Result<(), Status> {
    let request = DeleteSandboxRequest { id: id.into(), force, ..Default::default() };
    within(sandboxes(daemon).await.delete(request)).await.map(drop)
}

fn mode(kind: Kind) -> Option<NamespaceMode> {
    Some(NamespaceMode { kind: kind.into(), container: String::new() })
}

fn of(container: &str) -> Option<NamespaceMode> {
    Some(NamespaceMode { kind: Kind::Container.into(), container: container.into() })
}

/// A request for a container of a sandbox.
fn within_sandbox(daemon: &Daemon, sandbox: &str, id: &str, command: &[&str]) -> CreateRequest {
    CreateRequest { sandbox: sandbox.into(), ..daemon.request(id, command) }
}

/// The number of a namespace of a process.
fn inode(pid: i32, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/{pid}/ns/{name}")).unwrap_or_else(|e| panic!("{pid}/{name}: {e}")).ino()
}

/// Whether the namespaces of two processes are the same: user, pid, net, uts, ipc.
fn same(one: i32, other: i32) -> [bool; 5] {
    ["user", "pid", "net", "uts", "ipc"].map(|name| inode(one, name) == inode(other, name))
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// What a command says that is executed in a container.
#[track_caller]
fn exec(daemon: &Daemon, id: &str, command: &[&str]) -> Ran {
    daemon.sextant(&[&["exec", id, "--"], command].concat())
}

/// Fields of the violations, each with its description.
fn violations(status: &Status) -> BTreeMap<String, String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let found = status.get_details_bad_request().unwrap().field_violations;
    found.into_iter().map(|v| (v.field, v.description)).collect()
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().unwrap().reason)
}

/// What the daemon must not have: anything below these directories.
fn places(daemon: &Daemon) -> [PathBuf; 4] {
    ["root/sandboxes", "root/containers", "state/pins", "state/runtime"].map(|name| daemon.dir().join(name))
}

/// Nothing at all is left of sandboxes and containers, while the daemon goes on.
#[track_caller]
fn assert_nothing_left(daemon: &Daemon, ids: &[&str]) {
    let pins = daemon.dir().join("state/pins");
    let leftovers = places(daemon).into_iter().fold(daemon.leftovers_of(ids), |all, dir| all.empty_dir(dir));
    leftovers.assert_none();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(pins.to_str().unwrap()) && !pins.exists(), "{mounts}");
}

async fn log_has(daemon: &Daemon, id: &str, line: &str) {
    assert!(
        until(DEADLINE, || daemon.sextant(&["logs", id]).stdout.contains(line)),
        "{line} is not in the log of {id}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_sandbox_share_its_namespaces_and_nobody_else_does() {
    if skip_unless_root() {
        return;
    }
    let (daemon, pod) = (Daemon::start(), unique("pod"));
    let sandbox = make(&daemon, &pod, DEFAULT).await;
    assert_eq!((sandbox.init_pid, sandbox.hostname.as_str()), (0, pod.as_str()));
    let mut client = daemon.containers().await;
    let ids = [unique("web"), unique("side"), unique("stranger")];
    let server = within_sandbox(&daemon, &pod, &ids[0], &["/bin/probe", "listen", "7070"]);
    let server = calls::start(&mut client, server).await;
    let side = calls::start(&mut client, within_sandbox(&daemon, &pod, &ids[1], SLEEP)).await;
    let stranger = calls::start(&mut client, daemon.request(&ids[2], SLEEP)).await;
    assert_eq!(same(server.pid, side.pid), [true, false, true, true, true]);
    assert_eq!(same(server.pid, stranger.pid), [false; 5]);
    assert_eq!(same(server.pid, own_pid()), [false; 5]);
    // The kernel's numbers are those that the sandbox tells; its ids are the containers'.
    for (namespace, name) in [("user", "user"), ("network", "net"), ("uts", "uts"), ("ipc", "ipc")] {
        let told = sandbox.namespaces.iter().find(|n| n.r#type == namespace).unwrap();
        assert_eq!(told.inode, inode(server.pid, name), "{namespace}");
    }
    assert_eq!((sandbox.ids, side.ids), (server.ids, server.ids));
    assert_ne!(stranger.ids, server.ids);
    // Network: what one listens on, the other reaches, on a loopback interface of their own.
    log_has(&daemon, &ids[0], "listens on 7070").await;
    assert_eq!(exec(&daemon, &ids[1], &["/bin/probe", "connect", "7070"]).ok().stdout, "hello\n");
    assert_ne!(exec(&daemon, &ids[2], &["/bin/probe", "connect", "7070"]).code, 0);
    // IPC: System V objects, a message queue, and a file of shared memory.
    let made = exec(&daemon, &ids[0], &["/bin/probe", "ipc", "--mkdir", "/dev/shm/made"]).ok().seen();
    let seen = exec(&daemon, &ids[1], &["/bin/probe", "look", "--list", "/dev/shm"]).ok().seen();
    assert_eq!((seen.ipc.shm, seen.ipc.msg, seen.ipc.sem), (made.ipc.shm, made.ipc.msg, made.ipc.sem));
    assert!(seen.ipc.shm > 0 && seen.ipc.mqueue.contains(&"made".to_owned()), "{:?}", seen.ipc);
    let listing = serde_json::to_string(&seen.listings).unwrap();
    assert!(listing.contains("\"made\""), "{listing}");
    assert_eq!((seen.hostname.as_str(), seen.uid[0]), (pod.as_str(), 0));
    let apart = exec(&daemon, &ids[2], &["/bin/probe", "look", "--list", "/dev/shm"]).ok().seen();
    assert_eq!((apart.ipc.shm, apart.hostname.as_str()), (0, ids[2].as_str()));
    assert!(!serde_json::to_string(&apart.listings).unwrap().contains("\"made\""));

    // They outlive all who were in them.
    assert_eq!(look(&daemon, &pod).await.containers, {
        let mut both = [ids[0].clone(), ids[1].clone()];
        both.sort();
        both
    });
    let refused = remove(&daemon, &pod, false).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "SANDBOX_IN_USE".into()));
    assert!(refused.message().contains(&ids[0]) && refused.message().contains(&ids[1]), "{refused:?}");
    for id in &ids {
        calls::delete(&mut client, id).await;
    }
    let again = calls::start(&mut client, within_sandbox(&daemon, &pod, &ids[0], SLEEP)).await;
    let net = sandbox.namespaces.iter().find(|n| n.r#type == "network").unwrap().inode;
    assert_eq!(inode(again.pid, "net"), net);
    calls::delete(&mut client, &ids[0]).await;
    remove(&daemon, &pod, false).await.unwrap();
    let gone = remove(&daemon, &pod, false).await.unwrap_err();
    assert_eq!(reason(&gone), (Code::NotFound, "SANDBOX_NOT_FOUND".into()));
    assert_nothing_left(&daemon, &[&pod, &ids[0], &ids[1], &ids[2]]);
    daemon.finish(&[&pod, &ids[0], &ids[1], &ids[2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_pid_namespace_has_an_init_that_reaps_orphans() {
    if skip_unless_root() {
        return;
    }
    let (daemon, pod) = (Daemon::start(), unique("pod"));
    let sandbox = make(&daemon, &pod, ALL).await;
    assert!(sandbox.init_pid > 0, "{sandbox:?}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.init_pid)).unwrap();
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let rss: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(rss < 100, "its init has {rss} KiB");
    let mut client = daemon.containers().await;
    let ids = [unique("one"), unique("two"), unique("alone")];
    let one =
        calls::start(&mut client, within_sandbox(&daemon, &pod, &ids[0], &["/bin/probe", "orphan"])).await;
    let two = calls::start(&mut client, within_sandbox(&daemon, &pod, &ids[1], SLEEP)).await;
    assert_eq!(same(one.pid, two.pid), [true; 5]);
    assert_eq!(same(one.pid, sandbox.init_pid), [true; 5]);
    // By choice: this one shares the rest.
    let modes = NamespaceModes { pid: mode(Kind::Own), ..Default::default() };
    let alone = within_sandbox(&daemon, &pod, &ids[2], SLEEP);
    let alone = calls::start(&mut client, CreateRequest { namespaces: Some(modes), ..alone }).await;
    assert_eq!(same(one.pid, alone.pid), [true, false, true, true, true]);
    // Each sees the processes of the other, and the init as number 1.
    let seen = exec(&daemon, &ids[1], &["/bin/probe"]).ok().seen();
    assert!(seen.processes.iter().any(|p| p.pid == 1 && p.comm == "init"), "{:?}", seen.processes);
    assert!(seen.processes.len() >= 5, "its own two, the other's two, the init: {:?}", seen.processes);
    // Whoever has lost its parent is the init's, and is reaped when it ends.
    let processes =
        client.processes(ProcessesRequest { id: ids[0].clone() }).await.unwrap().into_inner().processes;
    let orphan = processes.iter().find(|p| p.pid != one.pid && p.command.contains(&"sleep".to_owned()));
    let orphan = orphan.unwrap_or_else(|| panic!("{processes:?}"));
    assert_eq!(orphan.parent_pid, sandbox.init_pid, "{orphan:?}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(orphan.pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let path = format!("/proc/{}", orphan.pid);
    assert!(until(DEADLINE, || !Path::new(&path).exists()), "{path} was not reaped");

    // The init is the sandbox's: no list has it, and it goes with that alone.
    assert!(calls::list(&mut client).await.iter().all(|c| c.id != pod));
    let init = get(&mut client, &pod).await;
    assert!(init.sandbox_init && init.sandbox == pod && init.pid == sandbox.init_pid, "{init:?}");
    let request = DeleteRequest { id: pod.clone(), force: true, ..Default::default() };
    let refused = client.delete(request).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "SANDBOX_INIT".into()));

    // When it dies, its namespace does, and the sandbox says so.
    client.kill(KillRequest { id: pod.clone(), signal: 9, all: false }).await.unwrap();
    let exit = calls::wait(&mut client, &ids[1]).await;
    assert_eq!(exit.how, Some(How::Signal(9)), "{exit:?}");
    assert!(matches!(calls::wait(&mut client, &pod).await.how, Some(How::Signal(9))));
    let dead = look(&daemon, &pod).await;
    assert_eq!(dead.status(), SandboxStatus::NotReady);
    assert!(dead.because.contains("its init has ended by signal 9"), "{}", dead.because);
    let late = client.create(within_sandbox(&daemon, &pod, &unique("late"), SLEEP)).await.unwrap_err();
    assert_eq!(reason(&late), (Code::FailedPrecondition, "SANDBOX_NOT_READY".into()));
    remove(&daemon, &pod, true).await.unwrap();
    assert_nothing_left(&daemon, &[&pod, &ids[0], &ids[1], &ids[2]]);
    daemon.finish(&[&pod, &ids[0], &ids[1], &ids[2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_namespace_can_be_the_hosts_or_that_of_another_container() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let ids = [unique("first"), unique("joined"), unique("host"), unique("uts")];
    let first = calls::start(&mut client, daemon.request(&ids[0], SLEEP)).await;
    let start = async |client: &mut Client, id: &str, modes: NamespaceModes| -> Container {
        calls::start(client, CreateRequest { namespaces: Some(modes), ..daemon.request(id, SLEEP) }).await
    };
    // All of another: it is in its ids as well.
    let every = of(&ids[0]);
    let modes = NamespaceModes {
        network: every.clone(),
        ipc: every.clone(),
        uts: every.clone(),
        user: every.clone(),
        pid: every,
    };
    let joined = start(&mut client, &ids[1], modes).await;
    assert_eq!((same(first.pid, joined.pid), joined.ids), ([true; 5], first.ids));
    assert_eq!(joined.namespaces.as_ref().unwrap().pid, of(&ids[0]));
    // Without a user namespace it is root of the host, with all that the host has.
    let host = mode(Kind::Host);
    let modes = NamespaceModes {
        network: host.clone(),
        ipc: host.clone(),
        uts: host.clone(),
        user: host.clone(),
        pid: host.clone(),
    };
    let all = start(&mut client, &ids[2], modes).await;
    assert_eq!((same(all.pid, own_pid()), all.ids), ([true; 5], None));
    // In ids of its own: what has to be mounted for the host's is left out, or shown read-only.
    let modes = NamespaceModes { network: host.clone(), ipc: host.clone(), uts: host, ..Default::default() };
    let some = start(&mut client, &ids[3], modes).await;
    assert_eq!(same(some.pid, own_pid()), [false, false, true, true, true]);
    let seen = exec(&daemon, &ids[3], &["/bin/probe", "--write", "/sys/kernel/uevent_seqnum"]).ok().seen();
    assert_eq!(seen.hostname, nix::unistd::gethostname().unwrap().to_string_lossy());
    assert!(seen.mounts.iter().all(|m| m.target != "/dev/mqueue"));
    assert!(seen.mount_at("/sys").options.contains(&"ro".to_owned()), "{:?}", seen.mount_at("/sys"));

    // Who owns a namespace may go: it lives on with who has joined it, and its ids are nobody else's.
    calls::delete(&mut client, &ids[0]).await;
    let fresh = calls::start(&mut client, daemon.request(&ids[0], SLEEP)).await;
    assert_ne!(fresh.ids, first.ids);
    for id in &ids {
        calls::delete(&mut client, id).await;
    }
    assert_nothing_left(&daemon, &ids.each_ref().map(String::as_str));
    daemon.finish(&ids.each_ref().map(String::as_str));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kernel_would_refuse_is_refused_with_its_place() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mut client = daemon.containers().await;
    let (pod, net, other, id) = (unique("pod"), unique("net"), unique("other"), unique("refused"));
    make(&daemon, &pod, DEFAULT).await;
    make(&daemon, &net, SharedNamespaces { network: true, ..Default::default() }).await;
    calls::start(&mut client, daemon.request(&other, SLEEP)).await;
    let host = mode(Kind::Host);
    let own = mode(Kind::Own);
    let missing = unique("missing");
    let cases = [
        ("", NamespaceModes { pid: host.clone(), ..Default::default() }, "namespaces.pid", "procfs"),
        ("", NamespaceModes { pid: of(&other), ..Default::default() }, "namespaces.pid", "for user as well"),
        ("", NamespaceModes { network: of(&other), ..Default::default() }, "namespaces.network", "sysfs"),
        ("", NamespaceModes { uts: of(&missing), ..Default::default() }, "namespaces.uts", "no container"),
        ("", NamespaceModes { ipc: of(&id), ..Default::default() }, "namespaces.ipc", "no other container"),
        (
            "",
            NamespaceModes { ipc: mode(Kind::Sandbox), ..Default::default() },
            "namespaces.ipc",
            "joins none",
        ),
        (
            &pod,
            NamespaceModes { pid: mode(Kind::Sandbox), ..Default::default() },
            "namespaces.pid",
            "shares no pid",
        ),
        (&pod, NamespaceModes { user: own, ..Default::default() }, "namespaces.network", "sandbox for user"),
        (&net, NamespaceModes::default(), "namespaces.network", "sandbox for user"),
    ];
    for (sandbox, modes, field, words) in cases {
        let request =
            CreateRequest { sandbox: sandbox.into(), namespaces: Some(modes), ..daemon.request(&id, SLEEP) };
        let found = violations(&client.create(request).await.unwrap_err());
        assert_eq!(found.keys().collect::<Vec<_>>(), [field], "{found:?}");
        assert!(found[field].contains(words) && found[field].contains("hint: "), "{found:?}");
    }
    // With the remedy it works: root of the host owns every namespace.
    let modes = NamespaceModes { user: host, ..Default::default() };
    let request = within_sandbox(&daemon, &net, &id, SLEEP);
    calls::start(&mut client, CreateRequest { namespaces: Some(modes), ..request }).await;
    calls::delete(&mut client, &id).await;
    // A host name of its own in a namespace of others; and a bundle says itself what it is in.
    let mut named = within_sandbox(&daemon, &pod, &id, SLEEP);
    if let Some(Source::Rootfs(source)) = &mut named.source {
        source.hostname = "mine".into();
    }
    let found = violations(&client.create(named).await.unwrap_err());
    assert!(found["rootfs.hostname"].contains("shared"), "{found:?}");
    let bundle = CreateRequest {
        source: Some(Source::Bundle("/b".into())),
        namespaces: Some(NamespaceModes::default()),
        ..within_sandbox(&daemon, &pod, &id, SLEEP)
    };
    let found = violations(&client.create(bundle).await.unwrap_err());
    assert!(found["sandbox"].contains("linux.namespaces[].path"), "{found:?}");

    // Names are of one space, and sandboxes have to be there and to share something.
    let taken = client.create(daemon.request(&pod, SLEEP)).await.unwrap_err();
    assert_eq!(reason(&taken), (Code::AlreadyExists, "SANDBOX_EXISTS".into()));
    let mut pods = sandboxes(&daemon).await;
    let request = |id: &str| CreateSandboxRequest { id: id.into(), ..Default::default() };
    assert_eq!(reason(&pods.create(request(&other)).await.unwrap_err()).1, "CONTAINER_EXISTS");
    assert_eq!(reason(&pods.create(request(&pod)).await.unwrap_err()).1, "SANDBOX_EXISTS");
    let nothing = CreateSandboxRequest { shared: Some(SharedNamespaces::default()), ..request("x") };
    assert!(violations(&pods.create(nothing).await.unwrap_err()).contains_key("shared"));
    let nowhere = client.create(within_sandbox(&daemon, &missing, &id, SLEEP)).await.unwrap_err();
    assert_eq!(reason(&nowhere), (Code::NotFound, "SANDBOX_NOT_FOUND".into()));

    calls::delete(&mut client, &other).await;
    for id in [&pod, &net] {
        remove(&daemon, id, false).await.unwrap();
    }
    assert_nothing_left(&daemon, &[&pod, &net, &other, &id]);
    daemon.finish(&[&pod, &net, &other, &id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_was_killed_finds_sandboxes_and_containers_as_they_were() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, pod, id) = (Daemon::start(), unique("pod"), unique("member"));
    let before = make(&daemon, &pod, ALL).await;
    let mut client = daemon.containers().await;
    let member = calls::start(&mut client, within_sandbox(&daemon, &pod, &id, SLEEP)).await;
    daemon.kill();
    daemon.restart();
    let after = look(&daemon, &pod).await;
    let expected = Sandbox { containers: vec![id.clone()], ..before };
    assert_eq!(after, expected);
    let mut client = daemon.containers().await;
    let found = get(&mut client, &id).await;
    assert_eq!((found.pid, &found.sandbox, &found.namespaces), (member.pid, &pod, &member.namespaces));
    // It takes new ones as before, and its ids are not given to others.
    let late = unique("late");
    let late_one = calls::start(&mut client, within_sandbox(&daemon, &pod, &late, SLEEP)).await;
    assert_eq!((same(late_one.pid, member.pid), late_one.ids), ([true; 5], member.ids));
    let other = unique("other");
    assert_ne!(calls::start(&mut client, daemon.request(&other, SLEEP)).await.ids, member.ids);
    calls::delete(&mut client, &other).await;
    remove(&daemon, &pod, true).await.unwrap();
    assert_nothing_left(&daemon, &[&pod, &id, &late, &other]);
    daemon.finish(&[&pod, &id, &late, &other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_that_is_killed_while_it_makes_or_removes_one_leaves_a_whole_one_or_none() {
    if skip_unless_root() {
        return;
    }
    let mut daemon = Daemon::start();
    let mut ids = Vec::new();
    // The creation and the deletion are killed at different moments, from the first to beyond the last step.
    for step in 0..8_u64 {
        let (pod, member) = (unique("pod"), unique("member"));
        let mut pods = sandboxes(&daemon).await;
        let request = CreateSandboxRequest { id: pod.clone(), shared: Some(ALL), ..Default::default() };
        let making = tokio::spawn(async move { pods.create(request).await.is_ok() });
        tokio::time::sleep(std::time::Duration::from_millis(step * 25)).await;
        daemon.kill();
        daemon.restart();
        let answered = making.await.unwrap();
        let mut pods = sandboxes(&daemon).await;
        let found = pods.list(ListSandboxesRequest::default()).await.unwrap().into_inner().sandboxes;
        // A half-made one may still be on its way out.
        let kept = found.iter().find(|s| s.id == pod && s.because != "it is being deleted");
        assert!(!answered || kept.is_some(), "step {step}: it was answered, and is gone");
        if let Some(sandbox) = kept {
            assert_eq!(sandbox.status(), SandboxStatus::Ready, "step {step}: {sandbox:?}");
            let mut client = daemon.containers().await;
            calls::start(&mut client, within_sandbox(&daemon, &pod, &member, SLEEP)).await;
            let request = DeleteSandboxRequest { id: pod.clone(), force: true, ..Default::default() };
            let deleting = tokio::spawn(async move { pods.delete(request).await.is_ok() });
            tokio::time::sleep(std::time::Duration::from_millis(step * 5)).await;
            daemon.kill();
            daemon.restart();
            let answered = deleting.await.unwrap();
            let left = sandboxes(&daemon).await.list(ListSandboxesRequest::default()).await.unwrap();
            let left = left.into_inner().sandboxes;
            assert!(!answered || left.iter().all(|s| s.id != pod), "step {step}: {left:?}");
            // Either it had not begun, and all is as before, or it goes on to its end.
            if left.iter().any(|s| s.id == pod && s.status() == SandboxStatus::Ready) {
                remove(&daemon, &pod, true).await.unwrap();
            }
        }
        ids.extend([pod, member]);
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert!(until(DEADLINE, || places(&daemon)
        .iter()
        .all(|dir| { std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none()) })));
    assert_nothing_left(&daemon, &ids);
    daemon.finish(&ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_whose_namespaces_are_gone_says_so() {
    if skip_unless_root() {
        return;
    }
    let (mut daemon, pod) = (Daemon::start(), unique("pod"));
    let sandbox = make(&daemon, &pod, DEFAULT).await;
    // As after a restart of the machine: the records are there, and nothing is mounted.
    daemon.kill();
    for name in ["user", "net", "uts", "ipc", "shm"] {
        nix::mount::umount2(&Path::new(&sandbox.pins).join(name), nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    daemon.restart();
    let found = look(&daemon, &pod).await;
    assert_eq!((found.status(), found.namespaces.len()), (SandboxStatus::NotReady, 0));
    assert!(found.because.contains("delete it and make it again"), "{}", found.because);
    let refused =
        daemon.containers().await.create(within_sandbox(&daemon, &pod, &unique("late"), SLEEP)).await;
    assert_eq!(reason(&refused.unwrap_err()), (Code::FailedPrecondition, "SANDBOX_NOT_READY".into()));
    remove(&daemon, &pod, false).await.unwrap();
    let again = make(&daemon, &pod, DEFAULT).await;
    assert_eq!(again.namespaces.len(), 4);
    remove(&daemon, &pod, false).await.unwrap();
    assert_nothing_left(&daemon, &[&pod]);
    daemon.finish(&[&pod]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_creation_with_the_key_attaches_to_the_first_also_after_a_restart() {
    if skip_unless_root() {
        return;
    }
    let mut daemon = Daemon::start();
    let request = CreateSandboxRequest { idempotency_key: "one".into(), ..Default::default() };
    let make = async |daemon: &Daemon| -> String {
        let made = sandboxes(daemon).await.create(request.clone()).await.unwrap().into_inner();
        made.sandbox.unwrap().id
    };
    let id = make(&daemon).await;
    assert_eq!(make(&daemon).await, id);
    daemon.kill();
    daemon.restart();
    assert_eq!(make(&daemon).await, id);
    let mut operations = OperationsClient::new(daemon.channel().await);
    let known = operations.get(GetOperationRequest { key: "one".into() }).await.unwrap().into_inner();
    let known = known.operation.unwrap();
    assert_eq!((known.verb(), known.container.as_str()), (operation::Verb::CreateSandbox, id.as_str()));
    let all = sandboxes(&daemon).await.list(ListSandboxesRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.sandboxes.len(), 1);
    let reused = DeleteSandboxRequest { id: id.clone(), force: false, idempotency_key: "one".into() };
    let reused = sandboxes(&daemon).await.delete(reused).await.unwrap_err();
    assert_eq!(reason(&reused), (Code::InvalidArgument, "KEY_REUSED".into()));
    for _ in 0..2 {
        let request = DeleteSandboxRequest { id: id.clone(), force: false, idempotency_key: "two".into() };
        sandboxes(&daemon).await.delete(request).await.unwrap();
    }
    assert_nothing_left(&daemon, &[&id]);
    daemon.finish(&[&id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shares_what_with_whom_is_told() {
    if skip_unless_root() {
        return;
    }
    let (daemon, pod) = (Daemon::start(), unique("pod"));
    make(&daemon, &pod, ALL).await;
    let mut client = daemon.containers().await;
    let ids = [unique("a"), unique("b")];
    calls::start(&mut client, within_sandbox(&daemon, &pod, &ids[0], SLEEP)).await;
    let modes = NamespaceModes { network: mode(Kind::Host), ..Default::default() };
    calls::start(&mut client, CreateRequest { namespaces: Some(modes), ..daemon.request(&ids[1], SLEEP) })
        .await;
    let answer = client.namespaces(NamespacesRequest::default()).await.unwrap().into_inner();
    let names: Vec<_> = answer.owners.iter().map(|o| (o.kind(), o.id.as_str(), o.sandbox.as_str())).collect();
    use namespace_owner::Kind as Owner;
    let expected = [
        (Owner::Host, "", ""),
        (Owner::Sandbox, pod.as_str(), ""),
        (Owner::Container, ids[0].as_str(), pod.as_str()),
        (Owner::Container, ids[1].as_str(), ""),
    ];
    assert_eq!(names, expected);
    let sharers = |owner: usize, kind: &str| {
        answer.owners[owner].namespaces.iter().find(|n| n.r#type == kind).unwrap().sharers.clone()
    };
    assert_eq!((sharers(1, "pid"), sharers(2, "pid")), (vec![ids[0].clone()], vec![pod.clone()]));
    assert_eq!(sharers(0, "network"), [ids[1].clone()]);
    assert!(sharers(2, "mount").is_empty() && sharers(0, "user").is_empty());
    // The same of one.
    let one = client.namespaces(NamespacesRequest { id: ids[0].clone() }).await.unwrap().into_inner();
    let user = one.namespaces.iter().find(|n| n.r#type == "user").unwrap();
    assert_eq!((user.sharers.as_slice(), one.owners.len()), (&[pod.clone()][..], 0));
    let whole = client.namespaces(NamespacesRequest { id: pod.clone() }).await.unwrap().into_inner();
    assert_eq!(
        (whole.hostname.as_str(), whole.namespaces.len(), whole.uid_mappings.len()),
        (pod.as_str(), 5, 1)
    );
    for id in &ids {
        calls::delete(&mut client, id).await;
    }
    remove(&daemon, &pod, false).await.unwrap();
    assert_nothing_left(&daemon, &[&pod, &ids[0], &ids[1]]);
    daemon.finish(&[&pod, &ids[0], &ids[1]]);
}

#[test]
fn the_command_line_makes_joins_shows_and_removes_them() {
    if skip_unless_root() {
        return;
    }
    let (daemon, pod, web) = (Daemon::start(), unique("pod"), unique("web"));
    let made = daemon.sextant(&[
        "sandbox",
        "create",
        "--name",
        &pod,
        "--share",
        "network,user,uts,ipc,pid",
        "-l",
        "a=b",
    ]);
    assert_eq!(made.ok().stdout, format!("{pod}\n"));
    daemon.sextant_run(&["-d", "--name", &web, "--sandbox", &pod, "--pid", "own"], SLEEP).ok();
    let seen = daemon.sextant_run(&["--rm", "--sandbox", &pod], &["/bin/probe"]).ok().seen();
    assert_eq!(seen.hostname, pod);
    assert!(
        seen.processes.iter().any(|p| p.pid == 1) && seen.pid > 1,
        "the init is number 1: {:?}",
        seen.processes
    );
    let listed = daemon.sextant(&["sandbox", "ls"]).ok().stdout;
    assert!(
        listed.contains(&web) && listed.contains("ready") && listed.contains("user,pid,network,uts,ipc"),
        "{listed}"
    );
    assert_eq!(daemon.sextant(&["sandbox", "ls", "-q", "-F", "label=a"]).ok().stdout, format!("{pod}\n"));
    let inspected = json_of(&daemon.sextant(&["sandbox", "inspect", &pod]).ok().stdout);
    assert_eq!(inspected[0]["containers"][0], web.as_str());
    let container = json_of(&daemon.sextant(&["inspect", &web]).ok().stdout);
    assert_eq!(
        (&container[0]["sandbox"], &container[0]["namespaces"]["pid"]),
        (&pod.as_str().into(), &"own".into())
    );
    let listed = daemon.sextant(&["ps", "--all", "-q"]).ok().stdout;
    assert_eq!(listed, format!("{web}\n"), "its init is in no list");
    // All of them: a table with the same letter for both, a graph, a picture.
    let table = daemon.sextant(&["ns"]).ok().stdout;
    let words = |name: &str| -> Vec<String> {
        let line = table
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap_or_else(|| panic!("{table}"));
        line.split_whitespace().skip(2).map(ToOwned::to_owned).collect()
    };
    let (of_pod, of_web) = (words(&pod), words(&web));
    assert_eq!((&of_pod[0], &of_web[1]), (&of_web[0], &"own".to_owned()), "{table}");
    assert_eq!((&of_pod[2..5], words("host")[7].as_str()), (&of_web[2..5], "host"), "{table}");
    let dot = daemon.sextant(&["ns", "--dot"]).ok().stdout;
    assert!(
        dot.starts_with("graph namespaces {") && dot.contains(&format!("container {web}\\nown: pid")),
        "{dot}"
    );
    let svg = daemon.sextant(&["ns", "--svg"]).ok().stdout;
    assert!(svg.starts_with("<svg ") && svg.contains(&format!(">{web}</text>")), "{svg}");
    let one = daemon.sextant(&["ns", &web]).ok().stdout;
    assert!(one.contains(&format!("with {pod}")), "{one}");
    assert!(daemon.sextant(&["ns", &pod]).ok().stdout.contains(&format!("with {web}")));

    daemon.sextant(&["sandbox", "rm", &pod]).failed_with(&["has containers", &web, "force"]);
    assert_eq!(daemon.sextant(&["sandbox", "rm", "--force", &pod]).ok().stdout, format!("{pod}\n"));
    daemon.sextant(&["sandbox", "rm", &pod]).failed_with(&["there is no sandbox"]);
    assert_nothing_left(&daemon, &[&pod, &web]);
    daemon.finish(&[&pod, &web]);
}
