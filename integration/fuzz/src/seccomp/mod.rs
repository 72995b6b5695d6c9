//! Seccomp profiles: made from choices ([`profile`]), read plainly ([`model`]),
//! and the system calls that are worth a try on one ([`calls`]).

pub mod calls;
pub mod model;
pub mod profile;

use crate::bpf::Order;
use oci_spec::runtime::Arch;

/// What the kernel and libseccomp call an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// As in a config.
    pub arch: Arch,
    /// As libseccomp names it.
    pub name: &'static str,
    /// `AUDIT_ARCH_*`
    pub audit: u32,
    /// Order of an argument's bytes.
    pub order: Order,
    /// Bits of an argument.
    pub bits: u32,
    /// Whether socketcall(2) and ipc(2) stand for other calls.
    pub multiplexes: bool,
}

/// The architectures that filters are compiled for.
#[rustfmt::skip]
pub const MACHINES: [Machine; 9] = {
    use {Arch as A, Order::{Big, Little}};
    const fn m(arch: Arch, name: &'static str, audit: u32, order: Order, bits: u32, multiplexes: bool) -> Machine {
        Machine { arch, name, audit, order, bits, multiplexes }
    }
    [
        m(A::ScmpArchX86_64, "x86_64", 0xc000_003e, Little, 64, false),
        m(A::ScmpArchX86, "x86", 0x4000_0003, Little, 32, true),
        m(A::ScmpArchX32, "x32", 0xc000_003e, Little, 64, false),
        m(A::ScmpArchAarch64, "aarch64", 0xc000_00b7, Little, 64, false),
        m(A::ScmpArchArm, "arm", 0x4000_0028, Little, 32, false),
        m(A::ScmpArchRiscv64, "riscv64", 0xc000_00f3, Little, 64, false),
        m(A::ScmpArchS390x, "s390x", 0x8000_0016, Big, 64, true),
        m(A::ScmpArchPpc64le, "ppc64le", 0xc000_0015, Little, 64, true),
        m(A::ScmpArchLoongarch64, "loongarch64", 0xc000_0102, Little, 64, false),
    ]
};

/// The bit that marks calls of x32.
pub const X32_BIT: u32 = 0x4000_0000;

/// The description of an architecture.
pub fn machine(arch: Arch) -> &'static Machine {
    MACHINES.iter().find(|m| m.arch == arch).expect("an architecture of the table")
}

/// The groups that run on one kernel, the kernel's own first.
pub const FAMILIES: [&[Arch]; 6] = [
    &[Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
    &[Arch::ScmpArchAarch64, Arch::ScmpArchArm],
    &[Arch::ScmpArchRiscv64],
    &[Arch::ScmpArchS390x],
    &[Arch::ScmpArchPpc64le],
    &[Arch::ScmpArchLoongarch64],
];
