//! What a profile may say, for `features`: of the names of the runtime-spec
//! (config-linux.md, "Seccomp") those that the loader and the compiler take.

use super::arch::Arch;
use oci_spec::runtime::{Arch as SpecArch, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSeccompOperator};
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error};

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

const ARCHES: [&str; 22] = [
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// The flags that the compiler passes on, with their numbers (linux/seccomp.h).
pub const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", 1),
    ("SECCOMP_FILTER_FLAG_LOG", 2),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", 4),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 32),
];

fn parse<'de, T: Deserialize<'de>>(name: &'de str) -> Option<T> {
    T::deserialize(BorrowedStrDeserializer::<Error>::new(name)).ok()
}

/// Actions.
pub fn actions() -> Vec<&'static str> {
    ACTIONS.into_iter().filter(|name| parse::<LinuxSeccompAction>(name).is_some()).collect()
}

/// Operators.
pub fn operators() -> Vec<&'static str> {
    OPERATORS.into_iter().filter(|name| parse::<LinuxSeccompOperator>(name).is_some()).collect()
}

/// Architectures that filters can be compiled for.
pub fn architectures() -> Vec<&'static str> {
    // What NATIVE is makes no difference to the names of the others.
    let is_known = |name: &&str| {
        parse::<SpecArch>(name).is_some_and(|arch| Arch::from_spec(arch, Arch::X86_64).is_some())
    };
    ARCHES.into_iter().filter(is_known).collect()
}

/// The names of all system calls that rules can be about, sorted.
pub fn calls() -> impl Iterator<Item = &'static str> {
    super::tables::ROWS.iter().map(|(name, _)| *name)
}

/// The number of a system call, where the architecture has it.
pub fn number(arch: SpecArch, call: &str) -> Option<u32> {
    Arch::from_spec(arch, Arch::native()?)?.number(super::calls::find(call)?)
}

/// Flags.
pub fn flags() -> Vec<&'static str> {
    let names = FLAGS.into_iter().map(|(name, _)| name);
    names.filter(|name| parse::<LinuxSeccompFilterFlag>(name).is_some()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_actions_operators_and_flags_are_known() {
        assert_eq!((super::actions().len(), super::operators().len(), super::flags().len()), (9, 7, 4));
        assert!(super::architectures().contains(&"SCMP_ARCH_X86_64"));
    }
}
