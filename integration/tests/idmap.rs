//! Id-mapped mounts: bind mounts and file systems, with mappings of their own
//! or the container's, with a user namespace and without one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use serde_json::{Value, json};
use sextant_integration::{Bundle, Runtime, skip_unless_root, unique};

const FILE: &str = "/mnt/file";

/// A directory of the host with one file of uid 1000 and gid 2000.
fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "x").unwrap();
    std::os::unix::fs::chown(&path, Some(1000), Some(2000)).unwrap();
    dir
}

fn mappings(inside: u32, outside: u32) -> Value {
    json!([{"containerID": inside, "hostID": outside, "size": 1}])
}

fn stat() -> Bundle {
    Bundle::without_user().args(&["/bin/probe", "--stat", FILE])
}

// proves: id-mapped mounts
#[test]
fn a_bind_mount_with_its_own_mappings_without_a_user_namespace() {
    if skip_unless_root() {
        return;
    }
    let source = source();
    let bundle = stat().mount(json!({
        "destination": "/mnt", "source": source.path(), "options": ["bind"],
        "uidMappings": mappings(1000, 33), "gidMappings": mappings(2000, 44),
    }));
    let seen = Runtime::seen_in(&bundle);
    assert_eq!((seen.file(FILE).uid, seen.file(FILE).gid), (33, 44));
}

// proves: id-mapped mounts
#[test]
fn a_bind_mount_with_the_containers_mappings() {
    if skip_unless_root() {
        return;
    }
    for option in ["idmap", "ridmap"] {
        let source = source();
        let mount = json!({"destination": "/mnt", "source": source.path(), "options": ["rbind", option]});
        let bundle = Bundle::new().args(&["/bin/probe", "--stat", FILE]).mount(mount);
        let seen = Runtime::seen_in(&bundle);
        assert_eq!((seen.file(FILE).uid, seen.file(FILE).gid), (1000, 2000), "{option}");
    }
}

// proves: id-mapped mounts
#[test]
fn a_bind_mount_with_the_mappings_of_a_joined_user_namespace() {
    if skip_unless_root() {
        return;
    }
    let (runtime, first) = (Runtime::new(), unique("idmap"));
    let holder = Bundle::new().args(&["/bin/probe", "sleep", "100"]);
    let pid = runtime.start(&holder, &first);
    let source = source();
    let mount = json!({"destination": "/mnt", "source": source.path(), "options": ["bind", "idmap"]});
    let bundle = Bundle::new()
        .args(&["/bin/probe", "--stat", FILE])
        .join("user", format!("/proc/{pid}/ns/user").as_ref())
        .without_mappings()
        .set("/annotations", json!({}))
        .mount(mount);
    let ran = runtime.run(&bundle, &unique("idmap"));
    runtime.call(["delete", "--force", &first]);
    let seen = ran.ok().seen();
    assert_eq!((seen.file(FILE).uid, seen.file(FILE).gid), (1000, 2000));
}

// proves: id-mapped mounts
#[test]
fn a_tmpfs_with_mappings_of_its_own_and_the_containers() {
    if skip_unless_root() {
        return;
    }
    let mount = json!({
        "destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["uid=7", "gid=8"],
        "uidMappings": mappings(7, 33), "gidMappings": mappings(8, 44),
    });
    let bundle = Bundle::without_user().args(&["/bin/probe", "--stat", "/mnt"]).mount(mount);
    let seen = Runtime::seen_in(&bundle);
    assert_eq!((seen.file("/mnt").uid, seen.file("/mnt").gid), (33, 44));

    let mount = json!({"destination": "/mnt", "type": "tmpfs", "options": ["uid=7", "gid=8", "idmap"]});
    let bundle = Bundle::new().args(&["/bin/probe", "--stat", "/mnt"]).mount(mount);
    let seen = Runtime::seen_in(&bundle);
    assert_eq!((seen.file("/mnt").uid, seen.file("/mnt").gid), (7, 8));
}

#[test]
fn what_cannot_be_mapped_is_refused_by_its_pointer() {
    if skip_unless_root() {
        return;
    }
    let (runtime, id) = (Runtime::new(), unique("idmap"));
    let own = |mut mount: Value| {
        mount["uidMappings"] = mappings(0, 33);
        mount["gidMappings"] = mappings(0, 33);
        Bundle::without_user().edit(|config| config["mounts"] = json!([mount]))
    };
    let proc = own(json!({"destination": "/proc", "type": "proc"}));
    runtime.create(&proc, &id).failed_with(&["/mounts/0", "proc has no id-mapped mounts"]);
    let binds_proc = own(json!({"destination": "/mnt", "source": "/proc", "options": ["bind"]}));
    runtime.create(&binds_proc, &id).failed_with(&["/mounts/0", "EINVAL", "no id-mapped mounts"]);
    let none =
        Bundle::without_user().mount(json!({"destination": "/mnt", "type": "tmpfs", "options": ["idmap"]}));
    runtime.create(&none, &id).failed_with(&["/options", "needs mappings"]);
    runtime.leftovers(&[&id]).assert_none();
}
