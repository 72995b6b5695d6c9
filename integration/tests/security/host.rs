//! What of the host a container may see or change (rules R5, R8, R10).

use super::*;

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
    let (runtime, id, bundle) = (Runtime::new(), unique("modes"), Bundle::new().sleeping());
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
        .sleeping()
        .mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["rshared"]}));
    runtime.start(&bundle, &id);
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = bundle.dir().display().to_string();
    assert!(!table.contains(&dir), "{table}");
    runtime.delete(&id);
    assert!(process::until(process::DEADLINE, || runtime.leftovers(&[&id]).find().is_empty()));
}
