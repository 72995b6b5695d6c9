//! A user who is not root: the runtime runs as uid 12345, in a mount namespace
//! of the test's own where that user can have id ranges or a delegated cgroup.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use nix::unistd::{Gid, Uid, chown};
use serde_json::{Value, json};
use sextant_integration::bundle::{copy_program, make_rootfs, set, temp_dir};
use sextant_integration::process::{Ran, run};
use sextant_integration::{Leftovers, binary, skip, skip_unless_root, unique};
use std::path::{Path, PathBuf};
use std::process::Command;

const USER: u32 = 12345;

/// What the host gives the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// Nothing: the cgroups of this host, no ranges.
    Nothing,
    /// Ranges in /etc/subuid and /etc/subgid.
    Ranges,
    /// A delegated cgroup of version 2, and no other cgroups.
    Cgroup,
    /// No cgroup file system at all.
    NoCgroups,
}

/// The user with a bundle.
struct User {
    dir: tempfile::TempDir,
    id: String,
    given: Given,
}

impl User {
    fn new(given: Given) -> Self {
        Self::with(given, &binary("sextant-runtime"))
    }

    /// One who has this runtime.
    fn with(given: Given, runtime: &Path) -> Self {
        let user = Self { dir: temp_dir(), id: unique("rootless"), given };
        for dir in ["b/rootfs", "run"] {
            std::fs::create_dir_all(user.path(dir)).unwrap();
        }
        make_rootfs(&user.path("b/rootfs"));
        copy_program(runtime, &user.path("runtime"));
        std::fs::write(user.path("passwd"), format!("it:x:{USER}:{USER}::/:/bin/sh\n")).unwrap();
        let ranges = if given == Given::Ranges { "it:200000:65536\n" } else { "" };
        std::fs::write(user.path("ranges"), ranges).unwrap();
        own(user.dir.path());
        user.call("./runtime spec --rootless --bundle b").ok();
        user.edit(|config| {
            set(config, "/process/terminal", json!(false));
            set(config, "/process/args", json!(["/bin/probe"]));
            set(config, "/process/env", json!(["PATH=/bin"]));
        });
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path("b/config.json");
        let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// What root prepares before the user's script.
    fn prelude(&self) -> String {
        let id = &self.id;
        match self.given {
            Given::Nothing => String::new(),
            Given::Ranges => "mount --bind passwd /etc/passwd; mount --bind ranges /etc/subuid; \
                              mount --bind ranges /etc/subgid;"
                .into(),
            Given::NoCgroups => "umount --recursive --lazy /sys/fs/cgroup;".into(),
            Given::Cgroup => format!(
                "umount --recursive --lazy /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; \
                 d=/sys/fs/cgroup/{id}-of-user; mkdir -p $d/own; \
                 chown {USER} $d $d/own $d/cgroup.procs $d/own/cgroup.procs $d/cgroup.subtree_control; \
                 echo $$ > $d/own/cgroup.procs;"
            ),
        }
    }

    /// Runs a shell script as the user; `$id` is the container's.
    fn call(&self, script: &str) -> Ran {
        let outer = format!(
            "set -e; {} exec setpriv --reuid {USER} --regid {USER} --clear-groups \
             env -i PATH=/usr/bin:/bin id={} XDG_RUNTIME_DIR=$PWD/run sh -c \"$1\"",
            self.prelude(),
            self.id
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &outer, "sh", script]);
        run(command.current_dir(self.dir.path()), self.dir.path())
    }

    fn sleeps(&self) {
        self.edit(|config| set(config, "/process/args", json!(["/bin/probe", "sleep", "1000"])));
    }

    fn end(&self) {
        self.call("./runtime delete --force $id").ok();
        for part in ["own", ""] {
            for unified in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
                // Only there for a user with a cgroup, and where this host shows version 2.
                let dir = Path::new(unified).join(format!("{}-of-user", self.id));
                std::fs::remove_dir(dir.join(part)).ok();
            }
        }
        Leftovers::of(self.dir.path(), &[&self.id]).empty_dir(self.path("run/sextant-runtime")).assert_none();
    }
}

fn own(path: &Path) {
    chown(path, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).unwrap();
    for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            own(&entry.path());
        } else if entry.file_type().unwrap().is_file() {
            chown(&entry.path(), Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).unwrap();
        }
    }
}

// proves: rootless with a single id
#[test]
fn spec_rootless_runs_as_an_ordinary_user() {
    if skip_unless_root() {
        return;
    }
    for given in [Given::Nothing, Given::NoCgroups] {
        let user = User::new(given);
        let seen = user.call("./runtime run --bundle b $id").ok().seen();
        assert_eq!(seen.uid_map, [[0, USER, 1]], "{given:?}");
        user.end();
    }
}

const EACH: &str = "set -e; ./runtime create --bundle b $id </dev/null >/dev/null 2>&1
    ./runtime state $id | grep created; ./runtime start $id; ./runtime exec $id /bin/echo in-it
    ./runtime ps --format json $id; ./runtime list -q | grep $id";

const UNTIL_STOPPED: &str = "until ./runtime state $id | grep stopped; do sleep 0.05; done";

// proves: rootless without cgroups
#[test]
fn every_command_works_without_a_cgroup() {
    if skip_unless_root() {
        return;
    }
    let user = User::new(Given::Nothing);
    user.sleeps();
    let out = user.call(EACH).ok().stdout;
    assert!(out.contains("in-it") && !out.contains("[]") && !out.contains("null"), "{out}");
    user.call("./runtime pause $id").failed_with(&["freezer", "hint"]);
    for flag in ["", "--all"] {
        let killed = format!("./runtime kill {flag} $id KILL && {UNTIL_STOPPED}; ./runtime delete $id");
        user.call(&killed).ok();
        user.call("./runtime run --detach --bundle b $id </dev/null >/dev/null 2>&1").ok();
    }
    user.end();
}

/// Exit statuses of each command on a container that runs without a cgroup, ours and runc's.
// proves: commands without a cgroup beside runc's
#[test]
fn commands_without_a_cgroup_beside_runcs() {
    const COMMANDS: [(&str, [u8; 2]); 10] = [
        ("exec ID /bin/probe exit 7", [7, 7]),
        ("exec --detach ID /bin/true", [0, 0]),
        ("exec ID /bin/nothing", [255, 255]),
        ("pause ID", [1, 1]),
        ("resume ID", [1, 1]),
        ("update --pids-limit 5 ID", [1, 1]),
        ("events --stats ID", [0, 0]),
        // runc asks nothing but the cgroup for these; ours asks the pid namespace.
        ("ps ID", [0, 1]),
        ("kill --all ID CONT", [0, 1]),
        ("kill ID 0", [0, 0]),
    ];
    if skip_unless_root() {
        return;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(runc) = std::env::split_paths(&path).map(|dir| dir.join("runc")).find(|runc| runc.exists())
    else {
        return skip("runc is not installed");
    };
    for (side, program) in [binary("sextant-runtime"), runc].iter().enumerate() {
        let user = User::with(Given::Nothing, program);
        user.sleeps();
        user.call("./runtime run --detach --bundle b $id </dev/null >/dev/null 2>&1").ok();
        for (command, codes) in COMMANDS {
            let ran = user.call(&format!("./runtime {}", command.replace("ID", "$id")));
            assert_eq!(ran.code, i32::from(codes[side]), "{}: {command}: {ran:?}", program.display());
            assert!(user.call("./runtime state $id").ok().stdout.contains("running"), "{command}");
        }
        user.call(&format!("./runtime kill $id KILL && {UNTIL_STOPPED}")).ok();
        user.call("./runtime delete $id").ok();
        user.end();
    }
}

// proves: rootless with a delegated cgroup of version 2
#[test]
fn a_delegated_cgroup_is_used() {
    if skip_unless_root() {
        return;
    }
    let user = User::new(Given::Cgroup);
    user.sleeps();
    let script = format!(
        "{EACH}; ./runtime pause $id; ./runtime state $id | grep paused; ./runtime resume $id
         pid=$(./runtime state $id | sed -n 's/.*\"pid\": \\([0-9]*\\),/\\1/p'); grep ^0: /proc/$pid/cgroup
         ./runtime kill --all $id KILL; {UNTIL_STOPPED}; ./runtime delete $id; ls /sys/fs/cgroup/$id-of-user"
    );
    let out = user.call(&script).ok().stdout;
    assert!(out.contains(&format!("{0}-of-user/{0}", user.id)) || out.contains("0::/../"), "{out}");
    user.end();
}

// proves: rootless with newuidmap and newgidmap
#[test]
fn ranges_are_mapped_by_newuidmap() {
    if skip_unless_root() {
        return;
    }
    if !Path::new("/usr/bin/newuidmap").exists() {
        return skip("newuidmap is not installed");
    }
    let user = User::new(Given::Ranges);
    let maps = |first: u32, size: u32| {
        json!([{"containerID": 0, "hostID": USER, "size": 1},
               {"containerID": 1, "hostID": first, "size": size}])
    };
    let with = |first, size| {
        user.edit(|config| {
            set(config, "/linux/uidMappings", maps(first, size));
            set(config, "/linux/gidMappings", maps(first, size));
            set(config, "/process/user", json!({"uid": 7, "gid": 8, "additionalGids": [9]}));
        });
        user.call("./runtime run --bundle b $id")
    };
    let seen = with(200_000, 65_536).ok().seen();
    assert_eq!(seen.uid_map, [[0, USER, 1], [1, 200_000, 65_536]]);
    assert_eq!((seen.uid[0], seen.groups), (7, vec![9]));
    with(300_000, 10).failed_with(&["/linux/uidMappings", "newuidmap", "it has", "200000:65536"]);
    user.end();
}

// proves: rootless errors name the range, the delegation, the sysctl
#[test]
fn what_is_missing_is_named_with_the_command_that_mends_it() {
    if skip_unless_root() {
        return;
    }
    let user = User::new(Given::Nothing);
    user.edit(|config| set(config, "/linux/resources", json!({"pids": {"limit": 10}})));
    let ran = user.call("./runtime --debug run --bundle b $id").ok();
    assert!(ran.stderr.contains("without a cgroup, and so without process limit 10"), "{}", ran.stderr);
    user.call("./runtime --rootless false run --bundle b $id").failed_with(&["cgroup", "Delegate=yes"]);
    user.edit(|config| set(config, "/linux/cgroupsPath", json!("/named")));
    user.call("./runtime run --bundle b $id").failed_with(&["cgroup", "Delegate=yes"]);
    user.call("./runtime --rootless true run --bundle b $id").ok();
    if Path::new("/usr/bin/newuidmap").exists() {
        user.edit(|config| {
            set(config, "/linux/uidMappings", json!([{"containerID": 0, "hostID": 200_000, "size": 10}]));
        });
        user.call("./runtime --rootless true run --bundle b $id")
            .failed_with(&["/linux/uidMappings", "newuidmap"]);
    }
    user.end();
}

// proves: rootless in a joined user namespace
#[test]
fn a_user_namespace_of_the_users_own_is_joined() {
    if skip_unless_root() {
        return;
    }
    let user = User::new(Given::Nothing);
    user.sleeps();
    user.call("./runtime create --bundle b $id </dev/null >/dev/null 2>&1 && ./runtime start $id").ok();
    let state = user.call("./runtime state $id").ok().stdout;
    let pid = serde_json::from_str::<Value>(&state).unwrap()["pid"].clone();
    user.edit(|config| {
        set(config, "/process/args", json!(["/bin/probe"]));
        sextant_integration::bundle::remove_namespace(config, "user");
        let joined = json!({"type": "user", "path": format!("/proc/{pid}/ns/user")});
        set(config, "/linux/namespaces/-", joined);
        for map in ["uidMappings", "gidMappings"] {
            config["linux"].as_object_mut().unwrap().remove(map);
        }
    });
    let seen = user.call("./runtime run --bundle b $id-2").ok().seen();
    assert_eq!(seen.uid_map, [[0, USER, 1]]);
    user.end();
}

// proves: rootless as root of a user namespace that the caller has made (podman)
#[test]
fn root_of_somebody_elses_user_namespace_makes_containers() {
    if skip_unless_root() {
        return;
    }
    let user = User::new(Given::Nothing);
    // What podman passes: no user namespace, devices, limits of this user's.
    user.edit(|config| {
        sextant_integration::bundle::remove_namespace(config, "user");
        for map in ["uidMappings", "gidMappings"] {
            config["linux"].as_object_mut().unwrap().remove(map);
        }
        set(
            config,
            "/linux/resources",
            json!({"devices": [{"allow": false, "access": "rwm"}],
                                               "pids": {"limit": 2048}}),
        );
        set(config, "/process/args", json!(["/bin/probe", "--stat", "/dev/null"]));
    });
    let seen = user.call("unshare --user --map-root-user --mount ./runtime run --bundle b $id").ok().seen();
    assert_eq!(seen.uid_map, [[0, USER, 1]]);
    assert!(format!("{:?}", seen.files["/dev/null"]).contains("Ok"), "{:?}", seen.files);
    user.end();
}

#[test]
fn init_alone_is_known_where_nothing_tells_the_others_apart() {
    if skip_unless_root() {
        return;
    }
    let user = User::new(Given::NoCgroups);
    user.sleeps();
    user.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
        let proc = config["mounts"].as_array_mut().unwrap();
        let proc = proc.iter_mut().find(|mount| mount["destination"] == "/proc").unwrap();
        *proc = json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]});
    });
    user.call("./runtime run --detach --bundle b --pid-file pid $id </dev/null >/dev/null 2>&1").ok();
    let pids = user.call("./runtime ps --format json $id").ok().stdout;
    let pid = std::fs::read_to_string(user.path("pid")).unwrap();
    user.call(&format!("./runtime kill $id KILL && {UNTIL_STOPPED}")).ok();
    user.end();
    assert_eq!(pids.trim(), format!("[{}]", pid.trim()));
}
