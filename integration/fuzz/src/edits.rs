//! Configs from choices: a sound one, changed in a few places. Bytes that are
//! JSON are taken as they are, so that a corpus can have configs as files.

use crate::choices::Choices;
use serde_json::{Map, Value, json};

/// A config as text: the input itself where it begins with a brace, else `base`
/// with the input's edits.
pub fn config(input: &[u8], base: impl FnOnce(&mut Choices<'_>) -> Value) -> Vec<u8> {
    if input.first() == Some(&b'{') {
        return input.to_vec();
    }
    let mut choices = Choices::of(input);
    let mut value = base(&mut choices);
    while !choices.at_end() {
        edit(&mut value, &mut choices);
    }
    serde_json::to_vec(&value).expect("a value is JSON")
}

/// Changes one place.
pub fn edit(root: &mut Value, choices: &mut Choices<'_>) {
    let mut at = root;
    // Down by choices; sometimes not to a leaf.
    loop {
        let count = match &*at {
            Value::Object(map) => map.len(),
            Value::Array(list) => list.len(),
            _ => 0,
        };
        if count == 0 || choices.once_in(12) {
            break;
        }
        let next = choices.below(count);
        at = match at {
            Value::Object(map) => map.values_mut().nth(next).expect("one of them"),
            Value::Array(list) => &mut list[next],
            _ => break,
        };
    }
    change(at, choices);
}

fn change(at: &mut Value, choices: &mut Choices<'_>) {
    match (choices.below(6), &mut *at) {
        (0..2, Value::Object(map)) => {
            let key = choices.pick(&KEYS).to_owned();
            map.insert(key, value(choices));
        }
        (2, Value::Object(map)) if !map.is_empty() => {
            let key = map.keys().nth(choices.below(map.len())).cloned().unwrap_or_default();
            map.remove(&key);
        }
        (0, Value::Array(list)) => list.push(value(choices)),
        (1..3, Value::Array(list)) if !list.is_empty() => {
            let copy = list[choices.below(list.len())].clone();
            list.push(copy);
        }
        (3, Value::Array(list)) if !list.is_empty() => {
            list.remove(choices.below(list.len()));
        }
        (0..2, Value::String(text)) => text.push_str(choices.pick(&TEXTS)),
        (2, Value::String(text)) => text.insert_str(0, choices.pick(&TEXTS)),
        (3, Value::String(text)) => *text = choices.text(),
        (0..3, Value::Number(number)) => {
            let near = number.as_u64().unwrap_or(0);
            *at = json!(choices.near(&[near, 0, 1, 1 << 12, 1 << 20, 1 << 31, 1 << 32, 1 << 63]));
        }
        _ => *at = value(choices),
    }
}

fn value(choices: &mut Choices<'_>) -> Value {
    match choices.below(14) {
        0 => Value::Null,
        1 => json!(choices.once_in(2)),
        2 => json!(choices.near(&[0, 1, 1 << 12, 1 << 31, 1 << 32, u64::MAX])),
        3 => json!(choices.number().cast_signed()),
        4 => json!(-1),
        5..9 => json!(choices.pick(&TEXTS)),
        9 => json!(choices.text()),
        10 => json!([value(choices)]),
        11 => Value::Array((0..choices.below(5)).map(|_| value(choices)).collect()),
        12 => Value::Object(
            (0..choices.below(4)).map(|_| (choices.pick(&KEYS).into(), value(choices))).collect(),
        ),
        _ => json!(Map::new()),
    }
}

/// Texts that mean something somewhere.
const TEXTS: [&str; 88] = [
    "",
    "/",
    "..",
    "/..",
    "/../..",
    ".",
    "//",
    "a",
    "/a",
    "/proc",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/sys",
    "/sys",
    "/sys/fs/cgroup",
    "/sys/kernel",
    "/dev",
    "/dev/null",
    "/dev/ptmx",
    "\0",
    "\n",
    "\t",
    " ",
    ",",
    "=",
    "~",
    "~1",
    "\u{e4}",
    "bind",
    "rbind",
    "ro",
    "rro",
    "rw",
    "noatime",
    "nosuid",
    "ridmap",
    "idmap",
    "tmpcopyup",
    "remount",
    "size=64k",
    "mode=755",
    "uid=5",
    "gid=70000",
    "rshared",
    "private",
    "unbindable",
    "tmpfs",
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "mqueue",
    "devpts",
    "overlay",
    "user",
    "pid",
    "network",
    "mount",
    "uts",
    "ipc",
    "time",
    "/proc/1/ns/net",
    "net.ipv4.ip_forward",
    "kernel.shmmax",
    "kernel.hostname",
    "net/../kernel/x",
    "fs.mqueue.msg_max",
    "monotonic",
    "1.0.2",
    "1.3.0",
    "2.0.0",
    "CAP_SYS_ADMIN",
    "CAP_NOTHING",
    "RLIMIT_NOFILE",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_ALLOW",
    "SCMP_ARCH_X86",
    "A=b",
    "=b",
    "0-3,7",
    "0-3:1/2",
    "2MB",
    "memory.high",
    "cgroup.procs",
    "-1",
    "4294967295",
    "max",
    "system.slice:a:b",
];

/// Names of properties.
const KEYS: [&str; 92] = [
    "path",
    "type",
    "source",
    "destination",
    "options",
    "uidMappings",
    "gidMappings",
    "containerID",
    "hostID",
    "size",
    "readonly",
    "terminal",
    "consoleSize",
    "user",
    "uid",
    "gid",
    "umask",
    "additionalGids",
    "args",
    "env",
    "cwd",
    "capabilities",
    "bounding",
    "ambient",
    "inheritable",
    "rlimits",
    "soft",
    "hard",
    "noNewPrivileges",
    "oomScoreAdj",
    "apparmorProfile",
    "selinuxLabel",
    "scheduler",
    "policy",
    "nice",
    "priority",
    "runtime",
    "deadline",
    "period",
    "ioPriority",
    "class",
    "execCPUAffinity",
    "initial",
    "final",
    "hostname",
    "domainname",
    "hooks",
    "prestart",
    "createRuntime",
    "poststop",
    "timeout",
    "annotations",
    "dev.sextant.rootfs.idmap",
    "linux",
    "namespaces",
    "devices",
    "major",
    "minor",
    "fileMode",
    "allow",
    "access",
    "cgroupsPath",
    "resources",
    "memory",
    "limit",
    "swap",
    "cpu",
    "cpus",
    "quota",
    "pids",
    "blockIO",
    "weight",
    "hugepageLimits",
    "pageSize",
    "unified",
    "rdma",
    "network",
    "sysctl",
    "net.ipv4.ip_forward",
    "seccomp",
    "rootfsPropagation",
    "maskedPaths",
    "readonlyPaths",
    "mountLabel",
    "timeOffsets",
    "monotonic",
    "secs",
    "nanosecs",
    "personality",
    "memoryPolicy",
    "intelRdt",
    "netDevices",
];
