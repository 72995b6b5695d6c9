//! What a container can do to the runtime: its binary, its processes, its descriptors (rule R4).

use super::*;

#[test]
fn cve_2016_9962_the_joining_process_is_not_open_to_the_container() {
    if skip_unless_root() {
        return;
    }
    // A first container in the same pid namespace may not look into the second one's init
    // before it has executed its process: it is not dumpable.
    let runtime = Runtime::new();
    let (first, second) = (unique("first"), unique("second"));
    let sleeper = Bundle::without_user().sleeping();
    let pid = runtime.start(&sleeper, &first);
    let bundle = Bundle::without_user().join("pid", Path::new(&format!("/proc/{pid}/ns/pid")));
    runtime.create(&bundle, &second).ok();
    let waiting = runtime.pid(&second);
    // What it has open, its root and its memory may be reached by a tracer only.
    let status = std::fs::read_to_string(format!("/proc/{waiting}/status")).unwrap();
    let inner = status.lines().find(|l| l.starts_with("NSpid:")).unwrap().rsplit('\t').next().unwrap();
    let watcher = Bundle::without_user().join("pid", Path::new(&format!("/proc/{pid}/ns/pid"))).args(&[
        "/bin/probe",
        "--list",
        &format!("/proc/{inner}/root/"),
        "--read",
        &format!("/proc/{inner}/environ"),
    ]);
    let seen = runtime.run(&watcher, &unique("watcher")).ok().seen();
    for answer in [
        matches!(seen.listings.values().next(), Some(Answer::Errno(_))),
        matches!(seen.contents.values().next(), Some(Answer::Errno(_))),
    ] {
        assert!(answer, "{:?} {:?}", seen.listings, seen.contents);
    }
    runtime.delete(&second);
    runtime.delete(&first);
}

// proves: the binary is sealed against the container; private procfs
#[test]
fn cve_2019_5736_the_runtime_is_not_written_through_its_process() {
    if skip_unless_root() {
        return;
    }
    let path = sextant_integration::runtime::binary_under_test();
    let before = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().mtime());
    // The container asks for the runtime's own image as its program.
    for bundle in both() {
        // What runs is a copy or nothing at all; that it is not the file is asserted below.
        let ran = Runtime::new().run(&bundle.args(&["/proc/self/exe", "--help"]), &unique("self"));
        assert_ne!(ran.code, 137, "{ran:?}");
    }
    // A process in the container's pid namespace writes to the image of one that waits for start.
    let runtime = Runtime::new();
    let (first, waiting) = (unique("first"), unique("waiting"));
    let pid = runtime.start(&Bundle::without_user().sleeping(), &first);
    let join = |bundle: Bundle| bundle.join("pid", Path::new(&format!("/proc/{pid}/ns/pid")));
    runtime.create(&join(Bundle::without_user()), &waiting).ok();
    let writer = join(Bundle::without_user()).edit(|c| {
        for set in ["bounding", "permitted", "effective"] {
            c["process"]["capabilities"][set]
                .as_array_mut()
                .unwrap()
                .extend([json!("CAP_SYS_PTRACE"), json!("CAP_SYS_ADMIN")]);
        }
    });
    let paths: Vec<String> = (1..40).map(|pid| format!("/proc/{pid}/exe")).collect();
    let args: Vec<&str> =
        std::iter::once("/bin/probe").chain(paths.iter().flat_map(|p| ["--write", p.as_str()])).collect();
    let seen = runtime.run(&writer.args(&args), &unique("writer")).ok().seen();
    let opened: Vec<_> = seen.writes.iter().filter(|(_, answer)| **answer == Answer::Ok(())).collect();
    assert!(opened.is_empty(), "opened for writing: {opened:?}");
    assert!(
        seen.writes
            .values()
            .any(|a| matches!(a, Answer::Errno(e) if [EACCES, EPERM, EROFS, ETXTBSY].contains(e))),
        "{:?}",
        seen.writes
    );
    runtime.delete(&waiting);
    runtime.delete(&first);
    let after = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().mtime());
    assert!(before == after, "the runtime's binary changed");
}

#[test]
fn cve_2024_21626_the_working_directory_cannot_be_a_leaked_descriptor() {
    if skip_unless_root() {
        return;
    }
    let host = std::fs::File::open("/").unwrap();
    fcntl(&host, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let entries = |path: &str| look::listing(path).unwrap();
    for mut bundle in both() {
        for cwd in (3..14).flat_map(|fd| [format!("/proc/self/fd/{fd}"), format!("/proc/self/fd/{fd}/../..")])
        {
            bundle =
                bundle.set("/process/cwd", json!(cwd)).args(&["/bin/probe", "--list", ".", "--list", "/"]);
            let ran = Runtime::new().run(&bundle, &unique("cwd"));
            // Either it is refused, or it was normalized to a directory inside.
            if ran.code == 0 {
                let seen = ran.seen();
                assert_ne!(seen.listings["."], Answer::Ok(entries("/")), "{cwd} is the host's root");
                assert!(!seen.cwd.contains("unreachable"), "{cwd}: {}", seen.cwd);
            }
        }
    }
    drop(host);
}

#[test]
fn cve_2024_21626_the_working_directory_is_not_made_through_a_descriptor_of_the_runtime() {
    if skip_unless_root() {
        return;
    }
    for mut bundle in both() {
        for cwd in
            (3..20).flat_map(|fd| [format!("/proc/self/fd/{fd}/made"), format!("/proc/1/fd/{fd}/made")])
        {
            bundle = bundle.set("/process/cwd", json!(cwd));
            let (runtime, id) = (Runtime::new(), unique("cwd"));
            runtime.run(&bundle, &id).failed_with(&["/process/cwd"]);
            // Among the descriptors is the state directory: what was made there would be left.
            runtime.leftovers(&[&id]).assert_none();
        }
    }
}

#[test]
fn leaked_descriptors_of_the_caller_are_closed() {
    if skip_unless_root() {
        return;
    }
    let (dir, socket) =
        (std::fs::File::open("/").unwrap(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    for fd in [dir.as_raw_fd(), socket.as_raw_fd()] {
        assert!(fd > 2);
    }
    fcntl(&dir, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    for bundle in both() {
        let seen = Runtime::new().run(&bundle, &unique("fds")).ok().seen();
        assert_eq!(seen.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{:?}", seen.fds);
    }
}
