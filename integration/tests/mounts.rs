//! Options of mounts, seen in a real container: each recursive attribute, those of
//! a file system, copies of what lies below, changes of what is mounted, overlays
//! of many layers, every propagation of the root, the cgroup in the host's layout.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::seen::{Answer, Mount};
use sextant_integration::{Bundle, Runtime, cgroup, skip, skip_unless_root, unique};
use std::path::{Path, PathBuf};

/// A directory of the host with a tmpfs at `below`, in a mount namespace of the
/// calling thread's own.
struct Tree(tempfile::TempDir);

impl Tree {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The directory cannot be removed below the mount.
        nix::mount::umount2(&self.path().join("below"), nix::mount::MntFlags::MNT_DETACH).ok();
    }
}

/// A mount namespace of the calling thread's own.
fn own_mounts() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS | nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    let private = nix::mount::MsFlags::MS_PRIVATE | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(none, "/", none, private, none).unwrap();
}

fn tree_of_mounts() -> Tree {
    own_mounts();
    let dir = sextant_integration::bundle::temp_dir();
    let below = dir.path().join("below");
    std::fs::create_dir(&below).unwrap();
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("tmpfs"), &below, Some("tmpfs"), flags, Some("mode=777")).unwrap();
    Tree(dir)
}

/// Runs `test` in a thread of its own, whose mount namespace can be changed.
fn apart(test: impl FnOnce() + Send + 'static) {
    if !skip_unless_root() {
        std::thread::spawn(test).join().unwrap();
    }
}

fn bind(source: &Path, options: &[&str]) -> Value {
    json!({"destination": "/mnt", "type": "bind", "source": source, "options": options})
}

// proves: recursive attributes
#[test]
fn a_recursive_attribute_is_that_of_all_below_and_a_plain_one_is_not() {
    apart(|| {
        let dir = tree_of_mounts();
        for (option, shown) in [
            ("ro", "ro"),
            ("nosuid", "nosuid"),
            ("nodev", "nodev"),
            ("noexec", "noexec"),
            ("noatime", "noatime"),
            ("nodiratime", "nodiratime"),
            ("nosymfollow", "nosymfollow"),
        ] {
            let recursive = format!("r{option}");
            for bundle in Bundle::both(&[]) {
                let seen = Runtime::seen_in(&bundle.mount(bind(dir.path(), &["rbind", &recursive])));
                assert!(seen.mount_at("/mnt").has(shown), "{recursive}: {:?}", seen.mount_at("/mnt"));
                let below = seen.mount_at("/mnt/below");
                assert!(below.has(shown), "{recursive}: {below:?}");
            }
            let seen = Runtime::seen_in(&Bundle::without_user().mount(bind(dir.path(), &["rbind", option])));
            assert!(seen.mount_at("/mnt").has(shown), "{option}");
            assert!(!seen.mount_at("/mnt/below").has(shown), "{option} went too far");
        }
        // An attribute is taken back in the same way, and time modes exclude each other.
        let options = ["rbind", "rro", "rnosuid", "rrw", "rsuid", "rnoatime", "rstrictatime"];
        let seen = Runtime::seen_in(&Bundle::without_user().mount(bind(dir.path(), &options)));
        for target in ["/mnt", "/mnt/below"] {
            let mount = seen.mount_at(target);
            for gone in ["ro", "nosuid", "noatime", "relatime"] {
                assert!(!mount.has(gone), "{gone} at {target}: {mount:?}");
            }
        }
    });
}

// proves: mount options
#[test]
fn options_of_a_file_system_are_its_superblocks() {
    if skip_unless_root() {
        return;
    }
    let tmpfs = |options: &[&str]| {
        let mount = json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": options});
        let seen = Runtime::seen_in(&Bundle::without_user().mount(mount));
        let mount = seen.mount_at("/mnt").clone();
        [mount.options, mount.super_options].concat()
    };
    let has = |options: &[String], wanted: &str| options.iter().any(|o| o == wanted);
    for option in ["lazytime", "sync", "dirsync"] {
        assert!(has(&tmpfs(&[option]), option), "{option}");
        assert!(has(&tmpfs(&["silent", option, "loud", "iversion"]), option), "{option} beside iversion");
    }
    for (options, absent) in [
        (["lazytime", "nolazytime"], "lazytime"),
        (["sync", "async"], "sync"),
        (["nosymfollow", "symfollow"], "nosymfollow"),
        (["noatime", "atime"], "noatime"),
        (["ro", "rw"], "ro"),
    ] {
        assert!(!has(&tmpfs(&options), absent), "{options:?}");
    }
    assert!(has(&tmpfs(&["nosymfollow"]), "nosymfollow"));
    // Neither can be seen: that they are taken is all that there is.
    for option in ["iversion", "noiversion", "silent", "loud", "acl", "noacl", "defaults"] {
        assert!(has(&tmpfs(&[option, "nosuid"]), "nosuid"), "{option}");
    }
}

// proves: mount options
#[test]
fn a_link_is_not_followed_on_a_mount_without_symfollow() {
    if skip_unless_root() {
        return;
    }
    let dir = sextant_integration::bundle::temp_dir();
    std::fs::write(dir.path().join("file"), "text").unwrap();
    std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
    let read = |option: &str| {
        let bundle = Bundle::without_user()
            .args(&["/bin/probe", "--read", "/mnt/link"])
            .mount(bind(dir.path(), &["bind", option]));
        Runtime::seen_in(&bundle).contents["/mnt/link"].clone()
    };
    assert_eq!(read("nosymfollow"), Answer::Errno(nix::libc::ELOOP));
    assert_eq!(read("symfollow"), Answer::Ok("text".into()));
}

// proves: mount options
#[test]
fn tmpcopyup_has_a_copy_that_is_the_containers_own() {
    if skip_unless_root() {
        return;
    }
    for options in [&["tmpcopyup"][..], &["tmpcopyup", "ro"]] {
        for bundle in Bundle::both(&[]) {
            let image = bundle.rootfs().join("mnt");
            std::fs::create_dir(image.join("sub")).unwrap();
            std::fs::write(image.join("sub/file"), "of the image").unwrap();
            std::os::unix::fs::symlink("sub/file", image.join("link")).unwrap();
            let mount = json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": options});
            let bundle = bundle
                .args(&["/bin/probe", "--read", "/mnt/link", "--mkdir", "/mnt/new", "--stat", "/mnt/sub"])
                .mount(mount);
            let seen = Runtime::seen_in(&bundle);
            assert_eq!(seen.mount_at("/mnt").fstype, "tmpfs");
            assert_eq!(seen.contents["/mnt/link"], Answer::Ok("of the image".into()));
            assert_eq!(seen.mkdirs["/mnt/new"] == Answer::Ok(()), options.len() == 1, "{options:?}");
            assert_eq!(seen.file("/mnt/sub").kind, "dir");
            assert!(!image.join("new").exists());
        }
    }
}

// proves: mount options
#[test]
fn remount_changes_what_an_earlier_entry_has_mounted() {
    if skip_unless_root() {
        return;
    }
    let dir = sextant_integration::bundle::temp_dir();
    let entry =
        |options: &[&str]| json!({"destination": "/mnt", "type": "none", "source": "x", "options": options});
    let tmpfs =
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["nosuid", "size=1m"]});
    for bundle in Bundle::both(&[]) {
        let bind =
            bundle.mount(bind(dir.path(), &["bind", "nosuid"])).mount(entry(&["bind", "remount", "ro"]));
        let seen = Runtime::seen_in(&bind);
        let mount = seen.mount_at("/mnt");
        assert!(mount.has("ro") && mount.has("nosuid"), "{mount:?}");
        assert!(!mount.super_has("ro"), "the host's own: {mount:?}");
        assert_eq!(seen.mounts.iter().filter(|m| m.target == "/mnt").count(), 1);
    }
    for bundle in Bundle::both(&[]) {
        let bundle = bundle.mount(tmpfs.clone()).mount(entry(&["remount", "size=2m", "noexec"]));
        let seen = Runtime::seen_in(&bundle);
        let mount = seen.mount_at("/mnt");
        assert!(mount.super_has("size=2048k"), "{mount:?}");
        assert!(mount.has("nosuid") && mount.has("noexec"), "{mount:?}");
    }
    let (runtime, id) = (Runtime::new(), unique("remount"));
    let nothing = Bundle::without_user().mount(entry(&["bind", "remount", "ro"]));
    runtime.create(&nothing, &id).failed_with(&["/mounts/7", "earlier entry"]);
    runtime.leftovers(&[&id]).assert_none();
}

/// That many directories with a file each, and their paths joined as an overlay takes them.
fn layers(dir: &Path, count: usize) -> String {
    let layer = |number: usize| -> PathBuf {
        let path = dir.join(format!("layer-with-a-name-that-is-not-short-{number}"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join(format!("file{number}")), number.to_string()).unwrap();
        path
    };
    (0..count).map(|n| layer(n).display().to_string()).collect::<Vec<_>>().join(":")
}

// proves: mount options
#[test]
fn an_overlay_of_many_layers_is_mounted() {
    if skip_unless_root() {
        return;
    }
    for count in [10, 100] {
        for bundle in Bundle::both(&[]) {
            let dir = sextant_integration::bundle::temp_dir();
            let lowerdir = layers(dir.path(), count);
            assert_eq!(lowerdir.len() > 4095, count == 100);
            let last = format!("/mnt/file{}", count - 1);
            let bundle = bundle.args(&["/bin/probe", "--read", "/mnt/file0", "--read", &last]).mount(json!({
                "destination": "/mnt", "type": "overlay", "source": "overlay",
                "options": [format!("lowerdir={lowerdir}"), "ro", "nodev"],
            }));
            let (runtime, id) = (Runtime::new(), unique("layers"));
            let ran = runtime.run(&bundle, &id);
            if ran.stderr.contains("Linux 6.8") && count == 100 {
                skip("this kernel takes no more layers than mount(2) does");
                continue;
            }
            let seen = ran.ok().seen();
            let mount = seen.mount_at("/mnt");
            assert!(mount.fstype == "overlay" && mount.has("ro") && mount.has("nodev"), "{mount:?}");
            assert_eq!(seen.contents["/mnt/file0"], Answer::Ok("0".into()));
            assert_eq!(seen.contents[&last], Answer::Ok((count - 1).to_string()));
            runtime.leftovers(&[&id]).assert_none();
        }
    }
    let broken = Bundle::without_user().mount(json!({
        "destination": "/mnt", "type": "overlay", "source": "overlay",
        "options": [format!("lowerdir=/no/such/{}", "x".repeat(300))],
    }));
    let (runtime, id) = (Runtime::new(), unique("layers"));
    runtime.create(&broken, &id).failed_with(&["/mounts/7", "mount(", "/no/such/xxx"]);
    runtime.leftovers(&[&id]).assert_none();
}

// proves: root and propagation
#[test]
fn every_propagation_of_the_root() {
    if skip_unless_root() {
        return;
    }
    for (propagation, root, mount) in [
        ("private", "", ""),
        ("rprivate", "", ""),
        ("shared", "shared:", ""),
        ("rshared", "shared:", "shared:"),
        ("slave", "", ""),
        ("rslave", "", ""),
        ("unbindable", "unbindable", ""),
        ("runbindable", "unbindable", "unbindable"),
    ] {
        for bundle in Bundle::both(&[]) {
            let seen = Runtime::seen_in(&bundle.set("/linux/rootfsPropagation", json!(propagation)));
            for (target, wanted) in [("/", root), ("/dev/shm", mount)] {
                let tags = &seen.mount_at(target).tags;
                let fits =
                    tags.iter().any(|tag| tag.starts_with(wanted)) || (wanted.is_empty() && tags.is_empty());
                let is_master = |tag: &String| wanted.is_empty() && tag.starts_with("master:");
                assert!(fits || tags.iter().all(is_master), "{propagation} at {target}: {tags:?}");
                assert_eq!(
                    tags.iter().any(|t| t.starts_with("shared:")),
                    wanted == "shared:",
                    "{propagation}"
                );
            }
        }
    }
}

/// What the host mounts on a shared mount below the root later comes in where the
/// root is a slave, and does not where it is private.
// proves: root and propagation
#[test]
fn later_mounts_of_the_host_come_in_unless_the_root_is_private() {
    apart(|| {
        let dir = tree_of_mounts();
        let below = dir.path().join("below");
        let none = None::<&str>;
        nix::mount::mount(none, &below, none, nix::mount::MsFlags::MS_SHARED, none).unwrap();
        // The root itself is on the shared mount.
        let root = below.join("root");
        sextant_integration::bundle::make_rootfs(&root);
        for (propagation, comes) in
            [("rslave", true), ("slave", true), ("rprivate", false), ("private", false)]
        {
            let bundle = Bundle::without_user()
                .sleeping()
                .set("/root/path", json!(root))
                .set("/linux/rootfsPropagation", json!(propagation));
            let (runtime, id) = (Runtime::new(), unique("later"));
            runtime.start(&bundle, &id);
            let flags = nix::mount::MsFlags::empty();
            nix::mount::mount(Some("late"), &root.join("home"), Some("tmpfs"), flags, none).unwrap();
            let ran = runtime.call(["exec", &id, "/bin/probe"]).ok();
            let late = ran.seen().mounts.iter().any(|m| m.target == "/home" && m.source == "late");
            assert_eq!(late, comes, "{propagation}");
            runtime.delete(&id);
            nix::mount::umount(&root.join("home")).unwrap();
        }
    });
}

// proves: the cgroup in the layout of the host
#[test]
fn the_cgroup_is_mounted_in_the_layout_of_the_host() {
    if skip_unless_root() {
        return;
    }
    let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for bundle in Bundle::both(&[]) {
        let args = ["/bin/probe", "--list", "/sys/fs/cgroup", "--mkdir", "/sys/fs/cgroup/new"];
        let seen = Runtime::seen_in(&bundle.args(&args));
        let inside: Vec<&Mount> =
            seen.mounts.iter().filter(|m| m.target.starts_with("/sys/fs/cgroup")).collect();
        assert!(inside.iter().all(|m| m.has("ro") && m.has("nosuid") && m.has("noexec")), "{inside:#?}");
        assert!(!matches!(seen.mkdirs["/sys/fs/cgroup/new"], Answer::Ok(())));
        if cgroup::is_version_2_alone() {
            assert_eq!(inside.iter().map(|m| m.fstype.as_str()).collect::<Vec<_>>(), ["cgroup2"]);
            assert_eq!(inside[0].root, "/");
            continue;
        }
        assert_eq!(seen.mount_at("/sys/fs/cgroup").fstype, "tmpfs");
        let Answer::Ok(names) = &seen.listings["/sys/fs/cgroup"] else { panic!("{:?}", seen.listings) };
        let hierarchies = host.lines().filter(|l| l.contains(" - cgroup ") || l.contains(" - cgroup2 "));
        for line in hierarchies {
            let name = line.split(' ').nth(4).unwrap().rsplit('/').next().unwrap();
            assert!(names.iter().any(|n| n == name), "{name} is not in {names:?}");
            let mount = seen.mount_at(&format!("/sys/fs/cgroup/{name}"));
            assert_eq!(mount.root, "/", "its root is the container's own cgroup: {mount:?}");
            assert!(mount.has("nodev") && mount.tags.is_empty(), "it is as a new one: {mount:?}");
        }
    }
}

// A new mount of one walks all cgroups of version 2 that there are. It has a source of its own; one that is bound has
// that of the host's mount.
#[test]
fn hierarchies_of_version_1_are_bound_and_not_mounted_anew() {
    if !cgroup::is_version_1("freezer") {
        return skip("there is no freezer of version 1");
    }
    apart(|| {
        own_mounts();
        let at = Path::new(cgroup::ROOT).join("freezer");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH).unwrap();
        nix::mount::mount(Some("of-the-host"), &at, Some("cgroup"), flags, Some("freezer")).unwrap();
        for bundle in Bundle::both(&[]) {
            let seen = Runtime::seen_in(&bundle.args(&["/bin/probe"]));
            let mount = seen.mount_at("/sys/fs/cgroup/freezer");
            assert_eq!((mount.source.as_str(), mount.root.as_str()), ("of-the-host", "/"), "{mount:?}");
        }
    });
}
