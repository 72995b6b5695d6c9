//! The system calls to try on a profile: every number that an architecture can
//! have and some that none has, with each argument of each rule at and beside
//! the values where its conditions turn.

use super::model::{IPC, Model, SOCKETS};
use super::{Machine, X32_BIT};
use crate::bpf::Call;
use oci_spec::runtime::LinuxSeccompArg;
use sextant_runtime::seccomp::known;

/// Most combinations of arguments for one number.
const MOST: usize = 600;

/// Numbers to try: the sequence that grows, x32's, arm's private ones, negative ones.
pub fn numbers() -> impl Iterator<Item = u32> {
    let sequence = (0..600).chain([1023, 0x3fff_ffff]);
    let x32 = (0..600).chain([0x3fff_ffff]).map(|n| n | X32_BIT);
    let arm = 0xe_fffe..0xf_0008;
    let negative = (0..3).chain(100..130).map(|n| u32::MAX - n).chain([0x8000_0000, 0x7fff_ffff]);
    sequence.chain(x32).chain(arm).chain(negative)
}

/// All calls to try on an architecture; some, where the profile does not list it.
pub fn calls(model: &Model<'_>, machine: &Machine) -> Vec<Call> {
    let is_listed = model.machines.iter().any(|m| m.arch == machine.arch);
    let step = if is_listed { 1 } else { 7 };
    numbers().step_by(step).flat_map(|number| of_number(model, machine, number)).collect()
}

/// The calls to try with one number.
pub fn of_number(model: &Model<'_>, machine: &Machine, number: u32) -> Vec<Call> {
    let values = values(model, machine, number);
    let plain = values.each_ref().map(|list| list[0]);
    let mut all = vec![plain, [u64::MAX; 6]];
    for (at, list) in values.iter().enumerate().filter(|(_, list)| list.len() > 1) {
        for value in list {
            // Each against what was collected so far: all combinations, up to the limit.
            let with = |args: &[u64; 6]| {
                let mut args = *args;
                args[at] = *value;
                args
            };
            let known: Vec<_> = all.iter().take(MOST / list.len().max(1)).map(with).collect();
            all.extend(known);
        }
    }
    let bits = if machine.bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    all.iter_mut().flatten().for_each(|arg| *arg &= bits);
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(|args| Call { audit: machine.audit, number, args }).collect()
}

/// For each argument the values to try; at least one.
fn values(model: &Model<'_>, machine: &Machine, number: u32) -> [Vec<u64>; 6] {
    let mut values: [Vec<u64>; 6] = std::array::from_fn(|_| vec![0]);
    for (entry, name) in model.about(machine, number) {
        if known::number(machine.arch, name) == Some(number) {
            for arg in entry.args().iter().flatten() {
                values[arg.index()].extend(around(arg));
            }
        }
    }
    let multiplexer = |name: &str| known::number(machine.arch, name) == Some(number);
    if machine.multiplexes && multiplexer("socketcall") {
        values[0].extend(0..SOCKETS.len() as u64 + 2);
    }
    if machine.multiplexes && multiplexer("ipc") {
        values[0].extend(IPC.iter().map(|(n, _)| *n));
    }
    for list in &mut values {
        list[1..].sort_unstable();
        list.dedup();
    }
    values
}

fn around(arg: &LinuxSeccompArg) -> Vec<u64> {
    let (value, second) = (arg.value(), arg.value_two().unwrap_or(0));
    let (low, high) = (value & 0xffff_ffff, value & !0xffff_ffff);
    let mut list = vec![0, u64::MAX, value, low, high, second, !value, second | !value];
    for near in [value, second] {
        list.extend([near.wrapping_sub(1), near.wrapping_add(1), near ^ 1 << 32, near ^ 1 << 63]);
        list.extend([near.wrapping_add(1 << 32), near.wrapping_sub(1 << 32)]);
    }
    list
}
