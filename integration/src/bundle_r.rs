//! Bundle R of the benchmarks: what Docker adds to a default bundle when
//! nobody asks for anything. [`from_default`] makes it of a default `spec`.

use serde_json::{Map, Value, json};
use std::fs;
use std::io;
use std::path::Path;

/// Docker's default seccomp profile as it is for the default capabilities on
/// x86_64: about 380 names, three architectures.
const SECCOMP: &str = include_str!("../../runtime/tests/profiles/default.json");

/// The capabilities that Docker leaves to root.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Character devices that Docker allows: zero, null, urandom, random, tty,
/// console, the terminals of devpts; fuse is denied.
const DEVICES: [(i64, Option<i64>, bool); 8] = [
    (1, Some(5), true),
    (1, Some(3), true),
    (1, Some(9), true),
    (1, Some(8), true),
    (5, Some(0), true),
    (5, Some(1), true),
    (136, None, true),
    (10, Some(229), false),
];

/// The files that Docker binds over those of the image.
const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

/// Changes the config of a default bundle to bundle R. The binds are three
/// files and one directory below `sources`, see [`make_sources`].
///
/// # Errors
/// A sentence when `config` is not a config of that form.
pub fn from_default(mut config: Value, sources: &Path) -> Result<Value, String> {
    let seccomp: Value = serde_json::from_str(SECCOMP).map_err(|e| format!("the seccomp profile: {e}"))?;
    let caps = json!(CAPABILITIES);
    let process = object(&mut config, "/process")?;
    process.insert("terminal".into(), json!(false));
    process.insert("noNewPrivileges".into(), json!(false));
    process.insert("capabilities".into(), json!({"bounding": caps, "effective": caps, "permitted": caps}));
    let linux = object(&mut config, "/linux")?;
    linux.insert("maskedPaths".into(), json!(MASKED));
    linux.insert("readonlyPaths".into(), json!(READONLY));
    linux.insert("resources".into(), json!({"devices": device_rules()}));
    linux.insert("seccomp".into(), seccomp);
    let mounts = config.pointer_mut("/mounts").and_then(Value::as_array_mut).ok_or("no list at /mounts")?;
    mounts.extend(binds(sources));
    Ok(config)
}

/// Makes what the binds of [`from_default`] have as sources.
///
/// # Errors
/// As creating directories and writing files.
pub fn make_sources(sources: &Path) -> io::Result<()> {
    fs::create_dir_all(sources.join("data"))?;
    FILES.iter().try_for_each(|name| fs::write(sources.join(name), "127.0.0.1 localhost\n"))
}

fn object<'a>(config: &'a mut Value, pointer: &str) -> Result<&'a mut Map<String, Value>, String> {
    config.pointer_mut(pointer).and_then(Value::as_object_mut).ok_or(format!("no object at {pointer}"))
}

fn device_rules() -> Vec<Value> {
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    rules.extend(DEVICES.map(|(major, minor, allow)| {
        let mut rule = json!({"allow": allow, "type": "c", "major": major, "access": "rwm"});
        if let (Some(minor), Some(rule)) = (minor, rule.as_object_mut()) {
            rule.insert("minor".into(), json!(minor));
        }
        rule
    }));
    rules
}

fn binds(sources: &Path) -> Vec<Value> {
    let bind = |name: &str, destination: String| {
        json!({"destination": destination, "type": "bind", "source": sources.join(name),
               "options": ["rbind", "rprivate"]})
    };
    let files = FILES.iter().map(|name| bind(name, format!("/etc/{name}")));
    files.chain([bind("data", "/data".into())]).collect()
}
