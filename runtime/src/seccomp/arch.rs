//! The architectures that filters can be compiled for.

use super::calls::{ARM_PRIVATE, Call};
use oci_spec::runtime::Arch as SpecArch;

/// One architecture, in the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Arch {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
    S390x,
    Ppc64le,
    Loongarch64,
}

/// Bit that marks a system call of x32 (asm/unistd.h, `__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// All of them, in the order of the table.
    #[cfg(test)]
    pub(super) const ALL: [Self; super::tables::ARCHES] = [
        Self::X86_64,
        Self::X86,
        Self::X32,
        Self::Aarch64,
        Self::Arm,
        Self::Riscv64,
        Self::S390x,
        Self::Ppc64le,
        Self::Loongarch64,
    ];

    /// The one that this program is built for.
    pub(super) fn native() -> Option<Self> {
        let supported = [
            (cfg!(target_arch = "x86_64"), Self::X86_64),
            (cfg!(target_arch = "x86"), Self::X86),
            (cfg!(target_arch = "aarch64"), Self::Aarch64),
            (cfg!(target_arch = "arm"), Self::Arm),
            (cfg!(target_arch = "riscv64"), Self::Riscv64),
            (cfg!(target_arch = "s390x"), Self::S390x),
            (cfg!(all(target_arch = "powerpc64", target_endian = "little")), Self::Ppc64le),
            (cfg!(target_arch = "loongarch64"), Self::Loongarch64),
        ];
        supported.into_iter().find_map(|(is, arch)| is.then_some(arch))
    }

    /// The config's, given what `SCMP_ARCH_NATIVE` is; `None` for one that has no column.
    pub(super) fn from_spec(arch: SpecArch, native: Self) -> Option<Self> {
        Some(match arch {
            SpecArch::ScmpArchNative => native,
            SpecArch::ScmpArchX86_64 => Self::X86_64,
            SpecArch::ScmpArchX86 => Self::X86,
            SpecArch::ScmpArchX32 => Self::X32,
            SpecArch::ScmpArchAarch64 => Self::Aarch64,
            SpecArch::ScmpArchArm => Self::Arm,
            SpecArch::ScmpArchRiscv64 => Self::Riscv64,
            SpecArch::ScmpArchS390x => Self::S390x,
            SpecArch::ScmpArchPpc64le => Self::Ppc64le,
            SpecArch::ScmpArchLoongarch64 => Self::Loongarch64,
            _ => return None,
        })
    }

    /// `AUDIT_ARCH_*` (linux/audit.h), as `struct seccomp_data` has it.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
            Self::Riscv64 => 0xc000_00f3,
            Self::S390x => 0x8000_0016,
            Self::Ppc64le => 0xc000_0015,
            Self::Loongarch64 => 0xc000_0102,
        }
    }

    /// Whether a kernel of `native` runs programs of this architecture.
    pub(super) fn runs_on(self, native: Self) -> bool {
        self == native
            || matches!((native, self), (Self::X86_64, Self::X86 | Self::X32) | (Self::Aarch64, Self::Arm))
    }

    /// Whether arguments have 32 bits; the kernel fills them up with zeros.
    pub(super) fn has_narrow_arguments(self) -> bool {
        matches!(self, Self::X86 | Self::Arm)
    }

    /// The number of a system call, where the architecture has it.
    pub(super) fn number(self, call: Call) -> Option<u32> {
        let number = call.number(self as usize)?;
        Some(if self == Self::X32 { number | X32_BIT } else { number })
    }

    /// First and last number that belong to it among those of its audit value.
    pub(super) fn range(self) -> (u32, u32) {
        match self {
            Self::X86_64 => (0, X32_BIT - 1),
            Self::X32 => (X32_BIT, u32::MAX),
            _ => (0, u32::MAX),
        }
    }

    /// The last number of the sequence to which new calls are added.
    pub(super) fn last_of_sequence(self) -> u32 {
        if self == Self::Arm { ARM_PRIVATE - 1 } else { self.range().1 }
    }

    /// Whether socketcall(2) and ipc(2) stand for other calls.
    pub(super) fn multiplexes(self) -> bool {
        matches!(self, Self::X86 | Self::S390x | Self::Ppc64le)
    }
}
