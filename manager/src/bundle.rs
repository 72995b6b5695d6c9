//! Bundles: reading what a container will be from one, and making one from a
//! root directory and a command. Both end in the same check, so that a mistake
//! is found before there is a shim.

use crate::engine::error::{Error, Violation};
use crate::model::{Access, IdRange, RootfsSource};
use serde_json::{Value, json};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What the manager shows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The root directory.
    pub rootfs: PathBuf,
    /// argv.
    pub command: Vec<String>,
    /// Host name inside.
    pub hostname: String,
}

/// Largest config.json that is read.
const MAX_CONFIG: u64 = 8 << 20;
/// Where a program without a slash is looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a container's root may do in its own user namespace; the set that
/// runc's and Docker's defaults agree on, without mknod(2) and raw sockets.
const CAPABILITIES: [&str; 12] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
    "CAP_AUDIT_WRITE",
];

/// Reads a bundle and checks it.
///
/// # Errors
/// [`Error::Refused`] with all mistakes; the fields are JSON pointers.
pub fn check(bundle: &Path, id: &str) -> Result<Facts, Error> {
    let refused = |field: &str, message: String| Error::Refused {
        attempted: format!("create container {id:?}"),
        violations: vec![Violation { field: field.into(), message, hint: String::new() }],
    };
    let path = bundle.join("config.json");
    let size =
        std::fs::metadata(&path).map_err(|e| refused("bundle", format!("{}: {e}", path.display())))?.len();
    if size > MAX_CONFIG {
        return Err(refused("bundle", format!("{} has {size} bytes, at most {MAX_CONFIG}", path.display())));
    }
    let bytes = std::fs::read(&path).map_err(|e| refused("bundle", format!("{}: {e}", path.display())))?;
    let config: Value = serde_json::from_slice(&bytes).map_err(|e| refused("", format!("not JSON: {e}")))?;
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
    let root = text("/root/path").ok_or_else(|| refused("/root/path", "it is missing".into()))?;
    let args = config.pointer("/process/args").and_then(Value::as_array);
    Ok(Facts {
        bundle: bundle.into(),
        rootfs: bundle.join(root),
        command: args.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        hostname: text("/hostname").unwrap_or_default().to_owned(),
    })
}

/// Makes a bundle with all six namespaces, a cgroup and a range of ids of its own.
///
/// # Errors
/// [`Error::Io`].
pub fn make(bundle: &Path, id: &str, source: &RootfsSource, ids: IdRange) -> Result<(), Error> {
    let path = bundle.join("config.json");
    let attempted = || Error::io(format!("write {}", path.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(bundle).map_err(attempted())?;
    let bytes = serde_json::to_vec_pretty(&config(id, source, ids)).map_err(|e| attempted()(e.into()))?;
    std::fs::write(&path, bytes).map_err(attempted())
}

fn config(id: &str, source: &RootfsSource, ids: IdRange) -> Value {
    let mut env = source.env.clone();
    if !env.iter().any(|pair| pair.starts_with("PATH=")) {
        env.insert(0, PATH.into());
    }
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let mapping = json!([{ "containerID": 0, "hostID": ids.host_id, "size": ids.size }]);
    let namespaces =
        ["user", "pid", "network", "mount", "uts", "ipc", "cgroup"].map(|t| json!({ "type": t }));
    json!({
        "ociVersion": sextant_runtime::contract::OCI_VERSION,
        "root": { "path": source.rootfs, "readonly": source.access == Access::ReadOnly },
        "hostname": or(&source.hostname, id),
        "annotations": { "dev.sextant.rootfs.idmap": "true" },
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": source.command,
            "env": env,
            "cwd": or(&source.cwd, "/"),
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
        },
        "mounts": mounts(source),
        "linux": {
            "namespaces": namespaces,
            "uidMappings": mapping,
            "gidMappings": mapping,
            "cgroupsPath": format!("/sextant/{id}"),
            "resources": resources(source),
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                "/sys/firmware", "/sys/devices/virtual/powercap",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

fn mounts(source: &RootfsSource) -> Vec<Value> {
    let fs = |destination: &str, kind: &str, from: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": from, "options": options });
    let mut mounts = vec![
        fs("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        fs("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        fs(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        ),
        fs("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        fs("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        fs("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        fs("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ];
    mounts.extend(source.mounts.iter().map(|mount| {
        let access = if mount.access == Access::ReadOnly { "ro" } else { "rw" };
        let options = ["rbind", "rprivate", access];
        json!({ "destination": mount.destination, "type": "bind", "source": mount.source, "options": options })
    }));
    mounts
}

/// Period of a CPU quota, in microseconds.
const PERIOD: u64 = 100_000;

fn resources(source: &RootfsSource) -> Value {
    let mut resources = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    if let Some(bytes) = source.limits.memory_bytes {
        resources["memory"] = json!({ "limit": bytes });
    }
    if let Some(millis) = source.limits.cpu_millis {
        resources["cpu"] = json!({ "quota": millis.saturating_mul(100), "period": PERIOD });
    }
    if let Some(pids) = source.limits.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    resources
}
