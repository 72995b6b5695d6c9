//! How the daemon serves: its configuration, who may connect, what systemd is
//! told, and what becomes of too much.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sextant_integration::bundle::temp_dir;
use sextant_integration::calls::{delete, start};
use sextant_integration::process::{DEADLINE, Ran, run, until, wait};
use sextant_integration::{Daemon, binary, skip_unless_root, unique};
use sextant_proto::v1::event::Kind;
use sextant_proto::v1::{CreateRequest, Event, EventsRequest, ListRequest};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Who is nobody on Debian; no group of it is used here.
const SOMEBODY: u32 = 65534;
/// A group without a name.
const GROUP: u32 = 54321;

/// A daemon that is not waited for, and ends with this.
struct Bare {
    child: Child,
    log: std::path::PathBuf,
}

impl Bare {
    fn spawn(command: &mut Command, dir: &Path) -> Self {
        let log = dir.join("log");
        let file = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn terminate(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(wait(&mut self.child).unwrap().success(), "{}", self.log());
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

fn sextantd(dir: &Path) -> Command {
    let mut command = Command::new(binary("sextantd"));
    command.arg("--root").arg(dir.join("root")).arg("--state").arg(dir.join("state"));
    command
}

/// The program, by a shell that does something before: what concerns its own pid, as systemd would.
fn through_shell(before: &str, program: &Command) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{before}; exec \"$@\"")).arg("sh");
    command.arg(program.get_program()).args(program.get_args());
    command
}

fn ask(address: &str, args: &[&str]) -> Ran {
    run(Command::new(binary("sextant")).args(["--address", address]).args(args), temp_dir().path())
}

#[test]
fn the_file_is_read_and_all_its_mistakes_are_said_at_once() {
    let dir = temp_dir();
    let file = dir.path().join("sextantd.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        run(Command::new(binary("sextantd")).arg("--check").arg("--config").arg(&file), dir.path())
    };
    let decided = check("root = \"/srv/x\"\nmax-calls = 12\nlisten = [\"unix:/run/x.sock\"]\n");
    assert_eq!(decided.code, 0, "{decided:?}");
    for line in
        ["root = \"/srv/x\"", "max-calls = 12", "listen = [\"unix:/run/x.sock\"]", "shutdown = \"leave\""]
    {
        assert!(decided.stdout.lines().any(|l| l == line), "{line}\n{decided:?}");
    }
    let refused = check("roote = \"/srv/x\"\nmax-calls = \"many\"\nstate = \"x\n");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 3, "{refused:?}");
    assert!(refused.stderr.contains("sextantd.toml:1:1: roote: there is no such setting; root is meant?"));
    let refused = check("max-calls = 0\nroot = \"here\"\nlisten = \"tcp:127.0.0.1:1\"\n");
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in
        ["toml:1:1: max-calls: 0", "toml:2:1: root: here: not an absolute path", "--tls-cert: TLS takes"]
    {
        assert!(refused.stderr.contains(part), "{part}\n{refused:?}");
    }
}

#[test]
fn members_of_the_group_may_connect_and_others_may_not() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start_with(&["--group", &GROUP.to_string()]);
    let socket = daemon.dir().join("socket");
    let found = std::fs::metadata(&socket).unwrap();
    assert_eq!((found.mode() & 0o777, found.gid()), (0o660, GROUP));
    let state = std::fs::metadata(daemon.dir().join("state")).unwrap();
    assert_eq!((state.mode() & 0o777, state.gid()), (0o710, GROUP));
    // Somebody comes through the directory of this test, with a copy of the program that he may execute.
    std::fs::set_permissions(daemon.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = daemon.dir().join("sextant");
    std::fs::copy(binary("sextant"), &program).unwrap();
    let as_somebody = |gid: u32| {
        let mut command = Command::new(&program);
        run(command.args(["--address", &daemon.address(), "ps"]).uid(SOMEBODY).gid(gid), temp_dir().path())
    };
    assert_eq!(as_somebody(GROUP).code, 0);
    let refused = as_somebody(SOMEBODY);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("--group"), "{refused:?}");
    daemon.finish(&[]);
}

#[test]
fn without_a_group_the_socket_is_its_owners() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start();
    let mode = |name: &str| std::fs::metadata(daemon.dir().join(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("socket"), mode("state")), (0o600, 0o700));
    daemon.finish(&[]);
}

#[test]
fn systemd_hears_when_it_serves_that_it_lives_and_when_it_ends() {
    let dir = temp_dir();
    let told = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    told.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut daemon = sextantd(dir.path());
    daemon.arg("--listen").arg(format!("unix:{}/socket", dir.path().display()));
    let mut command = through_shell("export WATCHDOG_PID=$$", &daemon);
    command.env("NOTIFY_SOCKET", dir.path().join("notify")).env("WATCHDOG_USEC", "100000");
    let mut daemon = Bare::spawn(&mut command, dir.path());
    let hear = || {
        let mut bytes = [0; 4096];
        let length = told.recv(&mut bytes).unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let first = hear();
    assert!(first.contains("READY=1") && first.contains("STATUS=0 containers, 0 running"), "{first}");
    assert!(dir.path().join("socket").exists());
    for _ in 0..3 {
        assert!(hear().contains("WATCHDOG=1"));
    }
    kill(Pid::from_raw(daemon.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    while !hear().contains("STOPPING=1") {}
    assert!(wait(&mut daemon.child).unwrap().success(), "{}", daemon.log());
}

#[test]
fn a_socket_that_systemd_passes_is_served_and_stays() {
    let dir = temp_dir();
    let socket = dir.path().join("passed");
    let listener = UnixListener::bind(&socket).unwrap();
    // Without close-on-exec, for the shell, which is LISTEN_PID until it becomes the daemon.
    let passed = nix::unistd::dup(listener.as_fd()).unwrap();
    let before = format!("exec 3<&{}; export LISTEN_FDS=1 LISTEN_PID=$$", passed.as_raw_fd());
    let mut command = through_shell(&before, &sextantd(dir.path()));
    let mut daemon = Bare::spawn(&mut command, dir.path());
    drop((passed, listener));
    // Who connects before it serves waits for it.
    let answered = ask(&format!("unix:{}", socket.display()), &["ps"]);
    assert_eq!(answered.code, 0, "{answered:?}\n{}", daemon.log());
    daemon.terminate();
    assert!(socket.exists(), "it is systemd's");
}

#[test]
fn what_is_passed_and_no_socket_is_refused() {
    let dir = temp_dir();
    let before = "exec 3</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$";
    let mut command = through_shell(before, &sextantd(dir.path()));
    let ran = run(&mut command, dir.path());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("descriptor 3 is no listening unix socket"), "{ran:?}");
}

/// `ca`, `server`, `client`, and `stranger`, whom another authority has signed: NAME.pem and NAME.key.
fn certificates(dir: &Path) {
    let openssl = |args: &[&str]| {
        let ran = run(Command::new("openssl").args(args).current_dir(dir), dir);
        assert_eq!(ran.code, 0, "{args:?} {ran:?}");
    };
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    for ca in ["ca", "other"] {
        let (key, pem, subject) = (format!("{ca}.key"), format!("{ca}.pem"), format!("/CN={ca}"));
        openssl(
            &[
                &["req", "-x509", "-days", "2", "-keyout", &key, "-out", &pem, "-subj", &subject],
                &new_key[..],
            ]
            .concat(),
        );
    }
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    for (name, ca) in [("server", "ca"), ("client", "ca"), ("stranger", "other")] {
        let file = |end: &str| format!("{name}.{end}");
        let (ca_pem, ca_key) = (format!("{ca}.pem"), format!("{ca}.key"));
        openssl(
            &[&["req", "-keyout", &file("key"), "-out", &file("csr"), "-subj", "/CN=x"], &new_key[..]]
                .concat(),
        );
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &file("csr"),
            "-CA",
            &ca_pem,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            "names",
            "-out",
            &file("pem"),
        ]);
    }
}

#[test]
fn over_tcp_both_sides_show_a_certificate() {
    let dir = temp_dir();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name);
    let mut command = sextantd(dir.path());
    command.arg("--listen=tcp:127.0.0.1:0").arg("--tls-cert").arg(path("server.pem"));
    command.arg("--tls-key").arg(path("server.key")).arg("--tls-client-ca").arg(path("ca.pem"));
    let mut daemon = Bare::spawn(&mut command, dir.path());
    let mut address = None;
    assert!(
        until(DEADLINE, || {
            let log = daemon.log();
            address =
                log.split("listen=\"tcp:").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
            address.is_some()
        }),
        "{}",
        daemon.log()
    );
    let address = format!("tcp:{}", address.unwrap());
    let as_who = |ca: &str, name: &str| {
        let files = [path(ca), path(&format!("{name}.pem")), path(&format!("{name}.key"))];
        let [ca, cert, key] = files.each_ref().map(|file| file.to_str().unwrap());
        ask(&address, &["--tls-ca", ca, "--tls-cert", cert, "--tls-key", key, "ps"])
    };
    let welcome = as_who("ca.pem", "client");
    assert_eq!(welcome.code, 0, "{welcome:?}\n{}", daemon.log());
    // Who connects and says nothing keeps nobody waiting.
    let silent: Vec<_> =
        (0..24).map(|_| std::net::TcpStream::connect(address.trim_start_matches("tcp:")).unwrap()).collect();
    let welcome = as_who("ca.pem", "client");
    assert_eq!(welcome.code, 0, "{welcome:?}\n{}", daemon.log());
    assert!(!daemon.log().contains("showed no certificate"), "it had to wait for them\n{}", daemon.log());
    drop(silent);
    let stranger = as_who("ca.pem", "stranger");
    assert_eq!(stranger.code, 1, "{stranger:?}");
    let deceived = as_who("other.pem", "client");
    assert_eq!(deceived.code, 1, "{deceived:?}");
    let nobody = ask(&address, &["ps"]);
    assert!(nobody.stderr.contains("--tls-ca is missing"), "{nobody:?}");
    daemon.terminate();
}

/// The limit that a refusal names.
fn limit(status: &Status) -> String {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("LIMIT_REACHED", "sextant"));
    info.metadata["limit"].clone()
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_works_again_later() {
    if skip_unless_root() {
        return;
    }
    let daemon = Daemon::start_with(&[
        "--max-calls-per-connection=2",
        "--max-calls=3",
        "--max-message=4096",
        "--max-connections=3",
    ]);
    let (mut system, mut containers) = (daemon.system().await, daemon.containers().await);
    let follow = EventsRequest { follow: true, ..EventsRequest::default() };
    let held = [system.events(follow.clone()).await.unwrap(), system.events(follow.clone()).await.unwrap()];
    let refused = system.events(follow.clone()).await.unwrap_err();
    assert_eq!(limit(&refused), "max-calls-per-connection");
    assert!(refused.message().contains("raise max-calls-per-connection"), "{refused:?}");
    let third = containers.list(ListRequest::default()).await.unwrap();
    assert!(third.into_inner().containers.is_empty());
    let mut other = daemon.system().await;
    let last = other.events(follow).await.unwrap();
    assert_eq!(limit(&containers.list(ListRequest::default()).await.unwrap_err()), "max-calls");
    // Health is answered all the same, and on a connection that is one too many.
    let one_too_many = daemon.channel().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(one_too_many.clone());
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    drop((held, last, other));
    let mut beyond = sextant_proto::v1::containers_client::ContainersClient::new(one_too_many);
    assert_eq!(limit(&beyond.list(ListRequest::default()).await.unwrap_err()), "max-connections");
    let long = CreateRequest { id: "x".repeat(8192), ..CreateRequest::default() };
    assert_eq!(limit(&containers.create(long).await.unwrap_err()), "max-message");
    loop {
        match containers.list(ListRequest::default()).await {
            Ok(_) => break,
            // The daemon has yet to hear that the streams were given up.
            Err(status) => assert_eq!(limit(&status), "max-calls"),
        }
    }
    drop((system, containers, beyond, health));
    daemon.finish(&[]);
}

#[test]
fn told_to_stop_it_leaves_containers_or_stops_them_as_configured() {
    if skip_unless_root() {
        return;
    }
    for (shutdown, runs) in [("leave", true), ("stop", false)] {
        let id = unique("shutdown");
        let mut daemon = Daemon::start_with(&["--shutdown", shutdown]);
        daemon.sextant_run(&["--detach", "--name", &id], &["/bin/probe", "sleep", "1000"]).ok();
        daemon.terminate();
        let log = daemon.log();
        daemon.restart();
        let shown = daemon.sextant(&["inspect", &id]).ok().json()[0].clone();
        assert_eq!(shown["status"] == "running", runs, "{shutdown}: {shown}\n{log}");
        daemon.sextant(&["rm", "--force", &id]).ok();
        daemon.finish(&[&id]);
    }
}

/// Heaps of a process beside its first one: glibc maps each at a multiple of its largest size, and makes of that
/// usable what it needs.
fn further_heaps(pid: u32) -> usize {
    const LARGEST: u64 = 64 << 20;
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let maps: Vec<(u64, u64, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (range, rights) = (words.next()?, words.next()?);
            // Those of files have a name.
            let (begin, end) = range.split_once('-').filter(|_| words.nth(3).is_none())?;
            Some((u64::from_str_radix(begin, 16).ok()?, u64::from_str_radix(end, 16).ok()?, rights))
        })
        .collect();
    let is_heap = |pair: &&[(u64, u64, &str)]| match pair {
        [(begin, end, "rw-p"), (next, last, "---p")] => {
            begin.is_multiple_of(LARGEST) && end == next && *last == begin + LARGEST
        }
        _ => false,
    };
    maps.windows(2).filter(is_heap).count()
}

#[tokio::test]
async fn all_threads_share_two_heaps() {
    if skip_unless_root() {
        return;
    }
    let (daemon, id) = (Daemon::start(), unique("heaps"));
    let mut client = daemon.containers().await;
    start(&mut client, daemon.request(&id, &["/bin/probe", "sleep", "1000"])).await;
    delete(&mut client, &id).await;
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().count();
    assert!(tasks > 3, "{tasks} threads");
    assert_eq!(further_heaps(daemon.pid()), 1);
    daemon.finish(&[&id]);
}

/// KiB of this line of its `/proc/PID/status`.
fn kib(pid: u32, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.trim().strip_suffix(" kB")).unwrap();
    value.parse().unwrap()
}

#[test]
fn a_journal_of_events_at_its_bound_takes_little_memory_to_begin_with() {
    if skip_unless_root() {
        return;
    }
    const BOUND: usize = 4 << 20;
    let mut daemon = Daemon::start();
    let before = kib(daemon.pid(), "VmHWM:");
    daemon.kill();
    let mut journal = Vec::new();
    for seq in 1.. {
        let (kind, container) = (Kind::Started.into(), format!("it-{:032}", seq / 5));
        let at = Some(std::time::SystemTime::now().into());
        let event = Event { seq, kind, container, at, pid: 4242, container_seq: 2, ..Event::default() };
        let record = sextant_proto::journal::encode(&event).unwrap();
        if journal.len() + record.len() > BOUND {
            break;
        }
        journal.extend(record);
    }
    std::fs::write(daemon.dir().join("root/events"), &journal).unwrap();
    daemon.restart();
    let more = kib(daemon.pid(), "VmHWM:").saturating_sub(before);
    // All at once would take a hundred.
    assert!(more < 32 << 10, "{more} KiB more than without");
    daemon.finish(&[]);
}
