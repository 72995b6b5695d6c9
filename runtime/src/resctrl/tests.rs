//! Against a directory that stands for resctrl. What differs from the real one:
//! the files of a group are those that the tests or the code itself have made, so
//! that they are removed by hand before the group is.

use super::*;
use crate::plan::Host;
use serde_json::{Value as Json, json};
use std::fs;

/// What the planner makes of this `linux.intelRdt`.
fn planned(rdt: &Json) -> IntelRdt {
    let mut config = serde_json::to_value(crate::plan::default_spec()).unwrap();
    config["linux"]["intelRdt"] = rdt.clone();
    let bundle = crate::bundle::Bundle::parse("/b".as_ref(), config.to_string().as_bytes()).unwrap();
    crate::plan::plan(&bundle, "c1", &Host::sample()).unwrap().intel_rdt.unwrap()
}

fn resctrl() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for resource in ["L3", "MB", "L3_MON"] {
        fs::create_dir_all(dir.path().join("info").join(resource)).unwrap();
    }
    fs::write(dir.path().join("info/last_cmd_status"), "ok\n").unwrap();
    dir
}

fn made(dir: &Path, rdt: &Json) -> Outcome<Place> {
    let plan = planned(rdt);
    let mut place = Place::below(dir, &plan, "c1");
    place.make(&plan, 77)?;
    place.settle(&plan);
    Ok(place)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

// proves: intelRdt
#[test]
fn without_a_name_the_group_is_the_containers_own() {
    let dir = resctrl();
    let rdt = json!({"l3CacheSchema": "L3:0=f\nMB:0=1", "memBwSchema": "MB:0=50", "schemata": ["L2:0=3"]});
    let place = made(dir.path(), &rdt).unwrap();
    let group = dir.path().join("c1");
    assert_eq!(read(&group.join("schemata")), "L3:0=f\nMB:0=50\nL2:0=3\n");
    assert_eq!(read(&group.join("tasks")), "77");
    place.join(78).unwrap();
    assert_eq!(read(&group.join("tasks")), "78");
    for file in ["schemata", "tasks"] {
        fs::remove_file(group.join(file)).unwrap();
    }
    place.remove().unwrap();
    assert!(!group.exists());
    place.remove().unwrap();
}

// proves: intelRdt
#[test]
fn a_group_with_a_name_is_shared_and_stays() {
    let dir = resctrl();
    let missing = made(dir.path(), &json!({"closID": "gold"})).unwrap_err();
    assert_eq!(missing.pointer, "/linux/intelRdt/closID");
    let place = made(dir.path(), &json!({"closID": "gold", "l3CacheSchema": "L3:0=f"})).unwrap();
    assert_eq!(read(&dir.path().join("gold/schemata")), "L3:0=f\n");
    place.remove().unwrap();
    assert!(dir.path().join("gold").exists());
    // Now that it is there it is joined as it is, or refused.
    fs::write(dir.path().join("gold/schemata"), "    MB:0=100\n    L3:0=00f;1=fff\n").unwrap();
    made(dir.path(), &json!({"closID": "gold"})).unwrap();
    made(dir.path(), &json!({"closID": "gold", "l3CacheSchema": "L3:1=FFF"})).unwrap();
    let other = made(dir.path(), &json!({"closID": "gold", "memBwSchema": "MB:0=50"})).unwrap_err();
    assert!(other.to_string().contains("MB:0 is not 50"), "{other}");
    assert!(read(&dir.path().join("gold/schemata")).contains("MB:0=100"));
}

// proves: intelRdt
#[test]
fn the_root_group_and_monitoring() {
    let dir = resctrl();
    fs::create_dir(dir.path().join("mon_groups")).unwrap();
    let place = made(dir.path(), &json!({"closID": "/", "enableMonitoring": true})).unwrap();
    assert_eq!(read(&dir.path().join("tasks")), "77");
    let monitor = dir.path().join("mon_groups/c1");
    assert_eq!(read(&monitor.join("tasks")), "77");
    fs::remove_file(monitor.join("tasks")).unwrap();
    place.remove().unwrap();
    assert!(!monitor.exists() && dir.path().exists());
}

// proves: intelRdt
#[test]
fn a_refusal_is_in_the_kernels_words_and_leaves_nothing() {
    let dir = resctrl();
    fs::write(dir.path().join("info/last_cmd_status"), "Mask out of range\n").unwrap();
    // No mon_groups: the second directory cannot be made. The group is the container's and goes.
    let failure = made(dir.path(), &json!({"enableMonitoring": true})).unwrap_err();
    assert!(failure.to_string().contains("Mask out of range"), "{failure}");
    assert!(!dir.path().join("c1").exists());
}

// proves: intelRdt
#[test]
fn what_the_machine_has_not_is_refused_by_its_field() {
    let dir = tempfile::tempdir().unwrap();
    for (rdt, field) in [
        (json!({"l3CacheSchema": "L3:0=f"}), "l3CacheSchema"),
        (json!({"memBwSchema": "MB:0=50"}), "memBwSchema"),
        (json!({"enableMonitoring": true}), "enableMonitoring"),
    ] {
        let failure = check_at(dir.path(), &planned(&rdt)).unwrap_err();
        assert_eq!(failure.pointer, format!("/linux/intelRdt/{field}"));
        check_at(resctrl().path(), &planned(&rdt)).unwrap();
    }
    if !is_mounted() {
        let failure = check(&planned(&json!({}))).unwrap_err().to_string();
        assert!(failure.contains("mount -t resctrl"), "{failure}");
    }
}
