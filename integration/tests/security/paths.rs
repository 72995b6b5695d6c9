//! Paths of the image, still ones and such that are swapped while containers start (rules R1, R14).

use super::*;

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
