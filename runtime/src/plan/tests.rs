//! What depends on the host, what is allowed, and what only warns. What is
//! refused on every host is in tests/bundles/broken.json.

use super::*;
use serde_json::{Value, json};

/// The default config with the values of `changes`, by pointer; parents must exist.
fn planned(changes: &[(&str, Value)], host: &Host) -> Result<Plan, Vec<Problem>> {
    planned_from(serde_json::to_value(default_spec()).unwrap(), changes, host)
}

fn isolated(changes: &[(&str, Value)], host: &Host) -> Result<Plan, Vec<Problem>> {
    planned_from(serde_json::to_value(isolated_spec(100_000, 1000)).unwrap(), changes, host)
}

fn planned_from(mut config: Value, changes: &[(&str, Value)], host: &Host) -> Result<Plan, Vec<Problem>> {
    for (pointer, value) in changes {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[last] = value.clone();
    }
    let bundle = Bundle::parse("/bundle".as_ref(), &serde_json::to_vec(&config).unwrap()).unwrap();
    plan(&bundle, "x", host)
}

fn pointers(result: Result<Plan, Vec<Problem>>) -> Vec<String> {
    result.err().unwrap_or_default().into_iter().map(|p| p.pointer).collect()
}

fn warned(result: Result<Plan, Vec<Problem>>) -> Vec<String> {
    result.unwrap().warnings.into_iter().map(|p| p.pointer).collect()
}

#[test]
fn an_id_must_be_a_name() {
    let bundle = Bundle::parse("/b".as_ref(), &serde_json::to_vec(&default_spec()).unwrap()).unwrap();
    assert!(plan(&bundle, "../x", &Host::sample()).unwrap_err()[0].message.contains("container id"));
}

#[test]
fn every_minor_version_is_taken() {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0+rc.1", "1.9.3"] {
        assert_eq!(
            planned(&[("/ociVersion", json!(version))], &Host::sample()).unwrap().oci_version,
            version
        );
    }
}

// proves: AppArmor and SELinux labels
#[test]
fn security_modules_are_needed_only_where_they_are_asked_for() {
    let host = Host::sample();
    let asked =
        [("/process/apparmorProfile", json!("docker-default")), ("/process/selinuxLabel", json!("a:b:c:s0"))];
    assert_eq!(pointers(planned(&asked, &host)), ["/process/apparmorProfile", "/process/selinuxLabel"]);
    let both = Host { apparmor: true, selinux: true, ..Host::sample() };
    let plan = planned(&asked, &both).unwrap();
    assert_eq!(plan.process.apparmor_profile, "docker-default");
    assert_eq!(plan.process.selinux_label, "a:b:c:s0");
    let none = planned(&[("/process/apparmorProfile", json!("unconfined"))], &host).unwrap();
    assert_eq!(none.process.apparmor_profile, "");
}

// proves: mountLabel
#[test]
fn a_mount_label_is_the_context_of_new_file_systems() {
    let label = [("/linux/mountLabel", json!("a:b:c:s0"))];
    assert_eq!(pointers(planned(&label, &Host::sample())), ["/linux/mountLabel"]);
    let plan = planned(&label, &Host { selinux: true, ..Host::sample() }).unwrap();
    let labelled: Vec<&str> = plan
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Fs { fstype, options, .. } => {
                options.contains(&("context".into(), Some("a:b:c:s0".into()))).then_some(fstype.as_str())
            }
            MountKind::Bind { .. } | MountKind::Cgroup | MountKind::Remount { .. } => None,
        })
        .collect();
    assert_eq!(labelled, ["tmpfs", "devpts", "tmpfs"]);
}

#[test]
fn without_privileges_a_user_namespace_is_needed() {
    let host = Host { euid: 1000, egid: 1000, permitted: 0, ..Host::sample() };
    assert_eq!(pointers(planned(&[], &host)), ["/linux/namespaces"]);
    assert_eq!(pointers(isolated(&[], &host)), ["/linux/uidMappings", "/linux/gidMappings"]);
    isolated(&[], &Host { newidmap: true, ..host }).unwrap();
}

#[test]
fn an_old_kernel_is_named() {
    let host = Host { kernel: (5, 4), kernel_release: "5.4.0".into(), ..Host::sample() };
    let time =
        [("/linux/namespaces", json!([{"type": "mount"}, {"type": "time"}])), ("/hostname", json!(""))];
    assert_eq!(pointers(planned(&time, &host)), ["/linux/namespaces"]);
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let mount = json!([{"destination": "/a", "source": "/a", "options": ["bind"], "uidMappings": map, "gidMappings": map}]);
    assert_eq!(pointers(planned(&[("/mounts", mount)], &host)), ["/mounts/0"]);
}

#[test]
fn what_has_no_effect_is_a_warning() {
    for (pointer, value) in [
        ("/process/user/username", json!("root")),
        ("/process/commandLine", json!("sh")),
        ("/windows", json!({"layerFolders": ["x"]})),
        ("/solaris", json!({})),
    ] {
        assert_eq!(warned(planned(&[(pointer, value)], &Host::sample())), [pointer]);
    }
    let size =
        [("/process/consoleSize", json!({"height": 1, "width": 2})), ("/process/terminal", json!(false))];
    let plan = planned(&size, &Host::sample()).unwrap();
    assert_eq!(
        (plan.warnings[0].pointer.as_str(), plan.process.console_size),
        ("/process/consoleSize", None)
    );
    assert_eq!(
        warned(planned(&[("/linux/personality", json!({"domain": "LINUX"}))], &Host::sample())),
        [""; 0]
    );
}

#[test]
fn a_joined_mount_namespace_keeps_its_mounts() {
    let joined = [("/linux/namespaces/4/path", json!("/proc/1/ns/mnt"))];
    let warnings = warned(planned(&joined, &Host::sample()));
    assert_eq!(warnings, ["/mounts", "/linux/maskedPaths", "/linux/readonlyPaths"]);
}

#[test]
fn namespaces_are_created_joined_or_the_hosts() {
    let list =
        json!([{"type": "mount", "path": ""}, {"type": "uts"}, {"type": "network", "path": "/run/netns/a"}]);
    let plan = planned(&[("/linux/namespaces", list)], &Host::sample()).unwrap();
    assert_eq!(plan.namespaces.mount, Namespace::Create, "an empty path is none");
    let joined = Namespace::Join { path: "/run/netns/a".into(), pointer: "/linux/namespaces/2/path".into() };
    assert_eq!(plan.namespaces.network, joined);
    assert_eq!(plan.namespaces.pid, Namespace::Host);
}

#[test]
fn a_relative_destination_counts_from_the_root_with_a_warning() {
    let mounts = json!([{"destination": "a/./b", "type": "tmpfs"}]);
    let plan = planned(&[("/mounts", mounts)], &Host::sample()).unwrap();
    assert_eq!(plan.mounts[0].destination, PathBuf::from("/a/b"));
    assert_eq!(plan.warnings[0].pointer, "/mounts/0/destination");
}

#[test]
fn mounts_of_every_kind() {
    let mounts = json!([
        {"destination": "/data", "source": "data", "options": ["rbind", "ro", "rprivate", "sync"]},
        {"destination": "/t", "type": "tmpfs", "options": ["size=1k,mode=700", "ro", "lazytime", "tmpcopyup"]},
        {"destination": "/d", "type": "ext4", "source": "/dev/sda1", "options": ["ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]},
        {"destination": "/proc/uptime", "type": "bind", "source": "/x"},
        {"destination": "/sys", "source": "/sys", "options": ["rbind"]},
        {"destination": "/proc", "source": "/proc", "options": ["rbind"]},
    ]);
    let plan = planned(&[("/mounts", mounts)], &Host::sample()).unwrap();
    let [bind, tmpfs, ext4, cgroup, uptime, ..] = plan.mounts.as_slice() else { panic!() };
    assert_eq!(bind.kind, MountKind::Bind { source: "/bundle/data".into(), depth: Depth::Recursive });
    assert_eq!(bind.attrs, Attrs { set: 1, clear: 0 });
    assert_eq!(bind.propagation, [(Propagation::Private, Depth::Recursive)]);
    assert_eq!(plan.warnings[0].pointer, "/mounts/0/options");
    let option = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
    let MountKind::Fs { options, source, .. } = &tmpfs.kind else { panic!() };
    assert_eq!(*options, [option("lazytime", None), option("size", Some("1k")), option("mode", Some("700"))]);
    assert_eq!((source.as_str(), tmpfs.copy_up, tmpfs.attrs.set), ("tmpfs", true, 1));
    let MountKind::Fs { options, .. } = &ext4.kind else { panic!() };
    assert_eq!(*options, [option("ro", None)], "a device is not written to");
    assert_eq!((&cgroup.kind, cgroup.attrs.set), (&MountKind::Cgroup, 1));
    assert_eq!(uptime.kind, MountKind::Bind { source: "/x".into(), depth: Depth::One });
}

#[test]
fn idmapped_mounts() {
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let own = json!([{"destination": "/a", "source": "/a", "options": ["bind", "ridmap"], "uidMappings": map, "gidMappings": map}]);
    let idmap = planned(&[("/mounts", own)], &Host::sample()).unwrap().mounts[0].idmap.clone().unwrap();
    assert_eq!((idmap.uid_mappings[0].host_id, idmap.depth), (1, Depth::Recursive));
    let shared = json!([{"destination": "/a", "source": "/a", "options": ["bind", "idmap"]}]);
    let idmap = isolated(&[("/mounts", shared)], &Host::sample()).unwrap().mounts[0].idmap.clone().unwrap();
    assert_eq!(idmap, MountIdmap { uid_mappings: vec![], gid_mappings: vec![], depth: Depth::One });
}

#[test]
fn devices_of_the_config_replace_defaults() {
    let devices = json!([
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 8576, "uid": 5},
        {"path": "/dev/pipe", "type": "p"},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
    ]);
    let plan = planned(&[("/linux/devices", devices)], &Host::sample()).unwrap();
    let paths: Vec<_> = plan.devices.iter().map(|d| d.path.to_str().unwrap()).collect();
    let names =
        ["zero", "full", "random", "urandom", "tty", "null", "pipe"].map(|name| format!("/dev/{name}"));
    assert_eq!(paths, names);
    let null = &plan.devices[5];
    assert_eq!((null.mode, null.uid, null.index), (0o600, 5, Some(0)), "the type's bits are dropped");
    assert_eq!((plan.devices[6].kind, plan.devices[6].mode), (DeviceKind::Fifo, 0o666));
    assert_eq!(plan.warnings[0].pointer, "/linux/devices/2/path");
}

#[test]
fn sysctls_of_owned_namespaces() {
    let map = json!({
        "net.ipv4.conf.eth0/1.mtu": "9", "kernel.sem": "1\t2 3 4", "fs.mqueue.msg_max": "5", "kernel.domainname": "d",
    });
    let plan = planned(&[("/linux/sysctl", map)], &Host::sample()).unwrap();
    let paths: Vec<_> = plan.sysctls.iter().map(|s| s.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["fs/mqueue/msg_max", "kernel/domainname", "kernel/sem", "net/ipv4/conf/eth0.1/mtu"]);
}

#[test]
fn the_last_value_of_a_variable_counts() {
    let env = json!(["A=1", "B=2", "A=3=4", "AB=5"]);
    let plan = planned(&[("/process/env", env)], &Host::sample()).unwrap();
    let env: Vec<_> = plan.process.env.iter().map(|e| e.to_str().unwrap()).collect();
    assert_eq!(env, ["A=3=4", "B=2", "AB=5"]);
}

#[test]
fn hooks_get_a_name_and_their_own_environment() {
    let hooks = json!({"poststop": [{"path": "/bin/x", "env": ["A=b"], "timeout": 3}]});
    let plan = planned(&[("/hooks", hooks)], &Host::sample()).unwrap();
    let hook = &plan.hooks.poststop[0];
    assert_eq!((hook.args[0].to_str(), hook.env.len(), hook.timeout), (Ok("/bin/x"), 1, Some(3)));
    assert_eq!(hook.pointer, "/hooks/poststop/0");
}

#[test]
fn the_root_is_relative_to_the_bundle() {
    let plan = isolated(
        &[
            ("/root", json!({"path": "../r"})),
            ("/linux/rootfsPropagation", json!("rslave")),
            ("/annotations", json!({"dev.sextant.rootfs.idmap": "true"})),
        ],
        &Host::sample(),
    )
    .unwrap();
    assert_eq!(plan.rootfs.path, PathBuf::from("/bundle/../r"));
    assert_eq!(plan.rootfs.propagation, Some((Propagation::Slave, Depth::Recursive)));
    assert!(plan.rootfs.idmapped && !plan.rootfs.readonly);
}

#[test]
fn a_root_is_mapped_like_a_user_namespace_that_is_made_or_joined() {
    let mapped = ("/annotations", json!({"dev.sextant.rootfs.idmap": "true"}));
    let without = planned(std::slice::from_ref(&mapped), &Host::sample());
    assert_eq!(pointers(without), ["/annotations/dev.sextant.rootfs.idmap"]);
    let joined = json!([{"type": "mount"}, {"type": "uts"}, {"type": "user", "path": "/pins/user"}]);
    assert!(planned(&[mapped, ("/linux/namespaces", joined)], &Host::sample()).unwrap().rootfs.idmapped);
}

#[test]
fn a_capability_that_the_caller_lacks_is_had_in_a_user_namespace() {
    let host = Host { bounding: 1 << 5, ..Host::sample() };
    let caps = |plan: Plan| plan.process.capabilities.permitted;
    assert_eq!(caps(planned(&[], &host).unwrap()), 1 << 5);
    assert_eq!(caps(isolated(&[], &host).unwrap()), 1 << 5 | 1 << 10 | 1 << 29);
}

#[test]
fn attributes_become_the_kernels_numbers() {
    let changes = [
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 4000,
                   "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM"]}),
        ),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6})),
        ("/process/execCPUAffinity", json!({"initial": "0-3, 7", "final": ""})),
        ("/linux/personality", json!({"domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"]})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]})),
    ];
    let attributes = planned(&changes, &Host::sample()).unwrap().process.attributes;
    let scheduler = attributes.scheduler.unwrap();
    assert_eq!((scheduler.policy, scheduler.flags, scheduler.deadline), (6, 7, 3000));
    let priority = attributes.io_priority.unwrap();
    assert_eq!((priority.class, priority.level), (2, 6));
    assert_eq!(attributes.exec_affinity.initial.unwrap().words(), [0x8f]);
    assert_eq!(attributes.exec_affinity.last, None);
    assert_eq!(attributes.personality, Some(0x0004_0008));
    let policy = attributes.memory_policy.unwrap();
    assert_eq!((policy.mode, policy.nodes.words()), (2 | 1 << 15, &[1][..]));
}
