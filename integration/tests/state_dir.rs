//! A `--root` that takes no more: full of bytes, full of files, or read-only. It
//! is told as such, and nothing is left. Each test is in a mount namespace of its
//! own, in which the root is a small tmpfs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};
use std::collections::BTreeSet;

/// Runs `test` in a thread with a mount namespace of its own.
fn apart(test: impl FnOnce() + Send + 'static) {
    if skip_unless_root() {
        return;
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>).unwrap();
        test();
    });
    thread.join().unwrap();
}

/// Makes the root of `runtime` a tmpfs with these options.
fn small_root(runtime: &Runtime, options: &str) {
    std::fs::create_dir_all(runtime.root()).unwrap();
    mount(Some("tmpfs"), &runtime.root(), Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

fn remount(runtime: &Runtime, flags: MsFlags) {
    let none = None::<&str>;
    mount(none, &runtime.root(), none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, none).unwrap();
}

fn sleeper() -> Bundle {
    Bundle::without_user().sleeping()
}

// proves: a full disk or a read-only state directory is reported as such
#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    apart(|| {
        for (limits, unit) in [(1..12, "nr_inodes="), (1..8, "size=4096*")] {
            let mut refused = BTreeSet::new();
            let mut made = 0;
            for limit in limits {
                let runtime = Runtime::new();
                let options = match unit {
                    "nr_inodes=" => format!("nr_inodes={limit}"),
                    _ => format!("size={}", limit * 4096),
                };
                small_root(&runtime, &options);
                let id = unique("full");
                let bundle = sleeper();
                let ran = runtime.create(&bundle, &id);
                if ran.code == 0 {
                    made += 1;
                    runtime.call(["start", &id]).ok();
                    runtime.delete(&id);
                } else {
                    assert_eq!(made, 0, "{options}: less was enough");
                    let text = ran.stderr.clone();
                    ran.failed_with(&["ENOSPC", "--root is full"]);
                    refused.insert(text.split(": ").nth(1).unwrap().replace(&id, "ID"));
                }
                assert_eq!(std::fs::read_dir(runtime.root()).unwrap().count(), 0, "{options}");
                runtime.leftovers(&[&id]).assert_none();
                umount(&runtime.root()).unwrap();
            }
            assert!(made > 0, "{unit}: none was enough");
            assert!(refused.len() > 1, "{unit}: it was always the same: {refused:?}");
        }
    });
}

// proves: a full disk or a read-only state directory is reported as such
#[test]
fn a_read_only_state_directory_is_told() {
    apart(|| {
        let runtime = Runtime::new();
        small_root(&runtime, "size=1m");
        let (created, running, new) = (unique("ro"), unique("ro"), unique("ro"));
        let (one, two) = (sleeper(), sleeper());
        runtime.create(&one, &created).ok();
        runtime.start(&two, &running);
        remount(&runtime, MsFlags::MS_RDONLY);
        let bundle = sleeper();
        runtime.create(&bundle, &new).failed_with(&["EROFS", "--root is read-only"]);
        runtime.run(&bundle, &new).failed_with(&["EROFS", "--root is read-only"]);
        runtime.leftovers(&[&new]).find().iter().for_each(|line| assert!(!line.contains(&new), "{line}"));
        // What writes nothing works: a container can be started, looked at and killed.
        runtime.call(["start", &created]).ok();
        assert_eq!(runtime.state(&created)["status"], "running");
        runtime.call(["exec", &running, "/bin/true"]).ok();
        runtime.call(["kill", &running, "KILL"]).ok();
        runtime.wait_stopped(&running);
        runtime.call(["delete", &running]).failed_with(&["EROFS", "--root is read-only"]);
        remount(&runtime, MsFlags::empty());
        runtime.delete(&running);
        runtime.delete(&created);
        assert_eq!(std::fs::read_dir(runtime.root()).unwrap().count(), 0);
        umount(&runtime.root()).unwrap();
        runtime.leftovers(&[&created, &running, &new]).assert_none();
    });
}

// proves: malformed JSON names line and column
#[test]
fn malformed_json_names_line_and_column() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let dir = sextant_integration::bundle::temp_dir();
    for (text, place) in [
        ("{\n  \"ociVersion\": \"1.0.2\",\n  \"process\": {,}\n}", "line 3 column 15"),
        ("{\n  \"ociVersion\": \"1.0.2\"\n", "line 3 column 0"),
        ("{\"a\": 01}", "line 1 column 8"),
        ("{\"a\": \"\x01\"}", "line 1 column 8"),
        ("{} {}", "line 1 column 4"),
    ] {
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        let args = ["create".as_ref(), "--bundle".as_ref(), dir.path().as_os_str(), "x".as_ref()];
        runtime.call(args).failed_with(&[place, "config.json"]);
    }
    runtime.leftovers(&[]).assert_none();
}

// proves: an id that would escape the state directory is refused
#[test]
fn an_id_that_would_escape_is_refused_by_every_command() {
    if skip_unless_root() {
        return;
    }
    let runtime = Runtime::new();
    let bundle = sleeper();
    let dir = bundle.write().to_str().unwrap().to_owned();
    for id in ["..", ".", "../x", "a/b", "/etc", "", "a\nb", "a b"] {
        for args in [
            &["create", "--bundle", &dir, id][..],
            &["run", "--bundle", &dir, id],
            &["start", id],
            &["state", id],
            &["kill", id],
            &["delete", "--force", id],
            &["exec", id, "true"],
            &["pause", id],
            &["resume", id],
            &["ps", id],
            &["update", "--pids-limit", "1", id],
            &["events", "--stats", id],
        ] {
            let ran = runtime.call(args);
            assert_ne!(ran.code, 0, "{args:?}");
            assert!(!ran.stderr.is_empty(), "{args:?}");
        }
    }
    runtime.leftovers(&[]).assert_none();
}
