//! Known attacks on container runtimes, each named after its advisory: the test
//! makes the attack and asserts that it fails and that the host is untouched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::fcntl::{FcntlArg, FdFlag, OFlag, RenameFlags, fcntl, open, renameat2};
use nix::libc::{EACCES, EPERM, EROFS, ETXTBSY};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use sextant_integration::bundle::temp_dir;
use sextant_integration::seen::Answer;
use sextant_integration::{Bundle, Runtime, binary, look, process, skip_unless_root, unique};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Asserts that `create` is refused with these words and that nothing is left.
#[track_caller]
fn refused(bundle: &Bundle, words: &[&str]) {
    let (runtime, id) = (Runtime::new(), unique("attack"));
    runtime.create(bundle, &id).failed_with(words);
    runtime.leftovers(&[&id]).assert_none();
}

/// Both kinds of bundle: an attack has to fail without a user namespace as well.
fn both() -> [Bundle; 2] {
    [Bundle::new(), Bundle::without_user()]
}

/// A directory of the host with a file that no container may see or change.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = temp_dir();
        std::fs::write(dir.path().join("secret"), "of the host").unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "something was made on the host");
        assert_eq!(std::fs::read_to_string(self.path().join("secret")).unwrap(), "of the host");
    }
}

/// Puts a symbolic link in place of what is at `path` in the root.
fn relink(bundle: &Bundle, path: &str, target: &Path) {
    let link = bundle.rootfs().join(path);
    if link.is_dir() {
        std::fs::remove_dir_all(&link).unwrap();
    } else if link.exists() {
        std::fs::remove_file(&link).unwrap();
    }
    symlink(target, link).unwrap();
}

#[test]
fn cve_2016_3697_a_number_too_large_is_no_user() {
    if skip_unless_root() {
        return;
    }
    for uid in [json!(4_294_967_296_u64), json!(-1), json!("0"), json!("root"), json!(1.5)] {
        refused(&Bundle::new().set("/process/user/uid", uid.clone()), &["/process/user/uid"]);
        refused(&Bundle::new().set("/process/user/gid", uid), &["/process/user/gid"]);
    }
}

#[test]
fn cve_2016_9962_the_joining_process_is_not_open_to_the_container() {
    if skip_unless_root() {
        return;
    }
    // A first container in the same pid namespace may not look into the second one's init
    // before it has executed its process: it is not dumpable.
    let runtime = Runtime::new();
    let (first, second) = (unique("first"), unique("second"));
    let sleeper = Bundle::without_user().args(&["/bin/probe", "sleep", "1000"]);
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

#[test]
fn cve_2019_5736_the_runtime_is_not_written_through_its_process() {
    if skip_unless_root() {
        return;
    }
    let path = binary("sextant-runtime");
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
    let pid = runtime.start(&Bundle::without_user().args(&["/bin/probe", "sleep", "1000"]), &first);
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

/// `/proc`, `/sys` or `/dev` of the image is a link to elsewhere.
#[track_caller]
fn a_linked_directory_is_refused(name: &str) {
    for bundle in both() {
        let host = Host::new();
        for target in [host.path(), Path::new("/tmp")] {
            relink(&bundle, name, target);
            refused(&bundle, &[&format!("/{name}")]);
            host.assert_untouched();
        }
    }
}

#[test]
fn cve_2019_16884_proc_is_a_link() {
    if !skip_unless_root() {
        a_linked_directory_is_refused("proc");
    }
}

#[test]
fn cve_2023_27561_sys_is_a_link() {
    if !skip_unless_root() {
        a_linked_directory_is_refused("sys");
    }
}

#[test]
fn cve_2026_41579_dev_is_a_link() {
    if !skip_unless_root() {
        a_linked_directory_is_refused("dev");
    }
}

#[test]
fn cve_2019_19921_a_volume_over_proc_is_refused() {
    if skip_unless_root() {
        return;
    }
    for destination in ["/proc", "/proc/self/attr", "/proc/sys", "/sys/kernel"] {
        let host = Host::new();
        for kind in [
            json!({"type": "tmpfs", "source": "tmpfs"}),
            json!({"type": "bind", "source": host.path(), "options": ["rbind"]}),
        ] {
            // The config's own proc goes first: nothing but this mount is at fault.
            let mut mount = kind;
            mount["destination"] = json!(destination);
            let bundle = Bundle::new().mount(mount);
            let index = bundle.config["mounts"].as_array().unwrap().len() - 1;
            refused(&bundle, &[&format!("/mounts/{index}"), destination]);
        }
        host.assert_untouched();
    }
}

#[test]
fn cve_2021_30465_a_destination_through_a_link_stays_in_the_root() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let host = Host::new();
        // Absolute and upward links alike are resolved as in the root.
        relink(&bundle, "mnt", host.path());
        let inner = bundle.rootfs().join(host.path().strip_prefix("/").unwrap());
        std::fs::create_dir_all(&inner).unwrap();
        let bundle = bundle.args(&["/bin/probe"]).mount(json!({
            "destination": "/mnt/point", "type": "tmpfs", "source": "tmpfs",
        }));
        let (runtime, id) = (Runtime::new(), unique("link"));
        let seen = runtime.run(&bundle, &id).ok().seen();
        let target = host.path().join("point").display().to_string();
        assert!(seen.mounts.iter().any(|m| m.target == target), "{:?}", seen.mounts);
        host.assert_untouched();
        runtime.leftovers(&[&id]).assert_none();
    }
}

#[test]
fn cve_2021_30465_a_destination_that_is_swapped_meanwhile_stays_in_the_root() {
    if skip_unless_root() {
        return;
    }
    let host = Host::new();
    let bundle = Bundle::without_user();
    let root = bundle.rootfs();
    std::fs::create_dir(root.join("mnt/a")).unwrap();
    let up = PathBuf::from("../../../../../../../..").join(host.path().strip_prefix("/").unwrap());
    symlink(up, root.join("mnt/b")).unwrap();
    let bundle = bundle.mount(json!({"destination": "/mnt/a/made/deep", "type": "tmpfs", "source": "tmpfs"}));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mnt = open(&root.join("mnt"), OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                renameat2(&mnt, "a", &mnt, "b", RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let runtime = Runtime::new();
        for _ in 0..30 {
            let id = unique("race");
            // It may be refused, or mount in the directory: it may not leave the root.
            let ran = runtime.run(&bundle, &id);
            assert!([0, 1].contains(&ran.code), "{ran:?}");
            let mut names = std::fs::read_dir(host.path()).unwrap().map(|e| e.unwrap().file_name());
            if names.any(|name| name != "secret") {
                stop.store(true, Ordering::Relaxed);
                panic!("something was made on the host");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    host.assert_untouched();
}

#[test]
fn cve_2024_45310_no_directory_or_file_is_made_outside_the_root() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let host = Host::new();
        let source = host.path().join("secret");
        let parent = host.path().parent().unwrap().to_path_buf();
        let name = unique("escaped");
        relink(&bundle, "mnt", &Path::new("../../../../../../..").join(parent.strip_prefix("/").unwrap()));
        let bundle = bundle
            .mount(json!({"destination": format!("/mnt/{name}/file"), "type": "bind", "source": source, "options": ["bind", "ro"]}));
        let runtime = Runtime::new();
        // What the link names does not exist inside; making it inside is as good as refusing.
        let ran = runtime.run(&bundle, &unique("escape"));
        assert!([0, 1].contains(&ran.code), "{ran:?}");
        assert!(!parent.join(&name).exists(), "made on the host");
        host.assert_untouched();
    }
}

#[test]
fn cve_2025_31133_a_false_dev_null_of_the_image_is_not_the_mask() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let host = Host::new();
        // No tmpfs at /dev: the image's own /dev/null is what a careless mask would bind.
        let bundle = bundle
            .edit(|c| {
                c["mounts"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"))
            })
            .set("/linux/maskedPaths", json!(["/etc/passwd"]))
            .args(&["/bin/probe", "--read", "/etc/passwd"]);
        std::fs::create_dir_all(bundle.rootfs().join("dev")).unwrap();
        relink(&bundle, "dev/null", &host.path().join("secret"));
        std::fs::write(bundle.rootfs().join("etc/shadow"), "of the image").unwrap();
        let ran = Runtime::new().run(&bundle, &unique("mask"));
        if ran.code == 0 {
            assert_eq!(ran.seen().contents["/etc/passwd"], Answer::Ok(String::new()));
        } else {
            ran.failed_with(&["/dev/null"]);
        }
        host.assert_untouched();
    }
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

// proves: the binary is sealed against the container; private procfs
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

#[test]
fn cve_2022_29162_the_inheritable_set_is_empty_unless_asked_for() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let seen = Runtime::new().run(&bundle, &unique("inheritable")).ok().seen();
        assert_eq!((seen.capabilities.inheritable, seen.capabilities.ambient), (0, 0));
        assert_ne!(seen.capabilities.permitted, 0);
    }
}

#[test]
fn cri_o_2018_1000400_another_user_keeps_no_capability() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let caps = Runtime::new().run(&bundle, &unique("user")).ok().seen().capabilities;
        assert_eq!((caps.permitted, caps.effective, caps.ambient), (0, 0, 0));
    }
}

#[test]
fn containerd_2023_25173_supplementary_groups_are_those_of_the_config() {
    if skip_unless_root() {
        return;
    }
    let bundle =
        Bundle::without_user().set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [7]}));
    assert_eq!(Runtime::new().run(&bundle, &unique("groups")).ok().seen().groups, [7]);
}

#[test]
fn cri_o_2022_0811_a_sysctl_value_cannot_carry_a_second_one() {
    if skip_unless_root() {
        return;
    }
    let before = look::sysctl("kernel.core_pattern").unwrap();
    for (key, value) in [
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/evil"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil"),
        ("kernel.shm_rmid_forced=1+kernel.core_pattern", "|/evil"),
        ("kernel/../kernel/core_pattern", "|/evil"),
        ("net.ipv4.../../../kernel/core_pattern", "|/evil"),
        ("kernel.core_pattern", "|/evil"),
    ] {
        let (runtime, id) = (Runtime::new(), unique("sysctl"));
        let ran = runtime.create(&Bundle::new().set("/linux/sysctl", json!({key: value})), &id);
        ran.failed_with(&["/linux/sysctl"]);
        runtime.leftovers(&[&id]).assert_none();
    }
    assert_eq!(look::sysctl("kernel.core_pattern").unwrap(), before);
}

#[test]
fn cve_2022_0532_a_sysctl_of_a_shared_namespace_is_refused() {
    if skip_unless_root() {
        return;
    }
    for (kind, key) in
        [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.msgmax"), ("uts", "kernel.domainname")]
    {
        let before = look::sysctl(key).unwrap();
        let bundle = Bundle::without_user().edit(|config| {
            sextant_integration::bundle::remove_namespace(config, kind);
            if kind == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
            config["linux"]["sysctl"] = json!({key: "1"});
        });
        refused(&bundle, &["/linux/sysctl/", key]);
        assert_eq!(look::sysctl(key).unwrap(), before);
    }
}

#[test]
fn cve_2021_43784_many_mappings_do_not_override_the_namespaces() {
    if skip_unless_root() {
        return;
    }
    let many: Vec<Value> =
        (0..200).map(|n| json!({"containerID": n, "hostID": 1_000_000 + n, "size": 1})).collect();
    let bundle = Bundle::new().set("/linux/uidMappings", json!(many)).set("/linux/gidMappings", json!(many));
    let seen = Runtime::new().run(&bundle, &unique("maps")).ok().seen();
    assert_eq!(seen.uid_map.len(), 200);
    assert_ne!(seen.namespaces["net"], look::look().namespaces["net"]);
    let too_many: Vec<Value> =
        (0..341).map(|n| json!({"containerID": n, "hostID": 1_000_000 + n, "size": 1})).collect();
    refused(&Bundle::new().set("/linux/uidMappings", json!(too_many)), &["/linux/uidMappings"]);
}

#[test]
fn cve_2023_25809_the_cgroup_file_system_is_not_writable_without_a_cgroup_namespace() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::new().edit(|c| sextant_integration::bundle::remove_namespace(c, "cgroup")).args(&[
        "/bin/probe",
        "--mkdir",
        "/sys/fs/cgroup/made",
        "--mkdir",
        "/sys/fs/cgroup/pids/made",
        "--write",
        "/sys/fs/cgroup/pids/cgroup.procs",
    ]);
    let ran = Runtime::new().run(&bundle, &unique("cgroupfs"));
    let seen = ran.ok().seen();
    assert!(
        seen.mkdirs.values().chain(seen.writes.values()).all(|a| *a != Answer::Ok(())),
        "{:?} {:?}",
        seen.mkdirs,
        seen.writes
    );
}

#[test]
fn containerd_2024_25621_state_directories_are_for_root_only() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id, bundle) =
        (Runtime::new(), unique("modes"), Bundle::new().args(&["/bin/probe", "sleep", "1000"]));
    runtime.create(&bundle, &id).ok();
    for path in [runtime.root(), runtime.root().join(&id)] {
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o077, 0, "{}", path.display());
    }
    runtime.delete(&id);
}

#[test]
fn the_mount_table_of_the_host_does_not_change() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("mounts"));
    let bundle = Bundle::without_user()
        .args(&["/bin/probe", "sleep", "1000"])
        .mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["rshared"]}));
    runtime.start(&bundle, &id);
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = bundle.dir().display().to_string();
    assert!(!table.contains(&dir), "{table}");
    runtime.delete(&id);
    assert!(process::until(process::DEADLINE, || runtime.leftovers(&[&id]).find().is_empty()));
}
