//! Profiles from choices, in the forms that profiles in use have: one long list
//! of names without conditions, a few with them, some that refuse.

use crate::choices::Choices;
use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::{Value, json};
use sextant_runtime::seccomp::known;

const ACTIONS: [&str; 8] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL",
    "SCMP_ACT_TRACE",
];

const OPS: [&str; 7] = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];

/// Values around which comparisons turn.
pub const EDGES: [u64; 16] = [
    0,
    1,
    7,
    40,
    0x7e02_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    1 << 32,
    (1 << 32) + 7,
    (1 << 33) - 1,
    1 << 63,
    u64::MAX - 0xffff_ffff,
    u64::MAX - 1,
    u64::MAX,
];

/// What a profile may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Any rules.
    Free,
    /// No call has two rules with conditions and different actions: what
    /// libseccomp answers then depends on the shape of its tree.
    None,
}

/// A profile of choices, for the kernel of `family[0]`.
pub fn profile(choices: &mut Choices<'_>, family: &[Arch], overlap: Overlap) -> Value {
    let names: Vec<&str> = known::calls().collect();
    let arches: Vec<Arch> = family.iter().copied().filter(|_| !choices.once_in(3)).collect();
    let default = choices.pick(&ACTIONS);
    let mut profile = json!({"defaultAction": default, "architectures": arches, "syscalls": []});
    if default == "SCMP_ACT_ERRNO" && choices.once_in(2) {
        profile["defaultErrnoRet"] = json!(choices.below(256));
    }
    let mut conditional: Vec<(&str, String)> = Vec::new();
    let mut rules = Vec::new();
    for _ in 0..choices.below(24) {
        let many = if choices.once_in(4) { 60 } else { 6 };
        let called: Vec<&str> = (0..1 + choices.below(many)).map(|_| call(choices, &names)).collect();
        let mut rule = json!({"action": choices.pick(&ACTIONS)});
        if rule["action"] == "SCMP_ACT_ERRNO" && choices.once_in(2) {
            rule["errnoRet"] = json!(choices.below(256));
        }
        let args = args(choices, overlap);
        let key = format!("{} {}", rule["action"], rule["errnoRet"]);
        let clashes = |name: &&str| conditional.iter().any(|(other, action)| other == name && *action != key);
        let keeps = |name: &&str| args.is_empty() || overlap == Overlap::Free || !clashes(name);
        let called: Vec<&str> = called.into_iter().filter(keeps).collect();
        if !args.is_empty() {
            conditional.extend(called.iter().map(|name| (*name, key.clone())));
        }
        rule["names"] = json!(called);
        rule["args"] = json!(args);
        if !called.is_empty() {
            rules.push(rule);
        }
    }
    profile["syscalls"] = json!(rules);
    profile
}

/// Few calls come often, so that rules meet.
fn call<'a>(choices: &mut Choices<'_>, names: &[&'a str]) -> &'a str {
    const OFTEN: [&str; 8] =
        ["ioctl", "clone", "socket", "personality", "read", "connect", "semop", "restart_syscall"];
    if choices.once_in(3) {
        let often = choices.pick(&OFTEN);
        return names.iter().find(|n| **n == often).copied().unwrap_or(names[0]);
    }
    // What the multiplexers do is said by the calls that they stand for.
    let name = choices.pick(names);
    if ["socketcall", "ipc"].contains(&name) { "read" } else { name }
}

fn args(choices: &mut Choices<'_>, overlap: Overlap) -> Vec<Value> {
    let first = choices.below(6);
    let count = if choices.once_in(2) { 1 + choices.below(3) } else { 0 };
    let mut args: Vec<Value> = (0..count)
        .map(|i| {
            let value = choices.near(&EDGES);
            let mask = if choices.once_in(8) { u64::MAX } else { value };
            let second = mask & choices.near(&EDGES);
            json!({"index": (first + i) % 6, "value": value, "valueTwo": second,
                   "op": format!("SCMP_CMP_{}", choices.pick(&OPS))})
        })
        .collect();
    // Several conditions on one argument.
    if overlap == Overlap::Free && count > 1 && choices.once_in(6) {
        args[0]["index"] = args[1]["index"].clone();
    }
    args
}

/// The profile as the runtime has it.
pub fn parse(value: &Value) -> LinuxSeccomp {
    serde_json::from_value(value.clone()).expect("a profile of the right form")
}
