//! The models against the kernel: our seccomp programs are loaded into it, and
//! what it does with system calls is what the interpreter says; our device
//! programs pass its verifier.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "a test")]
#![cfg(target_arch = "x86_64")]

use oci_spec::runtime::Arch;
use serde_json::{Value, json};
use sextant_fuzz::bpf::{self, Call, Order};
use sextant_fuzz::choices::{Choices, Random};
use sextant_fuzz::seccomp::model::Model;
use sextant_fuzz::seccomp::{calls, machine, profile};
use sextant_fuzz::{devices, ebpf, sys};
use sextant_runtime::cgroup::device_program::assemble;
use sextant_runtime::cgroup::devices::Devices;
use sextant_runtime::cgroup::layout::Version;
use sextant_runtime::cgroup::plan_on;
use sextant_runtime::seccomp::{compile_for, known};

/// Calls that look something up by their arguments, and change nothing.
const HARMLESS: [&str; 6] = [
    "getpriority",
    "getpgid",
    "getsid",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getscheduler",
];

/// An errno of the rules; the kernel itself has none that high.
const FIRST_ERRNO: u32 = 1000;

fn profile_of_harmless_calls(choices: &mut Choices<'_>, arches: &[Arch]) -> Value {
    // The sixth argument of a 32-bit call is in rbp, which a compiler does not give away.
    let arguments = if arches.len() == 1 { 6 } else { 5 };
    let ops = ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"];
    let rules: Vec<Value> = (0..12)
        .map(|i| {
            let names = [choices.pick(&HARMLESS), choices.pick(&HARMLESS)];
            let args: Vec<Value> = (0..1 + choices.below(3))
                .map(|_| {
                    let value = choices.near(&profile::EDGES);
                    json!({"index": choices.below(arguments), "value": value, "op": format!("SCMP_CMP_{}", choices.pick(&ops)),
                           "valueTwo": value & choices.near(&profile::EDGES)})
                })
                .collect();
            json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": FIRST_ERRNO + i, "args": args})
        })
        .collect();
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules,
           "architectures": arches})
}

/// What the kernel's result says about the verdict: one of our errnos, or none.
fn verdict(result: i64) -> u32 {
    match u32::try_from(-result) {
        Ok(errno) if errno >= FIRST_ERRNO => libc::SECCOMP_RET_ERRNO | errno,
        _ => libc::SECCOMP_RET_ALLOW,
    }
}

/// Tries everything on a thread with the filter; gives how many calls were let
/// through and how many refused.
fn try_all(value: &Value, arches: &[Arch]) -> [usize; 2] {
    let spec = profile::parse(value);
    let filter = compile_for(Arch::ScmpArchX86_64, &spec, &mut Vec::new()).unwrap();
    sys::set_no_new_privs();
    assert!(sextant_runtime::sys::seccomp::load(&filter).unwrap().is_none());
    let model = Model::new(Arch::ScmpArchX86_64, &spec);
    let mut count = [0; 2];
    for arch in arches {
        let numbers = HARMLESS.iter().map(|name| known::number(*arch, name).unwrap());
        for call in numbers.chain([900, 1023]).flat_map(|n| calls::of_number(&model, machine(*arch), n)) {
            let result = match arch {
                Arch::ScmpArchX86 => sys::call_x86(call.number, first_five(&call)),
                _ => sys::call(call.number, call.args),
            };
            let expected = bpf::run(&filter.program, &call, Order::Little);
            assert_eq!(verdict(result), expected, "{call:x?} {value}");
            count[usize::from(expected != libc::SECCOMP_RET_ALLOW)] += 1;
        }
    }
    count
}

fn first_five(call: &Call) -> [u32; 5] {
    [0, 1, 2, 3, 4].map(|i| u32::try_from(call.args[i]).unwrap())
}

/// In threads of their own: a filter stays for the life of its thread.
fn try_profiles(arches: &'static [Arch]) {
    let mut sum = [0; 2];
    for seed in 0..20 {
        let bytes = Random::new(seed).bytes(3000);
        let value = profile_of_harmless_calls(&mut Choices::of(&bytes), arches);
        let count = std::thread::spawn(move || try_all(&value, arches)).join().unwrap();
        sum = [sum[0] + count[0], sum[1] + count[1]];
    }
    println!("{} calls let through, {} refused", sum[0], sum[1]);
    assert!(sum.iter().all(|n| *n > 1000), "{sum:?}");
}

// proves: seccomp actions
#[test]
fn the_kernel_does_what_the_interpreter_says() {
    try_profiles(&[Arch::ScmpArchX86_64]);
}

// proves: seccomp actions
#[test]
fn it_does_so_for_calls_of_32_bit_programs() {
    let getpid = known::number(Arch::ScmpArchX86, "getpid").unwrap();
    if sys::call_x86(getpid, [0; 5]) != i64::from(std::process::id()) {
        println!("skipped: needs a kernel that runs 32-bit programs (CONFIG_IA32_EMULATION)");
        return;
    }
    try_profiles(&[Arch::ScmpArchX86_64, Arch::ScmpArchX86]);
}

// proves: device rules
#[test]
fn the_verifier_takes_every_device_program() {
    for seed in 0..200 {
        let rules = devices::rules(&mut Choices::of(&Random::new(seed).bytes(1 + seed as usize)));
        let config = json!({"ociVersion": "1.3.0", "linux": {"resources": {"devices": rules}}});
        let spec = serde_json::from_value(config).unwrap();
        let plan = plan_on(&spec, "verifier", &devices::host(Version::V2), &mut Vec::new()).unwrap();
        let Devices::Program { rules, .. } = &plan.devices else { panic!("{:?}", plan.devices) };
        let words = assemble(rules);
        ebpf::check(&words).unwrap();
        match sextant_runtime::sys::bpf::load_device_program(&words) {
            Ok(_) => {}
            Err(e) if e.errno as i32 == libc::EPERM => {
                return println!("skipped: bpf(2) is not allowed here");
            }
            Err(e) => panic!("{} words of {rules:?}: {e}", words.len()),
        }
    }
}
