//! config.json → bundle → plan: a refusal has places, an accepted plan is one
//! that `create` can rely on, the same config gives the same plan, and what was
//! read is what is printed again.

use crate::choices::Choices;
use crate::{check, edits};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use sextant_runtime::bundle::Bundle;
use sextant_runtime::plan::{self, Host, default_spec, explain, isolated_spec, rootless_spec};
use std::path::Path;

const BUNDLE: &str = "/bundle";

pub(super) fn target(input: &[u8]) {
    let text = edits::config(input, base);
    let Some(bundle) = parsed(&text) else { return };
    let raw: Value = serde_json::from_slice(&text).expect("what was parsed is JSON");
    reads_the_same(&bundle, &raw);
    for host in hosts() {
        match plan::plan(&bundle, "fuzz", &host) {
            Err(problems) => {
                assert!(!problems.is_empty());
                check::problems(&problems, &raw);
            }
            Ok(plan) => {
                check::problems(&plan.warnings, &raw);
                check::plan(&plan);
                check::same_process(bundle.spec.process().as_ref().expect("accepted"), &plan.process);
                executes_the_same(&plan, &host);
                assert!(!explain::text(&plan).is_empty());
                let again = plan::plan(&printed(&bundle), "fuzz", &host).expect("the printed config");
                let text = |mut plan: plan::Plan| {
                    plan.warnings.clear();
                    // The sets of capabilities in it have no order.
                    plan.exec = Value::Null;
                    format!("{plan:?}")
                };
                assert_eq!(text(again), text(plan));
            }
        }
    }
}

fn parsed(text: &[u8]) -> Option<Bundle> {
    match Bundle::parse(Path::new(BUNDLE), text) {
        Ok(bundle) => Some(bundle),
        Err(failure) => {
            assert!(!failure.attempted.is_empty() && !failure.because.is_empty(), "{failure:?}");
            let raw: Value = serde_json::from_slice(text).unwrap_or_default();
            check::pointer(&failure.pointer, &raw);
            None
        }
    }
}

/// What is read at one go is what the careful reader gives, which has the config
/// once it has a property that nobody knows. What it warns of is not read at one go.
fn reads_the_same(bundle: &Bundle, raw: &Value) {
    let mut raw = raw.clone();
    raw["nobody knows"] = json!(1);
    let careful = Bundle::parse(Path::new(BUNDLE), raw.to_string().as_bytes());
    let careful = careful.unwrap_or_else(|failure| panic!("refused by the careful reader: {failure}"));
    assert_eq!(careful.spec, bundle.spec);
    let own = careful.warnings.iter().filter(|w| w.pointer != "/nobody knows");
    assert!(own.eq(bundle.warnings.iter()), "{:?} {:?}", careful.warnings, bundle.warnings);
}

/// The config printed and read again. The OCI types print two flags and the
/// capabilities in ways of their own, which the loader has to understand.
fn printed(bundle: &Bundle) -> Bundle {
    let text = serde_json::to_vec(&bundle.spec).expect("a spec is JSON");
    let again = Bundle::parse(Path::new(BUNDLE), &text).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(again.annotations, bundle.annotations);
    again
}

/// `exec` of the container's own process is always possible, and is that process.
fn executes_the_same(plan: &plan::Plan, host: &Host) {
    let spec: Spec = serde_json::from_value(plan.exec.clone()).expect("what is kept for exec is a config");
    let exec = plan::exec::plan(&spec, host, Vec::new()).unwrap_or_else(|p| panic!("{p:?}"));
    let mut own = plan.process.clone();
    own.seccomp = None;
    assert_eq!(format!("{:?}", exec.process), format!("{own:?}"));
}

/// Root with everything, and a user with nothing on an old kernel.
fn hosts() -> [Host; 2] {
    let user =
        Host { euid: 1000, egid: 1000, permitted: 0, newidmap: true, kernel: (5, 12), ..Host::sample() };
    [Host::sample(), user]
}

fn base(choices: &mut Choices<'_>) -> Value {
    let spec = match choices.below(4) {
        0 => default_spec(),
        1 => isolated_spec(100_000, 65_536),
        2 => rootless_spec(1000, 1000),
        _ => return full(),
    };
    serde_json::to_value(spec).expect("a spec is JSON")
}

/// A config in which most properties are set.
fn full() -> Value {
    let mut config = serde_json::to_value(isolated_spec(100_000, 65_536)).expect("a spec is JSON");
    let more = json!({
        "hostname": "h", "domainname": "d", "annotations": {"a": "b"},
        "hooks": {"prestart": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}],
                  "poststop": [{"path": "/bin/true"}]},
        "linux": {
            "sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "4096"},
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}],
            "cgroupsPath": "/a/b",
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}],
                "memory": {"limit": 1048576, "swap": 2097152, "reservation": 524288},
                "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-3", "mems": "0"},
                "pids": {"limit": 100}, "blockIO": {"weight": 100},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}], "unified": {"memory.high": "1048576"}},
            "rootfsPropagation": "rslave", "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
            "personality": {"domain": "LINUX"},
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
                        "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]}}});
    merge(&mut config, more);
    let process = json!({"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}], "oomScoreAdj": 5,
        "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [1, 2]}, "terminal": false,
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4}, "scheduler": {"policy": "SCHED_OTHER", "nice": 5},
        "execCPUAffinity": {"initial": "0-1", "final": "0"}});
    merge(&mut config["process"], process);
    config
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
