//! A bundle of a test's own: a temporary directory with a root file system made
//! of the probe, and a config that [`Bundle::edit`] changes.

#![allow(clippy::expect_used, clippy::panic, reason = "a mistake of the harness is a failed test")]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// First host id of the user namespaces of tests.
pub const HOST_ID: u32 = 1_000_000;
/// How many ids they have.
pub const ID_COUNT: u32 = 65_536;

/// A bundle; its directory is removed with it.
#[derive(Debug)]
pub struct Bundle {
    dir: TempDir,
    /// The config as it will be written.
    pub config: Value,
}

impl Bundle {
    /// One that creates all six namespaces and the cgroup namespace; its root
    /// is mapped into the user namespace. It runs the probe.
    pub fn new() -> Self {
        let bundle = Self { dir: temp_dir(), config: default_config() };
        make_rootfs(&bundle.rootfs());
        bundle
    }

    /// One without a user namespace.
    pub fn without_user() -> Self {
        Self::new().without_mappings().edit(|config| remove_namespace(config, "user"))
    }

    /// The probe with these arguments, in a bundle with and one without a user namespace.
    pub fn both(args: &[&str]) -> [Self; 2] {
        let args = [&["/bin/probe"], args].concat();
        [Self::new().args(&args), Self::without_user().args(&args)]
    }

    /// With a changed config.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// With these arguments of the process.
    #[must_use]
    pub fn args(self, args: &[&str]) -> Self {
        self.edit(|config| config["process"]["args"] = json!(args))
    }

    /// With a process that goes on until it is killed.
    #[must_use]
    pub fn sleeping(self) -> Self {
        self.args(&["/bin/probe", "sleep", "1000"])
    }

    /// With one value set, by JSON pointer; what is missing on the way is made.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        set(&mut self.config, pointer, value);
        self
    }

    /// With the namespace of this type joined by path.
    #[must_use]
    pub fn join(self, kind: &str, path: &Path) -> Self {
        self.edit(|config| {
            remove_namespace(config, kind);
            let list = config["linux"]["namespaces"].as_array_mut().expect("namespaces is a list");
            list.push(json!({"type": kind, "path": path}));
        })
    }

    /// A bundle that joins a user namespace: no mappings of its own.
    #[must_use]
    pub fn without_mappings(self) -> Self {
        self.edit(|config| {
            let linux = config["linux"].as_object_mut().expect("linux is an object");
            linux.remove("uidMappings");
            linux.remove("gidMappings");
            config["annotations"] = json!({});
        })
    }

    /// With one more mount.
    #[must_use]
    pub fn mount(self, mount: Value) -> Self {
        self.edit(|config| config["mounts"].as_array_mut().expect("mounts is a list").push(mount))
    }

    /// Writes the config and gives the directory for `--bundle`.
    pub fn write(&self) -> &Path {
        let text = serde_json::to_vec_pretty(&self.config).expect("a config is JSON");
        fs::write(self.dir.path().join("config.json"), text).expect("write config.json");
        self.dir.path()
    }

    /// The bundle's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its root file system on the host.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

/// A temporary directory that others than root may pass through.
pub fn temp_dir() -> TempDir {
    let dir = tempfile::Builder::new().prefix("sextant-it-").tempdir().expect("make a temporary directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("chmod it");
    dir
}

/// Makes a root file system of the probe in `root`.
pub fn make_rootfs(root: &Path) {
    for dir in ["bin", "dev", "etc", "home", "mnt", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir)).expect("make a directory of the root");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod /tmp");
    copy_program(&crate::binary("sextant-probe"), &root.join("bin/probe"));
    for name in ["true", "false", "sleep", "echo", "exit"] {
        symlink("probe", root.join("bin").join(name)).expect("link to the probe");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").expect("write /etc/passwd");
}

/// Adds busybox with these of its names to a root file system; `false`, and a word of it, where
/// this machine has none.
pub fn add_busybox(root: &Path, names: &[&str]) -> bool {
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        crate::skip("there is no /bin/busybox");
        return false;
    }
    copy_program(busybox, &root.join("bin/busybox"));
    for name in names {
        let link = root.join("bin").join(name);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).expect("remove a link to the probe");
        }
        symlink("busybox", link).expect("link to busybox");
    }
    true
}

/// Copies a program that will be executed. Another process does it: what this one has open
/// for writing, a thread that starts a command hands on for a moment, and the program is busy (`ETXTBSY`).
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().expect("start cp");
    assert!(status.success(), "cp {} {}: {status}", from.display(), to.display());
}

/// Sets a value by JSON pointer (RFC 6901); objects missing on the way are
/// made, and `-` appends to a list.
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if place.is_null() {
            *place = if token == "-" || token == "0" { json!([]) } else { json!({}) };
        }
        place = match place {
            Value::Array(list) => {
                let index = if token == "-" { list.len() } else { token.parse().expect("an index") };
                if index == list.len() {
                    list.push(Value::Null);
                }
                list.get_mut(index).unwrap_or_else(|| panic!("{pointer}: no place {index}"))
            }
            Value::Object(map) => map.entry(token).or_insert(Value::Null),
            other => panic!("{pointer}: {other} has no members"),
        };
    }
    *place = value;
}

/// Removes a value by JSON pointer.
pub fn remove(config: &mut Value, pointer: &str) {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer begins with /");
    match config.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(&last.replace("~1", "/").replace("~0", "~"))),
        Some(Value::Array(list)) => drop(list.remove(last.parse().expect("an index"))),
        _ => panic!("{pointer}: nothing to remove"),
    }
}

/// Takes the namespace of this type out of the list.
pub fn remove_namespace(config: &mut Value, kind: &str) {
    let list = config["linux"]["namespaces"].as_array_mut().expect("namespaces is a list");
    list.retain(|namespace| namespace["type"] != kind);
}

fn default_config() -> Value {
    let caps = json!([
        "CAP_AUDIT_WRITE",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE",
        "CAP_CHOWN",
        "CAP_MKNOD",
        "CAP_DAC_OVERRIDE",
        "CAP_SETUID",
        "CAP_SETGID"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/probe"],
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "inside",
        "mounts": default_mounts(),
        "annotations": {"dev.sextant.rootfs.idmap": "true"},
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": HOST_ID, "size": ID_COUNT}],
            "gidMappings": [{"containerID": 0, "hostID": HOST_ID, "size": ID_COUNT}],
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                           {"type": "mount"}, {"type": "user"}, {"type": "cgroup"}],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn default_mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
    ])
}
