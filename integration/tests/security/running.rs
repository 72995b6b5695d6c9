//! Attacks on a running container's next process: what `exec` must not bring in
//! (rules R4, R7, R10), and what the caller's environment must not choose.

use super::*;

/// A container that sleeps.
fn sleeper(bundle: Bundle) -> (Runtime, Bundle, String) {
    let (runtime, id) = (Runtime::new(), unique("running"));
    let bundle = bundle.sleeping();
    runtime.start(&bundle, &id);
    (runtime, bundle, id)
}

#[test]
fn cve_2024_21626_exec_cannot_work_in_a_leaked_descriptor() {
    if skip_unless_root() {
        return;
    }
    let host = std::fs::File::open("/").unwrap();
    fcntl(&host, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let of_host = Answer::Ok(look::listing("/").unwrap());
    for bundle in both() {
        let (runtime, _bundle, id) = sleeper(bundle);
        for fd in 3..14 {
            let cwd = format!("/proc/self/fd/{fd}");
            let ran = runtime.call(["exec", "--cwd", &cwd, &id, "/bin/probe", "--list", "."]);
            if ran.code == 0 {
                assert_ne!(ran.seen().listings["."], of_host, "{cwd} is the host's root");
            }
        }
        runtime.delete(&id);
    }
    drop(host);
}

#[test]
fn leaked_descriptors_of_the_caller_of_exec_are_closed() {
    if skip_unless_root() {
        return;
    }
    let leak = std::fs::File::open("/").unwrap();
    fcntl(&leak, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    for bundle in both() {
        let (runtime, _bundle, id) = sleeper(bundle);
        let seen = runtime.call(["exec", &id, "/bin/probe"]).ok().seen();
        assert_eq!(seen.fds.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{:?}", seen.fds);
        runtime.delete(&id);
    }
    drop(leak);
}

#[test]
fn cve_2022_29162_exec_has_no_inheritable_capabilities() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let (runtime, _bundle, id) = sleeper(bundle);
        let caps = runtime.call(["exec", &id, "/bin/probe"]).ok().seen().capabilities;
        assert_eq!((caps.inheritable, caps.ambient), (0, 0));
        runtime.delete(&id);
    }
}

#[test]
fn cve_2019_5736_exec_of_the_runtimes_image_does_not_change_it() {
    if skip_unless_root() {
        return;
    }
    let path = sextant_integration::runtime::binary_under_test();
    let before = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().mtime());
    let (runtime, bundle, id) = sleeper(Bundle::without_user());
    // The image's shell is a link to the runtime: whoever runs it, runs the attacker's libraries.
    symlink("/proc/self/exe", bundle.rootfs().join("bin/self")).unwrap();
    let ran = runtime.call(["exec", &id, "/bin/self", "--version"]);
    assert_ne!(ran.code, 137, "{ran:?}");
    runtime.delete(&id);
    let after = (std::fs::read(&path).unwrap(), std::fs::metadata(&path).unwrap().mtime());
    assert!(before == after, "the runtime's binary changed");
}

#[test]
fn containerd_2025_47291_every_process_is_in_the_cgroup() {
    if skip_unless_root() {
        return;
    }
    for bundle in both() {
        let bundle = bundle.edit(|config| sextant_integration::bundle::remove_namespace(config, "cgroup"));
        let (runtime, _bundle, id) = sleeper(bundle);
        let seen = runtime.call(["exec", &id, "/bin/probe"]).ok().seen();
        let outside: Vec<_> = seen.cgroups.iter().filter(|line| !line.contains(&id)).collect();
        assert!(outside.is_empty(), "{outside:?}");
        runtime.delete(&id);
    }
}

#[test]
fn cri_o_2022_4318_a_home_with_control_characters_is_not_taken() {
    if skip_unless_root() {
        return;
    }
    for home in ["/a\rb", "/a\tb", "/a\u{1b}[2Jb", "relative"] {
        let bundle = Bundle::without_user();
        std::fs::write(bundle.rootfs().join("etc/passwd"), format!("root:x:0:0:root:{home}:/bin/sh\n"))
            .unwrap();
        let seen = Runtime::new().run(&bundle, &unique("home")).ok().seen();
        assert!(!seen.env.contains(&format!("HOME={home}")), "{:?}", seen.env);
    }
}

#[test]
fn a_passwd_file_without_end_is_read_to_a_limit() {
    if skip_unless_root() {
        return;
    }
    let bundle = Bundle::without_user();
    let passwd = bundle.rootfs().join("etc/passwd");
    std::fs::remove_file(&passwd).unwrap();
    symlink("/dev/zero", &passwd).unwrap();
    Runtime::new().run(&bundle, &unique("passwd")).ok();
}

#[test]
fn listen_fds_of_the_caller_pass_no_more_than_they_say() {
    if skip_unless_root() {
        return;
    }
    for count in ["-1", "4294967296", "1x", "99999999999999999999"] {
        let (runtime, id, bundle) = (Runtime::new(), unique("listen"), Bundle::without_user());
        let mut command = runtime.command();
        command.arg("run").arg("--bundle").arg(bundle.write()).arg(&id).env("LISTEN_FDS", count);
        let ran = process::run(&mut command, bundle.dir());
        if ran.code == 0 {
            assert_eq!(ran.seen().fds.len(), 3, "LISTEN_FDS={count}");
        }
        runtime.leftovers(&[&id]).assert_none();
    }
}
