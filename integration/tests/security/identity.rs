//! Who the process is: ids, groups, capabilities, environment (rules R6, R7, R10).

use super::*;

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
