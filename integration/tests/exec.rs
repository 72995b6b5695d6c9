//! `exec`: one more process of a container, as whoever drives runc uses it; seen
//! by the probe from inside, and from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use serde_json::{Value, json};
use sextant_integration::bundle::{copy_program, temp_dir};
use sextant_integration::process::{DEADLINE, Ran, until};
use sextant_integration::seen::Seen;
use sextant_integration::{Bundle, Running, Runtime, skip, skip_unless_root, unique};
use sextant_runtime::contract::wait_point::{Heard, START};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

fn sleeper() -> Bundle {
    Bundle::new().sleeping()
}

/// Executes a process file of this content.
#[track_caller]
fn exec_file(running: &Running, process: &Value, flags: &[&str]) -> Ran {
    let path = running.runtime.dir().join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    running.exec(&[&["--process", path.to_str().unwrap()], flags].concat(), &[])
}

/// Failed before its process began.
#[track_caller]
fn refused(ran: Ran, words: &[&str]) {
    let text = ran.stderr.to_lowercase();
    assert_eq!(ran.code, 255, "stdout: {}\nstderr: {}", ran.stdout, ran.stderr);
    for word in words {
        assert!(text.contains(&word.to_lowercase()), "{word:?} is not in: {}", ran.stderr);
    }
}

// proves: exec by flags
#[test]
fn it_is_one_more_process_of_the_container() {
    if skip_unless_root() {
        return;
    }
    for bundle in [sleeper(), Bundle::without_user().sleeping()] {
        let time = json!({"type": "time"});
        let bundle = bundle
            .set("/linux/namespaces/-", time)
            .set("/linux/timeOffsets", json!({"monotonic": {"secs": 1000}}))
            .set("/process/user/umask", json!(0o27))
            .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]))
            .set("/process/oomScoreAdj", json!(500))
            .set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW",
                       "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]}),
            );
        let running = Running::start(bundle);
        let pid = running.pid;
        let ran = running.exec(&[], &["/bin/probe", "--mkdir", "/tmp/x"]).ok();
        let seen = ran.seen();
        assert!(seen.pid > 1 && seen.ppid == 0 && seen.session == i32::try_from(seen.pid).unwrap());
        for (name, inode) in &seen.namespaces {
            let link = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
            assert!(link.to_string_lossy().contains(&format!("[{inode}]")), "{name}: {inode}, not {link:?}");
        }
        assert_eq!(seen.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{:?}", seen.fds);
        assert_eq!((seen.umask, seen.oom_score_adj, seen.seccomp, seen.no_new_privs), (0o27, 500, 2, true));
        assert_eq!(seen.rlimits["Max open files"], (Some(100), Some(200)));
        let wanted = seen.capabilities.bounding;
        let caps = seen.capabilities;
        assert!(wanted != 0 && caps.permitted == wanted && caps.effective == wanted, "{caps:?}");
        assert_eq!((caps.inheritable, caps.ambient), (0, 0), "CVE-2022-29162");
        assert_eq!(json!(seen.mkdirs["/tmp/x"]), json!({"errno": 99}));
        assert_eq!(seen.env, ["PATH=/bin", "TERM=xterm", "HOME=/"]);
        running.end();
    }
}

/// Without CAP_SYS_RESOURCE nobody limits the process of another user: it limits itself.
#[test]
fn limits_are_in_force_for_another_user() {
    if skip_unless_root() {
        return;
    }
    let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    let bundle = Bundle::without_user().set("/process/rlimits", limit).set("/process/user/uid", json!(7));
    let nofile = |seen: &Seen| (seen.uid[0], seen.rlimits["Max open files"]);
    let seen = Runtime::new().run(&bundle, &unique("limit")).ok().seen();
    assert_eq!(nofile(&seen), (7, (Some(100), Some(200))));
    let running = Running::start(bundle.sleeping());
    assert_eq!(nofile(&running.seen(&[])), (7, (Some(100), Some(200))));
    running.end();
}

#[test]
fn a_process_file_that_is_missing_is_told_as_one() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let ran = running.runtime.call(["exec", "--process", "/nowhere.json", &running.id]);
    assert!(!ran.stderr.contains("bundle"), "{}", ran.stderr);
    refused(ran, &["read the process", "/nowhere.json"]);
    running.end();
}

/// Root without CAP_SYS_ADMIN has it in the user namespace only that he owns: as
/// somebody who is not root has.
#[test]
fn rights_inside_the_user_namespace_are_enough() {
    if skip_unless_root() {
        return;
    }
    let setpriv = ["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
    if !std::process::Command::new("setpriv").args(setpriv).arg("true").status().is_ok_and(|s| s.success()) {
        return skip("needs setpriv");
    }
    let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    let bundle = sleeper().set("/process/oomScoreAdj", json!(500)).set("/process/rlimits", limit);
    let running = Running::start(bundle);
    let exec = |command: &[&str]| {
        let runtime = running.runtime.command();
        let mut less = std::process::Command::new("setpriv");
        less.args(setpriv).arg(runtime.get_program()).args(runtime.get_args());
        less.args(["exec", &running.id]).args(command);
        sextant_integration::process::run(&mut less, running.runtime.dir())
    };
    let seen = exec(&["/bin/probe"]).ok().seen();
    let pid = running.pid;
    for (name, inode) in &seen.namespaces {
        let link = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert!(link.to_string_lossy().contains(&format!("[{inode}]")), "{name}: {inode}, not {link:?}");
    }
    assert_eq!((seen.uid[0], seen.ppid, seen.oom_score_adj), (0, 0, 500));
    assert_eq!(seen.rlimits["Max open files"], (Some(100), Some(200)));
    assert_eq!(seen.fds.len(), 3, "{:?}", seen.fds);
    exec(&["/bin/probe", "exit", "4"]).exited(4);
    refused(exec(&["/bin/nothing"]), &["no such file"]);
    running.end();
}

#[test]
fn it_is_in_the_cgroup_of_the_container() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    running.exec(&["--detach", "--pid-file", "pid"], &["/bin/probe", "sleep", "1000"]).ok();
    let of = |pid: &str| fs::read_to_string(format!("/proc/{}/cgroup", pid.trim())).unwrap();
    let pid = fs::read_to_string("pid").unwrap();
    fs::remove_file("pid").unwrap();
    assert_eq!(of(&pid), of(&running.runtime.pid(&running.id).to_string()));
    running.end();
}

#[test]
fn its_exit_is_ours() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    for code in [0, 1, 42, 255] {
        running.exec(&[], &["/bin/probe", "exit", &code.to_string()]).exited(code);
    }
    running.exec(&[], &["/bin/probe", "signal", "9"]).exited(137);
    let said = running.exec(&[], &["--", "/bin/echo", "-x", "--detach"]).ok();
    assert_eq!(said.stdout, "-x --detach\n");
    running.end();
}

#[test]
fn flags_change_the_process() {
    if skip_unless_root() {
        return;
    }
    let bundle = sleeper().set("/process/noNewPrivileges", json!(false));
    let running = Running::start(bundle.set("/process/user/additionalGids", json!([5])));
    let flags = ["--cwd", "/home", "-e", "A=1", "--env", "PATH=/bin:/x", "-u", "7:8", "-g", "9"];
    let seen = running.seen(&flags);
    assert_eq!((seen.cwd.as_str(), &seen.uid[..], &seen.gid[..]), ("/home", &[7; 4][..], &[8; 4][..]));
    assert_eq!(seen.groups, [5, 9]);
    assert_eq!(seen.env, ["PATH=/bin:/x", "TERM=xterm", "A=1", "HOME=/"]);
    assert_eq!(seen.capabilities.effective, 0, "another user");
    assert!(!seen.no_new_privs);
    let seen = running.seen(&["--no-new-privs", "--cap", "CAP_SYS_TIME", "-c", "CAP_NET_RAW"]);
    let more = 1 << 25 | 1 << 13;
    for set in [seen.capabilities.bounding, seen.capabilities.permitted, seen.capabilities.effective] {
        assert_eq!(set & more, more, "{:?}", seen.capabilities);
    }
    assert_eq!((seen.capabilities.inheritable, seen.capabilities.ambient), (0, 0));
    assert!(seen.no_new_privs);
    running.end();
}

#[test]
fn the_environment_can_come_from_a_file_that_nobody_else_reads() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let dir = temp_dir();
    let file = dir.path().join("environ");
    std::fs::write(&file, "A=two\nlines\0B=of the file\0PATH=/x\0").unwrap();
    let seen = running.seen(&["--env-file", file.to_str().unwrap(), "-e", "B=of the flag"]);
    for variable in ["A=two\nlines", "B=of the flag", "PATH=/x"] {
        assert!(seen.env.iter().any(|v| v == variable), "{variable:?}: {:?}", seen.env);
    }
    assert_eq!(seen.env.iter().filter(|v| v.starts_with("B=")).count(), 1, "{:?}", seen.env);
    let absent = dir.path().join("absent");
    let refused = running.exec(&["--env-file", absent.to_str().unwrap()], &["/bin/true"]).exited(255);
    assert!(
        refused.stderr.contains("read the environment in") && refused.stderr.contains("ENOENT"),
        "{refused:?}"
    );
    running.end();
}

// proves: exec by --process
#[test]
fn a_process_file_says_it_all_but_what_it_leaves_out() {
    if skip_unless_root() {
        return;
    }
    let bundle = sleeper()
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]))
        .set("/process/user/umask", json!(0o77));
    let running = Running::start(bundle);
    let process =
        json!({"args": ["/bin/probe"], "cwd": "/tmp", "env": ["B=2"], "user": {"uid": 3, "gid": 4}});
    let seen = exec_file(&running, &process, &[]).ok().seen();
    assert_eq!((seen.cwd.as_str(), seen.uid[0], seen.gid[0], seen.umask), ("/tmp", 3, 4, 0o77));
    assert_eq!(seen.env, ["B=2", "HOME=/"]);
    assert!(!seen.no_new_privs, "false where it says nothing, as runc has it");
    assert_ne!(seen.capabilities.bounding, 0, "the container's own");
    assert_eq!(seen.rlimits["Max open files"], (Some(100), Some(200)));

    let process = json!({"args": ["/bin/probe"], "cwd": "/", "user": {"uid": 0, "gid": 0, "umask": 2},
        "noNewPrivileges": true, "capabilities": {"bounding": ["CAP_KILL", "CAP_NONE"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]});
    let seen = exec_file(&running, &process, &[]).ok().seen();
    assert_eq!((seen.capabilities.bounding, seen.capabilities.effective), (1 << 5, 0));
    assert_eq!((seen.umask, seen.no_new_privs), (2, true));
    assert_eq!(seen.rlimits["Max open files"], (Some(50), Some(60)));
    running.end();
}

#[test]
fn mistakes_are_told_with_their_place() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    for (flags, command, words) in [
        (&["--cwd", "home"][..], &["/bin/true"][..], &["/process/cwd", "not absolute"][..]),
        (&["-u", "root"], &["/bin/true"], &["\"root\"", "is not an id"]),
        (&["-u", "70000"], &["/bin/true"], &["/process/user/uid", "not mapped"]),
        (&["-e", "NOVALUE"], &["/bin/true"], &["/process/env/2", "KEY=VALUE"]),
        (&[], &["/bin/nothing"], &["exec: \"/bin/nothing\"", "no such file or directory"]),
        (&[], &["nothing"], &["exec: \"nothing\"", "executable file not found in $PATH"]),
        (&[], &["/etc/passwd"], &["permission denied"]),
        (&["--cwd", "/nowhere"], &["/bin/true"], &["/process/cwd", "ENOENT"]),
        (&[], &[], &["args cannot be empty"]),
        (&["--detach", "--tty"], &["/bin/true"], &["console socket"]),
        (&["--pid-file", "/nowhere/pid"], &["/bin/true"], &["/nowhere/pid", "ENOENT"]),
        (&["--cgroup", "../x"], &["/bin/true"], &["not a sub cgroup"]),
        (&["--cgroup", "nope"], &["/bin/true"], &["ENOENT", "nope"]),
        (&["--cgroup", "nope:x"], &["/bin/true"], &["no cgroup of the controller nope"]),
    ] {
        refused(running.exec(flags, command), words);
    }
    for (process, words) in [
        (json!({"args": [], "cwd": "/"}), &["/args", "nothing to execute"][..]),
        (json!({"args": ["a"], "cwd": 7}), &["/cwd", "process.json"]),
        (json!(["a"]), &["not a JSON object"]),
    ] {
        let ran = exec_file(&running, &process, &[]);
        assert!(!ran.stderr.contains("/process/"), "pointers are those of the file: {}", ran.stderr);
        refused(ran, words);
    }
    let twice = exec_file(&running, &json!({"args": ["/bin/true"], "cwd": "/"}), &["--", "x"]);
    refused(twice, &["given twice"]);
    running.end();
}

#[test]
fn the_bundle_is_not_asked_again() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    fs::write(running.bundle.dir().join("config.json"), "changed").unwrap();
    running.seen(&[]);
    running.end();
}

#[test]
fn states_in_which_it_works() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) = (Runtime::new(), unique("created"), sleeper());
    runtime.create(&bundle, &id).ok();
    let pid = runtime.pid(&id);
    let running = Running { runtime, bundle, id, pid };
    running.exec(&[], &["/bin/true"]).ok();
    let call = |verb: &str| running.runtime.call([verb, &running.id]).ok();
    call("start");
    call("pause");
    refused(running.exec(&[], &["/bin/true"]), &["paused", "--ignore-paused"]);
    let mut late = running.runtime.command();
    let mut late =
        late.args(["exec", "--ignore-paused", &running.id, "/bin/probe", "exit", "9"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(late.try_wait().unwrap().is_none(), "it begins when the container is resumed");
    call("resume");
    assert_eq!(late.wait().unwrap().code(), Some(9));
    running.runtime.call(["kill", &running.id, "KILL"]).ok();
    running.runtime.wait_stopped(&running.id);
    refused(running.exec(&[], &["/bin/true"]), &["stopped container"]);
    refused(running.runtime.call(["exec", "nobody", "/bin/true"]), &["nobody", "not exist"]);
    running.end();
}

#[test]
fn it_ends_with_the_container() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let mut command = running.runtime.command();
    let mut exec = command.args(["exec", &running.id, "/bin/probe", "sleep", "1000"]).spawn().unwrap();
    let inside = || running.seen(&[]).processes.len() >= 3;
    assert!(until(DEADLINE, inside));
    running.runtime.call(["kill", &running.id, "KILL"]).ok();
    assert_eq!(exec.wait().unwrap().code(), Some(137));
    running.end();
}

#[test]
fn signals_are_passed_on() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let mut command = running.runtime.command();
    command.args(["exec", &running.id, "/bin/probe", "sleep", "1000", "--term-exit", "6"]);
    let mut exec = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(exec.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(exec.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(exec.wait().unwrap().code(), Some(6));
    running.end();
}

// proves: exec with a terminal
#[test]
fn a_terminal_for_a_console_socket() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let path = running.runtime.dir().join("console.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    running.exec(&["--tty", "--detach", "--console-socket", socket], &["/bin/probe"]).ok();
    let (stream, _) = listener.accept().unwrap();
    let master = receive(&stream).expect("a terminal was sent");
    let mut output = String::new();
    let text = until(DEADLINE, || {
        let mut bytes = [0; 65536];
        match nix::unistd::read(&master, &mut bytes) {
            Ok(n) => output.push_str(&String::from_utf8_lossy(&bytes[..n])),
            Err(_) => return true, // EIO: the process has ended
        }
        output.contains("\r\n")
    });
    assert!(text, "{output}");
    let seen = sextant_integration::process::parse_seen(&output).unwrap();
    assert_ne!(seen.tty, 0, "a controlling terminal");
    assert!(seen.fds.values().all(|fd| fd.starts_with("/dev/pts/")), "{:?}", seen.fds);
    refused(running.exec(&["--console-socket", socket], &["/bin/true"]), &["console socket"]);
    drop((listener, stream));
    running.end();
}

fn receive(stream: &std::os::unix::net::UnixStream) -> Option<OwnedFd> {
    use nix::sys::socket::{ControlMessageOwned, recvmsg};
    let mut text = [0; 64];
    let mut text = [std::io::IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut text, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let fd = message.cmsgs().unwrap().find_map(|m| match m {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    fd.map(sextant_integration::sys::adopt)
}

// proves: exec into a sub-cgroup
#[test]
fn into_a_sub_cgroup() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let pid = running.pid;
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let place = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (name, path) = (fields.next()?, fields.next()?);
        let root = Path::new("/sys/fs/cgroup");
        let mounts = [root.join(name.trim_start_matches("name=")), root.join("unified")];
        mounts.into_iter().map(|m| m.join(path.trim_start_matches('/'))).find(|p| p.is_dir())
    };
    let places: Vec<_> = lines.lines().filter_map(place).filter(|p| p.ends_with(&running.id)).collect();
    if places.is_empty() {
        return skip("the container has no cgroup");
    }
    for place in &places {
        let below = place.join("below");
        fs::create_dir(&below).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(text), true) = (fs::read_to_string(place.join(file)), below.join(file).exists()) {
                fs::write(below.join(file), text).ok();
            }
        }
    }
    let seen = running.seen(&["--cgroup", "/below"]);
    let inside: Vec<_> = seen.cgroups.iter().filter(|line| line.ends_with("/below")).collect();
    assert_eq!(inside.len(), places.len(), "{:?}", seen.cgroups);
    if seen.cgroups.iter().any(|line| line.contains(":pids:")) {
        let seen = running.seen(&["--cgroup", "pids,memory:below"]);
        let names =
            |line: &&String| line.ends_with("/below").then(|| line.split(':').nth(1).unwrap().to_owned());
        let mut inside: Vec<_> = seen.cgroups.iter().filter_map(|line| names(&line)).collect();
        inside.sort();
        assert_eq!(inside, ["memory", "pids"]);
    }
    running.end();
}

/// A socket pair, whose second end a child inherits.
fn inheritable_pair() -> (OwnedFd, OwnedFd) {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (ours, theirs) = pair.unwrap();
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    (ours, theirs)
}

fn hear(fd: &OwnedFd) -> Option<Heard> {
    let mut packet = [0; 4096];
    let length = recv(fd.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap_or(0);
    Heard::parse(&packet[..length])
}

// proves: an exec wait point
#[test]
fn it_waits_at_the_wait_point() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let pid_file = running.runtime.dir().join("pid");
    let make = |command: &[&str]| {
        let (ours, theirs) = inheritable_pair();
        let fd = theirs.as_raw_fd().to_string();
        let flags = ["--detach", "--pid-file", pid_file.to_str().unwrap(), "--start-fd", &fd];
        running.exec(&flags, command).ok();
        drop(theirs);
        assert_eq!(hear(&ours), Some(Heard::Ready));
        let pid = fs::read_to_string(&pid_file).unwrap();
        (ours, pid)
    };
    let comm = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let (ours, pid) = make(&["/bin/probe", "sleep", "1000"]);
    assert!(!comm(&pid).ends_with("probe"), "it is not executed yet");
    assert!(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(&running.id));
    send(ours.as_raw_fd(), START, MsgFlags::empty()).unwrap();
    assert_eq!((hear(&ours), hear(&ours)), (Some(Heard::Executing), None));
    assert!(comm(&pid).ends_with("probe"));

    // A program that vanishes while it waits: the one who starts it is told.
    copy_program(&running.bundle.rootfs().join("bin/probe"), &running.bundle.rootfs().join("bin/gone"));
    let (ours, _) = make(&["/bin/gone", "true"]);
    fs::remove_file(running.bundle.rootfs().join("bin/gone")).unwrap();
    send(ours.as_raw_fd(), START, MsgFlags::empty()).unwrap();
    assert_eq!(hear(&ours), Some(Heard::Executing));
    match hear(&ours) {
        Some(Heard::Failed(failure)) => assert_eq!((failure.stage.as_str(), failure.errno), ("exec", 2)),
        other => panic!("{other:?}"),
    }

    let (ours, pid) = make(&["/bin/probe", "sleep", "1000"]);
    drop(ours);
    let gone = || !fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| !s.contains("zombie"));
    assert!(until(DEADLINE, gone), "nobody is left to start it");
    running.end();
}

#[test]
fn a_pidfd_for_a_socket() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let path = running.runtime.dir().join("pidfd.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let flags = ["--detach", "--pid-file", "/proc/self/fd/nowhere", "--pidfd-socket", path.to_str().unwrap()];
    refused(running.exec(&flags, &["/bin/true"]), &["pid file"]);
    let flags = ["--pidfd-socket", path.to_str().unwrap()];
    running.exec(&flags, &["/bin/true"]).ok();
    let (stream, _) = listener.accept().unwrap();
    let mut byte = [0; 16];
    let got = recv(stream.as_raw_fd(), &mut byte, MsgFlags::empty());
    assert!(got.is_ok_and(|n| n > 0));
    drop((listener, stream));
    running.end();
}

#[test]
fn preserved_descriptors_and_no_others() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let file = fs::File::open("/").unwrap();
    let leak = nix::unistd::dup(&file).unwrap();
    fcntl(&leak, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let seen = running.seen(&[]);
    assert_eq!(seen.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "CVE-2024-21626: {:?}", seen.fds);
    for fd in 3..=leak.as_raw_fd() {
        let path = format!("/proc/self/fd/{fd}");
        refused(running.exec(&["--cwd", &path], &["/bin/true"]), &["/process/cwd"]);
    }
    running.end();
}

/// The runtime's command with descriptor 3 open and a socket activation's variables.
fn activated(running: &Running, args: &[&str], pid: &str) -> Ran {
    let command = running.runtime.command();
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("exec 3</ 4</tmp; LISTEN_FDS=1 LISTEN_PID={pid} exec \"$@\"")).arg("sh");
    shell.arg(command.get_program()).args(command.get_args()).args(args);
    sextant_integration::process::run(&mut shell, running.runtime.dir())
}

// proves: LISTEN_FDS and --preserve-fds
#[test]
fn sockets_of_an_activation_come_first() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(Bundle::without_user().sleeping());
    let seen =
        activated(&running, &["exec", "--preserve-fds", "1", &running.id, "/bin/probe"], "$$").ok().seen();
    assert_eq!(seen.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4], "{:?}", seen.fds);
    let pid = format!("LISTEN_PID={}", seen.pid);
    assert!(seen.env.contains(&pid) && seen.env.iter().any(|e| e == "LISTEN_FDS=1"), "{:?}", seen.env);
    let seen = activated(&running, &["exec", &running.id, "/bin/probe"], "1").ok().seen();
    assert_eq!(seen.fds.len(), 3, "they were for another process: {:?}", seen.fds);
    assert!(!seen.env.iter().any(|e| e.starts_with("LISTEN")), "{:?}", seen.env);

    let (id, bundle) = (unique("listen"), Bundle::without_user());
    let seen =
        activated(&running, &["run", "--bundle", bundle.write().to_str().unwrap(), &id], "$$").ok().seen();
    assert_eq!(seen.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3], "{:?}", seen.fds);
    assert!(seen.env.iter().any(|e| e == "LISTEN_PID=1"), "{:?}", seen.env);
    running.end();
}

#[test]
fn stdio_is_the_users_own() {
    use std::os::unix::fs::MetadataExt;
    if skip_unless_root() {
        return;
    }
    let running = Running::start(Bundle::without_user().sleeping());
    running.exec(&["-u", "7:8"], &["/bin/true"]).ok();
    let stdout = fs::metadata(running.runtime.dir().join("stdout")).unwrap();
    assert_eq!((stdout.uid(), stdout.gid()), (7, 0));
    assert_eq!(fs::metadata("/dev/null").unwrap().uid(), 0, "stdin");
    running.end();
}

// proves: exec 64 at once
#[test]
fn many_at_once_leave_nothing() {
    if skip_unless_root() {
        return;
    }
    let running = Running::start(sleeper());
    let count: usize = std::env::var("SEXTANT_EXECS").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let threads = 64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let running = &running;
            scope.spawn(move || {
                let mine = count / threads + usize::from(thread < count % threads);
                for _ in 0..mine {
                    let status = running.runtime.command().args(["exec", &running.id, "/bin/true"]).status();
                    assert!(status.unwrap().success());
                }
            });
        }
    });
    let seen = running.seen(&[]);
    assert_eq!(seen.processes.len(), 2, "init and the probe: {:?}", seen.processes);
    let entries = fs::read_dir(running.runtime.root().join(&running.id)).unwrap().count();
    assert_eq!(entries, 2, "state.json and exec.json");
    running.end();
}
