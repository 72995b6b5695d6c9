//! A profile → a program that the kernel takes, whose verdict about each system
//! call is that of a plain reading of the rules.

use crate::bpf::{self, Order};
use crate::choices::Choices;
use crate::seccomp::model::Model;
use crate::seccomp::profile::{self, Overlap};
use crate::seccomp::{FAMILIES, MACHINES, X32_BIT, calls};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::json;
use sextant_runtime::seccomp::{compile_for, known};
use std::collections::BTreeSet;

pub(super) fn target(input: &[u8]) {
    let mut choices = Choices::of(input);
    let family = choices.pick(&FAMILIES);
    let value = if input.get(1) == Some(&b'{') {
        let Ok(value) = serde_json::from_slice(&input[1..]) else { return };
        value
    } else {
        profile::profile(&mut choices, family, Overlap::Free)
    };
    let Ok(spec) = serde_json::from_value::<LinuxSeccomp>(value.clone()) else { return };
    let mut warnings = Vec::new();
    let filter = match compile_for(family[0], &spec, &mut warnings) {
        Ok(filter) => filter,
        Err(problems) => {
            assert!(!problems.is_empty());
            return crate::check::problems(&problems, &json!({"linux": {"seccomp": value}}));
        }
    };
    crate::check::problems(&warnings, &json!({"linux": {"seccomp": value}}));
    bpf::check(&filter.program).unwrap();
    let model = Model::new(family[0], &spec);
    for machine in &MACHINES {
        for number in numbers(&spec, machine.arch) {
            for call in calls::of_number(&model, machine, number).into_iter().take(80) {
                let verdict = bpf::run(&filter.program, &call, Order::Little);
                assert_eq!(verdict, model.answer(&call).0, "{} {call:x?}", machine.name);
            }
        }
    }
}

/// The numbers that the profile names, their neighbours, and the ends of all ranges.
fn numbers(spec: &LinuxSeccomp, arch: oci_spec::runtime::Arch) -> BTreeSet<u32> {
    let names = spec.syscalls().iter().flatten().flat_map(|entry| entry.names());
    let named = names.filter_map(|name| known::number(arch, name));
    let multiplexers = ["socketcall", "ipc"].into_iter().filter_map(|name| known::number(arch, name));
    let ends =
        [0, 1, 599, X32_BIT - 1, X32_BIT, X32_BIT + 1, 0xe_ffff, 0xf_0000, 0xf_0001, 1 << 31, u32::MAX - 1];
    let all = named.chain(multiplexers).chain(ends).chain([u32::MAX]);
    all.flat_map(|n| [n.saturating_sub(1), n, n.saturating_add(1)]).collect()
}
